"""The embeddings client, against a connection that answers as servers do; tests/system has HTTP."""

from __future__ import annotations

import asyncio
import base64
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.errors import (
    ConfigError,
    ContextOverflow,
    ModelRejected,
    ModelUnavailable,
    OutputInvalid,
)
from reverie.models.embedder import MiniLM
from reverie.models.embeddings import ServedEmbedder, _batches, load_embedder
from reverie.models.vectors import read_vectors
from reverie.models.wire.connection import Connection
from reverie.models.wire.endpoint import Endpoint
from reverie.settings import Settings

Connection(Endpoint("http://127.0.0.1:9"))  # imports the client, which blocks, before any loop runs

ADDRESS = "http://127.0.0.1:9/v1"
Body = dict[str, Any]


def vector(text: str, dimension: int = 4) -> list[float]:
    """A direction that tells texts apart; of any length but one."""
    return [float(len(text) + 1), *(float(ord(c)) for c in f"{text}...."[: dimension - 1])]


def document(body: Body, dimension: int = 4) -> Body:
    texts = body["input"]
    data = [{"index": i, "embedding": vector(t, dimension)} for i, t in enumerate(texts)]
    return {"object": "list", "data": data}


def unit(text: str, dimension: int = 4) -> np.ndarray[Any, Any]:
    row = np.array(vector(text, dimension))
    return np.asarray(row / np.linalg.norm(row))


class Double(Connection):
    """Answers with what ``respond`` makes of a request's body."""

    def __init__(self, respond: Callable[[Body], Any] = document, models: Any = None) -> None:
        super().__init__(Endpoint(ADDRESS, key="sk-secret"))
        self.respond = respond
        self.models = models
        self.bodies: list[Body] = []
        self.together = self.most_together = 0

    async def post(self, path: str, body: Body, *, seconds: float | None = None) -> Any:
        assert path == "/embeddings"
        self.bodies.append(body)
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        await asyncio.sleep(0)
        self.together -= 1
        return self.respond(body)

    async def get(self, path: str, *, seconds: float | None = None) -> Any:
        assert path == "/models"
        return self.models


def served(respond: Callable[[Body], Any] = document, **options: Any) -> ServedEmbedder:
    return ServedEmbedder(Double(respond), "bge", **options)


def double_of(embedder: ServedEmbedder) -> Double:
    assert isinstance(embedder.connection, Double)
    return embedder.connection


def with_embedding(embedding: Any) -> Callable[[Body], Any]:
    return lambda _: {"data": [{"index": 0, "embedding": embedding}]}


async def test_vectors_come_back_in_order_and_of_length_one() -> None:
    texts = [f"text {i}" * (i % 3 + 1) for i in range(100)]
    embedder = served()

    vectors = await embedder.embed(texts)

    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [unit(text) for text in texts], atol=1e-6)
    assert embedder.dimension == 4
    assert embedder.name == f"bge@{ADDRESS}"
    assert embedder.notices == ()
    double = double_of(embedder)
    assert [len(body["input"]) for body in double.bodies] == [32, 32, 32, 4]
    assert 1 < double.most_together <= 4
    assert all(body.keys() == {"model", "input"} for body in double.bodies)


async def test_no_texts_are_no_vectors_of_the_known_length() -> None:
    assert (await served().embed([])).shape == (0, 4)


