"""LangChain's standard unit tests of a chat model. They open no socket."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from reverie.models.chat import ServedChatModel


class TestServedChatModel(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ServedChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"address": "http://127.0.0.1:1/v1", "model": "toy"}
