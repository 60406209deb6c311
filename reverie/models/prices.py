"""What tokens cost: the configured prices of the backends that a call may reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reverie.errors import ConfigError

if TYPE_CHECKING:
    from reverie.settings import BackendSettings, Settings

PER = 1_000_000
"""Prices are those of so many tokens."""


@dataclass(frozen=True, slots=True)
class Price:
    """Of a million tokens, in whatever currency the settings mean."""

    prompt: float
    written: float

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """What a call with so many tokens costs."""
        return (tokens_in * self.prompt + tokens_out * self.written) / PER


_NOTHING = Price(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Prices:
    """The price of every backend that is asked in turn, by name; None: none is known."""

    of_backend: Mapping[str, Price | None] = field(default_factory=dict)

    @property
    def dearest(self) -> float:
        """The highest price of a million tokens of any kind; 0 where none is known."""
        return max((max(p.prompt, p.written) for p in self._known), default=0.0)

    def cost(self, tokens_in: int, tokens_out: int, backend: str = "") -> float:
        """What a call costs that ``backend`` answered. One that nobody finished, or that is known
        by another name, costs what the dearest would take.
        """
        if backend in self.of_backend:
            price = self.of_backend[backend] or _NOTHING
        elif self._known:
            price = Price(max(p.prompt for p in self._known), max(p.written for p in self._known))
        else:
            price = _NOTHING
        return price.cost(tokens_in, tokens_out)

    def require(self, money: float | None, dearest: float | None) -> None:
        """Raise ConfigError when ``money`` is a limit and some backend has no price to reckon by
        (0 is one), or ``dearest``, by which money is set aside, is lower than one of them.
        """
        unpriced = [name for name, price in self.of_backend.items() if price is None]
        if money is not None and unpriced:
            raise ConfigError(
                f"budget.money is {money:g}, but no price is known for {unpriced[0]}",
                hint="set its price_in and price_out, of a million tokens, under model or backends "
                "(0 for a model of your own), or leave budget.money out",
            )
        if money is not None and (dearest or 0.0) < self.dearest:
            raise ConfigError(
                f"money is limited to {money:g}, and the price to reckon with is "
                f"{dearest or 0.0:g}, less than a model costs",
                hint=f"give price {self.dearest:g}, of a million tokens, in the run's context",
            )

    @property
    def _known(self) -> list[Price]:
        return [price for price in self.of_backend.values() if price is not None]


FREE = Prices()


def prices_of(name: str, settings: Settings, *, preview: bool | None = None) -> Prices:
    """The prices of what ``load_chat_model`` would ask, in order."""
    from reverie.models.load import chain_of

    configured = (settings.model, *settings.backends)
    return Prices(
        {
            backend.name: next(
                (
                    price
                    for one in configured
                    if one.name == backend.name and (price := _price(one))
                ),
                None,
            )
            for backend in chain_of(name, settings, preview=preview)
        }
    )


def _price(backend: BackendSettings) -> Price | None:
    if backend.price_in is None and backend.price_out is None:
        return None
    return Price(backend.price_in or 0.0, backend.price_out or 0.0)
