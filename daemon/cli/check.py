"""`samband check`: whether a configuration would work, with the place and remedy of every mistake."""

import re
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli.options import ConfigOption, JsonOption
from daemon.cli.output import COULD_NOT, FOUND, print_block, print_json, say

if TYPE_CHECKING:
    from daemon.assembly import Assembly
    from daemon.settings.check import Finding


def check(
    config: ConfigOption = None,
    live: Annotated[
        bool, typer.Option("--live", help="Also ask every sink and broker whether it would work; creates nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Checks a configuration: every mistake with its file, line, column, key and remedy.

    What is merely unwise or not active yet is said, and does not make the check fail.

    Example: samband check --config samband.yaml --live
    """
    from daemon.assembly import assemble
    from daemon.settings import ConfigError, load
    from daemon.settings.check import check as findings_of

    if config is not None and not config.is_file():
        say(f"{config}: there is no such file")
        raise typer.Exit(COULD_NOT)
    try:
        settings = load(config)
        assembly = assemble(settings, from_ms=int(time.time() * 1000))
    except ConfigError as error:
        _report([{"level": "error", **asdict(problem)} for problem in error.problems], as_json)
        raise typer.Exit(FOUND) from None
    found = [_row(finding) for finding in findings_of(settings, assembly.entries, assembly.inactive)]
    if live:
        found += _live(assembly)
    _report(found, as_json)
    if any(one["level"] == "error" for one in found):
        raise typer.Exit(FOUND)
    if not as_json:
        print(f"{config or 'the defaults'}: fine")


def _row(finding: "Finding") -> dict[str, Any]:
    found = re.fullmatch(r"(.*):(\d+):(\d+)", finding.place)
    file, line, column = found.groups() if found else (finding.place, "0", "0")
    return {
        "level": finding.level,
        "file": file,
        "line": int(line),
        "column": int(column),
        "key": finding.key,
        "text": finding.text,
        "remedy": finding.remedy,
    }


def _report(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json({"findings": found})
        return
    for one in found:
        place = f"{one['file']}:{one['line']}:{one['column']}" if one["line"] else one["file"]
        said = ": ".join(part for part in (place, one["level"], one["key"], one["text"]) if part)
        print_block(said)
        if one["remedy"]:
            print("    ", end="")
            print_block(one["remedy"])


def _live(assembly: "Assembly") -> list[dict[str, Any]]:
    """What sinks say of themselves, asked of their services, of each team's options too; brokers; the store."""
    import asyncio

    async def ask() -> list[dict[str, Any]]:
        return [*await _ask_sinks(assembly), *await _ask_brokers(assembly)]

    return [*_ask_store(assembly), *asyncio.run(ask())]


def _ask_store(assembly: "Assembly") -> list[dict[str, Any]]:
    from daemon.store.base import StoreError
    from daemon.store.places import place_of

    try:
        trouble = place_of(assembly.settings.store).trouble()
    except StoreError as error:
        trouble = str(error)
    text, _, remedy = trouble.rpartition("; ")
    return [_finding(assembly, "store", text or trouble, remedy if text else "")] if trouble else []


async def _ask_brokers(assembly: "Assembly") -> list[dict[str, Any]]:
    from daemon import wiring

    followed = wiring.kafka(assembly)
    if not followed:
        return []
    from daemon.sources.kafka.connection import complaints

    found = []
    for name, source in followed.items():
        for text in await complaints(source):
            said, _, remedy = text.partition("; ")
            found.append(_finding(assembly, f"sources.{name}", said, remedy))
    return found


async def _ask_sinks(assembly: "Assembly") -> list[dict[str, Any]]:
    from daemon.http_client import HttpClient

    found = []
    async with HttpClient(assembly.settings.delivery.timeout / 1000) as http:
        for name in assembly.sinks.names:
            asked = {"": assembly.sinks.get(name)}
            asked |= {team: assembly.sinks.get(name, team) for team in assembly.entries.teams}
            told: set[str] = set()
            for team, sink in asked.items():
                if team and sink is asked[""]:
                    continue
                key = f"teams.{team}.{name}" if team else f"sinks.{name}"
                for problem in await sink.check(http):
                    if problem.text not in told:
                        told.add(problem.text)
                        found.append(_finding(assembly, key, problem.text, problem.remedy))
    return found


def _finding(assembly: "Assembly", key: str, text: str, remedy: str) -> dict[str, Any]:
    place = assembly.settings.places.key(tuple(key.split(".")))
    return {
        "level": "error",
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "key": key,
        "text": text,
        "remedy": remedy,
    }
