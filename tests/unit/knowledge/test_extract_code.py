"""What the grammar of code says: definitions, imports, calls, in every language."""

from __future__ import annotations

import pytest

from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.extract.code.facts import LANGUAGES, code_facts
from reverie.knowledge.extract.code.modules import module_name
from reverie.knowledge.extract.rules import rule_batch
from reverie.knowledge.graph.records import Span
from reverie.knowledge.read.document import SourceDocument

PYTHON = """import re
from json import scanner as s
from .encoder import Encoder

class Decoder:
    def decode(self, text):
        return self.scan(s.make()) + Encoder() + re.compile("x") + text.strip()

    def scan(self, text):
        def inner():
            helper()
        return text

def helper():
    Decoder.decode(1)
    print()

helper()
"""
JAVASCRIPT = """import d, {x as y, z} from "./b";
import * as fs from "fs";
const p = require("path");
export class A { m() { this.n(); y(); fs.read(); p.join(); d(); } n() {} }
const g = () => { new A(); };
function f() { g(); unknown(); }
"""
GO = """package main
import (
  "fmt"
  j "encoding/json"
)
type T struct{}
func (t *T) M() { fmt.Println(j.Marshal(1)); helper() }
func helper() {}
"""
RUST = """use std::{io, collections::HashMap as M};
use crate::c::D;
struct S;
impl S { fn n() { Self::m(); D::x(); io::stdin(); } fn m() {} }
"""
JAVA = """package com.x;
import java.util.List;
class A { void f() { g(); List.of(); } void g() {} class In { void h() {} } }
"""
C = """#include <stdio.h>
#include "b.h"
struct S { int a; };
static int *f(void) { return g(1); }
int g(int x) { return x; }
"""
TYPESCRIPT = """import type {T} from "../t";
interface I { a: number }
export class A<X> { m(): void { this.n(); } n() {} }
const C = () => <div>{f()}</div>;
function f() {}
"""
FILES = {
    "python": ("/x/json/decoder.py", PYTHON),
    "javascript": ("/x/lib/a.js", JAVASCRIPT),
    "typescript": ("/x/lib/a.tsx", TYPESCRIPT),
    "go": ("/x/a.go", GO),
    "rust": ("/x/src/a/b.rs", RUST),
    "java": ("/x/A.java", JAVA),
    "c": ("/x/a.c", C),
}
EXPECTED = {
    "python": (
        "json.decoder",
        ["Decoder", "Decoder.decode", "Decoder.scan", "helper"],
        ["re", "json", "json.scanner", "json.encoder", "json.encoder.Encoder"],
        [
            ("json.decoder.decoder.decode", "json.decoder.decoder.scan", 7),
            ("json.decoder.decoder.decode", "json.scanner.make", 7),
            ("json.decoder.decoder.decode", "json.encoder.encoder", 7),
            ("json.decoder.decoder.decode", "re.compile", 7),
            ("json.decoder.decoder.scan", "json.decoder.helper", 11),
            ("json.decoder.helper", "json.decoder.decoder.decode", 15),
            ("json.decoder", "json.decoder.helper", 18),
        ],
    ),
    "javascript": (
        "lib/a",
        ["A", "A.m", "A.n", "g", "f"],
        ["lib/b", "lib/b.x", "lib/b.z", "lib/b.default", "fs", "path"],
        [
            ("lib/a.a.m", "lib/a.a.n", 4),
            ("lib/a.a.m", "lib/b.x", 4),
            ("lib/a.a.m", "fs.read", 4),
            ("lib/a.a.m", "path.join", 4),
            ("lib/a.a.m", "lib/b.default", 4),
            ("lib/a.g", "lib/a.a", 5),
            ("lib/a.f", "lib/a.g", 6),
        ],
    ),
    "typescript": (
        "lib/a",
        ["I", "A", "A.m", "A.n", "C", "f"],
        ["x/t", "x/t.T"],
        [("lib/a.a.m", "lib/a.a.n", 3), ("lib/a.c", "lib/a.f", 4)],
    ),
    "go": (
        "main",
        ["T", "T.M", "helper"],
        ["fmt", "encoding/json"],
        [
            ("main.t.m", "fmt.println", 7),
            ("main.t.m", "json.marshal", 7),
            ("main.t.m", "main.helper", 7),
        ],
    ),
    "rust": (
        "crate.a.b",
        ["S", "S.n", "S.m"],
        ["std.io", "std.collections.HashMap", "crate.c.D"],
        [
            ("crate.a.b.s.n", "crate.a.b.s.m", 4),
            ("crate.a.b.s.n", "crate.c.d.x", 4),
            ("crate.a.b.s.n", "std.io.stdin", 4),
        ],
    ),
    "java": (
        "com.x",
        ["A", "A.f", "A.g", "A.In", "A.In.h"],
        ["java.util.List"],
        [("com.x.a.f", "com.x.a.g", 3), ("com.x.a.f", "java.util.list.of", 3)],
    ),
    "c": ("", ["S", "f", "g"], ["stdio.h", "b.h"], [("f", "g", 4)]),
}


