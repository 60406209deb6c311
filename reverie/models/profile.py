"""What a model is known to be able to do."""

from __future__ import annotations

from dataclasses import dataclass

_INVENTS_FROM = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """A model's name, context window in tokens, and size (None when unknown)."""

    name: str
    window: int
    parameters: int | None

    @property
    def dreams_own_triplets(self) -> bool:
        """Whether its dreams may make up triplets while facts are at hand.

        Models under a billion parameters invent mostly wrong ones: they choose among the facts.
        """
        return self.parameters is None or self.parameters >= _INVENTS_FROM
