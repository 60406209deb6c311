"""Keys, header values and proxy passwords are shown nowhere, however a server spells them."""

from __future__ import annotations

import base64
import copy
import gc
import html
import json
import logging
import pickle
import traceback
from typing import Any
from urllib.parse import quote

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd

from reverie.errors import ConfigError, ReverieError
from reverie.evals.quirks import Fail, Quirks
from reverie.models.chat import ServedChatModel
from reverie.models.wire.secrecy import Secrets

KEY = "sk-very/secret+0123456789='&x"
TOKEN = "tok-987654321-abcdef"
PASSWORD = "hunter2-of-the-proxy"
SECRETS = (KEY, TOKEN, PASSWORD)


def spellings(secret: str) -> list[str]:
    raw = secret.encode()
    return [
        secret,
        quote(secret, safe=""),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        "".join(f"\\u{ord(c):04x}" for c in secret),
        base64.b64encode(raw).decode().rstrip("="),
        base64.b64encode(b"Bearer " + raw).decode(),
    ]


def everything(error: BaseException) -> str:
    """All that a log, a trace or a debugger's first look shows of an error."""
    seen: set[int] = set()
    shown: list[str] = []
    left: list[Any] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        shown += [
            str(one),
            repr(one),
            repr(one.args),
            repr(vars(one)),
            *traceback.format_exception(one),
        ]
        shown += getattr(one, "__notes__", [])
        for held in (getattr(one, "request", None), getattr(one, "response", None)):
            shown += [f"{k}: {v}" for k, v in held.headers.items()] if held is not None else []
        left += [one.__cause__, one.__context__]
    return "\n".join(shown)


def asking(raw, model: str = "toy") -> ServedChatModel:
    return ServedChatModel(
        address=raw.address,
        model=model,
        api_key=KEY,
        headers={"Authorization-Of-Proxy": f"Bearer {TOKEN}", "X-Team": "blue"},
        max_retries=0,
        timeout=10.0,
    )


def failing(model, way) -> ReverieError:
    with pytest.raises(ReverieError) as caught:
        list(model.stream("x")) if way == "stream" else model.invoke("x")
    return caught.value


WAYS = pytest.mark.parametrize("way", ["whole", "stream"])


@WAYS
@pytest.mark.parametrize(
    ("secret", "said"), [(secret, said) for secret in (KEY, TOKEN) for said in spellings(secret)]
)
def test_every_spelling_in_every_place(raw, caplog, way, secret, said) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        raw.reply({"error": {"message": f"no: {said}", "code": said, "param": said}}, status=status)
        for status in (200, 400, 401, 404, 500)
    ]
    answers += [
        raw.reply({"whatever": said}),
        raw.http(f"not JSON {said}".encode(), "text/plain"),
        raw.http(f"<html><title>Sign in {said}</title>".encode(), "text/html"),
        raw.http(b"", status=302, more=f"location: http://elsewhere/?key={said}\r\n"),
        raw.http(b"no", status=401, more=f"x-received: {said}\r\n"),
        raw.events([{"error": {"message": said}}]),
        raw.events([{"object": "error", "message": said}]),
        raw.events([{"type": "error", "message": said}]),
        raw.events([{"type": "response.failed", "response": {"error": {"message": said}}}]),
        raw.events([{"choices": [{"delta": {"content": 5, "x": said}}]}]),
        f"{said}\r\n\r\n".encode(),
    ]
    with asking(raw) as model:
        for answer in answers:
            raw.answer = answer
            shown = everything(failing(model, way)) + caplog.text
            for hidden in (said, secret):
                assert hidden not in shown, answer
            caplog.clear()


@WAYS
@pytest.mark.parametrize("before", [*range(60, 81, 3), *range(170, 201, 4), *range(370, 401, 3)])
def test_a_key_that_is_cut_off(raw, way, before) -> None:
    """Messages have a longest length, and a key may lie across it."""
    filler = "x" * before
    with asking(raw) as model:
        for answer in (
            raw.reply({"error": {"message": filler + KEY}}, status=400),
            raw.http((filler + KEY).encode(), "text/plain"),
            raw.reply({"a": filler + KEY}),
        ):
            raw.answer = answer
            assert KEY[:8] not in everything(failing(model, way))


@WAYS
def test_a_list_of_models_that_repeats_the_key(raw, caplog, way) -> None:
    caplog.set_level(logging.DEBUG)
    kept = raw.listed
    with asking(raw, model="") as model:
        for listed in (
            raw.reply({"error": KEY}, status=401),
            raw.reply(KEY),
            raw.http(f"<html><title>{KEY}".encode(), "text/html"),
        ):
            raw.listed = listed
            shown = everything(failing(model, way)) + caplog.text
            assert KEY not in shown
    raw.listed = kept


