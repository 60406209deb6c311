"""Replies under a JSON schema: valid, whatever a model of random weights would rather say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reverie.errors import ModelRejected
from reverie.models.embedded.request import Finished, GenerationRequest, Sampling, TokenOut

pytest.importorskip("torch", reason="the local extra is not installed")

from reverie.models.embedded.batch import Batch, Row  # needs torch
from reverie.models.embedded.grammar import Grammar, GrammarCompiler
from reverie.models.embedded.sampling import Sampler
from reverie.models.embedded.text import TextStream

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TRIPLET = {
    "type": "object",
    "properties": {
        "what": {"type": "string", "maxLength": 8},
        "action": {"enum": ["falls", "breaks", "bounces"]},
        "result": {"type": "boolean"},
    },
    "required": ["what", "action", "result"],
    "additionalProperties": False,
}
FORCED = {
    "type": "object",
    "properties": {
        "a_rather_long_name_that_is_forced": {"const": "and a value that is forced as well"},
        "choice": {"enum": ["yes", "no"]},
        "an_end_that_is_forced": {"const": 12345},
    },
    "required": ["a_rather_long_name_that_is_forced", "choice", "an_end_that_is_forced"],
    "additionalProperties": False,
}

# Every schema ends within 200 tokens: a model of random weights closes no open string by itself.
leaves = st.sampled_from(
    [
        {"type": "boolean"},
        {"type": "null"},
        {"type": "integer", "minimum": -99, "maximum": 99},
        {"type": "string", "maxLength": 5},
        {"enum": ["ball", "é", 3, None]},
        {"const": {"nested": [1, 2]}},
    ]
)


def objects(children: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from(["what", "action", "result", "é"])
    return st.dictionaries(names, children, min_size=1, max_size=3).map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": sorted(properties),
            "additionalProperties": False,
        }
    )


def arrays(children: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda items, least: {
            "type": "array",
            "items": items,
            "minItems": least,
            "maxItems": least + 1,
        },
        children,
        st.integers(0, 1),
    )


schemas = st.recursive(leaves, lambda c: st.one_of(objects(c), arrays(c)), max_leaves=4)


class Tiny:
    """The tiny model's parts, and one request run on them."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.compiler = GrammarCompiler(tokenizer, model.config.vocab_size)

    def batch(self) -> Batch:
        stop = frozenset({self.tokenizer.eos_token_id})
        return Batch(self.model, self.tokenizer.backend_tokenizer, stop)

    def row(self, said: list[Any], grammar: Grammar, *, prefill: str = "", **sampling: Any) -> Row:
        prompt = self.tokenizer.encode(f"the ball {prefill}", add_special_tokens=False)
        request = GenerationRequest(tuple(prompt), Sampling(**{"max_tokens": 300, **sampling}))
        return Row(
            request=request,
            emit=said.append,
            sampler=Sampler(request.sampling),
            text=TextStream(self.tokenizer.backend_tokenizer),
            grammar=grammar,
            cancelled=lambda: False,
        )

    def ask(
        self, schema: dict[str, Any], *, prefill: str = "", **sampling: Any
    ) -> tuple[list[TokenOut], Finished]:
        said: list[Any] = []
        batch = self.batch()
        grammar = self.compiler.compile(schema, prefill)
        batch.admit([self.row(said, grammar, prefill=prefill, **sampling)])
        while batch.rows:
            batch.step()
        *tokens, end = said
        assert isinstance(end, Finished), end
        return tokens, end


@pytest.fixture(scope="module")
def tiny(tiny_model: PreTrainedModel, tiny_tokenizer: PreTrainedTokenizerFast) -> Tiny:
    return Tiny(tiny_model, tiny_tokenizer)


def text_of(tokens: list[TokenOut], end: Finished) -> str:
    return "".join(token.text for token in tokens) + end.text


@settings(deadline=None, max_examples=60)
@given(schema=schemas, seed=st.integers(0, 1000))
def test_every_reply_obeys_its_schema(tiny: Tiny, schema: dict[str, Any], seed: int) -> None:
    tokens, end = tiny.ask(schema, temperature=1.0, seed=seed)

    assert end.reason == "stop"
    jsonschema.validate(json.loads(text_of(tokens, end)), schema)
    assert tiny.tokenizer.eos_token_id not in [token.id for token in tokens]


def test_forced_tokens_carry_the_models_own_logprobs(tiny: Tiny) -> None:
    import torch

    tokens, end = tiny.ask(FORCED)
    ids = [token.id for token in tokens]
    prompt = tiny.tokenizer.encode("the ball ", add_special_tokens=False)
    with torch.inference_mode():
        logits = tiny.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0]

    expected = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    own = expected.gather(1, torch.tensor(ids)[:, None])[:, 0].tolist()
    assert json.loads(text_of(tokens, end))["an_end_that_is_forced"] == 12345
    assert [token.logprob for token in tokens] == pytest.approx(own, abs=2e-4)
    assert min(own) < -1  # they were forced, not likely


