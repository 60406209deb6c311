"""The file of checkpoints, opened by many at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reverie.agents.checkpoints import open_checkpointer
from reverie.errors import KnowledgeUnavailable


async def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    async def write(number: int) -> None:
        async with open_checkpointer(tmp_path) as saver:
            config = {"configurable": {"thread_id": str(number), "checkpoint_ns": ""}}
            checkpoint = {
                "v": 1,
                "id": "1",
                "ts": "",
                "channel_values": {},
                "channel_versions": {},
                "versions_seen": {},
            }
            await saver.aput(config, checkpoint, {}, {})  # type: ignore[arg-type, typeddict-item]
            assert await saver.aget(config) is not None  # type: ignore[arg-type]

    await asyncio.gather(*(write(number) for number in range(12)))


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints.sqlite").write_bytes(b"no database" * 1000)

    with pytest.raises(KnowledgeUnavailable, match=r"checkpoints\.sqlite"):
        async with open_checkpointer(tmp_path):
            pass
