"""Words inside JSON documents: how a small model is kept from rambling in them, and how lists of
them are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reverie.graphs.outside_text import as_data

if TYPE_CHECKING:
    from reverie.models.profile import ModelProfile

_MOST_WORDS: Final = 40


def plain_words(profile: ModelProfile) -> dict[str, Any]:
    """The schema of an answer. A large model may write at length; a small one gets whole words,
    generously many: tight counts and ``maxLength`` glue words together and take seconds to compile.
    """
    if profile.dreams_own_triplets or not profile.schema_patterns:
        return {"type": "string"}
    word = r'[^ "\\\t\n\r]+'
    return {"type": "string", "pattern": f"^({word} ){{0,{_MOST_WORDS - 1}}}{word}$"}


def strings_in(text: str, key: str) -> list[str]:
    """The strings in a document's list ``key``, as data; none when it is no such document."""
    from reverie.models.structured import read_json

    try:
        document = read_json(text)
    except ValueError:
        return []
    items = document.get(key) if isinstance(document, dict) else None
    if not isinstance(items, list):
        return []
    cleaned = [as_data(item) for item in items if isinstance(item, str)]
    return [item for item in cleaned if item]