async def test_dimension_and_name_are_known_after_load() -> None:
    embedder = ServedEmbedder(Double(models={"data": [{"id": "e5"}]}))
    for unknown in ("name", "dimension"):
        with pytest.raises(RuntimeError, match="await load"):
            getattr(embedder, unknown)

    await embedder.load()
    await embedder.load()

    assert (embedder.name, embedder.dimension) == (f"e5@{ADDRESS}", 4)
    assert len(double_of(embedder).bodies) == 1
    assert "sk-secret" not in embedder.name


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"data": [{"id": "b"}, {"id": "a"}]}, "has 2 models"),
        ({"data": []}, "names no models"),
        ([], "names no models"),
    ],
)
async def test_which_of_several_models_is_meant_must_be_said(models: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        await ServedEmbedder(Double(models=models)).load()

    assert f"{ADDRESS}#MODEL" in caught.value.hint
    assert ("a, b" in caught.value.hint) == (said == "has 2 models")


async def test_order_is_that_of_the_indices() -> None:
    def shuffled(body: Body) -> Body:
        return {"data": document(body)["data"][::-1]}

    vectors = await served(shuffled).embed(["a", "bb", "ccc"])

    np.testing.assert_allclose(vectors, [unit("a"), unit("bb"), unit("ccc")], atol=1e-6)


async def test_base64_is_read_when_it_comes() -> None:
    packed = base64.b64encode(struct.pack("<4f", *vector("a"))).decode()

    np.testing.assert_allclose(
        await served(with_embedding(packed)).embed(["a"]), [unit("a")], atol=1e-6
    )


async def test_empty_and_damaged_texts_are_sent_as_text() -> None:
    embedder = served()

    await embedder.embed(["", " \n", "a\ud800b", "x" * 500_000])

    sent = [text for body in double_of(embedder).bodies for text in body["input"]]
    assert sent == [".", ".", "a?b", "x" * 400_000]


@pytest.mark.parametrize(
    ("embedding", "said"),
    [
        ([0.0, 0.0], "zeros"),
        ([1.0, math.nan], "not finite"),
        ([1.0, math.inf], "not finite"),
        ([1.0, None], "not finite"),
        ([1.0, "2"], "no vector"),
        ([True, False], "no vector"),
        ([[1.0], [2.0]], "no vector"),
        ([[1.0], 2.0], "no vector"),
        ([], "no vector"),
        ({}, "no vector"),
        (None, "no vector"),
        ("not base64!", "no vector"),
        ("AAA=", "no vector"),
        ([10**400, 1], "no vector"),
    ],
)
async def test_what_is_no_usable_vector_is_an_error_with_address_and_remedy(
    embedding: Any, said: str
) -> None:
    with pytest.raises(OutputInvalid, match=said) as caught:
        await served(with_embedding(embedding)).embed(["a"])

    assert f"bge at {ADDRESS}" in caught.value.message
    assert "minilm" in caught.value.hint


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"data": [{"index": 0, "embedding": [1.0]}]}, "sent 1 vectors for 2 texts"),
        ({"data": [{"index": 0, "embedding": [1.0]}] * 3}, "sent 3 vectors for 2 texts"),
        ({"data": [{"index": 1, "embedding": [1.0]}] * 2}, "indices"),
        ({"data": [{"index": i, "embedding": [1.0]} for i in (1, 2)]}, "indices"),
        ({"data": [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}]}, "1, 2 numbers"),
        ({"data": ["a", "b"]}, "no list of embeddings"),
        ({"data": None}, "no list of embeddings"),
        ({"object": "error", "message": "sk-secret is wrong"}, "no list of embeddings"),
        ([[1.0], [2.0]], "no list of embeddings"),
        (None, "no list of embeddings"),
    ],
)
async def test_a_response_of_another_form_is_an_error(answer: Any, said: str) -> None:
    with pytest.raises(OutputInvalid, match=said) as caught:
        await served(lambda _: answer).embed(["a", "b"])

    assert "sk-secret" not in str(caught.value)


async def test_vectors_that_change_their_length_are_an_error() -> None:
    sizes = iter([4, 5])
    embedder = served(lambda body: document(body, next(sizes)))
    await embedder.embed(["a"])

    with pytest.raises(OutputInvalid, match="5 numbers, and before that of 4") as caught:
        await embedder.embed(["a"])

    assert embedder.dimension == 4
    assert "REVERIE_HOME" in caught.value.hint


async def test_shorter_vectors_are_asked_for_and_checked() -> None:
    obeying = served(lambda body: document(body, body["dimensions"]), dimensions=3)
    ignoring = served(dimensions=3)

    assert (await obeying.embed(["a"])).shape == (1, 3)
    with pytest.raises(OutputInvalid, match="4 numbers although 3 were asked for"):
        await ignoring.embed(["a"])


def overflowing(*, most: int, told: bool = True) -> Callable[[Body], Any]:
    """A server whose window is ``most`` characters."""

    def respond(body: Body) -> Body:
        longest = max(map(len, body["input"]))
        if longest > most:
            numbers = {"window": most, "tokens": longest} if told else {}
            raise ContextOverflow(f"the prompt does not fit at {ADDRESS}", status=400, **numbers)
        return document(body)

    return respond


def truncating(body: Body) -> Body:
    """As vLLM, with a window of 100 characters."""
    if body.get("truncate_prompt_tokens") == -1:
        body = {"input": [text[:100] for text in body["input"]]}
    return overflowing(most=100)(body)


