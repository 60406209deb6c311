"""Questions with the passages that answer them, for measuring search. Nothing of it is packaged."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reverie.errors import ConfigError
from reverie.knowledge.search import Document

FOLDER: Final = "BENCH_RETRIEVAL"
"""Names the folder in the environment; else it is ../shared/data/hotpotqa100."""

_FOLDOC: Final = "foldoc.dict.dz"
_DICTIONARIES: Final = Path("/usr/share/dictd")
_FOLDOC_ENTRIES: Final = 3000
_FOLDOC_QUESTIONS: Final = 300


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents, and questions with the ids of the documents that should be found for each."""

    name: str
    documents: tuple[Document, ...]
    questions: tuple[str, ...]
    relevant: tuple[frozenset[str], ...]


def corpora() -> list[Corpus]:
    """HotpotQA, and what else there is: MuSiQue in the same folder, FOLDOC there or where the
    Debian package dict-foldoc puts it.

    Blocks. Raises ConfigError without HotpotQA.
    """
    folder = Path(os.environ.get(FOLDER, "../shared/data/hotpotqa100"))
    if not (folder / "hotpotqa_train.json").is_file():
        raise ConfigError(
            f"{folder} has no hotpotqa_train.json",
            hint=f"Set {FOLDER} to a folder with data/hotpotqa_train.json and "
            "data/hotpotqa_train_corpus.json of HippoRAG's repository (commit 3d95d255)",
        )
    found = [_hotpotqa(folder)]
    if (folder / "musique_train.json").is_file():
        found.append(_musique(folder))
    for place in (folder, _DICTIONARIES):
        if (place / _FOLDOC).is_file():
            found.append(_foldoc(place / _FOLDOC))
            break
    return found


def _hotpotqa(folder: Path) -> Corpus:
    """100 questions that each need two passages of Wikipedia (Yang et al. 2018)."""
    questions = _json(folder / "hotpotqa_train.json")
    passages = _json(folder / "hotpotqa_train_corpus.json")
    return Corpus(
        "HotpotQA-100",
        tuple(
            Document("".join(sentences), id=title, title=title)
            for title, sentences in passages.items()
        ),
        tuple(question["question"] for question in questions),
        tuple(frozenset(title for title, _ in q["supporting_facts"]) for q in questions),
    )


def _musique(folder: Path) -> Corpus:
    """100 questions that each need two to four passages (Trivedi et al. 2022)."""
    questions = _json(folder / "musique_train.json")
    passages = _json(folder / "musique_train_corpus.json")
    ids = {(p["title"], p["text"]): str(place) for place, p in enumerate(passages)}
    return Corpus(
        "MuSiQue-100",
        tuple(
            Document(p["text"], id=str(place), title=p["title"]) for place, p in enumerate(passages)
        ),
        tuple(question["question"] for question in questions),
        tuple(
            frozenset(
                ids[p["title"], p["paragraph_text"]] for p in q["paragraphs"] if p["is_supporting"]
            )
            for q in questions
        ),
    )


def _foldoc(path: Path) -> Corpus:
    """Entries of a dictionary of computing, each to be found by its first sentence, which is taken
    out of it and does not name it: a search that needs no second document.
    """
    entries = []
    for entry in re.split(r"\n(?=\S)", gzip.decompress(path.read_bytes()).decode("utf-8")):
        head, _, body = entry.partition("\n")
        plain = re.sub(r"[{}]|\(\d{4}-\d\d-\d\d\)", "", re.sub(r"\s+", " ", body).strip())
        plain = re.sub(r"^(?:<[^>]*> )+", "", plain)
        if not head.startswith("00-") and len(plain) >= 200:
            entries.append((head.strip(), plain))
    random.Random(1).shuffle(entries)  # noqa: S311  # a sample, no secret
    documents: list[Document] = []
    questions: list[str] = []
    relevant: list[frozenset[str]] = []
    for place, (head, body) in enumerate(entries[:_FOLDOC_ENTRIES]):
        first, _, rest = body.partition(". ")
        asked = len(questions) < _FOLDOC_QUESTIONS and 60 < len(first) < 400 and len(rest) > 100
        if asked:
            questions.append(re.sub(re.escape(head), "it", first, flags=re.IGNORECASE))
            relevant.append(frozenset([str(place)]))
        documents.append(Document(rest if asked else body, id=str(place), title=head))
    return Corpus("FOLDOC-300", tuple(documents), tuple(questions), tuple(relevant))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
