"""What a Markdown file is called."""

from __future__ import annotations

import re
from typing import Final

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING: Final = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE: Final = re.compile(r" {0,3}=+[ \t]*$")
_TITLE: Final = re.compile(r"title:\s*(.+?)\s*$", re.IGNORECASE)
_LOOKED_AT: Final = 500
"""Lines: a title stands near the beginning."""
LONGEST_HEADING: Final = 300
"""Characters: every chunk repeats the headings that it stands under."""
_LONGEST_LINE: Final = 1000
"""Characters of its line that are looked at: links in it have addresses."""


def front_matter(lines: list[str]) -> int:
    """How many lines the block between two lines of ``---`` takes with which ``lines`` begin."""
    if lines and lines[0].rstrip() == "---":
        for number in range(1, min(len(lines), _LOOKED_AT)):
            if lines[number].rstrip() in {"---", "..."}:
                return number + 1
    return 0


def title_of(text: str) -> str:
    """The title in the front matter, or the first heading; empty where there is neither."""
    lines = [line[:_LONGEST_LINE] for line in text.split("\n", _LOOKED_AT + 1)[:_LOOKED_AT]]
    body = front_matter(lines)
    for line in lines[:body]:
        if match := _TITLE.match(line):
            return match[1].strip("\"'")[:LONGEST_HEADING]
    fence = ""
    for number, line in enumerate(lines[body:], body):
        if match := _FENCE.match(line):
            if not fence:
                fence = match[1]
            elif match[1].startswith(fence):
                fence = ""
        elif fence:
            continue
        elif match := _HEADING.match(line):
            return plain(match[1])
        elif _UNDERLINE.match(line) and number > body and lines[number - 1].strip():
            return plain(lines[number - 1])
    return ""


def plain(inline: str) -> str:
    """The line of a heading without what marks links, emphasis and code; of a longer one its
    first ``LONGEST_HEADING`` characters.
    """
    inline = inline[:_LONGEST_LINE]  # before the patterns, whose time grows with its square
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", inline)
    text = re.sub(r"(\*{1,3}|`+)(\S(?:.*?\S)?)\1", r"\2", text)
    text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)
    return text.strip()[:LONGEST_HEADING].rstrip()
