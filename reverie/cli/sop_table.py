"""How procedures, their matches and their records are put into words and tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reverie.cli.strategy_table import Table
from reverie.cli.wording import UNICODE, clean, counted, glyphs_for

if TYPE_CHECKING:
    from reverie.knowledge.sops import Added, Check, Match, SopRecord, SopStatistics, StoredSop

_BLOCKS = "▁▂▃▄▅▆▇█"
_CHANGES = {
    "new": "Added",
    "version": "New version",
    "again": "In use again",
    "same": "Unchanged",
}


def sop_table(stored: Sequence[StoredSop], statistics: SopStatistics) -> Table:
    """One row for each procedure."""
    rows = []
    for one in stored:
        record = statistics.record(one.key)
        rows.append(
            (
                one.name,
                clean(one.sop.category),
                str(one.number),
                str(one.sop.priority),
                f"{record['uses']:,}",
                f"{record['scored']:,}",
                _success(record),
                _trend(record),
                record["state"],
            )
        )
    columns = ("name", "category", "version", "priority", "uses", "scored", "success", "trend")
    return Table((*columns, "state"), rows, words=2)


def match_table(found: Sequence[Match]) -> Table:
    """One row for each match, with the parts of its score."""
    rows = [
        (
            m.stored.name,
            clean(", ".join(m.triggers)) or _none(),
            *(f"{m.parts[name]:.2f}" for name in ("trigger", "similarity", "success", "priority")),
            f"{m.score:.2f}",
            m.why_not or "yes",
        )
        for m in found
    ]
    columns = ("name", "words", "trigger", "similarity", "success", "priority", "score", "fits")
    return Table(columns, rows, words=2)


def match_footer(found: Sequence[Match]) -> str:
    """Which one would be followed, and what the score is made of."""
    from reverie.knowledge.sops import MINIMUM, WEIGHTS

    made = " + ".join(f"{weight:g} {name}" for name, weight in WEIGHTS.items())
    best = next((m for m in found if not m.why_not), None)
    verdict = f"{best.stored.name} would be followed" if best else "none would be followed"
    return f"score = {made}; at least {MINIMUM:g}\n{verdict}"


def sop_text(stored: StoredSop, versions: Sequence[StoredSop], statistics: SopStatistics) -> str:
    """A procedure in full."""
    sop = stored.sop
    record = statistics.record(stored.key)
    use = "" if stored.current else ", not in use"
    lines = [
        f"{sop.name}, version {stored.number} ({sop.version}){use}",
        clean(sop.description),
        f"category {clean(sop.category)}, priority {sop.priority}, from {clean(stored.source)}",
        f"triggers: {clean(', '.join(sop.trigger)) or 'none'}",
    ]
    lines += [f"only if: {_said(check)}" for check in sop.preconditions]
    for number, step in enumerate(sop.steps, 1):
        lines.append(f"{number}. {clean(step.action)}")
        lines += [f"   when: {_said(check)}" for check in step.condition]
        if step.tool:
            inputs = ", ".join(f"{clean(k)}={clean(str(v))}" for k, v in step.inputs.items())
            lines.append(f"   tool: {clean(step.tool)}" + (f"({inputs})" if inputs else ""))
        lines += [f"   check: {_said(check)}" for check in step.check]
    lines.append(
        f"used {counted(record['uses'], 'time')}, scored {record['scored']:,}; success "
        f"{_success(record)}, {record['state']}"
    )
    for task_type, there in statistics.by_type(stored.key).items():
        uses = counted(there["uses"], "use")
        lines.append(f"  {clean(task_type) or 'unknown'}: {uses}, success {_success(there)}")
    if len(versions) > 1:
        lines.append("versions:")
        for one in versions:
            mark = ", in use" if one.current else ""
            success = _success(statistics.record(one.key))
            lines.append(
                f"  {one.number} ({one.sop.version}) from {clean(one.source)}, success "
                f"{success}{mark}"
            )
    return "\n".join(lines)


def sop_document(stored: StoredSop, statistics: SopStatistics) -> dict[str, Any]:
    """A version and its record, as JSON."""
    return {
        "name": stored.name,
        "number": stored.number,
        "version": stored.sop.version,
        "current": stored.current,
        "description": stored.sop.description,
        "category": stored.sop.category,
        "priority": stored.sop.priority,
        "source": stored.source,
        "added": stored.added,
        "record": statistics.record(stored.key),
    }


def match_document(found: Match) -> dict[str, Any]:
    """A match, as JSON."""
    return {
        "name": found.stored.name,
        "number": found.stored.number,
        "version": found.stored.sop.version,
        "score": found.score,
        "parts": found.parts,
        "triggers": found.triggers,
        "record": found.record,
        "why_not": found.why_not,
    }


def added_text(added: Added) -> str:
    """What adding did, in a line."""
    stored = added.stored
    steps = counted(len(stored.sop.steps), "step")
    return f"{_CHANGES[added.change]}: {stored.name}, version {stored.number}, {steps}"


def added_document(added: Added) -> dict[str, Any]:
    """What adding did, as JSON."""
    stored = added.stored
    return {
        "name": stored.name,
        "number": stored.number,
        "version": stored.sop.version,
        "change": added.change,
    }


def _said(check: Check) -> str:
    return clean(f"{check.said} (judged by the model)" if check.judged else check.said)


def _success(record: SopRecord) -> str:
    return f"{record['mean']:.2f} ({record['low']:.2f}-{record['high']:.2f})"


def _trend(record: SopRecord) -> str:
    if not record["trend"]:
        return _none()
    if glyphs_for(sys.stdout.encoding) is UNICODE:
        return "".join(_BLOCKS[min(7, int(score * 8))] for score in record["trend"])
    return " ".join(f"{score:.1f}" for score in record["trend"][-3:])


def _none() -> str:
    return glyphs_for(sys.stdout.encoding).none
