"""The file of checkpoints: opened by many at once, set aside when damaged."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from reverie.agents.checkpoints import open_checkpoints
from reverie.errors import ConfigError, KnowledgeUnavailable
from reverie.settings import Settings
from reverie.settings.schema import RunsSettings

CONFIG: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
CHECKPOINT: Any = {
    "v": 1,
    "id": "1",
    "ts": "",
    "channel_values": {},
    "channel_versions": {},
    "versions_seen": {},
}


async def test_many_may_open_a_new_file_at_once(settings: Settings) -> None:
    async def write(number: int) -> None:
        checkpoints = await asyncio.to_thread(open_checkpoints, settings)
        config: Any = {"configurable": {"thread_id": str(number), "checkpoint_ns": ""}}
        await checkpoints.saver.aput(config, CHECKPOINT, {}, {})
        assert await checkpoints.saver.aget(config) is not None
        await asyncio.to_thread(checkpoints.close)
        await asyncio.to_thread(checkpoints.close)  # a second time does nothing

    await asyncio.gather(*(write(number) for number in range(12)))


def test_every_loop_may_use_the_same_checkpointer(settings: Settings) -> None:
    checkpoints = open_checkpoints(settings)

    async def write() -> None:
        await checkpoints.saver.aput(CONFIG, CHECKPOINT, {}, {})

    async def read() -> int:
        return len([found async for found in checkpoints.saver.alist(CONFIG)])

    asyncio.run(write())
    assert asyncio.run(read()) == 1
    asyncio.run(checkpoints.saver.adelete_thread("1"))
    assert asyncio.run(read()) == 0
    checkpoints.close()


def test_a_damaged_file_is_set_aside_and_said(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "checkpoints.sqlite").write_bytes(b"no database" * 1000)

    checkpoints = open_checkpoints(settings)
    checkpoints.close()

    [notice] = checkpoints.notices
    assert "checkpoints.sqlite was damaged" in notice
    [aside] = settings.home.glob("checkpoints.sqlite.damaged-*")
    assert aside.read_bytes().startswith(b"no database")


def test_a_folder_in_its_place_is_an_error(settings: Settings) -> None:
    (settings.home / "checkpoints.sqlite").mkdir(parents=True)
    with pytest.raises(KnowledgeUnavailable, match=r"checkpoints\.sqlite"):
        open_checkpoints(settings)


async def test_a_closed_checkpointer_says_so(settings: Settings) -> None:
    checkpoints = await asyncio.to_thread(open_checkpoints, settings)
    await asyncio.to_thread(checkpoints.close)
    with pytest.raises(KnowledgeUnavailable, match="closed"):
        await checkpoints.saver.aget(CONFIG)


def postgres(settings: Settings, address: str) -> Settings:
    return settings.model_copy(update={"runs": RunsSettings(postgres=address)})


def test_without_the_extra_the_command_to_install_it_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        open_checkpoints(postgres(settings, "postgresql://u:secret@localhost/x"))
    assert caught.value.hint == "pip install 'reverie[postgres]'"


@pytest.mark.parametrize("address", ["nonsense-s3cret", "postgresql://u:s3cret@[x/db"])
def test_an_address_that_is_none_is_wrong_use_and_not_repeated(
    settings: Settings, address: str
) -> None:
    with pytest.raises(ConfigError, match="no address of a PostgreSQL database") as caught:
        open_checkpoints(postgres(settings, address))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__
