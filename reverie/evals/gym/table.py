"""What records come to: accuracy and tokens of every strategy, family by family."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reverie.evals.gym.record import Record


@dataclass(frozen=True, slots=True)
class Share:
    """Right answers of ``questions``, and the tokens of one question on average."""

    right: float
    tokens: float
    questions: int


def share(records: Sequence[Record]) -> Share:
    """What these records come to."""
    n = len(records)
    return Share(
        right=sum(r["right"] for r in records) / n,
        tokens=sum(r["tokens"] for r in records) / n,
        questions=n,
    )


def by_strategy(records: Sequence[Record]) -> dict[str, Share]:
    """Every strategy over all its questions, the most accurate first."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record["strategy"]].append(record)
    shares = {strategy: share(group) for strategy, group in groups.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1].right))


def by_family(records: Sequence[Record]) -> dict[str, dict[str, Share]]:
    """Family, then strategy."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record["family"]].append(record)
    return {family: by_strategy(group) for family, group in groups.items()}


def best_of_family(
    families: Mapping[str, Mapping[str, Share]], token_price: float = 0.0
) -> dict[str, str]:
    """The strategy of each family that scored most in hindsight: right answers less what its
    tokens cost at ``token_price`` a thousand. Of equals the one with fewer tokens.
    """
    return {
        family: max(
            shares,
            key=lambda s: (
                shares[s].right - token_price * shares[s].tokens / 1000,
                -shares[s].tokens,
            ),
        )
        for family, shares in families.items()
    }
