"""Profiles that prove wrong: by many calls at once, by several processes, and on bad disks."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import threading
from pathlib import Path

import pytest

from reverie.errors import ModelRejected, ReverieError
from reverie.evals.quirks import Fail, Quirks
from reverie.models.chat import ServedChatModel
from reverie.models.profiles import ProfileBook

MANY = 40


def said(replies) -> list[str]:
    return [text for reply in replies for text in reply.response_metadata.get("notices", ())]


@pytest.mark.parametrize(
    ("quirks", "options"),
    [
        (Quirks(refuses=("seed",)), {"seed": 1}),
        (
            Quirks(refuses=("seed", "temperature", "stop")),
            {"seed": 1, "temperature": 0.5, "stop": ["q"]},
        ),
        (Quirks(wires=("responses",)), {}),
        (Quirks(refuses=("max_tokens",)), {"max_tokens": 5}),
        (Quirks(usage="never"), {}),
    ],
    ids=["seed", "three fields", "wire", "max_tokens", "usage"],
)
async def test_many_calls_find_out_at_once(
    served, server, book, *, monkeypatch, quirks, options
) -> None:
    writes = []
    write = ProfileBook._write
    monkeypatch.setattr(ProfileBook, "_write", lambda *a: (writes.append(a), write(*a))[1])
    model = served(quirks)
    writes.clear()
    replies = await asyncio.gather(*(model.ainvoke("x", **options) for _ in range(MANY)))
    assert all(reply.text for reply in replies)
    notices = said(replies)
    assert notices
    assert len(notices) == len(set(notices))
    assert len(writes) <= 6
    asked = len(server.requests)
    assert (await model.ainvoke("x", **options)).text
    assert len(server.requests) <= asked + 2  # the reply, and perhaps a count
    assert len(book.find(server.address, "toy").corrections) <= 6


def test_many_threads_find_out_at_once(served, server) -> None:
    model, replies = served(Quirks(refuses=("seed", "temperature"))), []

    def ask() -> None:
        replies.append(asyncio.run(model.ainvoke("x", seed=1, temperature=0.3)))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(replies) == 12
    notices = said(replies)
    assert len(notices) == len(set(notices))


@pytest.mark.parametrize(
    ("quirks", "options", "field"),
    [
        (Quirks(refuses=("max_tokens", "max_completion_tokens")), {"max_tokens": 5}, "max_tokens"),
        (Quirks(wires=()), {}, "wire"),
    ],
    ids=["max_tokens", "wire"],
)
async def test_a_server_that_refuses_both_is_not_asked_in_turns(
    served, server, book, *, quirks, options, field
) -> None:
    model = served(quirks)
    for _ in range(5):
        with pytest.raises(ReverieError):
            await model.ainvoke("x", **options)
    corrections = book.find(server.address, "toy").corrections
    assert len([one for one in corrections if one.field.startswith(field)]) <= 1
    assert len(server.requests) <= 2 + 4 * 2


async def test_windows_that_differ_from_call_to_call(served, able, server, book) -> None:
    """As behind a balancer with two servers."""
    model = served(Quirks(), profile={**able, "counter": "", "window": None})
    for place in range(8):
        server.quirks = Quirks(window=(50, 60)[place % 2])
        with pytest.raises(ModelRejected):
            await model.ainvoke("word " * 100)
    assert len(book.find(server.address, "toy").corrections) <= 2


async def test_a_prefill_that_is_refused_is_asked_for_in_words(served, server) -> None:
    model = served(Quirks(refuses=("continue_final_message",)))
    reply = await model.ainvoke("x", prefill="Well")
    assert reply.text.startswith("Well")
    messages = server.requests[-1].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == "Well"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_form_that_is_refused_is_asked_for_in_words(served, server, stream) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "title": "Pear"}}}
    model = served(Quirks(refuses=("response_format",), reply="{}"))
    if stream:
        text = "".join([c.text async for c in model.astream("x", response_format=form)])
    else:
        text = (await model.ainvoke("x", response_format=form)).text
    assert text == "{}"
    assert "Pear" in server.requests[-1].body["messages"][-1]["content"]
    calls = [r for r in server.requests if r.path.endswith("completions")]
    assert len(calls) <= 3


async def test_a_server_that_counts_no_more(served, able, server, book) -> None:
    model = served(Quirks(absent=("/tokenize",)), profile={**able, "window": 100})
    for _ in range(3):
        assert (await model.ainvoke("x", max_tokens=100)).text
    assert [r.path for r in server.requests].count("/tokenize") == 1
    assert book.find(server.address, "toy").profile.counter == ""


@pytest.mark.parametrize("body", ["5", "{}", '{"count": null}', '{"count": "x"}', "[]", "null"])
async def test_counts_that_are_none(served, able, server, body) -> None:
    model = served(Quirks(), profile={**able, "window": 100})
    server.script(Fail(status=200, body=body))
    assert (await model.ainvoke("x", max_tokens=100)).text


# -- bad disks ---------------------------------------------------------------------------------


async def test_a_folder_that_is_none(server, tmp_path) -> None:
    home = tmp_path / "home"
    home.write_text("a file")
    server.quirks = Quirks(refuses=("seed",))
    model = ServedChatModel(address=server.address, model="toy", home=home)
    first = await model.ainvoke("x", seed=1)
    assert first.text
    assert any("cannot be read or written" in notice for notice in said([first]))
    assert not said([await model.ainvoke("x", seed=1)])
    await model.aclose()


async def test_a_book_that_cannot_be_locked(served, server, book) -> None:
    model = served(Quirks(refuses=("seed",)))
    lock = book.folder / ".lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    first = await model.ainvoke("x", seed=1)
    assert first.text
    assert any("cannot be read or written" in notice for notice in said([first]))


async def test_a_full_disk(served, server, monkeypatch) -> None:
    model = served(Quirks(refuses=("seed",)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ProfileBook, "_write", full)
    replies = await asyncio.gather(*(model.ainvoke("x", seed=1) for _ in range(10)))
    assert len([n for n in said(replies) if "No space left" in n]) == 1
    assert (await model.ainvoke("x", seed=1)).text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 99}', "\x00"])
async def test_a_damaged_profile(served, server, book, content) -> None:
    model = served(Quirks(reply="well"))
    book.path(server.address, "toy").write_text(content)
    reply = await model.ainvoke("x")
    assert reply.text == "well"
    assert len(said([reply])) == 2  # what is with the file, and that the server was never probed


def _ask_in_a_process(address: str, home: str, option: str) -> None:
    with ServedChatModel(address=address, model="toy", home=Path(home)) as model:
        value = {"seed": 1, "temperature": 0.5, "stop": ["nowhere"]}[option]
        assert model.invoke("x", **{option: value}).text


def test_processes_at_once(served, server, book) -> None:
    # None of these makes the client leave out another: who begins late finds out its own.
    served(Quirks(refuses=("seed", "temperature", "stop")))
    started = multiprocessing.get_context("spawn")
    options = ["seed", "temperature", "stop", "seed"]
    children = [
        started.Process(
            target=_ask_in_a_process, args=(server.address, str(book.folder.parent), option)
        )
        for option in options
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    stored = book.find(server.address, "toy")
    assert set(stored.profile.refuses) == {"seed", "temperature", "stop"}
    assert stored.profile.seed is False
    assert stored.profile.stop is False
    assert stored.profile.sampling is False
    json.loads(book.path(server.address, "toy").read_text())