@pytest.mark.parametrize("language", FILES)
def test_what_a_file_says(language: str) -> None:
    path, text = FILES[language]
    module, definitions, imports, calls = EXPECTED[language]
    facts = code_facts(path, language, text)
    assert facts.module == module
    assert [definition.name for definition in facts.definitions] == definitions
    assert [target for one in facts.imports for target in one.targets] == imports
    whole = Chunk("1", "code", text, Span(path, 1, text.count("\n")))
    batch = rule_batch(SourceDocument(path, "code", text, language), [whole])
    stated = [
        (edge.start, edge.end, edge.span.first_line)
        for edge in batch.edges
        if edge.relation == "calls" and edge.span
    ]
    assert stated == calls


def test_every_language_is_tried() -> None:
    assert set(LANGUAGES) == {*FILES, "tsx"}
    assert code_facts("/a.rb", "ruby", "def f; end").definitions == ()


def test_the_chunk_with_a_function_defines_it() -> None:
    path, text = FILES["python"]
    lines = text.split("\n")
    spans = [(1, 3), (5, 12), (14, 18)]
    chunks = [
        Chunk(str(a), "code", "\n".join(lines[a - 1 : b]), Span(path, a, b)) for a, b in spans
    ]
    batch = rule_batch(SourceDocument(path, "code", text, "python"), chunks)
    defined = {e.end: (e.start, e.span) for e in reversed(batch.edges) if e.relation == "defines"}
    assert defined["json.decoder"] == (f"document:{path}", Span(path, 1, 1))
    assert defined["json.decoder.decoder.scan"] == ("chunk:5", Span(path, 9, 9))
    assert defined["json.decoder.helper"] == ("chunk:14", Span(path, 14, 14))
    held = [
        e.end for e in batch.edges if e.relation == "defines" and e.start == "json.decoder.decoder"
    ]
    assert held == ["json.decoder.decoder.decode", "json.decoder.decoder.scan"]


@pytest.mark.parametrize(
    ("path", "imported", "name"),
    [
        ("/usr/lib/python3.11/json/decoder.py", ["json", "re"], "json.decoder"),
        ("/usr/lib/python3.11/json/__init__.py", [".decoder"], "json"),
        ("/w/reverie/reverie/models/load.py", ["reverie.errors"], "reverie.models.load"),
        ("/w/pkg/sub/mod.py", ["..other"], "pkg.sub.mod"),
        ("/home/code/script.py", ["re"], "script"),
        ("script.py", [], "script"),
    ],
)
def test_what_a_python_module_is_called(path: str, imported: list[str], name: str) -> None:
    assert module_name(path, "python", "", imported) == name


def test_a_function_behind_a_class_is_not_in_it() -> None:
    text = "class A:\n    def m(self):\n        self.h()\n\ndef f(self):\n    self.h()\nself.h()\n"
    calls = code_facts("/a.py", "python", text).calls
    assert [(call.caller, call.holder) for call in calls] == [("A.m", "A"), ("f", ""), ("", "")]


def test_names_do_not_grow_with_every_class_around() -> None:
    """Thousands within each other would have a gigabyte of them."""
    deep = code_facts("/a.java", "java", "class A {void m() {g();}" * 1000 + "}" * 1000)
    assert max(len(one.name) for one in deep.definitions) < 60


@pytest.mark.parametrize("language", FILES)
@pytest.mark.parametrize("text", ["", "\0\ud800 (((", "import ,,\nuse ;\n#include\nclass {" * 50])
def test_broken_code_is_read_as_far_as_it_goes(language: str, text: str) -> None:
    path = FILES[language][0]
    batch = rule_batch(SourceDocument(path, "code", text, language), [])
    assert batch.nodes[0].id == f"document:{path}"
    assert all(edge.start and edge.end for edge in batch.edges)
