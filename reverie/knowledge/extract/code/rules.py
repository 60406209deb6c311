"""What the grammar of a file of code says, as statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reverie.knowledge.chunk.chunk import Chunk
from reverie.knowledge.extract.code.facts import code_facts
from reverie.knowledge.extract.code.records import Call, CodeFacts
from reverie.knowledge.extract.places import Places
from reverie.knowledge.extract.statements import Statements

_SELF = frozenset({"self", "cls", "this", "Self"})


def say_code(said: Statements, places: Places, chunks: Sequence[Chunk], home: str) -> None:
    """States what the document defines, imports and calls. A call is stated when its name leads, in
    the file or through its imports, to something with a qualified name; types are not inferred.
    """
    document = places.document
    facts = code_facts(document.path, document.language, document.text)
    module = said.thing(facts.module)
    said.say(home, "defines", module, places.line(1))
    for definition in facts.definitions:
        thing = said.thing(_within(facts.module, definition.name))
        span = places.line(definition.line)
        position = places.chunk_at(definition.line)
        start = home if position is None else f"chunk:{chunks[position].id}"
        said.say(start, "defines", thing, span)
        if definition.holder:
            said.say(said.thing(_within(facts.module, definition.holder)), "defines", thing, span)
    for imported in facts.imports:
        for target in imported.targets:
            said.say(home, "imports", said.thing(target), places.line(imported.line))
    names = _Names(facts)
    for call in facts.calls:
        if callee := names.meant(call):
            caller = said.thing(_within(facts.module, call.caller)) if call.caller else module
            said.say(caller or home, "calls", said.thing(callee), places.line(call.line))


class _Names:
    """What names in a file mean."""

    def __init__(self, facts: CodeFacts) -> None:
        self._module = facts.module
        self._defined = {definition.name for definition in facts.definitions}
        self._bound: Mapping[str, str] = {
            name: target for i in facts.imports for name, target in i.bound.items()
        }

    def meant(self, call: Call) -> str:
        """The qualified name of what is called; empty when that cannot be told."""
        first, _, rest = call.callee.partition(".")
        if first in _SELF:
            name = f"{call.holder}.{rest}"
            return _within(self._module, name) if rest and name in self._defined else ""
        if call.callee in self._defined:
            return _within(self._module, call.callee)
        if first in self._bound:
            return f"{self._bound[first]}.{rest}" if rest else self._bound[first]
        beside = f"{call.holder}.{call.callee}"  # Java calls methods of its class by name alone
        return _within(self._module, beside) if call.holder and beside in self._defined else ""


def _within(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name