@pytest.mark.parametrize("schema", [TRIPLET, FORCED])
def test_running_forced_tokens_together_changes_nothing_and_saves_steps(
    tiny: Tiny, schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    step = Batch.step
    monkeypatch.setattr(Batch, "step", lambda batch: (steps.append(1), step(batch)))
    together, _ = tiny.ask(schema)
    few = len(steps)

    monkeypatch.setattr(Grammar, "forced", lambda _: [])
    singly, _ = tiny.ask(schema)

    assert [t.id for t in together] == [t.id for t in singly]
    assert [t.logprob for t in together] == pytest.approx([t.logprob for t in singly], abs=2e-4)
    assert few < (len(steps) - few) * 0.8


def test_rows_with_and_without_forced_tokens_do_not_disturb_each_other(tiny: Tiny) -> None:
    def row(said: list[Any], schema: dict[str, Any]) -> Row:
        return tiny.row(said, tiny.compiler.compile(schema), max_tokens=60)

    schemas = [FORCED, TRIPLET, {"type": "string", "maxLength": 60}]
    alone = [tiny.ask(schema, max_tokens=60) for schema in schemas]
    together: list[list[Any]] = [[] for _ in schemas]
    batch = tiny.batch()

    batch.admit([row(said, schema) for said, schema in zip(together, schemas, strict=True)])
    while batch.rows:
        batch.step()

    for (tokens, end), said in zip(alone, together, strict=True):
        assert [token.id for token in said[:-1]] == [token.id for token in tokens]
        assert [token.logprob for token in said[:-1]] == pytest.approx(
            [token.logprob for token in tokens], abs=2e-4
        )
        assert said[-1].reason == end.reason


@pytest.mark.parametrize("limit", [1, 2, 7, 20])
def test_max_tokens_cuts_forced_tokens_too(tiny: Tiny, limit: int) -> None:
    tokens, end = tiny.ask(FORCED, max_tokens=limit)

    assert len(tokens) == limit == end.completion_tokens
    assert end.reason == "length"


def test_a_reply_goes_on_from_its_prefill(tiny: Tiny) -> None:
    tokens, end = tiny.ask(TRIPLET, prefill='{"what":"a ball","action":"fa')

    value = json.loads('{"what":"a ball","action":"fa' + text_of(tokens, end))
    assert value["action"] == "falls"
    jsonschema.validate(value, TRIPLET)


def test_a_prefill_that_is_the_whole_document_ends_at_once(tiny: Tiny) -> None:
    tokens, end = tiny.ask(
        TRIPLET, prefill='{"what":"it","action":"falls","result":true}', max_tokens=5
    )

    assert (tokens, end.reason, end.completion_tokens) == ([], "stop", 0)


def test_a_prefill_that_the_schema_forbids_is_refused(tiny: Tiny) -> None:
    with pytest.raises(ModelRejected, match="cannot begin with"):
        tiny.compiler.compile(TRIPLET, '{"who":')


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/nowhere"},
        {"not": {"type": "string"}},
        {"type": "string", "pattern": "(?=a)b"},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"enum": [object()]},
        False,
    ],
    ids=str,
)
def test_a_schema_that_cannot_be_compiled_is_refused(tiny: Tiny, schema: Any) -> None:
    with pytest.raises(ModelRejected, match="JSON schema"):
        tiny.compiler.compile(schema)


def test_a_grammar_in_error_is_no_end_of_the_reply(tiny: Tiny) -> None:
    grammar = tiny.compiler.compile(TRIPLET)
    with pytest.raises(ModelRejected, match="rejected a token"):
        grammar.accept(tiny.tokenizer.encode("x")[0])

    assert not grammar.complete
    with pytest.raises(ModelRejected, match="cannot go on"):
        grammar.allowed()


def test_a_grammar_that_fails_fails_its_own_request_only(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = tiny.compiler.compile(TRIPLET), tiny.compiler.compile(TRIPLET)
    allowed, calls = Grammar.allowed, []

    def fail_the_third_time(grammar: Grammar) -> bytes:
        if grammar is bad:
            calls.append(1)
            if len(calls) == 3:
                raise ModelRejected("no more")
        return allowed(grammar)

    monkeypatch.setattr(Grammar, "allowed", fail_the_third_time)
    batch = tiny.batch()
    said_bad: list[Any] = []
    said_good: list[Any] = []

    batch.admit([tiny.row(said_bad, bad), tiny.row(said_good, good)])
    while batch.rows:
        batch.step()

    assert isinstance(said_bad[-1], ModelRejected)
    *tokens, end = said_good
    jsonschema.validate(json.loads(text_of(tokens, end)), TRIPLET)
