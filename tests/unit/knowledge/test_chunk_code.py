"""Source code by function, class and import."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from reverie.errors import ConfigError
from reverie.knowledge.chunk import Chunk, chunks_of, count_tokens, languages
from reverie.knowledge.read import SourceDocument, read_file


def chunks(text: str, language: str = "python", tokens: int = 30, path: str = "/a") -> list[Chunk]:
    return chunks_of(SourceDocument(path, "code", text, language), tokens=tokens)


def named(text: str, language: str, tokens: int = 16) -> list[tuple[str, str, int, int]]:
    return [
        (c.kind, c.name, c.span.first_line, c.span.last_line)
        for c in chunks(text, language, tokens)
    ]


PYTHON = '''\
"""About the module."""

from __future__ import annotations
import os

LIMIT = 10


# What it does
# goes here.
@cache
def load(path):
    """Load it."""
    return os.stat(path)


class Store(Base):
    """Keeps things for as long as they are wanted, and no longer than that."""

    size = 0

    @property
    def first(self):
        return self.things[0]

    class Inner:
        """Inside."""

    async def fetch(self, name):
        """Get one thing by its name, or None where there is none of that name."""
        return await self.source.get(name, default=None)


if os.name == "nt":

    def fallback():
        return None
'''


def test_python() -> None:
    found = chunks(PYTHON)
    assert [(c.kind, c.name) for c in found] == [
        ("docstring", ""),
        ("imports", ""),
        ("code", ""),
        ("function", "load"),
        ("class", "Store"),
        ("method", "Store.first"),
        ("class", "Store.Inner"),
        ("method", "Store.fetch"),
        ("code", ""),
        ("function", "fallback"),
    ]
    load = found[3]
    assert load.text.startswith("# What it does\n# goes here.\n@cache\ndef load")
    assert load.docstring == "Load it."
    assert (load.span.first_line, load.span.last_line) == (9, 14)
    assert found[0].docstring == "About the module."
    assert found[4].text.endswith("size = 0")
    assert found[5].text.startswith("    @property")


def test_a_small_class_is_one_chunk() -> None:
    text = "class P:\n    def x(self):\n        return 1\n\n    def y(self):\n        return 2\n"
    assert named(text, "python", 200) == [("class", "P", 1, 6)]


def test_javascript() -> None:
    text = """\
import a from "b";
const fs = require("fs");

/**
 * Adds.
 */
export async function add(a, b) {
  return a + b;
}

const twice = (x) => {
  return 2 * x;
};

module.exports.thrice = function (x) { return 3 * x; };

