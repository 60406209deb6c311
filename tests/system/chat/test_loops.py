"""Event loops, threads and processes: one model in all of them, and nothing left behind."""

from __future__ import annotations

import asyncio
import copy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import aclosing

import pytest

from reverie.errors import ConfigError, ModelUnavailable, ReverieError
from reverie.evals.quirks import Fail, Quirks
from reverie.models.chat import ServedChatModel


def until(happened: Callable[[], bool], seconds: float = 8.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.02)


def make(server, **options) -> ServedChatModel:
    return ServedChatModel(address=server.address, model="toy", timeout=20.0, **options)


# -- loops in turn and at once -----------------------------------------------------------------


def test_several_loops_in_turn(server) -> None:
    model = make(server)
    for _ in range(4):
        assert asyncio.run(model.ainvoke("x")).text
        until(lambda: server.open_connections == 0)  # without aclose: with the loop
    assert not model._connection._clients


def test_several_loops_at_once(server) -> None:
    model, texts = make(server), []
    threads = [
        threading.Thread(target=lambda: texts.append(asyncio.run(model.ainvoke("x")).text))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(texts) == 12
    assert all(texts)
    until(lambda: server.open_connections == 0)


def test_several_threads_without_loops(server) -> None:
    with make(server) as model:
        texts = []
        threads = [
            threading.Thread(target=lambda: texts.append(model.invoke("x").text)) for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(texts) == 12
    until(lambda: server.open_connections == 0)


async def test_without_a_loop_within_one(server) -> None:
    with make(server) as model:
        assert model.invoke("x").text
        assert "".join(chunk.text for chunk in model.stream("x"))
        assert (await model.ainvoke("x")).text
        await model.aclose()


def test_again_after_close(server) -> None:
    model = make(server)
    for _ in range(3):
        assert model.invoke("x").text
        model.close()
        model.close()
        until(lambda: server.open_connections == 0)


async def test_again_after_aclose(server) -> None:
    model = make(server)
    for _ in range(3):
        assert (await model.ainvoke("x")).text
        await model.aclose()
        await model.aclose()
        await asyncio.to_thread(until, lambda: server.open_connections == 0)


async def test_blocking_in_the_loop_of_blocking_calls_is_an_error(server) -> None:
    with make(server) as model:

        async def inner() -> None:
            model.invoke("x")

        with pytest.raises(RuntimeError, match="asynchronous method"):
            await asyncio.to_thread(model.run_blocking, inner())


def test_closing_while_others_ask(server) -> None:
    server.quirks = Quirks(token_seconds=0.2, words=50)
    model, seen = make(server), []

    def ask() -> None:
        try:
            model.invoke("x")
        except ReverieError as error:
            seen.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(server.requests) >= 4)
    model.close()
    for thread in threads:
        thread.join(5)
    assert [type(error) for error in seen] == [ModelUnavailable] * 3
    assert "closed" in seen[0].message
    until(lambda: server.open_connections == 0)


def test_a_model_that_nobody_holds_ends_its_thread(server) -> None:
    before = threading.active_count()
    model = make(server)
    model.invoke("x")
    del model
    import gc

    gc.collect()
    until(lambda: threading.active_count() <= before)
    until(lambda: server.open_connections == 0)


# -- copies and changes ------------------------------------------------------------------------


COPIES = pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda model: model.model_copy(update={"temperature": 0.5}),
        lambda model: model.model_copy(deep=True),
    ],
)


@COPIES
def test_copies_are_of_their_own(server, copied) -> None:
    with make(server, api_key="a-key-of-mine") as model:
        model.invoke("x")
        with copied(model) as other:
            assert other.invoke("x").text
            assert other.api_key == model.api_key
            assert other._connection is not model._connection
        assert model.invoke("x").text


def test_a_copy_with_another_key_sends_that_key(server) -> None:
    with make(server, api_key="the-first-key") as model:
        model.invoke("x")
        with model.model_copy(update={"api_key": None, "headers": {}}) as other:
            other.invoke("x")
    assert "authorization" in server.requests[0].headers
    assert "authorization" not in server.requests[-1].headers


