"""What Chroma in a folder and Chroma on a server have in common: names, errors, translation."""

from __future__ import annotations

import contextlib
import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.knowledge.vectors.checks import alternatives
from reverie.knowledge.vectors.store import Value, VectorHit, VectorRecord, Where

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_BATCH: Final = 1000
"""Records written at once: about a second."""

INDEX: Final[Mapping[str, Any]] = {"space": "cosine", "ef_search": 200}
"""Of the nearest-neighbour index (HNSW)."""

MOST_ALTERNATIVES: Final = 10_000
"""Values that one filter may name: Chroma's SQLite takes some 30,000."""

_EPOCH = "epoch"
_EMBEDDER = "embedder"
_DIMENSION = "dimension"
_NO_METADATA: Mapping[str, Value] = {}


class ChromaFailed(Exception):
    """Whatever chromadb raised, which may also be a panic of its Rust core."""


@contextlib.contextmanager
def chroma_errors() -> Iterator[None]:
    """Turns what chromadb raises into ``ChromaFailed``; Reverie's own errors stay."""
    from reverie.errors import ReverieError

    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, ReverieError, ChromaFailed):
        raise
    except BaseException as error:  # a panic is no Exception
        raise ChromaFailed(f"{type(error).__name__}: {error}") from error


def import_chromadb() -> Any:
    """The module, which takes about a second. Raises ``ConfigError`` where it is missing."""
    try:
        import chromadb
    except ImportError as error:
        raise ConfigError(
            "Chroma is not installed", hint="pip install 'reverie[knowledge]'"
        ) from error
    return chromadb


def chroma_version() -> str:
    """Major and minor: patches read each other's files."""
    from importlib.metadata import version

    return ".".join(version("chromadb").split(".")[:2])


def collection_name(name: str, embedder: str) -> str:
    """One per store and embedder, within Chroma's rules for names."""
    digest = hashlib.sha256(f"{name}\0{embedder}".encode("utf-8", "replace")).hexdigest()
    words = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]
    return f"{words or 'vectors'}-{digest[:12]}"


def new_metadata(embedder: str, dimension: int) -> dict[str, Value]:
    """What a new collection says of itself."""
    return {_EMBEDDER: embedder, _DIMENSION: dimension, _EPOCH: uuid.uuid4().hex}


def epoch_of(metadata: Mapping[str, Any] | None) -> str:
    """The epoch that a collection's metadata names."""
    return str((metadata or _NO_METADATA).get(_EPOCH, ""))


def check_collection(
    metadata: Mapping[str, Any] | None, embedder: str, dimension: int, place: str
) -> None:
    """Raises ``KnowledgeUnavailable`` when a collection holds other vectors."""
    told = metadata or _NO_METADATA
    theirs, length = told.get(_EMBEDDER, embedder), told.get(_DIMENSION, dimension)
    if (theirs, length) != (embedder, dimension):
        raise KnowledgeUnavailable(
            f"{place} holds vectors of {theirs} with {length} numbers, but those of {embedder} "
            f"have {dimension}",
            hint="Use the embedder that wrote them, or set REVERIE_HOME to another folder",
        )


def upsert_arguments(
    records: Sequence[VectorRecord], rows: NDArray[np.float32], before: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``upsert`` takes. ``before`` is what ``get`` says of these ids: Chroma adds to the
    metadata of a record that is there, so keys that it no longer has must be taken away by name.
    """
    had = dict(zip(before["ids"], before["metadatas"], strict=True))
    metadatas: list[dict[str, Value | None] | None] = []
    for record in records:
        metadata: dict[str, Value | None] = dict.fromkeys(had.get(record.id) or ())
        metadata |= {_escaped(key): value for key, value in record.metadata.items()}
        metadatas.append(metadata or None)  # it refuses an empty one
    return {
        "ids": [record.id for record in records],
        "embeddings": rows,
        "documents": [record.text for record in records],
        "metadatas": metadatas,
    }


def where_argument(where: Where | None) -> tuple[dict[str, Any] | None, bool]:
    """``where`` as Chroma takes it, and whether anything can match at all. Every value is compared
    by an operator written here, so none can be one. Raises ``ConfigError``.
    """
    every: list[dict[str, Any]] = []
    wanted = alternatives(where or _NO_METADATA)
    if (named := sum(map(len, wanted.values()))) > MOST_ALTERNATIVES:
        raise ConfigError(
            f"A filter of Chroma's names {named:,} values",
            hint=f"At most {MOST_ALTERNATIVES:,}; ask in parts",
        )
    for key, values in wanted.items():
        if not values:
            return None, False
        kinds: dict[type, list[Value]] = {}  # one list holds one type
        for value in values:
            kinds.setdefault(type(value), []).append(value)
        any_of = [{_escaped(key): {"$in": of_kind}} for of_kind in kinds.values()]
        every.append(any_of[0] if len(any_of) == 1 else {"$or": any_of})
    if not every:
        return None, True
    return (every[0] if len(every) == 1 else {"$and": every}), True


def hits_of(found: Mapping[str, Any]) -> list[VectorHit]:
    """What ``query`` returned for one vector."""
    columns = (found["ids"][0], found["documents"][0], found["metadatas"][0], found["distances"][0])
    return [
        VectorHit(_record(name, text, metadata), min(1.0, max(-1.0, 1.0 - float(distance))))
        for name, text, metadata, distance in zip(*columns, strict=True)
    ]


def records_of(found: Mapping[str, Any]) -> dict[str, VectorRecord]:
    """What ``get`` returned."""
    columns = (found["ids"], found["documents"], found["metadatas"])
    return {
        name: _record(name, text, metadata) for name, text, metadata in zip(*columns, strict=True)
    }


def _record(name: str, text: str | None, metadata: Mapping[str, Any] | None) -> VectorRecord:
    told = metadata or _NO_METADATA
    return VectorRecord(name, text or "", {_plain(key): value for key, value in told.items()})


def _escaped(key: str) -> str:
    """Keys that Chroma refuses or takes for operators, and those that look escaped already."""
    odd = not key or key.startswith(("$", "#", "\\", "chroma:"))
    return f"\\{key}" if odd else key


def _plain(key: str) -> str:
    return key.removeprefix("\\")
