"""Text that can be sent."""

from __future__ import annotations


def encodable(text: str) -> str:
    """``text`` as it can be written in UTF-8: halves of a surrogate pair are put together, and
    those that stand alone (they come from damaged input) are replaced.
    """
    if text.isascii():  # known without looking through it
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def word(value: object) -> str:
    """``value`` as text where it is a name or an id, which may be numbers; empty otherwise."""
    if isinstance(value, str):
        return value
    return str(value) if type(value) is int else ""
