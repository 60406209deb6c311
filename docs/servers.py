# ruff: noqa: INP001  # a script beside the page it writes
"""Write the table of docs/servers.md from what reverie/models/presets.yaml knows.

.venv/bin/python docs/servers.py
"""

from __future__ import annotations

from pathlib import Path

from reverie.models.presets import Preset, presets
from reverie.models.profile import ModelProfile

PAGE = Path(__file__).with_name("servers.md")
BEGIN = "<!-- presets: begin; written by docs/servers.py -->"
END = "<!-- presets: end -->"

_ABILITIES = {
    "json_schema": "JSON schema",
    "schema_patterns": "patterns in schemas",
    "json_object": "JSON object",
    "grammar": "grammar",
    "tools": "tools",
    "parallel_tools": "parallel tool calls",
    "strict_tools": "strict arguments",
    "schema_with_tools": "schema with tools",
    "logprobs": "log-probabilities",
    "prompt_logprobs": "prompt log-probs",
    "token_ids": "token ids",
    "n": "n > 1",
    "seed": "seed",
    "stop": "stop strings",
    "prefill": "prefill",
    "embeddings": "embeddings",
    "counter": "counts tokens",
}


def table() -> str:
    """All presets: what is assumed of each, then its address, marks, rules and notes."""
    known = presets()
    head = ["ability", *(preset.title for preset in known)]
    rows = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for field, title in _ABILITIES.items():
        rows.append(f"| {title} | {' | '.join(_cell(preset, field) for preset in known)} |")
    return "\n".join([*rows, *(line for preset in known for line in _section(preset))])


def written(page: str) -> str:
    """The page with the table in its place."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def _cell(preset: Preset, field: str) -> str:
    if field not in preset.profile:
        return ""
    value = preset.profile[field]
    if value is True and field == "logprobs":
        return f"yes, top {preset.profile['top_logprobs']}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _section(preset: Preset) -> list[str]:
    marks = preset.recognise
    told = [f"`owned_by` {owner}" for owner in marks.owned_by]
    told += [f"the host {host}" for host in marks.hosts]
    told += [f"`{mark.key}` at `{mark.path[1:]}`" for mark in marks.paths]
    lines = [
        "",
        f"### {preset.title}",
        "",
        f"`{preset.name}` stands for {preset.address}. Recognised by {' or '.join(told)}.",
        "",
    ]
    lines += [f"* {note.text.strip()} ([source]({note.source}))" for note in preset.notes]
    if preset.models:
        lines += ["", "| models named like | differ in |", "|---|---|"]
        lines += [f"| `{rule.pattern}` | {_rule(rule.profile)} |" for rule in preset.models]
    return lines


def _rule(profile: dict[str, object]) -> str:
    defaults = ModelProfile(name="any").model_dump()
    told = {k: v for k, v in profile.items() if k != "top_logprobs"}
    return ", ".join(
        f"{'' if v else 'no '}{k}" if isinstance(defaults[k], bool) else f"{k} {v}"
        for k, v in told.items()
    )


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
