"""Documents as callers give them: strings, mappings or ``Document``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from reverie.errors import ConfigError
from reverie.knowledge.search.records import Document

_FIELDS = tuple(field.name for field in fields(Document))


def documents_of(given: Sequence[str | Mapping[str, Any] | Document]) -> dict[str, Document]:
    """The documents by id, in order; one without an id is called by its position, from "0".

    Raises ConfigError: there are none, one has no text or wrong fields, two have one id.
    """
    if isinstance(given, str | Mapping | Document):
        raise ConfigError(
            f"documents is one {type(given).__name__}", hint="Give a list of documents"
        )
    documents: dict[str, Document] = {}
    for place, one in enumerate(given):
        document = _document(one, place)
        if document.id in documents:
            raise ConfigError(
                f"Two documents have the id {document.id!r}; the second is number {place}",
                hint="Give every document an id of its own, or none of them",
            )
        documents[document.id] = document
    if not documents:
        raise ConfigError("There are no documents to search", hint="Give at least one")
    return documents


def searched_text(document: Document) -> str:
    """What of a document is searched: its title and its text."""
    return f"{document.title}\n{document.text}" if document.title else document.text


def _document(given: object, place: int) -> Document:
    if isinstance(given, str):
        document = Document(given)
    elif isinstance(given, Document):
        document = given
    elif isinstance(given, Mapping):
        document = _of_mapping(given, place)
    else:
        raise ConfigError(
            f"Document {place} is of type {type(given).__name__}",
            hint="Give a string, a Document, or a mapping with the fields of one",
        )
    if not document.text.strip():
        raise ConfigError(f"Document {place} has no text")
    return document if document.id else replace(document, id=str(place))


def _of_mapping(given: Mapping[str, Any], place: int) -> Document:
    if unknown := [name for name in given if name not in _FIELDS]:
        raise ConfigError(
            f"Document {place} has a field {unknown[0]!r}",
            hint=f"The fields are: {', '.join(_FIELDS)}; put what else there is into metadata",
        )
    named = {"text": "", **given}
    if isinstance(named.get("id"), int):
        named["id"] = str(named["id"])
    for name in ("text", "id", "title"):
        if not isinstance(named.get(name, ""), str):
            raise ConfigError(f"The {name} of document {place} is no string: {named[name]!r}")
    if not isinstance(named.get("metadata", {}), Mapping):
        raise ConfigError(f"The metadata of document {place} is no mapping")
    return Document(**named)
