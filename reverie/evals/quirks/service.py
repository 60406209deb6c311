"""From a request to its answer: the endpoints, and the order in which quirks apply."""

from __future__ import annotations

import collections
import itertools
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from reverie.evals.quirks import chat, embeddings, responses
from reverie.evals.quirks.answer import Answer, Ending
from reverie.evals.quirks.asked import Asked
from reverie.evals.quirks.behaviour import Fail, Quirks
from reverie.evals.quirks.prompt import render, token_id, tokens
from reverie.evals.quirks.recorded import Recorded
from reverie.evals.quirks.refused import (
    Refused,
    check_fields,
    check_model,
    check_window,
    wrong_key,
    wrong_wire,
)
from reverie.evals.quirks.sse import Event, ending, events_to_parts, failing
from reverie.evals.quirks.toy import Said, say


class Service:
    """What the server knows between requests. Answers come from the event loop's thread, the rest
    may be used from any.
    """

    def __init__(self, quirks: Quirks, *, keep: int = 10_000) -> None:
        """``keep``: how many requests are remembered."""
        self._lock = threading.Lock()
        self._requests: collections.deque[Recorded] = collections.deque(maxlen=keep)
        self._cancelled: collections.deque[Recorded] = collections.deque(maxlen=keep)
        self._script: collections.deque[Fail | None] = collections.deque()
        self._idents = itertools.count(1)
        self.quirks = quirks

    @property
    def quirks(self) -> Quirks:
        return self._quirks

    @quirks.setter
    def quirks(self, quirks: Quirks) -> None:
        with self._lock:
            self._quirks = quirks
            self._invalid_left = quirks.invalid_json

    def script(self, fails: tuple[Fail | None, ...]) -> None:
        self._script.extend(fails)

    def requests(self) -> list[Recorded]:
        with self._lock:
            return list(self._requests)

    def cancelled(self) -> list[Recorded]:
        with self._lock:
            return list(self._cancelled)

    def cancel(self, request: Recorded) -> None:
        """The client of ``request`` went away before its end."""
        with self._lock:
            self._cancelled.append(request)

    def answer(self, request: Recorded) -> tuple[Answer, Quirks]:
        """The answer, and the quirks that it was made and is to be written with."""
        with self._lock:
            self._requests.append(request)
            quirks = self._quirks
            fail = self._script.popleft() if self._script else quirks.fail
        try:
            answer = self._answer(request, quirks, fail)
        except Refused as refusal:
            body = json.dumps(refusal.document, ensure_ascii=False).encode()
            answer = Answer(body, status=refusal.status, headers=refusal.headers)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            # Of a request that is malformed in a way that the code above does not look for.
            document = {"error": {"message": f"bad request: {error!r}", "type": "bad_request"}}
            answer = Answer(json.dumps(document).encode(), status=400)
        answer.wait += quirks.first_byte_seconds
        return answer, quirks

    def _answer(self, request: Recorded, quirks: Quirks, fail: Fail | None) -> Answer:
        if quirks.hang:
            return Answer(ending=Ending.HANG)
        if fail is not None and not _in_response(fail):
            return _failed(request, fail)
        if quirks.html:
            return Answer(
                _HTML % ((b"%d" % quirks.html,) * 2), status=quirks.html, content_type="text/html"
            )
        sent = request.headers.get("authorization", "")
        if quirks.key and sent != f"Bearer {quirks.key}":
            raise wrong_key(sent)
        route = self._routes.get((request.method, request.path))
        if route is None or request.path in quirks.absent:
            raise Refused(404, {"detail": "Not Found"})
        body: dict[str, Any] = {}
        if request.method == "POST":
            body = {k: v for k, v in request.body.items() if k not in quirks.ignores}
            check_fields(body, quirks)
        answer = route(self, request.path, body, quirks, fail)
        if fail is not None and not fail.event and answer.parts is None:
            answer.ending = ending(fail)
        return answer

    def _models(self, path: str, body: Any, quirks: Quirks, fail: Fail | None) -> Answer:
        data = [
            {
                "id": name,
                "object": "model",
                "created": chat.CREATED,
                "owned_by": quirks.owned_by,
                **({"max_model_len": quirks.window} if quirks.tells_window else {}),
            }
            for name in quirks.models
        ]
        return _json({"object": "list", "data": data})

    def _version(self, path: str, body: Any, quirks: Quirks, fail: Fail | None) -> Answer:
        return _json({"version": quirks.version})

    def _health(self, path: str, body: Any, quirks: Quirks, fail: Fail | None) -> Answer:
        return _json({"status": "ok"})

    def _tokenize(
        self, path: str, body: dict[str, Any], quirks: Quirks, fail: Fail | None
    ) -> Answer:
        if quirks.counter == "llamacpp":
            return _json({"tokens": list(map(token_id, tokens(body["content"])))})
        check_model(body.get("model", quirks.models[0]), quirks)
        text = body.get("prompt")
        if text is None:
            text = _template(body)
        ids = list(map(token_id, tokens(text)))
        return _json({"count": len(ids), "max_model_len": quirks.window, "tokens": ids})

    def _apply_template(
        self, path: str, body: dict[str, Any], quirks: Quirks, fail: Fail | None
    ) -> Answer:
        _only(quirks.counter == "llamacpp")
        return _json({"prompt": _template(body)})

    def _props(self, path: str, body: Any, quirks: Quirks, fail: Fail | None) -> Answer:
        _only(quirks.counter == "llamacpp")
        return _json({"default_generation_settings": {"n_ctx": quirks.window}})

    def _embeddings(
        self, path: str, body: dict[str, Any], quirks: Quirks, fail: Fail | None
    ) -> Answer:
        check_model(body.get("model"), quirks)
        return Answer(embeddings.document(body, body["model"], quirks).encode())

    def _chat(self, path: str, body: dict[str, Any], quirks: Quirks, fail: Fail | None) -> Answer:
        model, ident = self._called(path, "chat", body, quirks)
        asked = chat.read(body, quirks)
        check_window(asked, quirks)
        replies = [self._say(asked, quirks, number) for number in range(asked.n)]
        error = ""
        if fail is not None and fail.event:
            document = {"message": fail.message, "type": "server_error", "code": fail.status}
            error = json.dumps({"error": document})
        if asked.stream:
            events = chat.events(asked, replies, model, ident, quirks)
            return _stream(events, quirks, fail, Event(error))
        written = error or chat.document(asked, replies, model, ident, quirks)
        seconds = quirks.token_seconds * max(said.count for said in replies)
        return Answer(written.encode("utf-8", "surrogatepass"), wait=seconds)

    def _responses(
        self, path: str, body: dict[str, Any], quirks: Quirks, fail: Fail | None
    ) -> Answer:
        model, ident = self._called(path, "responses", body, quirks)
        asked = responses.read(body, quirks)
        check_window(asked, quirks, responses=True)
        said = self._say(asked, quirks, 0)
        message = fail.message if fail is not None and fail.event else ""
        if asked.stream:
            events = responses.events(asked, said, model, ident, quirks)
            failed = fail is not None and fail.event == "failed"
            last = responses.failure(model, ident, message, failed=failed)
            return _stream(events, quirks, fail, last)
        document = responses.document(asked, said, model, ident, quirks, failed=message)
        written = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return Answer(written, wait=quirks.token_seconds * said.count)

    def _called(
        self, path: str, wire: str, body: Mapping[str, Any], quirks: Quirks
    ) -> tuple[str, str]:
        """The model's name and an id for the response."""
        check_model(body.get("model"), quirks)
        if wire not in quirks.wires:
            raise wrong_wire(body["model"], path)
        return body["model"], f"{next(self._idents):08x}"

    def _say(self, asked: Asked, quirks: Quirks, number: int) -> Said:
        """Reply ``number``, which may be one of those that do not obey their schema."""
        invalid = False
        if asked.schema is not None or asked.json_object:
            with self._lock:
                invalid = self._invalid_left != 0
                self._invalid_left -= 1 if self._invalid_left > 0 else 0
        return say(asked, quirks, number, invalid=invalid)

    _routes: Mapping[
        tuple[str, str], Callable[[Service, str, dict[str, Any], Quirks, Fail | None], Answer]
    ] = {
        ("GET", "/v1/models"): _models,
        ("GET", "/version"): _version,
        ("GET", "/health"): _health,
        ("GET", "/props"): _props,
        ("POST", "/tokenize"): _tokenize,
        ("POST", "/apply-template"): _apply_template,
        ("POST", "/v1/embeddings"): _embeddings,
        ("POST", "/v1/chat/completions"): _chat,
        ("POST", "/v1/responses"): _responses,
    }


