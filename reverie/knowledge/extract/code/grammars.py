"""Syntax trees by tree-sitter, and what a query finds in them."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from reverie.errors import ConfigError

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Query

_MODULES: Final = {
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
}
"""Where the grammar is called otherwise than ``tree_sitter_NAME.language``."""


def parsed(language: str, query: str, text: str) -> list[dict[str, list[Node]]]:
    """The captures of every match of ``query``. Blocks. Raises ConfigError when the grammar is not
    installed.
    """
    from tree_sitter import Parser, QueryCursor

    grammar, compiled = _compiled(language, query)
    tree = Parser(grammar).parse(text.encode("utf-8", "replace"))
    return [captures for _, captures in QueryCursor(compiled).matches(tree.root_node)]


@cache
def _compiled(language: str, query: str) -> tuple[Language, Query]:
    try:
        from tree_sitter import Language, Query

        name, function = _MODULES.get(language, (f"tree_sitter_{language}", "language"))
        module: Any = importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"code in {language} cannot be read: {error.name} is not installed",
            hint="pip install 'reverie[knowledge]'",
        ) from error
    grammar = Language(getattr(module, function)())
    return grammar, Query(grammar, query)
