"""Every supported Python gets a complete set of wheels at the pinned versions."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

# The tags that a current glibc Linux understands; pip lists them itself only for its own Python.
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(5, 36)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]


def resolve(python: str, requirements: list[str], constraints: Path, target: Path) -> set[str]:
    """Resolve for another Python, wheels only, and return the distributions' names."""
    platforms = [word for tag in PLATFORMS for word in ("--platform", tag)]
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"),
            *("--disable-pip-version-check", "--report", "-", "--target", target),
            *("--only-binary=:all:", "--python-version", python, "--implementation", "cp"),
            *platforms,
            *("-c", constraints),
            *requirements,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return {entry["metadata"]["name"].lower() for entry in json.loads(result.stdout)["install"]}


def project(repository: Path) -> dict[str, list[str]]:
    """The requirements by extra; "" for the base."""
    table = tomllib.loads(Path(repository, "pyproject.toml").read_text("utf-8"))["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_wheels_resolve(python: str, repository: Path, tmp_path: Path) -> None:
    wanted = project(repository)
    # torch itself is left out: with it, half a gigabyte of CUDA would be fetched to be looked at,
    # and which build it is depends on the index. Its own requirements are few and pure Python.
    local = [line for line in wanted["local"] if not line.startswith(("torch", "accelerate"))]

    names = resolve(python, [*wanted[""], *local], repository / "constraints.txt", tmp_path)

    assert {"langgraph", "onnxruntime", "transformers", "llguidance"} <= names


def test_constraints_pin_every_direct_dependency(repository: Path) -> None:
    lines = Path(repository, "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in pins}
    required = {
        requirement.partition(";")[0].strip()
        for lines in project(repository).values()
        for requirement in lines
    }
    names = {
        requirement[: next((i for i, c in enumerate(requirement) if c in "[<>=! "), None)]
        for requirement in required
    }

    assert all("==" in line and "+" not in line and "@" not in line for line in pins)
    assert {name.lower() for name in names} - pinned == {"reverie"}
    assert "torch==2.13.0" in pins
