"""What the author of code says about it, without the marks around."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tree_sitter import Node

_OPENING: Final = re.compile(r"^\s*(?:/\*+!?|//[/!]*|\*+(?!/)|\*/|#+)\s?")
_ATTRIBUTE: Final = re.compile(r"^\s*(?:@|#\[)")


def string_docstring(node: Node) -> str:
    """What the string says that the statement ``node`` consists of; empty for anything else."""
    if node.type != "expression_statement" or node.named_child_count != 1:
        return ""
    string = node.named_children[0]
    if string.type != "string":
        return ""
    parts = [
        (child.text or b"").decode("utf-8", "replace")
        for child in string.named_children
        if child.type == "string_content"
    ]
    return inspect.cleandoc("".join(parts)).strip()


def comment_docstring(lines: Sequence[str]) -> str:
    """What the comments above a definition say. Annotations among them are left out."""
    said = [
        _OPENING.sub("", line).strip().removesuffix("*/").rstrip()
        for line in lines
        if not _ATTRIBUTE.match(line) and _OPENING.match(line)
    ]
    return "\n".join(said).strip()
