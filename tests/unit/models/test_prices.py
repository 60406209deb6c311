"""What tokens cost, and when a limit of money can hold."""

from __future__ import annotations

import pytest

from reverie.errors import ConfigError
from reverie.models.prices import FREE, Price, Prices, prices_of
from reverie.settings import Settings


def settings(**sections: object) -> Settings:
    return Settings.model_validate(sections)


def test_every_backend_that_may_be_asked_has_its_price() -> None:
    backends = [{"name": "http://127.0.0.1:1/v1", "price_in": 1, "price_out": 4}]
    chosen = settings(model={"price_in": 2.5}, backends=backends)

    prices = prices_of("smollm2", chosen)

    assert prices.of_backend == {
        "smollm2": Price(2.5, 0.0),
        "http://127.0.0.1:1/v1": Price(1.0, 4.0),
    }
    assert prices.dearest == 4.0
    assert prices.cost(1_000_000, 0, "smollm2") == 2.5
    assert prices.cost(0, 1_000_000, "smollm2") == 0.0
    assert prices.cost(1_000_000, 1_000_000) == 6.5  # nobody's: the dearest of each kind


def test_a_price_is_that_of_the_model_it_was_set_for() -> None:
    chosen = settings(model={"price_in": 2.5, "price_out": 3})

    assert prices_of("http://127.0.0.1:1/v1", chosen).dearest == 0.0


def test_a_model_without_a_price_costs_nothing() -> None:
    assert FREE.cost(10, 10, "x") == 0.0
    assert prices_of("smollm2", settings()).cost(10, 10, "smollm2") == 0.0


def test_a_limit_of_money_wants_every_price() -> None:
    known = Prices({"a": Price(1.0, 2.0), "b": None})

    known.require(None, None)
    with pytest.raises(ConfigError, match="no price is known for b") as caught:
        known.require(0.5, 2.0)
    assert caught.value.exit_code == 2
    assert "price_in" in caught.value.hint
    Prices({"a": Price(0.0, 0.0)}).require(0.5, None)


@pytest.mark.parametrize("dearest", [None, 1.5])
def test_money_is_reckoned_with_the_dearest_price(dearest: float | None) -> None:
    prices = Prices({"a": Price(1.0, 2.0)})

    prices.require(0.5, 2.0)
    with pytest.raises(ConfigError, match="less than a model costs") as caught:
        prices.require(0.5, dearest)
    assert "give price 2," in caught.value.hint


def test_the_preview_has_a_price_only_where_one_was_set() -> None:
    hosted = {"preview": {"api_key": "k", "name": "openai:gpt-5.1-codex"}}
    model = {"price_in": 0, "price_out": 0}

    with pytest.raises(ConfigError, match=r"openai:gpt-5\.1-codex"):
        prices_of("smollm2", settings(model=model, **hosted)).require(1.0, 0.0)

    priced = {"name": "openai:gpt-5.1-codex", "price_in": 1.25, "price_out": 10}
    both = settings(model=model, backends=[priced], **hosted)
    assert prices_of("smollm2", both).dearest == 10.0
    prices_of("smollm2", both).require(1.0, 10.0)