async def test_what_is_too_long_is_cut_by_a_server_that_can() -> None:
    embedder = served(truncating)

    vectors = await embedder.embed(["a", "b" * 300, "c"])
    await embedder.embed(["d" * 300])

    np.testing.assert_allclose(vectors, [unit("a"), unit("b" * 100), unit("c")], atol=1e-6)
    # Refused, repeated with the option; the next request has it at once.
    assert len(double_of(embedder).bodies) == 3
    assert embedder.notices == (
        f"texts that are too long for bge at {ADDRESS} are cut at their end",
    )


@pytest.mark.parametrize("told", [True, False])
async def test_what_is_too_long_is_cut_here_where_the_server_cannot(*, told: bool) -> None:
    embedder = served(overflowing(most=100, told=told))

    vectors = await embedder.embed(["a", "b" * 3000, "c" * 90])

    sent = [body["input"] for body in double_of(embedder).bodies if len(body["input"]) == 1]
    (cut,) = [text for (text,) in sent if text[0] == "b" and len(text) <= 100]
    assert 40 <= len(cut) <= 100
    np.testing.assert_allclose(vectors, [unit("a"), unit(cut), unit("c" * 90)], atol=1e-6)
    assert len(embedder.notices) == 1


async def test_a_text_that_never_fits_is_an_error() -> None:
    embedder = served(overflowing(most=3))

    with pytest.raises(ContextOverflow):
        await embedder.embed(["b" * 3000])

    assert len(double_of(embedder).bodies) < 20
    assert embedder.notices == ()


async def test_a_server_that_takes_fewer_texts_gets_fewer() -> None:
    def few(body: Body) -> Body:
        if len(body["input"]) > 8:
            raise ModelRejected("batch size 32 > maximum allowed batch size 8", status=422)
        return document(body)

    embedder = served(few)
    texts = [f"text {i}" for i in range(40)]

    first = await embedder.embed(texts)
    before = len(double_of(embedder).bodies)
    second = await embedder.embed(texts)

    np.testing.assert_array_equal(first, second)
    assert len(double_of(embedder).bodies) - before == 5


async def test_other_errors_come_as_they_are_and_end_the_rest() -> None:
    def failing(body: Body) -> Body:
        raise ModelUnavailable(f"{ADDRESS} failed", transient=True)

    embedder = served(failing)

    with pytest.raises(ModelUnavailable):
        await embedder.embed([f"text {i}" for i in range(1000)])

    assert len(double_of(embedder).bodies) < 10  # of 32


async def test_a_server_without_embeddings_is_told_from_one_without_the_model() -> None:
    def refuse(message: str) -> Callable[[Body], Any]:
        def respond(_: Body) -> Any:
            raise ModelRejected(message, hint="as it was", status=404)

        return respond

    with pytest.raises(ModelRejected, match="has no embeddings") as none:
        await served(refuse("knows no such address")).embed(["a"])
    with pytest.raises(ModelRejected, match="no such model") as unknown:
        await served(refuse(f"{ADDRESS} has no such model")).embed(["a"])

    assert "--runner pooling" in none.value.hint
    assert none.value.status == 404
    assert unknown.value.hint == "as it was"


def test_settings_name_the_embedder() -> None:
    assert isinstance(load_embedder(Settings()), MiniLM)

    served = load_embedder(Settings(embedder={"name": f"{ADDRESS}#bge", "api_key": "sk-1"}))
    preset = load_embedder(Settings(embedder="ollama:nomic-embed-text"))

    assert isinstance(served, ServedEmbedder)
    assert served.name == f"bge@{ADDRESS}"
    assert served.connection.endpoint.key == "sk-1"
    assert preset.name == "nomic-embed-text@http://127.0.0.1:11434/v1"
    with pytest.raises(ConfigError, match="'minillm'") as caught:
        load_embedder(Settings(embedder="minillm"))
    assert "minilm" in caught.value.hint


@given(st.lists(st.integers(0, 60_000), min_size=1, max_size=100), st.integers(1, 40))
def test_batches_hold_every_text_in_order_and_stay_small(lengths: list[int], most: int) -> None:
    texts = ["x" * length for length in lengths]

    batches = list(_batches(texts, most))

    assert [text for batch in batches for text in batch] == texts
    for batch in batches:
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or sum(map(len, batch)) <= 32_000


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(finite, min_size=3, max_size=3).filter(any), min_size=1, max_size=5))
def test_every_finite_vector_but_zero_has_length_one_afterwards(rows: list[list[float]]) -> None:
    data = [{"index": i, "embedding": row} for i, row in enumerate(rows)]

    vectors = read_vectors({"data": data}, len(rows))

    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert ((np.sign(vectors) == np.sign(rows)) | (np.abs(vectors) < 1e-30)).all()
