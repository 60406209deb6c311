"""How many functions of real sources stay whole in one chunk, beside other ways to cut; how fast.

The sources are the standard library of the Python that runs this; which functions there are comes
from its own parser. A function is whole when its text, decorators included, is in one chunk. Other
ways know one size only, the most: they are compared once with as many characters in a chunk on
average, and once with as many at most, which makes most of their chunks several times longer.

The peers: LangChain's RecursiveCharacterTextSplitter for Python and LlamaIndex's CodeSplitter.
"""

from __future__ import annotations

import ast
import gc
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reverie.evals.bench import Cell, Goal, Progress, Report, Table
from reverie.evals.bench.machine import load_average, processor
from reverie.knowledge.chunk import chunks_of, count_tokens
from reverie.knowledge.chunk.languages import GRAMMARS, parser_of
from reverie.knowledge.read import SourceDocument, find_files, read_file
from reverie.models.packaged import MINILM_TOKENIZER, ensure
from reverie.settings import load_settings

_TOKENS = 200
_MOST_READ = 256
"""Tokens that the packaged embedder reads."""
_EXCLUDE = ("test/", "tests/", "idlelib/", "lib2to3/", "config-*/")
_ROUNDS = 8
"""Of the search for a size that gives the same average."""
_WHOLE_GOAL = 5.0
_SECONDS_GOAL = 5.0
_SAMPLED = 2000
"""Chunks that are counted with the embedder's tokenizer."""


@dataclass(frozen=True, slots=True)
class _Source:
    document: SourceDocument
    functions: list[str]
    """The text of every function and method that is in no other function."""


_Way = Callable[[_Source], list[str]]
"""Cuts the text of a source."""


@dataclass(frozen=True, slots=True)
class _Cut:
    seconds: float
    chunks: list[list[str]]
    """Per source."""

    @property
    def sizes(self) -> list[int]:
        return [len(chunk) for chunks in self.chunks for chunk in chunks]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.sizes)


def run(repeats: int, progress: Progress) -> Report:
    """Every way to cut over all sources; seconds are the least of ``repeats`` rounds."""
    progress("reading the standard library")
    began = time.perf_counter()
    sources = _sources()
    read_seconds = time.perf_counter() - began
    size = sum(len(source.document.text.encode()) for source in sources) / 1e6
    functions = sum(len(source.functions) for source in sources)

    progress("cutting by what the code defines")
    ours = _best(sources, repeats, _ours)
    mean, most = ours.mean, max(ours.sizes)
    rows = [_row("Reverie, 200 tokens", ours, sources, size)]
    fixed = _calibrated(sources, mean, _windows, 1.0)
    progress("fixed windows")
    rows.append(_row("fixed windows, equal mean", _best(sources, repeats, fixed), sources, size))
    for name, of_size in _peers():
        progress(name)
        same = _calibrated(sources, mean, of_size, 1.5)
        cut = _best(sources, 1, same)
        rows.append(_row(f"{name}, equal mean", cut, sources, size))
        cut = _best(sources, 1, of_size(most))
        rows.append(_row(f"{name}, equal most", cut, sources, size))

    progress("counting tokens with the embedder's tokenizer")
    tokens, beyond = _token_table(sources)
    whole = float(rows[0][1])
    return Report(
        (
            Table(
                f"Functions whole in one chunk: {functions} functions, {size:.1f} MB of Python",
                (
                    "way to cut",
                    "whole, %",
                    "chunks",
                    "mean size",
                    "most",
                    "MB/s",
                ),
                tuple(rows),
            ),
            tokens,
        ),
        (
            Goal("functions that are cut, %", _WHOLE_GOAL, 100 - whole),
            Goal("seconds for 5 MB", _SECONDS_GOAL, ours.seconds * 5 / size),
        ),
        {
            "Python": sys.version.split()[0],
            "files": len(sources),
            "seconds to read and parse them for the count": round(read_seconds, 1),
            "embedding texts that the embedder cuts, %": round(beyond, 1),
            "tree-sitter": version("tree-sitter"),
            "processor": processor(),
            "load": load_average(),
        },
    )


def _sources() -> list[_Source]:
    """The standard library without its tests."""
    sources = []
    folder = Path(sysconfig.get_path("stdlib"))
    for path in find_files([folder], exclude=_EXCLUDE):
        if path.suffix == ".py":
            documents = read_file(path, most_bytes=10_000_000)
            sources += [_Source(one, _functions(one.text)) for one in documents]
    return sources