def test_the_password_of_a_proxy(raw, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    place = raw.address.removeprefix("http://").removesuffix("/v1")
    encoded = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    raw.answer = raw.reply({"error": {"message": f"{PASSWORD} {encoded}"}}, status=407)
    model = ServedChatModel(
        address="http://model.invalid/v1",
        model="toy",
        proxy=f"http://user:{PASSWORD}@{place}",
        max_retries=0,
    )
    shown = everything(failing(model, "whole")) + caplog.text + repr(model)
    model.close()
    assert PASSWORD not in shown
    assert encoded not in shown


@pytest.mark.parametrize(
    "proxy",
    [
        f"ftp://user:{PASSWORD}@host:1",
        f"http://user:{PASSWORD}@[::1",
        f"http://user:{PASSWORD}@host:port",
        f"user:{PASSWORD}@host:1",
        "nonsense",
    ],
)
def test_a_proxy_that_is_none(raw, proxy) -> None:
    model = ServedChatModel(address=raw.address, model="toy", proxy=proxy)
    with pytest.raises(ConfigError, match="proxy") as caught:
        model.invoke("x")
    model.close()
    assert PASSWORD not in everything(caught.value)


async def test_a_proxy_that_does_not_answer(served) -> None:
    model = served(proxy="http://127.0.0.1:1", max_retries=0)
    with pytest.raises(ReverieError, match="does not answer") as caught:
        await model.ainvoke("x")
    assert "model.proxy" in caught.value.hint


@pytest.mark.parametrize("address", ["http://user:pass-word@h/v1", "http://u:pass-word@h:x/v1"])
def test_an_address_with_a_password(address) -> None:
    with pytest.raises(ConfigError) as caught:
        ServedChatModel(address=address)
    assert "pass-word" not in everything(caught.value)


def test_dumps_and_copies() -> None:
    model = ServedChatModel(
        address="http://127.0.0.1:1/v1",
        api_key=KEY,
        headers={"X-Token": TOKEN},
        proxy=f"http://user:{PASSWORD}@127.0.0.1:1",
    )
    bound = model.bind_tools([]).with_config(tags=["x"])
    shown = "".join(
        (
            repr(model),
            str(model),
            str(model.model_dump()),
            str(model.model_dump(mode="json")),
            model.model_dump_json(),
            json.dumps(dumpd(model)),
            json.dumps(dumpd(bound)),
            str(model.lc_attributes),
            str(model._identifying_params),
            str(model._get_ls_params()),
            str(model.to_json()),
            repr(bound),
            repr(model.with_structured_output({"title": "P", "type": "object"})),
            repr(copy.copy(model)),
            repr(vars(model)),
        )
    )
    for secret in SECRETS:
        assert secret not in shown
    with pytest.raises(TypeError, match="pickled") as caught:
        pickle.dumps(model)
    assert KEY not in everything(caught.value)


class Recorder(BaseCallbackHandler):
    """Keeps all that LangChain tells of a call, as a tracer would."""

    raise_error = True

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_chat_model_start(self, serialized, messages, **told) -> None:
        self.seen.append(f"{serialized} {messages} {told}")

    def on_llm_new_token(self, token, **told) -> None:
        self.seen.append(f"{token} {told}")

    def on_llm_end(self, response, **told) -> None:
        self.seen.append(f"{response} {told}")

    def on_llm_error(self, error, **told) -> None:
        self.seen.append(everything(error) + str(told))


async def test_callbacks(served, server) -> None:
    recorder = Recorder()
    model = served(Quirks(), api_key=KEY, headers={"X-Token": TOKEN}, max_retries=0)
    config = {"callbacks": [recorder]}
    await model.ainvoke("x", config)
    async for _ in model.astream("x", config):
        pass
    server.script(Fail(status=400, echo=True), Fail(status=500, echo=True))
    for _ in range(2):
        with pytest.raises(ReverieError):
            await model.ainvoke("x", config)
    shown = "\n".join(recorder.seen)
    assert "served" in shown
    assert KEY not in shown
    assert TOKEN not in shown


async def test_profiles_and_notices(served, server, book) -> None:
    model = served(Quirks(refuses=("seed",)), profile=None, api_key=KEY, headers={"X-Token": TOKEN})
    reply = await model.ainvoke("x", seed=1)
    assert reply.response_metadata["notices"]
    files = [path for path in book.folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".json" for path in files)
    shown = str(reply) + "".join(path.read_text() for path in files)
    assert KEY not in shown
    assert TOKEN not in shown


async def test_a_header_the_sdk_cannot_write_is_in_no_log(served, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ConfigError):
        await served(headers={"X-Token": f"{TOKEN}\r\nx"}).ainvoke("x")
    assert TOKEN not in caplog.text


def test_log_records_with_exceptions(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    guard = Secrets([KEY]).guard_logs()
    assert guard is not None
    try:
        for name in (
            "openai._base_client",
            "httpx2",
            "httpcore2.http11",
            "openai._legacy_response",
        ):
            try:
                raise ValueError(f"illegal: {KEY}")
            except ValueError:
                logging.getLogger(name).debug("it failed with %s", KEY, exc_info=True)
    finally:
        guard.lift()
    assert KEY not in caplog.text
    assert "ValueError: illegal: [hidden]" in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


def test_the_guard_ends_with_the_model() -> None:
    gc.collect()
    before = len(logging.getLogger("openai").filters)
    model = ServedChatModel(address="http://127.0.0.1:1/v1", model="toy", api_key=KEY)
    model._client()
    assert len(logging.getLogger("openai").filters) == before + 1
    del model
    gc.collect()
    assert len(logging.getLogger("openai").filters) == before
