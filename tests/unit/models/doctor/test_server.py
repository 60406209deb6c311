"""Models, window and size, as the various servers tell them."""

from __future__ import annotations

from typing import Any

import pytest

from reverie.errors import ConfigError, ContextOverflow, ModelRejected, ModelUnavailable
from reverie.models.doctor.probing import Probing
from reverie.models.doctor.server import (
    PARAMETERS,
    WINDOW,
    choose_model,
    parameters_in,
    read_version,
)


def models(*names: str, owned_by: str = "", **told: Any) -> dict[str, Any]:
    return {"data": [{"id": name, "owned_by": owned_by, **told} for name in names]}


async def found(probing: Probing, model: str = "") -> tuple[int | None, int | None]:
    """The window and the parameters."""
    await choose_model(probing, model)
    window, size = await WINDOW.run(probing), await PARAMETERS.run(probing)
    return window.fields.get("window"), size.fields.get("parameters")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("smollm2-135m-instruct", 135_000_000),
        ("Qwen/Qwen2.5-0.5B-Instruct", 500_000_000),
        ("llama-3.1-8b", 8_000_000_000),
        ("qwen3:8b", 8_000_000_000),
        ("Mixtral-8x7B-v0.1", 56_000_000_000),
        ("Qwen3-30B-A3B", 30_000_000_000),
        ("kimi-1T", 10**12),
        ("/models/7B/mistral", None),
        ("gpt-4o", None),
        ("phi-4bit", None),
        ("model-b", None),
        ("gemma-3n", None),
        ("", None),
    ],
)
def test_a_name_may_tell_the_size(name: str, expected: int | None) -> None:
    assert parameters_in(name) == expected


async def test_vllm_and_sglang_tell_the_window_in_the_list(probing: Any) -> None:
    server = probing(
        {
            "/models": models("m", owned_by="vllm", max_model_len=4096, root="/hub/Qwen3-4B"),
            "//version": {"version": "0.32.0"},
        }
    )

    assert await found(server) == (4096, 4_000_000_000)
    assert await read_version(server) == "0.32.0"
    assert server.preset.name == "vllm"


async def test_llamacpp_tells_the_window_of_a_slot(probing: Any) -> None:
    meta = {"n_ctx_train": 131_072, "n_params": 8_030_261_312}
    server = probing(
        {
            "/models": models("llama.gguf", owned_by="llamacpp", meta=meta),
            "//props": {
                "default_generation_settings": {"n_ctx": 2048},
                "build_info": "b8681-Debian",
            },
        }
    )

    assert await found(server) == (2048, 8_030_261_312)
    assert await read_version(server) == "b8681-Debian"


OLLAMA = {
    "/models": models("qwen3:8b", owned_by="library"),
    "//api/version": {"version": "0.13.3"},
    "//api/show": {
        "parameters": 'stop         "<|im_end|>"\nnum_ctx      16384',
        "model_info": {"general.parameter_count": 8_190_735_360, "qwen3.context_length": 40960},
    },
}


async def test_ollama_tells_the_window_of_the_loaded_model(probing: Any) -> None:
    running = {"models": [{"name": "qwen3:8b", "context_length": 32768}]}

    server = probing({**OLLAMA, "//api/ps": running})

    assert await found(server) == (32768, 8_190_735_360)


async def test_ollama_tells_the_window_that_the_model_sets(probing: Any) -> None:
    assert await found(probing(OLLAMA)) == (16384, 8_190_735_360)


async def test_ollama_has_its_least_window_where_it_tells_none(probing: Any) -> None:
    assert await found(probing({**OLLAMA, "//api/show": {}})) == (4096, 8_000_000_000)


async def test_lmstudio_tells_the_loaded_window(probing: Any) -> None:
    entry = {"id": "gemma", "loaded_context_length": 8192, "max_context_length": 131_072}
    listed = models("gemma", owned_by="organization_owner")

    loaded = probing({"/models": listed, "//api/v0/models": {"data": [entry]}})
    assert (await found(loaded))[0] == 8192

    del entry["loaded_context_length"]
    assert (await found(loaded))[0] == 131_072


async def test_the_window_is_known_of_hosted_models(probing: Any) -> None:
    server = probing({"/models": models("gpt-5.1-codex")}, "https://api.openai.com/v1")

    assert (await found(server, "gpt-5.1-codex"))[0] == 400_000
    assert [path for path, _ in server.connection.asked] == ["/models"]


async def test_the_window_is_read_from_the_words_of_a_refusal(probing: Any) -> None:
    refusal = ContextOverflow("at most 2048 tokens", window=2048)
    server = probing({"/models": models("m"), "/chat/completions": refusal})

    assert (await found(server))[0] == 2048


async def test_a_window_that_nothing_tells_is_unknown(probing: Any) -> None:
    def answer(body: dict[str, Any]) -> Any:
        words = len(body["messages"][0]["content"].split())
        return {"choices": [], "usage": {"prompt_tokens": words, "completion_tokens": 1}}

    server = probing({"/models": models("m"), "/chat/completions": answer})

    assert (await found(server)) == (None, None)
    assert (await WINDOW.run(server)).verdict == "unknown"


# -- which model ---------------------------------------------------------------------------


async def test_the_first_model_that_chats_is_examined(probing: Any) -> None:
    server = probing({"/models": models("nomic-embed-text", "bge-reranker", "qwen", "llama")})

    await choose_model(server, "")

    assert server.model == "qwen"
    assert "the first of 4 models" in server.notices[0]


async def test_a_model_that_is_not_listed_may_be_named(probing: Any) -> None:
    server = probing({"/models": models("qwen3:latest")})

    await choose_model(server, "qwen3")

    assert server.model == "qwen3"
    assert server.notices == ["qwen3 is not in the server's list of models"]


async def test_a_server_without_a_list_needs_a_name(probing: Any) -> None:
    await choose_model(probing({}), "qwen")

    with pytest.raises(ModelRejected):
        await choose_model(probing({}), "")


async def test_a_hosted_server_wants_its_model_named(probing: Any) -> None:
    server = probing({"/models": models("gpt-4o", "o3")}, "https://api.openai.com/v1")

    with pytest.raises(ConfigError, match="has 2 models") as caught:
        await choose_model(server, "")

    assert "gpt-4o, o3" in caught.value.hint


async def test_a_wrong_key_is_no_missing_list(probing: Any) -> None:
    server = probing({"/models": ModelRejected("wrong key", status=401)})

    with pytest.raises(ModelRejected, match="wrong key"):
        await choose_model(server, "qwen")


@pytest.mark.parametrize("document", [None, [], "text", {"data": []}, {"data": [{}]}, {"data": 5}])
async def test_a_server_without_models_is_said(probing: Any, document: Any) -> None:
    with pytest.raises(ModelUnavailable, match="serves no model"):
        await choose_model(probing({"/models": document}), "")


async def test_the_right_address_is_named_where_v1_is_missing(probing: Any) -> None:
    server = probing({"//v1/models": models("qwen")}, "http://127.0.0.1:8000")

    with pytest.raises(ConfigError) as caught:
        await choose_model(server, "")

    assert caught.value.hint == "use http://127.0.0.1:8000/v1"


async def test_a_server_is_recognised_by_paths_of_its_own(probing: Any) -> None:
    server = probing(
        {"/models": models("m", owned_by="me"), "//get_model_info": {"model_path": "/models/m"}}
    )

    await choose_model(server, "")

    assert server.preset.name == "sglang"