def test_changing_the_model_changes_what_is_asked(server) -> None:
    from pydantic import SecretStr

    with make(server) as model:
        model.invoke("x")
        model.api_key = SecretStr("another-key")
        model.invoke("x")
        assert server.requests[-1].headers["authorization"] == "Bearer another-key"
        model.address = "http://127.0.0.1:1/v1"
        model.max_retries = 0
        with pytest.raises(ModelUnavailable, match="no server answers"):
            model.invoke("x")


def test_the_cache_of_langchain_tells_calls_apart(server) -> None:
    one, other = make(server, max_tokens=3), make(server, max_tokens=4)
    assert one._get_llm_string() != other._get_llm_string()
    assert one._get_llm_string() == make(server, max_tokens=3)._get_llm_string()


# -- leaks -------------------------------------------------------------------------------------


FAILURES = {
    "status 400": (Quirks(), Fail(status=400)),
    "status 500": (Quirks(), Fail(status=500)),
    "reset": (Quirks(), Fail(reset=True)),
    "reset in the middle": (Quirks(), Fail(reset=True, after=3)),
    "closed in the middle": (Quirks(), Fail(close=True, after=3)),
    "silence": (Quirks(), Fail(hang=True)),
    "silence in the middle": (Quirks(), Fail(hang=True, after=3)),
    "an error event": (Quirks(), Fail(event="error", after=3)),
    "a web page": (Quirks(html=200), None),
    "no JSON": (Quirks(), Fail(status=200, body="nonsense")),
    "too much": (Quirks(huge_bytes=33 << 20, tells_length=False), None),
    "slow": (Quirks(token_seconds=0.5), None),
    "nothing": (Quirks(empty_choices=True), None),
    "broken tool calls": (Quirks(tool_arguments="broken"), None),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("stream", [False, True])
async def test_no_failure_leaves_a_connection_busy(served, server, name, stream) -> None:
    quirks, fail = FAILURES[name]
    model = served(quirks, max_retries=0, max_connections=1, idle_timeout=0.4)
    if fail is not None:
        server.script(fail, fail)
    for _ in range(2):
        try:
            if stream:
                async for _ in model.astream("x", timeout=0.6):
                    pass
            else:
                await model.ainvoke("x", timeout=0.6)
        except ReverieError:
            pass
    server.quirks = Quirks(reply="well")
    assert (await model.ainvoke("x", timeout=5.0)).text == "well"  # the one connection is free
    await model.aclose()
    await asyncio.to_thread(until, lambda: server.open_connections == 0)


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_leaving_a_stream_anywhere_frees_its_connection(served, server, after) -> None:
    model = served(Quirks(words=400, token_seconds=0.01), max_connections=1)
    for _ in range(3):
        async with aclosing(model.astream("x")) as stream:
            for _ in range(after):
                await anext(stream)
    server.quirks = Quirks(reply="well")
    assert (await model.ainvoke("x", timeout=5.0)).text == "well"


async def test_leaving_at_the_first_event(raw) -> None:
    """The raw documents: the first of them is already in hand when the caller leaves."""
    from reverie.models.wire.connection import Connection
    from reverie.models.wire.endpoint import Endpoint

    raw.answer = raw.http(b'data: {"a": 1}\n\n' * 50_000, "text/event-stream")
    connection = Connection(Endpoint(raw.address, connections=1, retries=0))
    for _ in range(3):
        documents = connection.stream("/chat/completions", {}, seconds=5.0)
        assert await anext(documents) == {"a": 1}
        await documents.aclose()
        await documents.aclose()
    await connection.aclose()


@pytest.mark.parametrize("when", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("quirks", [Quirks(hang=True), Quirks(token_seconds=0.2), Quirks(html=503)])
async def test_cancelling_at_any_time(served, server, when, quirks) -> None:
    """While it identifies the server, counts, waits for an answer, or for the next attempt."""
    # So many attempts that it is never at its end: the few usual ones may be over in 0.3 s.
    model = served(quirks, profile=None, max_connections=1, max_retries=50)
    task = asyncio.create_task(model.ainvoke("x", max_tokens=4000))
    await asyncio.sleep(when)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.quirks = Quirks(reply="well")
    assert (await model.ainvoke("x", timeout=5.0)).text == "well"


async def test_cancelling_while_it_waits_for_a_connection(served, server) -> None:
    model = served(Quirks(token_seconds=0.1, words=8), max_connections=1)
    first = asyncio.create_task(model.ainvoke("x"))
    await asyncio.sleep(0.2)
    waiting = [asyncio.create_task(model.ainvoke("x")) for _ in range(5)]
    await asyncio.sleep(0.1)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (await first).text
    assert (await model.ainvoke("x")).text


# -- processes ---------------------------------------------------------------------------------


BEGIN = """
import asyncio, gc, os, sys, threading, time
from reverie.models.chat import ServedChatModel
model = ServedChatModel(address=sys.argv[1], model="toy", timeout=20)
"""

PROGRAMS = {
    "a call": "assert model.invoke('x').text",
    "a stream": "assert list(model.stream('x'))",
    "a stream that is left": "s = model.stream('x'); next(s); next(s)",
    "a stream that is closed": "s = model.stream('x'); next(s); s.close()",
    "loops": "for _ in range(3): asyncio.run(model.ainvoke('x'))",
    "a form": "model.with_structured_output({'title': 'P', 'type': 'object'}).invoke('x')",
    "a fork": """
model.invoke("x")
child = os.fork()
if child == 0:
    model.invoke("x")
    model.close()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert model.invoke("x").text
""",
    "a stream in a loop": """
async def main():
    async for chunk in model.astream("x"):
        break
asyncio.run(main())
""",
    "an error": """
model.extra_body = {"max_tokens": -5}
try:
    model.invoke("x", n=2)
except Exception:
    pass
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_ends_without_closing(server, name) -> None:
    server.quirks = Quirks(words=6)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", BEGIN + PROGRAMS[name], server.address],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, complaints) == (0, [])
    until(lambda: server.open_connections == 0)


@pytest.mark.parametrize(
    "call", ["model.invoke('x')", "[print(c.text) for c in model.stream('x')]"]
)
def test_control_c(server, call) -> None:
    server.quirks = Quirks(words=200, token_seconds=0.1)
    program = f"{BEGIN}\ntry:\n    {call}\nexcept KeyboardInterrupt:\n    print('stopped')\n"
    child = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, server.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: any(r.path.endswith("completions") for r in server.requests), 30)
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        out, complaints = child.communicate(timeout=20)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0
    assert out.endswith("stopped\n")
    assert not [line for line in complaints.splitlines() if not line.startswith("Executing <")]
    until(lambda: bool(server.cancelled) and server.open_connections == 0)


# -- the event loop stays free -----------------------------------------------------------------


IMPORTS = """
import asyncio, sys, threading
from reverie.models.chat import ServedChatModel

class Watch:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is threading.main_thread() and begun:
            late.append(name)

begun, late = False, []
sys.meta_path.insert(0, Watch())

async def main():
    global begun
    begun = True
    model = ServedChatModel(address=sys.argv[1], model="toy")
    await model.ainvoke("x")
    async for _ in model.astream("x"):
        pass
    await model.aclose()

asyncio.run(main())
print("\\n".join(late))
"""


def test_nothing_large_is_imported_in_the_event_loop(server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, server.address],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    # LangChain's tracers and AnyIO's backend remain, which take some milliseconds.
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert not {"openai", "httpx2", "httpcore2", "pydantic", "jsonschema", "reverie"} & roots


async def test_an_address_is_checked_before_anything_is_asked() -> None:
    for address in ("", "localhost:8000", "ftp://host/v1", "http://host:99999"):
        with pytest.raises(ConfigError):
            ServedChatModel(address=address)
