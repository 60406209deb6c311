"""Text from outside, such as facts and tool results, as it may stand in a prompt: data, which can
neither end the place that it stands in nor begin a turn of the conversation.
"""

from __future__ import annotations

import re
import unicodedata

_TAG = re.compile(r"<(?=[\w/|!?\N{FULLWIDTH VERTICAL LINE}])")
_TURN = re.compile(r"\[(?=/?[A-Z_]{3,}\])")
"""What chat templates mark turns with, where servers read it in any text: <|im_start|>, [INST]."""


_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")
"""Categories of characters that nobody sees: a person could not know what they say to a model."""
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""They choose between forms of the character before; rows of them can hide a text."""
_JOINERS = "\u200c\u200d"
"""Invisible, but they shape words of several scripts."""


def as_data(text: str, *, keep_lines: bool = False) -> str:
    """``text`` on one line, unless ``keep_lines``, without characters that cannot be seen, and with
    other brackets where a tag or the mark of a turn would begin.
    """
    text = _SELECTORS.sub("", text)
    lines = [" ".join("".join(map(_visible, line)).split()) for line in text.splitlines()]
    joined = ("\n" if keep_lines else " ").join(line for line in lines if line)
    opened = _TAG.sub("\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}", joined)
    return _TURN.sub("(", opened)


def _visible(character: str) -> str:
    if character in _JOINERS:
        return character
    category = unicodedata.category(character)
    return (" " if category == "Cc" else "") if category in _INVISIBLE else character