def _functions(text: str) -> list[str]:
    lines = text.split("\n")
    found: list[str] = []
    todo: list[ast.AST] = [ast.parse(text)]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                found.append("\n".join(lines[first - 1 : node.end_lineno]).strip())
            else:
                todo.append(node)
    return found


def _ours(source: _Source) -> list[str]:
    return [chunk.text for chunk in chunks_of(source.document, tokens=_TOKENS)]


def _windows(size: int) -> _Way:
    """Cuts every ``size`` characters, wherever that is."""

    def cut(source: _Source) -> list[str]:
        text = source.document.text
        return [text[start : start + size] for start in range(0, len(text), size)]

    return cut


def _peers() -> list[tuple[str, Callable[[int], _Way]]]:
    """Those that are installed: name, and what makes one for a most of characters."""
    peers: list[tuple[str, Callable[[int], _Way]]] = []
    try:
        from langchain_text_splitters import Language, RecursiveCharacterTextSplitter
    except ImportError:
        pass
    else:

        def langchain(size: int) -> _Way:
            split = RecursiveCharacterTextSplitter.from_language(
                Language.PYTHON, chunk_size=size, chunk_overlap=0
            )
            return lambda source: split.split_text(source.document.text)

        name = f"LangChain {version('langchain-text-splitters')}"
        peers.append((name, langchain))
    try:
        from llama_index.core.node_parser import CodeSplitter
    except ImportError:
        pass
    else:
        parser: Any = parser_of(GRAMMARS["python"])

        def llama_index(size: int) -> _Way:
            # Without a tokenizer it would fetch one, although it counts characters here.
            split = CodeSplitter("python", max_chars=size, parser=parser, tokenizer=str.split)
            return lambda source: split.split_text(source.document.text)

        peers.append((f"LlamaIndex {version('llama-index-core')}", llama_index))
    return peers


def _calibrated(
    sources: Sequence[_Source],
    mean: float,
    of_size: Callable[[int], _Way],
    factor: float,
) -> _Way:
    """With the size that gives chunks of ``mean`` characters, on every tenth source."""
    low, high = mean * 0.5, mean * 4 * factor
    some = sources[::10]
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        cut = of_size(int(middle))
        sizes = [len(chunk) for source in some for chunk in cut(source)]
        if statistics.fmean(sizes) < mean:
            low = middle
        else:
            high = middle
    return of_size(int((low + high) / 2))


def _best(sources: Sequence[_Source], repeats: int, cut: _Way) -> _Cut:
    seconds = []
    chunks: list[list[str]] = []
    for _ in range(repeats):
        gc.collect()
        began = time.perf_counter()
        chunks = [cut(source) for source in sources]
        seconds.append(time.perf_counter() - began)
    return _Cut(min(seconds), chunks)


def _row(name: str, cut: _Cut, sources: Sequence[_Source], size: float) -> tuple[Cell, ...]:
    whole = sum(
        any(function in chunk for chunk in chunks)
        for source, chunks in zip(sources, cut.chunks, strict=True)
        for function in source.functions
    )
    functions = sum(len(source.functions) for source in sources)
    return (
        name,
        100 * whole / functions,
        len(cut.sizes),
        round(cut.mean),
        max(cut.sizes),
        size / cut.seconds,
    )


def _token_table(sources: Sequence[_Source]) -> tuple[Table, float]:
    """How far the estimate of tokens is off, and the share of embedding texts that are cut."""
    from tokenizers import Tokenizer

    path = ensure(MINILM_TOKENIZER, load_settings().settings.models_folder)
    tokenizer: Any = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    every = [chunk for s in sources for chunk in chunks_of(s.document, tokens=_TOKENS)]
    some = every[:: max(1, len(every) // _SAMPLED)]
    ratios = []
    beyond = 0
    for chunk in some:
        real = len(tokenizer.encode(chunk.text, add_special_tokens=False).ids)
        ratios.append(count_tokens(chunk.text) / max(1, real))
        beyond += len(tokenizer.encode(chunk.embedding_text).ids) > _MOST_READ
    cuts = statistics.quantiles(ratios, n=20)
    table = Table(
        f"Estimated tokens to those of all-MiniLM-L6-v2, over {len(some)} chunks",
        ("", "5 %", "median", "95 %"),
        (("ratio", cuts[0], statistics.median(ratios), cuts[-1]),),
    )
    return table, 100 * beyond / len(some)
