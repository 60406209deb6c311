"""What the grammars of tree-sitter call things: one table per language."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from reverie.errors import ConfigError

if TYPE_CHECKING:
    from tree_sitter import Parser

_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """The types of nodes that matter, of one language."""

    module: str
    """The package that holds the grammar, and the function in it that gives it."""
    entry: str = "language"
    functions: frozenset[str]
    classes: frozenset[str] = _NONE
    """Those that have a body, or a type that is one of ``bodies``."""
    bodies: frozenset[str] = _NONE
    imports: frozenset[str] = _NONE
    import_call: bytes = b""
    """What a statement calls that imports by calling a function."""
    comments: frozenset[str] = frozenset({"comment"})
    attributes: frozenset[str] = _NONE
    """Nodes that stand before a definition and belong to it."""
    wrappers: frozenset[str] = _NONE
    """A definition with what belongs to it, such as its decorators or ``export``."""
    holders: frozenset[str] = _NONE
    """What gives a name to a function or class without one, which is one of ``values``."""
    values: frozenset[str] = _NONE
    containers: frozenset[str] = _NONE
    """What definitions stand in without belonging to it, such as ``#ifdef`` and ``try``."""
    scopes: Mapping[str, str]
    """Containers whose name becomes part of the qualified name, with the field that has it."""
    methods: frozenset[str] = _NONE
    """Those of ``scopes`` whose functions are methods."""
    blocks: frozenset[str]
    """What holds statements."""
    docstrings: bool = False
    """Whether a string that comes first in a body documents it; otherwise comments do."""


_JAVASCRIPT: Final = Grammar(
    module="tree_sitter_javascript",
    functions=frozenset(
        {"function_declaration", "generator_function_declaration", "method_definition"}
    ),
    classes=frozenset({"class_declaration"}),
    imports=frozenset({"import_statement"}),
    import_call=b"require(",
    attributes=frozenset({"decorator"}),
    wrappers=frozenset(
        {"export_statement", "lexical_declaration", "variable_declaration", "expression_statement"}
    ),
    holders=frozenset({"variable_declarator", "assignment_expression", "field_definition"}),
    values=frozenset(
        {"arrow_function", "function_expression", "generator_function", "function", "class"}
    ),
    scopes={},
    blocks=frozenset({"program", "statement_block", "class_body", "switch_body", "object"}),
)
_TYPESCRIPT: Final = replace(
    _JAVASCRIPT,
    module="tree_sitter_typescript",
    entry="language_typescript",
    functions=_JAVASCRIPT.functions | {"function_signature"},
    classes=_JAVASCRIPT.classes
    | {"abstract_class_declaration", "interface_declaration", "enum_declaration"},
    holders=_JAVASCRIPT.holders | {"public_field_definition"},
    containers=frozenset({"ambient_declaration"}),
    scopes={"internal_module": "name", "module": "name"},
)

GRAMMARS: Final[dict[str, Grammar]] = {
    "python": Grammar(
        module="tree_sitter_python",
        functions=frozenset({"function_definition"}),
        classes=frozenset({"class_definition"}),
        imports=frozenset({"import_statement", "import_from_statement", "future_import_statement"}),
        wrappers=frozenset({"decorated_definition"}),
        containers=frozenset({"if_statement", "try_statement", "with_statement", "else_clause"}),
        scopes={},
        blocks=frozenset({"module", "block"}),
        docstrings=True,
    ),
    "javascript": _JAVASCRIPT,
    "typescript": _TYPESCRIPT,
    "tsx": replace(_TYPESCRIPT, entry="language_tsx"),
    "go": Grammar(
        module="tree_sitter_go",
        functions=frozenset({"function_declaration", "method_declaration"}),
        classes=frozenset({"type_spec"}),
        bodies=frozenset({"struct_type", "interface_type"}),
        imports=frozenset({"import_declaration"}),
        wrappers=frozenset({"type_declaration"}),
        scopes={},
        blocks=frozenset({"source_file", "statement_list"}),
    ),
    "rust": Grammar(
        module="tree_sitter_rust",
        functions=frozenset({"function_item", "function_signature_item", "macro_definition"}),
        classes=frozenset({"struct_item", "enum_item", "union_item", "trait_item"}),
        imports=frozenset({"use_declaration", "extern_crate_declaration"}),
        comments=frozenset({"line_comment", "block_comment"}),
        attributes=frozenset({"attribute_item"}),
        scopes={"mod_item": "name", "impl_item": "type"},
        methods=frozenset({"impl_item"}),
        blocks=frozenset({"source_file", "block", "declaration_list", "match_block"}),
    ),
    "java": Grammar(
        module="tree_sitter_java",
        functions=frozenset(
            {"method_declaration", "constructor_declaration", "compact_constructor_declaration"}
        ),
        classes=frozenset(
            {
                "class_declaration",
                "interface_declaration",
                "enum_declaration",
                "record_declaration",
                "annotation_type_declaration",
            }
        ),
        imports=frozenset({"import_declaration", "package_declaration"}),
        comments=frozenset({"line_comment", "block_comment"}),
        containers=frozenset({"enum_body_declarations"}),
        scopes={},
        blocks=frozenset(
            {"program", "block", "class_body", "constructor_body", "switch_block", "interface_body"}
        ),
    ),
    "c": Grammar(
        module="tree_sitter_c",
        functions=frozenset({"function_definition"}),
        classes=frozenset({"struct_specifier", "union_specifier", "enum_specifier"}),
        imports=frozenset({"preproc_include"}),
        wrappers=frozenset({"type_definition"}),
        containers=frozenset(
            {
                "preproc_ifdef",
                "preproc_if",
                "preproc_else",
                "preproc_elif",
                "linkage_specification",
                "declaration_list",
            }
        ),
        scopes={},
        blocks=frozenset({"translation_unit", "compound_statement", "declaration_list"}),
    ),
}
"""By language, as documents name it; "tsx" is TypeScript with markup in it."""


def parser_of(grammar: Grammar) -> Parser:
    """A parser of the language. Raises ConfigError when its package is not installed."""
    try:
        from tree_sitter import Language, Parser

        language = getattr(importlib.import_module(grammar.module), grammar.entry)()
    except ImportError as error:
        raise ConfigError(
            f"cutting source code into functions needs {error.name}",
            hint="pip install 'reverie[knowledge]'",
        ) from error
    return Parser(Language(language))
