"""The wheel: what it holds, and that it runs without extras."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(600)]


def run(program: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of the clean environment outside the checkout."""
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}

    assert tops == {"reverie", next(top for top in tops if top.endswith(".dist-info"))}
    assert "reverie/py.typed" in names
    assert any(
        name.startswith("reverie/graphs/prompts/") and name.endswith(".md") for name in names
    )
    assert any(name.endswith("/motif.jsonl") for name in names)
    assert sum(name.startswith("reverie/knowledge/sops/packaged/") for name in names) >= 10
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert any(name.endswith("/licenses/THIRD_PARTY.md") for name in names)
    left_out = re.compile(r"(^|/)(tests?|__pycache__)/|/(test_\w+|conftest)\.py$")
    assert not [name for name in names if left_out.search(name)]


def test_no_file_of_the_checkout_is_missing(wheel: Path, repository: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    there = {
        path.relative_to(repository).as_posix()
        for path in (repository / "reverie").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert there - inside == set()


def test_the_command_runs(clean_environment: Path, tmp_path: Path) -> None:
    helped = run(clean_environment / "reverie", "--help", folder=tmp_path)
    version = run(clean_environment / "reverie", "version", "--json", folder=tmp_path)
    module = run(clean_environment / "python", "-m", "reverie", "config", folder=tmp_path)

    assert (helped.returncode, helped.stderr) == (0, "")
    assert "Usage: reverie" in helped.stdout
    assert version.returncode == 0, version.stderr
    assert json.loads(version.stdout)["libraries"]["torch"] is None
    assert module.returncode == 0, module.stderr


def test_it_imports_without_torch(clean_environment: Path, tmp_path: Path) -> None:
    program = (
        "import importlib.util, sys, reverie, reverie.settings\n"
        "assert importlib.util.find_spec('torch') is None\n"
        "names = [getattr(reverie, name) for name in reverie.__all__]\n"
        "print(len(names))\n"
    )

    result = run(clean_environment / "python", "-c", program, folder=tmp_path)

    assert result.returncode == 0, result.stderr


def test_asking_without_the_extra_says_how_to_get_it(
    clean_environment: Path, tmp_path: Path
) -> None:
    result = run(clean_environment / "reverie", "ask", "What is rain?", folder=tmp_path)

    assert result.returncode == 2
    assert "reverie[local]" in result.stderr
    assert "Traceback" not in result.stderr
