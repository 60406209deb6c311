"""Logs: rotated when a server starts, and read while they grow."""

from __future__ import annotations

from pathlib import Path

from reverie.models.vllm.log import KEPT, LogReader, open_log, tail


def test_the_last_few_are_kept_by_port(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        path, log = open_log(tmp_path / "logs", 8811)
        with log:
            log.write(str(number).encode())
        assert path == tmp_path / "logs" / "vllm-8811.log"
    with open_log(tmp_path / "logs", 8812)[1]:
        pass

    kept = {path.name: path.read_text() for path in (tmp_path / "logs").glob("vllm-8811*")}
    assert kept == {
        "vllm-8811.log": "7",
        **{f"vllm-8811.{n}.log": str(7 - n) for n in range(1, KEPT + 1)},
    }
    assert (tmp_path / "logs" / "vllm-8811.log").stat().st_mode & 0o077 == 0


def test_it_is_read_line_by_line_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = LogReader(path)
    assert reader.lines() == []
    with path.open("wb", buffering=0) as log:
        log.write(b"\x1b[32mone\x1b[0m\ntw")
        assert reader.lines() == ["one"]
        log.write(b"o\n10%\r20%\r30%\nrest \xff")
        assert reader.lines() == ["two", "10%", "20%", "30%"]
    assert reader.lines() == []
    assert tail(path) == ["one", "two", "10%", "20%", "30%", "rest \N{REPLACEMENT CHARACTER}"]


def test_only_the_end_of_a_long_one_is_kept_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("line\n" * 1_000_000 + "the end\n")

    lines = tail(path)

    assert lines[-1] == "the end"
    assert len(lines) < 250_000
    assert tail(tmp_path / "absent") == []
