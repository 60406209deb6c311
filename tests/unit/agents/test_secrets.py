"""Keys and passwords of the settings: no run writes them down, whether it ends well or not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reverie.errors import ModelRejected
from reverie.graphs.context import Context
from reverie.settings import Settings
from tests.unit.agents.conftest import made
from tests.unit.conftest import QUESTION, Say

KEY, PREVIEW, PASSWORD = "key-of-the-model", "key-of-the-preview", "password-of-the-database"


def secretive(home: Path) -> Settings:
    return Settings.model_validate(
        {
            "home": home,
            "model": {"api_key": KEY, "headers": {"X-Key": KEY}},
            "preview": {"api_key": PREVIEW},
            "runs": {"postgres": f"postgresql://me:{PASSWORD}@localhost/reverie"},
        }
    )


def written(home: Path) -> dict[str, bytes]:
    return {str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file()}


async def test_no_run_writes_a_secret_down(tmp_path: Path) -> None:
    settings = secretive(tmp_path / "home")
    # The database is not there: its steps are kept on disk, and the address stays in the settings.
    runs = settings.runs.model_copy(update={"postgres": None})
    asked = made(settings.model_copy(update={"runs": runs}))
    try:
        await asked.reasoner.aask(QUESTION, strategy="direct")
        asked.model.script = lambda _: Say("x", error=ModelRejected("no"))
        with pytest.raises(ModelRejected):
            await asked.reasoner.aask(QUESTION, strategy="direct")
        described = repr(await asked.reasoner.aruns())
    finally:
        await asked.reasoner.aclose()

    files = await asyncio.to_thread(written, settings.home)
    assert {"runs.sqlite", "checkpoints.sqlite", "strategies.sqlite"} <= files.keys()
    assert sum(name.startswith("traces") for name in files) == 2
    assert QUESTION.encode() in files["runs.sqlite"]  # it would be found
    for secret in (KEY, PREVIEW, PASSWORD):
        assert [name for name, data in files.items() if secret.encode() in data] == []
        assert secret not in described


def test_a_context_holds_no_secret(tmp_path: Path) -> None:
    told = Context.of(secretive(tmp_path)).model_dump_json()

    for secret in (KEY, PREVIEW, PASSWORD):
        assert secret not in told
