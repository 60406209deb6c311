"""What the server can be told to do wrong."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Literal, get_args, get_origin, get_type_hints

Usage = Literal["always", "asked", "never"]
Reasoning = Literal["", "reasoning", "reasoning_content", "think", "think_end"]
Tools = Literal["native", "forced", "text", "ignored", "refused"]
ToolText = Literal["hermes", "mistral", "json", "fenced"]
ToolArguments = Literal["string", "double", "object", "broken"]
Overflow = Literal["vllm", "openai", "llamacpp", "sglang", "cut"]
SchemaWithTools = Literal["both", "refused", "schema", "tools"]
InvalidJson = Literal["cut", "prose", "fenced", "other"]
Grammar = Literal["", "structured_outputs", "gbnf", "ebnf"]
Wire = Literal["chat", "responses"]


def _checked(self: Quirks | Fail) -> None:
    """A misspelt quirk must not pass for a well-behaved server."""
    for field in fields(self):
        if isinstance(field.default, tuple) and not isinstance(getattr(self, field.name), tuple):
            raise TypeError(f"{field.name} must be a tuple: {getattr(self, field.name)!r}")
    kind: Any = type(self)
    for name, allowed in _choices(kind).items():
        value = getattr(self, name)
        if any(one not in allowed for one in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}: {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """One request that fails. Without ``reset``, ``close``, ``hang`` and ``event``, an error
    response with ``status``.
    """

    status: int = 500
    message: str = "the server is busy"
    body: str | None = None
    """Sent as it is instead of the usual ``{"error": {...}}``."""
    content_type: str = "application/json"
    retry_after: float | str | datetime | None = None
    """Seconds, or a time to be sent as an HTTP date; a string is sent as it is."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the response."""
    echo: bool = False
    """The message, and a header, repeat the key and all headers of the request."""
    reset: bool = False
    """The connection is reset (TCP RST)."""
    close: bool = False
    """The connection is closed, in the ordinary way, before the response is complete."""
    hang: bool = False
    """Nothing more comes, and the connection stays open."""
    event: Literal["", "error", "failed"] = ""
    """An error inside a 200 response: ``{"error": {...}}``, in Responses an ``error`` event;
    ``failed``: in Responses a ``response.failed`` instead."""
    after: int | None = None
    """How many events of a stream are sent before ``reset``, ``close``, ``hang`` or ``event``.
    Without streaming any number means: after half of the response. None: before the first byte
    (for ``event``: instead of the first event)."""

    def __post_init__(self) -> None:
        _checked(self)
        if (self.reset, self.close, self.hang, bool(self.event)).count(True) > 1:
            raise ValueError("only one of reset, close, hang and event can happen")

    @property
    def retry_after_header(self) -> str | None:
        """The value of Retry-After."""
        if isinstance(self.retry_after, datetime):
            return format_datetime(self.retry_after, usegmt=True)
        return None if self.retry_after is None else str(self.retry_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """How the server behaves. The defaults are those of a good server with every ability."""

    # ---- what is served
    models: tuple[str, ...] = ("toy",)
    """Other names get 404."""
    owned_by: str = "vllm"
    """In the list of models: what tells servers apart."""
    window: int = 4096
    """Context window in tokens."""
    tells_window: bool = True
    """The list of models has ``max_model_len``."""
    version: str = "0.99.0"
    """At ``/version``."""
    wires: tuple[Wire, ...] = ("chat", "responses")
    """What the model speaks; the other is refused in OpenAI's words."""
    absent: tuple[str, ...] = ()
    """Paths that do not exist here, as ``/version``, ``/tokenize`` or ``/v1/embeddings``."""
    counter: Literal["vllm", "llamacpp"] = "vllm"
    """Whose form ``/tokenize`` has. With llamacpp there are ``/apply-template`` and ``/props``."""
    key: str = ""
    """Required API key. The 401 repeats the key that it got, in its message and in the header
    ``x-received-authorization``."""

    # ---- what the model says
    reply: str | None = None
    """Says this, whatever was asked; None: what the toy model says."""
    words: int = 12
    """Length of the toy model's replies."""
    reasoning: Reasoning = ""
    """Where reasoning is, if any. In Responses: any but empty gives a reasoning item."""
    thought: str = "The question asks for words, so I choose some of them."
    """The text of the reasoning."""
    refusal: str = ""
    """Refuses with these words instead of replying."""
    finish: str = "true"
    """``true``: why the reply ended; ``missing``: no finish_reason at all; else sent as it is."""
    empty_choices: bool = False
    """Replies with ``choices: []`` and nothing else; in Responses with ``output: []``."""
    usage: Usage = "asked"
    """``asked``: in streams only with ``stream_options.include_usage``; ``never``: not even
    without streaming."""
    usage_in_last_chunk: bool = False
    """In streams, usage is in the chunk with finish_reason and not in one of its own."""
    cached_tokens: int = 0
    """What usage says of the prompt's tokens that were in the cache."""

    # ---- fields of requests
    ignores: tuple[str, ...] = ()
    """Fields that are ignored, such as ``stop``, ``seed``, ``n``, ``response_format``."""
    refuses: tuple[str, ...] = ()
    """Fields that get 400. ``response_format.json_schema`` refuses one type of format."""
    overflow: Overflow = "vllm"
    """Whose 400 a prompt beyond the window gets. llamacpp does not count ``max_tokens``;
    ``cut``: none, the prompt is silently cut."""
    most_logprobs: int = 20
    """More ``top_logprobs`` get 400. At most 80."""
    least_output_tokens: int = 0
    """Responses with a smaller max_output_tokens get 400; OpenAI's is 16."""

    # ---- structured output
    invalid_json: int = 0
    """How many replies under a schema do not obey it; -1: all."""
    invalid_form: InvalidJson = "cut"
    """``cut``: ends in the middle; ``prose``: no JSON; ``fenced``: right, but between ```json
    fences; ``other``: another JSON object."""
    obeys_patterns: bool = True
    """Strings obey the pattern in their schema."""
    grammar: Grammar = "structured_outputs"
    """Which field for regular expressions or grammars is obeyed: structured_outputs (vLLM),
    ``grammar`` in GBNF (llama.cpp), ``ebnf`` and ``regex`` (SGLang). The others are ignored."""
    schema_with_tools: SchemaWithTools = "both"
    """What happens to a schema beside tools: both count, 400, or only one of them counts."""

    # ---- tool calls
    tools: Tools = "native"
    """``forced``: only required ones, ``auto`` gets vLLM's 400; ``text``: in the answer's text."""
    tool_text: ToolText = "hermes"
    tool_arguments: ToolArguments = "string"
    """``double``: a string within a string; ``object``: no string; ``broken``: no JSON."""
    tool_chunks: int = 4
    """How many chunks the arguments are split over; 1: the call comes as a whole."""
    tool_ids: bool = True
    tool_index: bool = True
    """In streams."""
    tool_name_repeated: bool = False
    """In streams, every chunk of a call has its id and name."""
    parallel_tools: bool = True
    """False: never more than one call in a reply."""

    # ---- embeddings
    dimension: int = 8
    embeddings_unnormalised: bool = False
    embeddings_shuffled: bool = False
    """Not in the order of the inputs; ``index`` says which is which."""
    embeddings_base64: bool = False
    """As base64 whether asked for or not."""
    embeddings_lost: int = 0
    """That many fewer vectors than inputs."""
    embeddings_most: int = 2048
    """More inputs in a request get 400."""

    # ---- time
    first_byte_seconds: float = 0.0
    """Silence before the first byte."""
    token_seconds: float = 0.0
    """Time for each token; without streaming everything comes after the sum."""
    hang: bool = False
    """Accepts, reads and never answers."""

    # ---- the response on the wire
    fail: Fail | None = None
    """What happens to every request; ``QuirkServer.script`` is for some."""
    content_type: str = ""
    """Instead of the right one."""
    html: int = 0
    """Every response is a page of HTML with this status."""
    huge_bytes: int = 0
    """Replies have so many bytes; in streams in a single event."""
    tells_length: bool = True
    """False: no Content-Length; bodies end with the connection."""
    gzip: bool = False
    """Compresses what is not streamed."""
    chunked: bool = True
    """False: streams are not chunked and end with the connection."""
    keep_alive: Literal["yes", "no", "dropped"] = "yes"
    """``dropped``: the connection is closed after each response without a word."""
    write_bytes: int = 0
    """Bytes in one TCP write; 0: as many as there are."""
    write_seconds: float = 0.002
    """Time between two writes, with ``write_bytes`` or ``split_characters``."""
    split_characters: bool = False
    """Characters outside ASCII are split over two TCP writes."""

    # ---- server-sent events
    empty_chunks: bool = False
    """Chunks with ``choices: []`` between the others."""
    comments: bool = False
    """Lines with comments between the events."""
    crlf: bool = False
    """Lines end in CR LF."""
    space_after_data: bool = True
    """``data: {`` and not ``data:{``."""
    done: bool = True
    """Streams of chat completions end in ``[DONE]``."""

    def __post_init__(self) -> None:
        _checked(self)

    def to_json(self) -> str:
        """All quirks, for ``from_json`` in another process."""
        document = asdict(self)
        if self.fail is not None:
            document["fail"]["retry_after"] = self.fail.retry_after_header
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str) -> Quirks:
        """What ``to_json`` wrote, or any JSON object with some of the fields."""
        document = {name: _frozen(value) for name, value in json.loads(text).items()}
        fail = document.get("fail")
        if isinstance(fail, dict):
            document["fail"] = Fail(**{name: _frozen(value) for name, value in fail.items()})
        return cls(**document)


@functools.cache
def _choices(kind: type[Any]) -> dict[str, tuple[Any, ...]]:
    """The values that fields may have, of those that have a closed set of them."""
    hints = get_type_hints(kind)
    found = {}
    for field in fields(kind):
        hint = hints[field.name]
        if get_origin(hint) is tuple:
            hint = get_args(hint)[0]
        if get_origin(hint) is Literal:
            found[field.name] = get_args(hint)
    return found


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
