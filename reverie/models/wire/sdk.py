"""The openai SDK, told to take nothing from the environment.

Imports openai, which takes about a second: only modules that are about to send a request import
this one.
"""

from __future__ import annotations

from typing import Any

import openai
from openai import AsyncOpenAI, AsyncStream

from reverie.models.wire.endpoint import Endpoint
from reverie.models.wire.transport import open_http

Events = AsyncStream[object]


def open_sdk(endpoint: Endpoint) -> AsyncOpenAI:
    """A client for one event loop; its retries are off. Blocks for some milliseconds."""
    import httpx2

    return _Client(
        base_url=endpoint.address,
        # Never None: the SDK would look for OPENAI_API_KEY, and so for the organisation and others.
        api_key=endpoint.key,
        admin_api_key="",
        organization="",
        project="",
        webhook_secret="",
        _enforce_credentials=False,
        max_retries=0,
        timeout=httpx2.Timeout(
            endpoint.idle_seconds, connect=endpoint.connect_seconds, pool=endpoint.deadline_seconds
        ),
        default_headers=dict(endpoint.headers),
        http_client=open_http(endpoint),
    )


def request_headers(endpoint: Endpoint) -> dict[str, str | openai.Omit]:
    """Headers to give with every request: the SDK insists on hearing that no key is meant."""
    named = any(name.lower() == "authorization" for name in endpoint.headers)
    return {} if endpoint.key or named else {"Authorization": openai.Omit()}


class _Client(AsyncOpenAI):
    """Sends the headers it was given, and none from OPENAI_CUSTOM_HEADERS."""

    def __init__(self, *, default_headers: dict[str, str], **options: Any) -> None:
        self._given_headers = default_headers
        super().__init__(default_headers=default_headers, **options)

    @property
    def default_headers(self) -> dict[str, str | openai.Omit]:
        return {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": self.user_agent,
            **({"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}),
            **self._given_headers,
        }
