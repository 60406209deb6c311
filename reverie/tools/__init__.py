"""What a model may call: tools of one's own, wrapped, and those that come with Reverie."""

from reverie.errors import ToolFailed
from reverie.tools.registry import find_tool, known_tools, tool
from reverie.tools.tool import Example, Knowledge, Tool
from reverie.tools.wrap import tool_of

__all__ = [
    "Example",
    "Knowledge",
    "Tool",
    "ToolFailed",
    "find_tool",
    "known_tools",
    "tool",
    "tool_of",
]
