"""A question as it may enter a prompt, a store and a terminal."""

from __future__ import annotations

import unicodedata

from reverie.errors import ConfigError

# Control and private characters, lone surrogates, and the marks that reverse text in a terminal.
_DROPPED_CATEGORIES = {"Cc", "Cs", "Co", "Cn"}
_REVERSING = {chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def clean_question(text: str) -> str:
    """The text without control characters; line breaks and tabs become spaces where they must.

    Any script passes. Raises ConfigError when nothing that can be seen is left.
    """
    kept = "".join(
        " " if character in "\t\r" else character
        for character in text
        if character in "\n\t\r"
        or (
            unicodedata.category(character) not in _DROPPED_CATEGORIES
            and character not in _REVERSING
        )
    ).strip()
    if not any(character.isprintable() and not character.isspace() for character in kept):
        raise ConfigError(
            "the question is empty", hint='ask one, as in: reverie ask "Why does ice float?"'
        )
    return kept