export default class Stack extends Base {
  #items = [];
  /** Puts one on top. */
  push(item) { this.#items.push(item); return this; }
  get size() { return this.#items.length + 0; }
  static handler = (event) => { console.log(event, 1, 2); };
}
"""
    assert named(text, "javascript", 20) == [
        ("imports", "", 1, 2),
        ("function", "add", 4, 9),
        ("function", "twice", 11, 13),
        ("function", "thrice", 15, 15),
        ("class", "Stack", 17, 18),
        ("method", "Stack.push", 19, 20),
        ("method", "Stack.size", 21, 21),
        ("method", "Stack.handler", 22, 23),
    ]
    assert chunks(text, "javascript", 20)[1].docstring == "Adds."
    assert chunks(text, "javascript", 20)[5].docstring == "Puts one on top."


def test_javascript_inside_of_a_call() -> None:
    body = "".join(f"  function f{n}(a) {{\n    return a + {n} * 2;\n  }}\n" for n in range(9))
    found = chunks(f"(function () {{\n{body}}})();\n", "javascript", 40)
    assert [c.name for c in found if c.kind == "function"] == [f"f{n}" for n in range(9)]


def test_typescript() -> None:
    text = """\
import { x } from "y";

/** Something with a size. */
export interface Sized { size: number; grow(by: number): void; }

export abstract class Box<T> implements Sized {
  constructor(private readonly inner: T, public size: number) { super(); }

  abstract open(): T;

  @log()
  protected close(reason: string): void { console.log(reason, this.inner); }
}

namespace Tools {
  export function hammer(nail: Nail): void { nail.hit(1, 2, 3); nail.hit(4, 5, 6); }
}

declare function overloaded(a: string): void;
export const pick = <T,>(items: T[]): T => items[0];
enum Colour { Red, Green }
"""
    found = named(text, "typescript", 20)
    assert [(kind, name) for kind, name, *_ in found if kind != "code"] == [
        ("imports", ""),
        ("class", "Sized"),
        ("class", "Box"),
        ("method", "Box.constructor"),
        ("method", "Box.close"),
        ("function", "Tools.hammer"),
        ("function", "overloaded"),
        ("function", "pick"),
        ("class", "Colour"),
    ]
    text = "export const App = () => {\n  return <div>{x as string}</div>;\n};\n"
    (app,) = chunks(text, "typescript", 50, "/a/App.tsx")
    assert (app.kind, app.name) == ("function", "App")


def test_go() -> None:
    text = """\
// Package stack keeps things.
package stack

import (
	"fmt"
	"os"
)

// Stack is last in, first out.
type Stack[T any] struct {
	items []T
}

// Push puts one on top.
func (s *Stack[T]) Push(item T) { s.items = append(s.items, item) }

func New() *Stack[int] { return &Stack[int]{} }

var limit = 10
"""
    assert named(text, "go", 20) == [
        ("docstring", "", 1, 2),
        ("imports", "", 4, 7),
        ("class", "Stack", 9, 12),
        ("method", "Stack.Push", 14, 15),
        ("function", "New", 17, 17),
        ("code", "", 19, 19),
    ]
    assert chunks(text, "go", 20)[3].docstring == "Push puts one on top."


def test_rust() -> None:
    text = """\
//! About the crate.

use std::io;
use std::fmt;

/// Last in, first out.
#[derive(Debug, Clone)]
pub struct Stack<T> { items: Vec<T> }

impl<T> Stack<T> {
    /// Puts one on top.
    pub fn push(&mut self, item: T) { self.items.push(item); }

    pub fn len(&self) -> usize { self.items.len() }
}

mod inner {
    pub fn helper(x: u8) -> u8 { x.wrapping_add(1).wrapping_mul(2) }
}

macro_rules! twice { ($x:expr) => { $x; $x }; }
"""
    assert named(text, "rust", 24) == [
        ("docstring", "", 1, 1),
        ("imports", "", 3, 4),
        ("class", "Stack", 6, 8),
        ("method", "Stack.push", 10, 12),
        ("method", "Stack.len", 14, 15),
        ("function", "inner.helper", 17, 19),
        ("function", "twice", 21, 21),
    ]
    assert chunks(text, "rust", 24)[2].docstring == "Last in, first out."


def test_java() -> None:
    text = """\
package org.example;

import java.util.List;

/** Keeps things. */
@Deprecated
public class Store<T> extends Base {
    private final List<T> things = new ArrayList<>();

    public Store(int size) { super(size); this.grow(size, size); }

    /** Adds one. */
    @Override
    public void add(T thing) { things.add(thing); this.count += 1; }
}

enum Colour { RED, GREEN; Colour next() { return values()[(ordinal() + 1) % 2]; } }
"""
    assert named(text, "java", 24) == [
        ("imports", "", 1, 3),
        ("class", "Store", 5, 8),
        ("method", "Store.Store", 10, 10),
        ("method", "Store.add", 12, 15),
        ("class", "Colour", 17, 17),
    ]


def test_c() -> None:
    text = """\
#include <stdio.h>
#include "a.h"

/* A point. */
typedef struct { int x; int y; } Point;

#ifdef BIG
static Point *make(int x, int y) {
    return 0;
}
#endif

int (*pick(void))(int) { return 0; }
"""
    assert named(text, "c", 30) == [
        ("imports", "", 1, 2),
        ("class", "Point", 4, 5),
        ("function", "make", 7, 11),
        ("function", "pick", 13, 13),
    ]


def test_a_function_is_whole_up_to_four_times_the_size() -> None:
    body = "".join(f"    total += values[{n}]\n" for n in range(40))
    found = chunks(f"def f(values):\n    total = 0\n{body}    return total\n", tokens=100)
    assert [c.kind for c in found] == ["function"]
    assert count_tokens(found[0].text) > 300


def test_a_longer_one_is_cut_between_its_statements() -> None:
    body = "".join(
        f"    if values[{n}]:\n        # about it\n        go({n})\n        stop({n})\n"
        for n in range(80)
    )
    found = chunks(f"def f(values):\n    '''Says.'''\n{body}", tokens=100)
    assert {c.name for c in found} == {"f"}
    assert len(found) > 10
    for chunk in found[1:]:
        assert chunk.text.startswith("    if values[")
        assert "def f(values):" not in chunk.text
        assert "\ndef f(values):\n" in chunk.embedding_text


def test_what_does_not_parse_still_gives_its_functions() -> None:
    text = (
        "def a(x):\n    return )1\n\n\ndef b():\n    return 2 ]\n\n\nclass C:\n    def m(self): $\n"
    )
    found = chunks(text)
    assert "b" in {c.name for c in found}
    assert "".join("".join(c.text for c in found).split()) == "".join(text.split())


def test_code_of_other_languages_is_cut_at_the_least_indented_line() -> None:
    text = "".join(f"job{n}:\n  run: one two\n  with:\n    a: {n}\n" for n in range(30))
    found = chunks(text, "yaml", 50)
    assert len(found) > 5
    assert all(c.text.startswith("job") for c in found)


def test_the_standard_library_keeps_all_of_its_text() -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    for name in ("json/decoder.py", "argparse.py", "typing.py", "asyncio/base_events.py"):
        (document,) = read_file(folder / name, most_bytes=10_000_000)
        lines = document.text.split("\n")
        reached = 0
        for chunk in chunks_of(document, tokens=200):
            first, last = chunk.span.first_line, chunk.span.last_line
            assert chunk.text == "\n".join(lines[first - 1 : last]).rstrip()
            assert first > reached
            assert not "".join(lines[reached : first - 1]).strip()
            reached = last
        assert not "".join(lines[reached:]).strip()


def test_a_grammar_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name=name)

    monkeypatch.setattr(languages.importlib, "import_module", missing)
    with pytest.raises(ConfigError, match="tree_sitter_go") as raised:
        chunks("package p", "go")
    assert "reverie[knowledge]" in raised.value.hint
