"""The stored profiles: one file each, safe with several writers, never lost."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.models import profiles
from reverie.models.profile import ModelProfile
from reverie.models.profiles import ProfileBook, Speed, StoredProfile, normalised

ADDRESS = "http://127.0.0.1:8811/v1"
PROBED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def book(tmp_path: Path) -> ProfileBook:
    return ProfileBook.under(tmp_path / "home")


def stored(**other: Any) -> StoredProfile:
    fields: dict[str, Any] = {
        "address": ADDRESS,
        "model": "smollm2",
        "profile": ModelProfile(name="smollm2", window=4096, seed=True),
        "server": "vLLM",
        "version": "0.32.0",
        "probed": PROBED,
        "source": "doctor",
        "speeds": (
            Speed(concurrent=1, first_token_seconds=0.05, tokens_per_second=40.5, tokens=96),
        ),
    }
    return StoredProfile(**{**fields, **other})


def test_what_was_written_is_found(book: ProfileBook) -> None:
    written = book.write(stored())

    assert book.find(ADDRESS, "smollm2") == written
    assert written.reverie
    assert written == stored(reverie=written.reverie)
    assert book.notices == []


def test_nothing_is_found_where_nothing_was_written(book: ProfileBook) -> None:
    assert book.find(ADDRESS, "smollm2") is None
    assert not book.folder.exists()


def test_each_model_on_each_server_has_a_profile_of_its_own(book: ProfileBook) -> None:
    book.write(stored())

    assert book.find(ADDRESS, "other") is None
    assert book.find("http://127.0.0.1:8812/v1", "smollm2") is None
    assert book.find("http://localhost:8811/v1", "smollm2") is None


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8811/v1/", "HTTP://127.0.0.1:8811/v1", " http://127.0.0.1:8811/v1// "],
)
def test_an_address_may_be_written_in_several_ways(book: ProfileBook, address: str) -> None:
    book.write(stored(address=address))

    found = book.find(ADDRESS, "smollm2")
    assert found is not None
    assert found.address == ADDRESS


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://API.example:443/v1/", "https://api.example/v1"),
        ("http://host:80", "http://host"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://user:secret@host/v1?key=secret#model", "http://host/v1"),
    ],
)
def test_addresses_are_written_in_one_way(address: str, expected: str) -> None:
    assert normalised(address) == expected
    assert normalised(expected) == expected


@pytest.mark.parametrize("address", ["", "host:8000", "http://", "http://[::1", "http://h:99999"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        normalised(address)


@given(model=st.text(max_size=300))
def test_any_name_of_a_model_makes_a_file_in_the_folder(model: str) -> None:
    book = ProfileBook(Path("/home/profiles"))

    path = book.path(ADDRESS, model)

    assert path.parent == book.folder
    assert path.name.startswith("127.0.0.1-8811-v1")
    assert path.name.isascii()
    assert len(path.name) < 100


def test_names_that_look_alike_have_files_of_their_own(book: ProfileBook) -> None:
    names = ["a/b", "a-b", "a b", "A-b", "a\x00b", "x" * 100, "x" * 101]

    assert len({book.path(ADDRESS, name) for name in names}) == len(names)


def test_the_file_can_be_read_by_people(book: ProfileBook) -> None:
    book.write(stored())

    path = book.path(ADDRESS, "smollm2")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert path.name.startswith("127.0.0.1-8811-v1-smollm2-")
    assert document["format"] == 1
    assert document["profile"]["window"] == 4096
    assert document["probed"] == "2026-11-01T12:00:00Z"
    assert [p for p in book.folder.iterdir() if p.suffix == ".tmp"] == []


# -- corrections ---------------------------------------------------------------------------


def test_a_correction_changes_one_field_and_is_noted(book: ProfileBook) -> None:
    book.write(stored())

    corrected = book.correct(ADDRESS, "smollm2", "seed", False, "two replies differed")

    assert corrected.profile == ModelProfile(name="smollm2", window=4096)
    (note,) = corrected.corrections
    assert (note.field, note.was, note.now, note.why) == (
        "seed",
        True,
        False,
        "two replies differed",
    )
    assert datetime.now(UTC) - note.when < timedelta(minutes=1)
    assert book.find(ADDRESS, "smollm2") == corrected


def test_a_correction_that_changes_nothing_is_not_noted(book: ProfileBook) -> None:
    book.write(stored())

    assert book.correct(ADDRESS, "smollm2", "seed", True, "again").corrections == ()


def test_a_correction_keeps_what_others_wrote_meanwhile(book: ProfileBook) -> None:
    book.write(stored())
    other = ProfileBook(book.folder)
    other.correct(ADDRESS, "smollm2", "window", 2048, "a refusal said so")

    corrected = book.correct(ADDRESS, "smollm2", "seed", False, "two replies differed")

    assert corrected.profile == ModelProfile(name="smollm2", window=2048)
    assert [c.field for c in corrected.corrections] == ["window", "seed"]


def test_a_correction_does_not_undo_a_newer_examination(book: ProfileBook) -> None:
    newer = book.write(stored(probed=PROBED))

    early = PROBED - timedelta(minutes=5)
    kept = book.correct(ADDRESS, "smollm2", "seed", False, "as it was before", observed=early)
    assert kept == newer

    late = PROBED + timedelta(minutes=5)
    changed = book.correct(ADDRESS, "smollm2", "seed", False, "as it is now", observed=late)
    assert not changed.profile.seed


def test_a_correction_needs_no_earlier_profile(book: ProfileBook) -> None:
    start = ModelProfile(name="qwen", window=8192, stop=True)

    corrected = book.correct(ADDRESS, "qwen", "stop", False, "it went on", start=start)

    assert corrected.source == "cautious"
    assert corrected.probed is None
    assert corrected.profile == ModelProfile(name="qwen", window=8192)
    assert book.correct(ADDRESS, "new", "window", 1024, "said so").profile.window == 1024


@pytest.mark.parametrize(
    ("field", "value"), [("windows", 5), ("window", -1), ("tools", "sometimes"), ("seed", [])]
)
def test_a_correction_must_fit(book: ProfileBook, field: str, value: Any) -> None:
    book.write(stored())

    with pytest.raises(ConfigError):
        book.correct(ADDRESS, "smollm2", field, value, "why not")

    assert book.find(ADDRESS, "smollm2") == stored(reverie=profiles._reverie_version())


def test_a_new_examination_replaces_the_corrections(book: ProfileBook) -> None:
    book.write(stored())
    book.correct(ADDRESS, "smollm2", "seed", False, "two replies differed")

    book.write(stored())

    found = book.find(ADDRESS, "smollm2")
    assert found is not None
    assert found.corrections == ()
    assert found.profile.seed


def test_corrections_at_the_same_time_are_all_kept(book: ProfileBook) -> None:
    fields = {
        "n": True,
        "seed": False,
        "stop": True,
        "logprobs": True,
        "window": 99,
        "prefill": True,
    }
    book.write(stored())
    start = threading.Barrier(len(fields))

    def correct(field: str, value: Any) -> None:
        start.wait()
        ProfileBook(book.folder).correct(ADDRESS, "smollm2", field, value, "at once")

    threads = [threading.Thread(target=correct, args=item) for item in fields.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = book.find(ADDRESS, "smollm2")
    assert found is not None
    assert found.profile.model_dump(include=set(fields)) == fields
    assert {c.field for c in found.corrections} == set(fields)


# -- files that cannot be used --------------------------------------------------------------

WHOLE = {"format": 1, **stored().model_dump(mode="json")}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"format": 1, "address"',
        b"\xff\xfe\x00damaged",
        b"[]",
        b"{}",
        b'{"format": "one"}',
        json.dumps({**WHOLE, "profile": {"name": "smollm2", "window": "wide"}}).encode(),
        json.dumps({**WHOLE, "unheard_of": 1}).encode(),
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("action", ["find", "write", "correct"])
def test_a_damaged_file_is_set_aside(book: ProfileBook, content: bytes, action: str) -> None:
    path = book.path(ADDRESS, "smollm2")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)

    if action == "find":
        assert book.find(ADDRESS, "smollm2") is None
    elif action == "write":
        book.write(stored())
    else:
        book.correct(ADDRESS, "smollm2", "seed", True, "why")

    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == content
    (notice,) = book.notices
    assert str(path) in notice
    assert aside.name in notice
    found = book.find(ADDRESS, "smollm2")
    assert (found is None) == (action == "find")


def test_a_newer_reveries_file_is_never_lost(book: ProfileBook) -> None:
    path = book.path(ADDRESS, "smollm2")
    path.parent.mkdir(parents=True)
    newer = json.dumps({"format": 2, "everything": "different"})
    path.write_text(newer, encoding="utf-8")

    assert book.find(ADDRESS, "smollm2") is None
    assert book.find(ADDRESS, "smollm2") is None
    assert path.read_text(encoding="utf-8") == newer
    assert book.notices == [f"{path} was written by a newer Reverie and is not used"]

    book.write(stored())

    (aside,) = path.parent.glob("*.newer-*")
    assert aside.read_text(encoding="utf-8") == newer
    assert aside.name in book.notices[-1]
    assert book.find(ADDRESS, "smollm2") is not None


def test_a_disk_that_is_full_costs_no_profile(
    book: ProfileBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = book.write(stored())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(profiles.json, "dump", full)
    with pytest.raises(KnowledgeUnavailable, match="No space left") as caught:
        book.write(stored(version="0.33.0"))

    assert "REVERIE_HOME" in caught.value.hint
    assert book.find(ADDRESS, "smollm2") == before
    assert list(book.folder.glob(".*.tmp")) == []


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")

    with pytest.raises(KnowledgeUnavailable, match="cannot be read or written"):
        ProfileBook.under(tmp_path / "home").write(stored())
