"""What goes wrong: repeated where that may help, and else a typed error that names the address."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from reverie.errors import ConfigError, ContextOverflow, ModelRejected, ModelUnavailable
from reverie.evals.quirks import Fail, Quirks, QuirkServer

KEY = "sk-very-secret-0123456789"


def calls(server) -> int:
    return len([r for r in server.requests if r.path.endswith("completions")])


async def whole(model, prompt="Say something", **options) -> str:
    return "".join([chunk.text async for chunk in model.astream(prompt, **options)])


async def once(model, prompt="Say something", **options) -> str:
    return str((await model.ainvoke(prompt, **options)).text)


async def collect(model, seen: list[str], **options) -> None:
    """The text of a stream, up to where it breaks."""
    async for chunk in model.astream("x", **options):
        seen.append(chunk.text)  # noqa: PERF401  # what came before an error is wanted


BOTH = pytest.mark.parametrize("ask", [once, whole])


@BOTH
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_repeated(served, server, ask, status) -> None:
    model = served(Quirks(reply="well"))
    server.script(Fail(status=status))
    assert await ask(model) == "well"
    assert calls(server) == 2


@BOTH
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_cannot_pass_is_not_repeated(served, server, ask, status) -> None:
    model = served()
    server.script(Fail(status=status, message="no"))
    with pytest.raises(ModelRejected) as caught:
        await ask(model)
    assert calls(server) == 1
    assert caught.value.status == status
    assert server.address in caught.value.message
    assert caught.value.hint


@BOTH
async def test_a_reset_before_the_first_byte_is_repeated(served, server, ask) -> None:
    model = served(Quirks(reply="well"))
    server.script(Fail(reset=True), Fail(close=True))
    assert await ask(model) == "well"
    assert calls(server) == 3


async def test_a_reset_in_mid_stream_is_an_error_that_may_pass(served, server) -> None:
    model = served(Quirks(reply="one two three four five six"))
    server.script(Fail(reset=True, after=4))
    seen: list[str] = []
    with pytest.raises(ModelUnavailable) as caught:
        await collect(model, seen)
    assert "".join(seen).startswith("one")
    assert caught.value.transient
    assert server.address in caught.value.message
    assert calls(server) == 1


async def test_a_reset_within_a_whole_reply_is_repeated(served, server) -> None:
    model = served(Quirks(reply="well"))
    server.script(Fail(reset=True, after=1))
    assert await once(model) == "well"


async def test_retry_after_is_honoured(served, server) -> None:
    model = served(Quirks(reply="well"))
    server.script(Fail(status=429, retry_after=0.7))
    began = time.monotonic()
    assert await once(model) == "well"
    assert time.monotonic() - began >= 0.7


async def test_retry_after_as_a_date(served, server) -> None:
    model = served(Quirks(reply="well"))
    server.script(Fail(status=503, retry_after=datetime.now(UTC) + timedelta(seconds=2)))
    began = time.monotonic()
    assert await once(model) == "well"
    assert time.monotonic() - began >= 0.9


async def test_retry_after_beyond_the_deadline_fails_at_once(served, server) -> None:
    model = served(Quirks())
    server.script(Fail(status=429, retry_after=60, message="come back later"))
    began = time.monotonic()
    with pytest.raises(ModelUnavailable, match="come back later") as caught:
        await once(model, timeout=3.0)
    assert time.monotonic() - began < 1.0
    assert caught.value.transient
    assert calls(server) == 1


async def test_attempts_end(served, server) -> None:
    model = served(Quirks(fail=Fail(status=500, message="out of luck")), max_retries=2)
    with pytest.raises(ModelUnavailable, match="out of luck"):
        await once(model)
    assert calls(server) == 3


@BOTH
async def test_a_server_that_never_answers(served, server, ask) -> None:
    model = served(Quirks(hang=True), max_retries=0)
    began = time.monotonic()
    with pytest.raises(ModelUnavailable) as caught:
        await ask(model, timeout=0.8)
    assert 0.7 < time.monotonic() - began < 2.0
    assert server.address in caught.value.message
    assert caught.value.hint


async def test_silence_within_a_stream(served, server) -> None:
    model = served(Quirks(words=30), idle_timeout=0.5)
    server.script(Fail(hang=True, after=3))
    began = time.monotonic()
    with pytest.raises(ModelUnavailable, match="sent nothing"):
        await whole(model)
    assert time.monotonic() - began < 3.0


async def test_very_slow_tokens_end_at_the_deadline(served, server) -> None:
    model = served(Quirks(words=50, token_seconds=0.2))
    began = time.monotonic()
    seen: list[str] = []
    with pytest.raises(ModelUnavailable, match="did not finish within"):
        await collect(model, seen, timeout=1.0)
    assert len(seen) >= 3
    assert time.monotonic() - began < 2.0
    await _until(lambda: server.cancelled)


async def _until(happened) -> None:
    async with asyncio.timeout(8):
        while not happened():  # noqa: ASYNC110  # it happens in the server's thread
            await asyncio.sleep(0.02)


@BOTH
async def test_cancelling_reaches_the_server(served, server, ask) -> None:
    model = served(Quirks(words=50, token_seconds=0.1))
    task = asyncio.create_task(ask(model))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until(lambda: server.cancelled)


async def test_leaving_a_stream_reaches_the_server(served, server) -> None:
    model = served(Quirks(words=50, token_seconds=0.05))
    stream = model.astream("x")
    await anext(stream)
    await stream.aclose()
    await _until(lambda: server.cancelled)


def test_leaving_a_stream_without_an_event_loop(served, server) -> None:
    model = served(Quirks(words=50, token_seconds=0.05))
    stream = model.stream("x")
    next(stream)
    stream.close()
    asyncio.run(_until(lambda: server.cancelled))


async def test_connections_are_limited_and_reused(served, server) -> None:
    model = served(Quirks(words=5, token_seconds=0.01), max_connections=3)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, server.open_connections)
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(model.ainvoke("x") for _ in range(20)))
    watching.cancel()
    assert most == 3


@BOTH
async def test_a_connection_that_the_server_dropped_is_replaced(served, ask) -> None:
    model = served(Quirks(keep_alive="dropped", reply="well"))
    for _ in range(5):
        assert await ask(model) == "well"


# -- wrong addresses ---------------------------------------------------------------------------


async def test_nobody_listens(served) -> None:
    model = served(address="http://127.0.0.1:1/v1", max_retries=1)
    with pytest.raises(ModelUnavailable, match=r"no server answers at http://127\.0\.0\.1:1/v1"):
        await once(model)


async def test_no_such_host(served) -> None:
    model = served(address="http://nowhere.invalid/v1", max_retries=0)
    with pytest.raises(ModelUnavailable, match=r"http://nowhere\.invalid/v1"):
        await once(model)


@BOTH
@pytest.mark.parametrize("status", [200, 404, 502])
async def test_a_web_page(served, server, ask, status) -> None:
    model = served(Quirks(html=status), max_retries=0)
    with pytest.raises((ModelUnavailable, ModelRejected)) as caught:
        await ask(model)
    assert server.address in caught.value.message
    assert "<" not in caught.value.message
    assert caught.value.hint
    if status == 200:
        assert "web page" in caught.value.message


async def test_a_web_page_where_models_should_be_listed(served, server) -> None:
    model = served(Quirks(html=200), profile=None, model="")
    with pytest.raises(ModelUnavailable, match="web page"):
        await once(model)


@BOTH
@pytest.mark.parametrize("tells_length", [True, False])
async def test_fifty_megabytes(served, server, ask, tells_length) -> None:
    model = served(Quirks(huge_bytes=50 << 20, tells_length=tells_length))
    began = time.monotonic()
    with pytest.raises(ModelUnavailable, match="more than 32 MiB") as caught:
        await ask(model)
    assert server.address in caught.value.message
    assert time.monotonic() - began < 10


async def test_an_error_within_a_stream(served, server) -> None:
    model = served(Quirks(words=20), max_retries=0)
    server.script(Fail(event="error", after=3, message="the engine died"))
    with pytest.raises((ModelUnavailable, ModelRejected), match="the engine died"):
        await whole(model)


# -- TLS, proxy, headers -----------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority, tmp_path):
    """A server with a certificate of an authority that nobody knows."""
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    with QuirkServer(Quirks(reply="well"), tls=(str(chain), str(key))) as running:
        yield running


async def test_a_certificate_nobody_knows(served, secure) -> None:
    model = served(address=secure.address)
    with pytest.raises(ModelUnavailable, match="not trusted") as caught:
        await once(model)
    assert secure.address in caught.value.message
    assert "ca_bundle" in caught.value.hint
    assert not caught.value.transient


async def test_a_ca_bundle(served, secure, authority, tmp_path) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    assert await once(served(address=secure.address, ca_bundle=bundle)) == "well"


async def test_a_ca_bundle_that_is_none(served, secure, tmp_path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("nothing")
    with pytest.raises(ConfigError, match="certificates in"):
        await once(served(address=secure.address, ca_bundle=bundle))


async def test_tls_to_a_server_without(served, server) -> None:
    address = server.address.replace("http:", "https:")
    with pytest.raises(ModelUnavailable, match="TLS") as caught:
        await once(served(address=address, max_retries=0))
    assert "http://" in caught.value.hint


async def test_a_proxy_by_setting_and_none_by_environment(served, server, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert await once(served(Quirks(reply="well"))) == "well"
    with pytest.raises(ModelUnavailable):
        await once(served(proxy="http://127.0.0.1:1", max_retries=0))


async def test_headers(served, server) -> None:
    await once(served(headers={"X-Team": "blue team"}))
    assert dict(server.requests[-1].headers)["x-team"] == "blue team"


async def test_nothing_is_taken_from_the_environment(served, server, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "ambient-org")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "ambient-project")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Ambient: yes")
    await once(served())
    headers = {name.lower(): value for name, value in dict(server.requests[-1].headers).items()}
    assert "authorization" not in headers
    assert not [name for name in headers if "openai" in name or "ambient" in name]


# -- keys --------------------------------------------------------------------------------------


async def test_a_key_is_sent(served, server) -> None:
    assert await once(served(Quirks(key=KEY, reply="well"), api_key=KEY)) == "well"
    assert dict(server.requests[-1].headers)["authorization"] == f"Bearer {KEY}"


@BOTH
async def test_a_key_that_the_server_repeats_is_shown_nowhere(served, ask, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    model = served(Quirks(key="another"), api_key=KEY, headers={"X-Token": "tok-987654321"})
    with pytest.raises(ModelRejected, match="does not accept the key") as caught:
        await ask(model)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    shown += repr(model) + str(model) + repr(caught.value.args) + str(model._identifying_params)
    assert KEY not in shown
    assert "tok-987654321" not in shown
    assert "[hidden]" in caught.value.message


async def test_a_key_repeated_in_a_server_error_is_shown_nowhere(served, server, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    model = served(api_key=KEY, max_retries=0)
    server.script(Fail(status=500, echo=True), Fail(status=400, echo=True))
    for kind in (ModelUnavailable, ModelRejected):
        with pytest.raises(kind) as caught:
            await once(model)
        shown = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert KEY not in shown


async def test_a_key_with_a_line_end(served) -> None:
    with pytest.raises(ConfigError, match="cannot be written") as caught:
        await once(served(api_key="secret\nkey-of-mine"))
    assert "secret" not in caught.value.message


# -- overflow ----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("wording", ["vllm", "openai", "llamacpp", "sglang"])
async def test_a_prompt_that_does_not_fit(served, able, server, book, *, ask, wording) -> None:
    profile = {**able, "window": None, "counter": ""}
    model = served(Quirks(window=50, overflow=wording), profile=profile)
    with pytest.raises(ContextOverflow) as caught:
        await ask(model, "word " * 80)
    assert caught.value.window == 50
    assert server.address in caught.value.message
    assert book.find(server.address, "toy").profile.window == 50


@BOTH
async def test_a_prompt_that_does_not_fit_is_not_even_sent(served, able, server, ask) -> None:
    model = served(Quirks(window=50), profile={**able, "window": 50})
    with pytest.raises(ContextOverflow, match="context window"):
        await ask(model, "word " * 80, max_tokens=10)
    assert calls(server) == 0


@BOTH
async def test_max_tokens_is_clamped_to_the_window(served, able, server, ask) -> None:
    model = served(Quirks(window=50, reply="well"), profile={**able, "window": 50})
    assert await ask(model, "word " * 20, max_tokens=1000) == "well"
    body = server.requests[-1].body
    assert 0 < body["max_tokens"] < 50


@BOTH
@pytest.mark.parametrize("wording", ["vllm", "openai", "sglang"])
async def test_max_tokens_is_clamped_by_what_a_refusal_says(
    served, able, server, *, ask, wording
) -> None:
    profile = {**able, "window": None, "counter": ""}
    model = served(Quirks(window=50, overflow=wording, reply="well"), profile=profile)
    assert await ask(model, "word " * 20, max_tokens=1000) == "well"
    assert calls(server) == 2


# -- corrections -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("logprobs", {"logprobs": True}),
        ("seed", {"seed": 1}),
        ("stop", {"stop": ["x"]}),
        ("temperature", {"temperature": 0.5}),
        ("top_p", {"top_p": 0.5}),
    ],
)
async def test_a_refused_field_is_left_out_from_then_on(
    served, server, book, ask, *, field, option
) -> None:
    model = served(Quirks(refuses=(field,), reply="well"))
    assert await ask(model, **option) == "well"
    assert calls(server) == 2
    assert field not in server.requests[-1].body
    assert await ask(model, **option) == "well"
    assert calls(server) == 3
    assert field in book.find(server.address, "toy").profile.refuses


async def test_refused_stream_options(served, server, book) -> None:
    model = served(Quirks(refuses=("stream_options",), usage="never", reply="well"))
    assert await whole(model) == "well"
    assert book.find(server.address, "toy").profile.usage == "never"


async def test_a_model_of_the_other_wire_format(served, server, book) -> None:
    model = served(Quirks(wires=("responses",), reply="well"))
    assert await once(model) == "well"
    assert book.find(server.address, "toy").profile.wire == "responses"


async def test_corrections_are_said_once(served, server) -> None:
    model = served(Quirks(refuses=("seed",)))
    first = await model.ainvoke("x", seed=1)
    assert any("corrected" in notice for notice in first.response_metadata["notices"])
    assert "notices" not in (await model.ainvoke("x", seed=1)).response_metadata


async def test_a_server_never_probed_is_said_once(served, server) -> None:
    model = served(Quirks(), profile=None)
    first = await model.ainvoke("x")
    assert f"reverie doctor {server.address}" in first.response_metadata["notices"][0]
    assert "notices" not in (await model.ainvoke("x")).response_metadata


async def test_the_first_model_listed_is_taken(served, server) -> None:
    model = served(Quirks(models=("alpha", "beta")), profile=None, model="")
    reply = await model.ainvoke("x")
    assert reply.response_metadata["model_name"] == "alpha"


async def test_a_model_the_server_has_not(served, server) -> None:
    with pytest.raises(ModelRejected, match="no such model") as caught:
        await once(served(model="gamma", profile=None))
    assert "#MODEL" in caught.value.hint