_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>%b</title></head>\n"
    b"<body><center><h1>%b</h1></center><hr><center>proxy</center></body></html>\n"
)


def _in_response(fail: Fail) -> bool:
    """Whether the failure comes in the middle of a response that begins well."""
    return bool(fail.event) or ((fail.reset or fail.close or fail.hang) and fail.after is not None)


def _failed(request: Recorded, fail: Fail) -> Answer:
    """The answer of a failure that leaves nothing of the right one."""
    if fail.reset or fail.close or fail.hang:
        return Answer(ending=ending(fail))
    headers = fail.headers
    if fail.retry_after_header is not None:
        headers = (*headers, ("retry-after", fail.retry_after_header))
    message = fail.message
    if fail.echo:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        sent = json.dumps(request.headers)
        message = f"{message} (key {key}, headers {sent})"
        headers = (*headers, ("x-received-headers", sent))
    body = fail.body
    if body is None:
        error = {"message": message, "type": "server_error", "param": None, "code": fail.status}
        body = json.dumps({"error": error})
    return Answer(
        body.encode(), status=fail.status, content_type=fail.content_type, headers=headers
    )


def _stream(events: Any, quirks: Quirks, fail: Fail | None, last: Event) -> Answer:
    parts = events_to_parts(events, quirks)
    if fail is not None:
        (end,) = events_to_parts([last], quirks)
        parts = failing(parts, fail, end if isinstance(end, bytes) else b"")
    return Answer(parts=parts, content_type="text/event-stream; charset=utf-8")


def _json(document: Any) -> Answer:
    return Answer(json.dumps(document).encode())


def _template(body: Mapping[str, Any]) -> str:
    tools = [tool["function"] for tool in body.get("tools") or ()]
    return render(body["messages"], tools, goes_on=bool(body.get("continue_final_message")))


def _only(exists: bool) -> None:
    if not exists:
        raise Refused(404, {"detail": "Not Found"})
