"""A copy of the checkout to build from, and the wheel built from it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as a publisher would."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        # Without isolation: hatchling is among the test tools, so nothing is fetched.
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, repository],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def clean_environment(
    wheel: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder with the programs of a new environment: the wheel without extras."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [programs / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "-c", repository / "constraints.txt", wheel], check=True)
    found = shutil.which("reverie", path=str(programs))
    assert found, "the wheel installed no command"
    return programs
