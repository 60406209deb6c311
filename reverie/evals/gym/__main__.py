"""``python -m reverie.evals.gym``: make the measuring model, ask it, and show what came."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from reverie.errors import ReverieError
from reverie.evals.gym.families import FAMILIES, MEASURED, in_a_row, questions

_EVERY = 5.0  # seconds between two lines of progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; exit code 1 or 2 when it cannot be done."""
    options = _options(arguments)
    try:
        options.act(options)
    except ReverieError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reverie.evals.gym", description=__doc__)
    acts = parser.add_subparsers(required=True, metavar="ACT")

    merge = acts.add_parser("merge", help="merge the adapter into the packaged model")
    merge.add_argument("--adapter", type=Path, required=True, help="folder of the adapter")
    merge.add_argument("--into", type=Path, required=True, help="folder to write the model to")
    merge.set_defaults(act=_merge)

    record = acts.add_parser("record", help="ask the model, one line of JSON for every answer")
    record.add_argument("--model", required=True, help="merged folder, or a server's address")
    record.add_argument("--strategy", action="append", required=True, help="may be repeated")
    record.add_argument("--family", action="append", help="may be repeated; default: all")
    record.add_argument("--per-family", type=int, default=63, help="questions a family (63)")
    record.add_argument("--seed", type=int, default=MEASURED, help=f"of questions ({MEASURED})")
    record.add_argument("--into", type=Path, required=True, help="file that lines are added to")
    record.add_argument("--at-once", type=int, default=8, help="questions at the same time (8)")
    record.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of a folder")
    record.add_argument(
        "--part", type=_part, default=(1, 1), help="I/N: every N-th question from the I-th on"
    )
    record.set_defaults(act=_record)

    select = acts.add_parser("select", help="let the learning selector ask a row of questions")
    source = select.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="merged folder, or a server's address: ask it")
    source.add_argument("--recorded", type=Path, nargs="+", metavar="FILE", help="take these")
    select.add_argument("--strategy", action="append", required=True, help="may be repeated")
    select.add_argument("--per-family", type=int, default=63, help="questions a family (63)")
    select.add_argument("--seed", type=int, default=MEASURED, help=f"of questions ({MEASURED})")
    select.add_argument("--order", type=int, default=0, help="seed of their order, and of choices")
    select.add_argument("--count", type=int, help="only so many of them")
    select.add_argument(
        "--accept-above", type=float, help="reason.accept_above; 0: the first attempt is taken"
    )
    select.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of a folder")
    select.add_argument("--into", type=Path, required=True, help="file to write, a line each")
    select.set_defaults(act=_select)

    table = acts.add_parser("table", help="accuracy and tokens of records")
    table.add_argument("files", type=Path, nargs="+", metavar="FILE")
    table.set_defaults(act=_table)
    return parser.parse_args(arguments)


def _part(text: str) -> tuple[int, int]:
    first, _, of = text.partition("/")
    if not (first.isdigit() and of.isdigit() and 1 <= int(first) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 1/4")
    return int(first), int(of)


def _merge(options: argparse.Namespace) -> None:
    from reverie.evals.gym.merge import merge
    from reverie.settings import load_settings

    merge(options.adapter, options.into, cache=load_settings().settings.models_folder)
    print(options.into)


def _record(options: argparse.Namespace) -> None:
    from reverie.agents.reasoner import Reasoner
    from reverie.evals.gym.record import record_all
    from reverie.evals.gym.settings import gym_settings

    first, of = options.part
    asked = questions(options.per_family, seed=options.seed, families=options.family or FAMILIES)[
        first - 1 :: of
    ]
    pairs = [(question, strategy) for strategy in options.strategy for question in asked]

    async def work(home: Path) -> None:
        settings = gym_settings(
            options.model,
            home,
            strategies=tuple(options.strategy),
            device=options.device,
            batch=options.at_once,
        )
        async with Reasoner(settings) as reasoner:
            await record_all(
                reasoner, pairs, options.into, at_once=options.at_once, progress=_progress()
            )

    with TemporaryDirectory(prefix="reverie-gym-") as home:
        asyncio.run(work(Path(home)))


def _select(options: argparse.Namespace) -> None:
    from reverie.agents.reasoner import Reasoner
    from reverie.evals.gym.record import read_records
    from reverie.evals.gym.selection import Taken, select_live, select_recorded
    from reverie.evals.gym.settings import gym_settings

    asked = questions(options.per_family, seed=options.seed)
    row = in_a_row(asked, seed=options.order)[: options.count]
    seed = 10_000 * options.order

    async def work(home: Path) -> list[Taken]:
        settings = gym_settings(
            options.model or "recorded",
            home,
            strategies=tuple(options.strategy),
            device=options.device,
            accept_above=options.accept_above,
        )
        if options.recorded:
            records = read_records(options.recorded)
            return await kept(select_recorded(settings, records, row, seed=seed))
        async with Reasoner(settings) as reasoner:
            return await kept(select_live(reasoner, row, seed=seed))

    async def kept(items: AsyncIterator[Taken]) -> list[Taken]:
        progress, taken = _progress(), []
        with options.into.open("w", encoding="utf-8") as sink:
            async for one in items:
                taken.append(one)
                sink.write(json.dumps(one, ensure_ascii=False) + "\n")
                sink.flush()
                progress(len(taken), len(row))
        return taken

    with TemporaryDirectory(prefix="reverie-gym-") as home:
        taken = asyncio.run(work(Path(home)))
    right, tokens = sum(t["right"] for t in taken), sum(t["tokens"] for t in taken)
    print(f"{right / len(taken):.3f} right, {tokens / len(taken):.0f} tokens a question")


def _progress() -> Callable[[int, int], None]:
    """Says how far it has come, every few seconds."""
    began = shown = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown > _EVERY or done == total:
            shown = time.monotonic()
            print(f"{done}/{total} in {shown - began:.0f} s", file=sys.stderr, flush=True)

    return progress


def _table(options: argparse.Namespace) -> None:
    from reverie.evals.gym.record import read_records
    from reverie.evals.gym.table import by_family, by_strategy

    records = read_records(options.files)
    overall, families = by_strategy(records), by_family(records)
    table = Table(title="right answers (tokens a question)", title_justify="left")
    table.add_column("family")
    for strategy in overall:
        table.add_column(strategy, justify="right")
    for family, shares in {**families, "all": overall}.items():
        cells = (shares.get(strategy) for strategy in overall)
        table.add_row(family, *(f"{s.right:.2f} ({s.tokens:.0f})" if s else "" for s in cells))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
