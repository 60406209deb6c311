"""Finding the procedure for a question: the book's, by their words, meaning and success."""

from __future__ import annotations

from reverie.graphs.resources import Resources
from reverie.graphs.task_type import task_type
from reverie.knowledge.sops import Match, SopStatistics, StoredSop, matches, similarities


async def matched_sops(question: str, resources: Resources) -> list[Match]:
    """How well every procedure fits ``question``, best first, those that may be taken in front."""
    book = await resources.sops()
    stored = await book.current()
    vector = await resources.question_vector(question)
    embedder = await resources.embedder()
    similar = await similarities(vector, book, stored, embedder, resources.settings)
    used = await (await resources.memory()).sops()
    statistics = SopStatistics(used, memory=resources.settings.learn.memory)
    return matches(question, stored, similar, statistics, task_type(question))


async def best_sop(question: str, resources: Resources) -> tuple[StoredSop | None, str]:
    """The procedure to follow, and why in words; None: none fits."""
    found = await matched_sops(question, resources)
    if not found:
        return None, "there are no procedures"
    best = found[0]
    if best.why_not:
        return None, (
            f"no procedure fits: the best is {best.stored.name} with {best.score:.2f}, and "
            f"{best.why_not}"
        )
    return best.stored, f"follows the SOP {best.stored.name}, which fits with {best.score:.2f}"
