"""Which parts of a request a server takes, by its model's profile."""

from __future__ import annotations

from reverie.models.profile import ModelProfile
from reverie.models.wire.piece import Request


def tools_allowed(request: Request, profile: ModelProfile) -> bool:
    """Whether the request has tools, and they may be sent."""
    if profile.tools == "forced":
        return bool(request.tools) and request.tool_choice not in (None, "auto", "none")
    return bool(request.tools) and profile.tools != "none"


def format_allowed(request: Request, profile: ModelProfile) -> bool:
    """Whether the request has a response format that the server obeys, beside the tools if any."""
    form = request.response_format
    if not form or (tools_allowed(request, profile) and not profile.schema_with_tools):
        return False
    kind = form.get("type")
    if kind == "json_schema":
        return profile.json_schema
    return kind == "json_object" and profile.json_object
