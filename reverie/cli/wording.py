"""How results are put into words: the same on a terminal and in a pipe."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from reverie.agents.result import Result
    from reverie.graphs.records import CandidateScores, Choice, Cost, ToolUse, Verdict

_LONGEST_VALUE: Final = 120
_LONGEST_RESULT: Final = 300
"""Characters of an argument and of a result that are shown; results and traces keep them whole."""

# Joiners shape words of several scripts; all other format characters are invisible or turn text
# around (bidirectional overrides).
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Signs beyond ASCII, or what stands for them where the terminal has only that."""

    arrow: str = "→"
    dot: str = "·"
    fact: str = "●"
    dreamed: str = "○"
    none: str = "\N{EN DASH}"
    ellipsis: str = "…"


UNICODE = Glyphs()
ASCII = Glyphs(arrow="->", dot="|", fact="*", dreamed="o", none="-", ellipsis="...")


def glyphs_for(encoding: str | None) -> Glyphs:
    """The signs that a stream's encoding can show."""
    return UNICODE if (encoding or "").lower().replace("-", "").startswith("utf") else ASCII


def clean(text: str, *, keep_lines: bool = False) -> str:
    """Text from a model, a store or a user without what could steer the terminal.

    Control characters and line breaks become spaces (``keep_lines`` keeps the breaks); invisible
    format characters go, as does what cannot be encoded.
    """
    kept = []
    for character in text:
        if character.isprintable() or character in _JOINERS or (keep_lines and character == "\n"):
            kept.append(character)
        elif unicodedata.category(character) not in ("Cf", "Cs"):
            kept.append(" ")
    return "".join(kept)


def triplet(parts: Sequence[str], glyphs: Glyphs) -> str:
    """The parts of a triplet, cleaned, with arrows between them."""
    return f" {glyphs.arrow} ".join(clean(part) for part in parts)


def posteriors(choice: Choice) -> list[str]:
    """What every strategy is believed to score; nothing while nothing has been scored."""
    if not any(p["runs"] for p in choice["posterior"]):
        return []
    return [
        f"{clean(p['strategy'])} {p['mean']:.2f} ({counted(p['runs'], 'run')})"
        for p in choice["posterior"]
    ]


def tool_call(tool: str, arguments: Mapping[str, Any], glyphs: Glyphs) -> str:
    """A call as programmers write it; the name of an only argument is left out."""
    values = {name: _value(value, glyphs) for name, value in arguments.items()}
    if len(values) == 1:
        listed = next(iter(values.values()))
    else:
        listed = ", ".join(f"{clean(name)}={value}" for name, value in values.items())
    return f"{clean(tool)}({listed})"


def tool_result(use: ToolUse, glyphs: Glyphs) -> str:
    """What a tool said, or why it failed."""
    if use["error"]:
        return f"failed: {_clipped(clean(use['error']), _LONGEST_RESULT, glyphs)}"
    lines = [clean(line).strip() for line in use["result"].splitlines()]
    joined = f" {glyphs.dot} ".join(line for line in lines if line)
    return _clipped(joined, _LONGEST_RESULT, glyphs) or "nothing"


def scorers(verdict: Verdict) -> list[str]:
    """Names of the scorers, in the order of the verdict's weights."""
    names = dict.fromkeys(verdict["weights"])
    names.update(dict.fromkeys(n for c in verdict["candidates"] for n in c["scores"]))
    return list(names)


def number(value: float | None, glyphs: Glyphs) -> str:
    return glyphs.none if value is None else f"{value:.2f}"


def standing(candidate: CandidateScores, verdict: Verdict) -> str:
    """What the verdict made of a dream: winner, dissents, or nothing worth saying."""
    if candidate["branch"] == verdict["winner"]:
        return "winner"
    return "dissents" if candidate["branch"] in verdict["dissent"] else ""


def cost_parts(cost: Cost) -> list[str]:
    """Tokens in and out, calls, seconds and what the budget has left."""
    spent, limits, left = cost["spent"], cost["limits"], cost["left"]
    total = spent["tokens_in"] + spent["tokens_out"]
    tokens = (
        f"{spent['tokens_in']:,} in + {spent['tokens_out']:,} out = {total:,} of "
        f"{limits['tokens']:,} tokens{' (estimated)' if spent['estimated'] else ''}"
    )
    parts = [
        tokens,
        counted(spent["calls"], "call"),
        f"{cost['elapsed']:.1f} s",
        f"{left['tokens']:,} tokens left",
    ]
    if limits["money"] is not None:
        parts.insert(2, f"{spent['money']:.4g} of {limits['money']:g} money")
    elif spent["money"]:
        parts.insert(2, f"{spent['money']:.4g} money")
    return parts


def joined(parts: Sequence[str], glyphs: Glyphs, width: int | None = None) -> str:
    """The parts with dots between them, in lines of ``width`` that break between parts."""
    dot = f" {glyphs.dot} "
    lines: list[str] = []
    for part in parts:
        if lines and (width is None or len(lines[-1]) + len(dot) + len(part) <= width):
            lines[-1] += dot + part
        else:
            lines.append(part)
    return "\n".join(lines)


def confidence_text(result: Result) -> str:
    """The answer's confidence and whether it may be read as a probability."""
    if result.confidence is None:
        return "the model gave no confidence"
    return f"confidence {result.confidence:.2f}" + ("" if result.calibrated else " (uncalibrated)")


def answered_by(result: Result) -> str:
    """Who answered how many calls; empty when it was the one model that there is."""
    answered = [use for use in result.backends if use["calls"]]
    passed_over = any(use["passed_over"] for use in result.backends)
    # Another than the model that was asked for may be on another machine: that is always said.
    asked = result.model.partition("#")[0]
    other = any(use["name"].partition("#")[0] != asked for use in answered)
    if len(answered) < 2 and not passed_over and not other:
        return ""
    return ", ".join(f"{clean(use['name'])} ({counted(use['calls'], 'call')})" for use in answered)


def why_abstained(result: Result) -> str:
    """Why a run ended without an answer."""
    for attempt in reversed(result.attempts):
        if attempt["error"]:
            return clean(attempt["error"])
        if attempt["verdict"]:
            return clean(attempt["verdict"]["why"])
    return clean(result.stopped) or "no candidate was good enough to stand for"


def _value(value: Any, glyphs: Glyphs) -> str:
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _clipped(clean(written), _LONGEST_VALUE, glyphs)


def _clipped(text: str, most: int, glyphs: Glyphs) -> str:
    return text if len(text) <= most else text[:most].rstrip() + glyphs.ellipsis


def counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e6:.1f} MB"
