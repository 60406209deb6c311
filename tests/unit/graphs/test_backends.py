"""Runs with several backends: who answered reaches the result, and a run survives an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import Field

from reverie.errors import ContextOverflow, ModelUnavailable
from reverie.graphs.resources import Resources
from reverie.models.backend import Backend
from reverie.models.chat_model import ChatModel
from reverie.models.circuit import CircuitBreaker
from reverie.models.fallback import FallbackChatModel
from reverie.models.profile import ModelProfile
from reverie.settings import BackendSettings, Settings
from tests.unit.conftest import Call, Say, ScriptedModel, ScriptedResources, dream_text, run_graph

SERVER = "http://127.0.0.1:9/v1"
REFUSED = ModelUnavailable("the connection was refused", transient=True)


def chain(
    resources: ScriptedResources, first: Callable[[Call], Say | str], **options: Any
) -> tuple[ScriptedModel, ScriptedModel]:
    """A server, and the double of the embedded model behind it."""
    server, embedded = ScriptedModel(script=first, **options), ScriptedModel()
    model: Any = FallbackChatModel(
        backends=(
            Backend(SERVER, lambda: server, CircuitBreaker(failures=3)),
            Backend("smollm2", lambda: embedded),
        )
    )
    resources.scripted = model
    return server, embedded


@pytest.mark.parametrize("strategy", ["direct", "chain_of_thought", "dream"])
async def test_every_strategy_survives_a_server_that_is_gone(
    strategy: str, resources: ScriptedResources
) -> None:
    server, embedded = chain(resources, lambda _: Say(error=REFUSED))

    ran = await run_graph(resources, strategy=strategy)

    assert ran.state["answer"]["status"] == "answered"
    assert len(server.calls) <= 4  # three failures open its circuit; four dreams begin together
    spent = ran.of("budget")[-1]["cost"]["spent"]
    gone, answered = spent["backends"]
    assert (gone["name"], gone["calls"]) == (SERVER, 0)
    assert gone["passed_over"] == ["the connection was refused"]
    assert (answered["name"], answered["calls"]) == ("smollm2", len(embedded.calls))
    assert spent["calls"] == len(embedded.calls)
    notice = f"{SERVER} was passed over: the connection was refused"
    assert ran.state["notices"] == [notice]
    assert {event["text"] for event in ran.of("notice")} == {notice}


async def test_a_run_in_which_both_answered_says_so(resources: ScriptedResources) -> None:
    says = iter([Say("Heavy things fall.")])
    chain(resources, lambda _: next(says, Say(error=REFUSED)))

    ran = await run_graph(resources, strategy="chain_of_thought")

    backends = ran.of("budget")[-1]["cost"]["spent"]["backends"]
    assert [(use["name"], use["calls"]) for use in backends] == [(SERVER, 1), ("smollm2", 1)]
    assert backends[0]["passed_over"] == ["the connection was refused"]


async def test_dreams_fall_over_one_by_one(resources: ScriptedResources) -> None:
    def script(call: Call) -> Say:
        return Say(error=REFUSED) if call.expert == "causal" else Say(dream_text(call))

    server, embedded = chain(resources, script)

    ran = await run_graph(resources, strategy="dream")

    assert [d["status"] for d in ran.state["attempts"][0]["dreams"]] == ["ok"] * 4
    assert [call.expert for call in embedded.calls] == ["causal"]
    assert len(server.calls) == 4


async def test_a_dream_is_the_hypothesis_of_the_model_that_dreamed_it(
    resources: ScriptedResources,
) -> None:
    _, embedded = chain(resources, lambda _: Say(error=REFUSED), parameters=None)
    embedded.parameters = None

    await run_graph(resources, strategy="dream")

    store = await resources.facts()
    vector = (await resources.hashed.embed(["a ball is dropped, it falls"]))[0]
    (match, *_) = await store.similar(vector, statuses=["hypothesis"])
    assert match.triplet.model == "smollm2"


async def test_a_question_that_the_first_window_does_not_hold_goes_to_the_next(
    resources: ScriptedResources,
) -> None:
    chain(resources, lambda _: Say(error=ContextOverflow("too long")), window=64)

    ran = await run_graph(resources, "Why? " * 50, strategy="direct", tokens=4000)

    assert ran.state["answer"]["text"] == "It falls to the ground."
    assert ran.state["notices"] == [f"{SERVER} was passed over: too long"]


async def test_a_run_in_which_no_backend_answers_names_them_all(
    resources: ScriptedResources,
) -> None:
    _, embedded = chain(resources, lambda _: Say(error=REFUSED))
    embedded.script = lambda _: Say(error=ModelUnavailable("the weights are gone"))

    with pytest.raises(ModelUnavailable, match="no backend answered") as caught:
        await run_graph(resources, strategy="direct")

    assert f"{SERVER} was passed over: the connection was refused" in caught.value.message
    assert "smollm2 was passed over: the weights are gone" in caught.value.message


# -- models as resources -----------------------------------------------------------------------


class Remembering(ScriptedModel):
    """Notes how it is prepared and closed."""

    seen: list[str] = Field(default_factory=list)

    async def prepare(self) -> ModelProfile:
        self.seen.append("prepared")
        return self.reverie_profile

    async def aclose(self) -> None:
        self.seen.append("aclosed")

    def close(self) -> None:
        self.seen.append("closed")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool | None, Remembering]]:
    """What is loaded, in order."""
    found: list[tuple[str, bool | None, Remembering]] = []

    def load(
        name: str, settings: Settings, report: Any = None, *, preview: bool | None = None
    ) -> ChatModel:
        found.append((name, preview, Remembering()))
        return found[-1][2]

    monkeypatch.setattr("reverie.models.load.load_chat_model", load)
    return found


async def test_a_model_is_loaded_once_for_each_way_to_ask_it(
    settings: Settings, loaded: list[tuple[str, bool | None, Remembering]]
) -> None:
    resources = Resources(settings)

    await asyncio.gather(*(resources.model(preview=p) for p in (None, True, None, False, True)))

    assert sorted(str(preview) for _, preview, _ in loaded) == ["False", "None", "True"]
    assert {name for name, _, _ in loaded} == {"smollm2"}
    assert all("prepared" in model.seen for *_, model in loaded)
    await resources.close()


async def test_closing_closes_the_models(
    settings: Settings, loaded: list[tuple[str, bool | None, Remembering]]
) -> None:
    resources = Resources(settings)
    await resources.model()

    await resources.close()
    await resources.close()

    assert loaded[0][2].seen == ["prepared", "aclosed", "closed"]


async def test_the_settings_chain_reaches_the_model(settings: Settings) -> None:
    backends = (BackendSettings(name="http://a/v1"), BackendSettings(name="http://b/v1"))
    resources = Resources(settings.model_copy(update={"backends": backends}))
    resources._load_model("http://a/v1", preview=None)

    model = resources._models["http://a/v1", None]

    assert isinstance(model, FallbackChatModel)
    assert [backend.name for backend in model.backends] == ["http://a/v1", "http://b/v1"]
