"""`db check`: is everything on disk what was written, and does folding it again decide the same?

Looks from the outside in: SQLite's own structures; the checksums of the rows of `live`, journal, bases
and outbox; whether the scope's counters agree with what they count; and whether folding the journal
again, from the empty store and from each base, gives the digests that were written, and in the end
what lives. What is damaged is never folded.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from daemon.core.engine import Engine
from daemon.core.policy import Policy
from daemon.core.records import decode_records
from daemon.core.state import State
from daemon.core.table import DECODERS
from daemon.store.base import LiveRow, StoreError
from daemon.store.columns import checksum
from daemon.store.connection import open_reader, text_of
from daemon.store.queries import NOT_WRITTEN, Base, JournalRow, Queries

MINUTE_MS = 60_000
PolicyFor = Callable[[str], Policy | None]
"""Digest -> the policy of that digest, None when nobody has it any more."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that `check` has to say. `wrong` is False for what could only not be checked."""

    place: str
    text: str
    wrong: bool = True


class Checked(msgspec.Struct):
    """The outcome: what was looked at, and what was found."""

    findings: list[Finding]
    live_rows: int = 0
    batches: int = 0
    folded: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not any(one.wrong for one in self.findings)


def check(path: Path | None, queries: Queries, policy_for: PolicyFor, *, build: str, name: str = "") -> Checked:
    """Checks a store, read by `queries`. A daemon may be running on it.

    path: of the SQLite file; None where a server keeps its own structures. name: of the store, for
    messages, by default its path. build: of this program; what another build decided is folded too, and
    a difference then is no fault.
    """
    checked = Checked(_structure(path) if path is not None else [])
    if checked.findings:
        return checked
    try:
        _live(queries, checked)
        broken = list(queries.broken())
        checked.findings += [Finding(place, NOT_WRITTEN) for place in broken]
        checked.findings += _counters(queries)
        if not any(place.startswith(("journal", "bases")) for place in broken):
            refold(queries, policy_for, checked, build=build)
    except (StoreError, SQLAlchemyError) as error:
        checked.findings.append(Finding(name or str(path), str(error).partition("\n")[0]))
    return checked


def _structure(path: Path) -> list[Finding]:
    try:
        with closing(open_reader(path)) as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
    except sqlite3.Error as error:
        return [Finding(str(path), text_of(str(path), error))]
    return [Finding(str(path), line) for line in said if line != "ok"]


def _live(queries: Queries, checked: Checked) -> None:
    for row, crc in queries.live():
        checked.live_rows += 1
        if checksum(row.image, row.extra) != crc or _id_in(row) != row.id:
            checked.findings.append(Finding(f"live, row {row.id}", NOT_WRITTEN))


def _id_in(row: LiveRow) -> int:
    """The id in the image of a live row, 0 when it cannot be read as what it says it is."""
    try:
        return int(DECODERS[row.kind].decode(row.image).id)
    except (KeyError, msgspec.DecodeError):
        return 0


def _counters(queries: Queries) -> Iterator[Finding]:
    """What the scope's own row must be beyond, so that no id and no number is given twice."""
    position, last = queries.position(), queries.last_batch()
    if position is None or last is None:
        return
    live = max((row.id for row, _ in queries.live()), default=0)
    numbered = max((row["number"] for row in queries.incidents(limit=1)), default=0)
    ahead = position["now_ms"] - last.now_ms
    for wrong, what in (
        (position["seq"] < last.seq or position["epoch"] < last.epoch, "epoch and seq stand before the last batch"),
        (not 0 <= ahead <= MINUTE_MS, "now_ms is not the time of the last batch"),
        (position["next_id"] <= live, "next_id was given before"),
        (position["next_number"] <= numbered, "next_number was given before"),
        (position["mode"] not in ("live", "shadow"), "mode is none"),
    ):
        if wrong:
            yield Finding("scope", f"{what}; `samband db restore` takes a backup back")


def refold(queries: Queries, policy_for: PolicyFor, checked: Checked, *, build: str) -> None:
    """Folds the journal again, stretch by stretch, and notes in `checked` where a digest differs.

    After a difference, or where a policy is missing, it goes on from the next base. Raises StoreError
    when a row cannot be read.
    """
    position = queries.position()
    end = position["seq"] if position is not None else 0
    bases = [base for base in queries.bases() if base.seq < end]
    starts: list[Base | None] = [None, *bases]
    for index, start in enumerate(starts):
        until = bases[index].seq if index < len(bases) else end
        first = start.seq if start is not None else 0
        stretch = queries.journal(after=first, until=until)
        state = State()
        if start is not None:
            state = State.load(queries.base_rows(start), start.next_id, start.next_number)
        engine = _fold_stretch(stretch, state, start.now_ms if start is not None else 0, policy_for, checked, build)
        if engine is not None and index == len(bases):
            _compare_live(queries, engine.state, end, checked)


def _fold_stretch(
    stretch: Iterator[JournalRow], state: State, now_ms: int, policy_for: PolicyFor, checked: Checked, build: str
) -> Engine | None:
    """Folds until the stretch ends or a batch differs; the engine, or None when it did not get to the end."""
    engine: Engine | None = None
    lost = False
    for row in stretch:
        checked.batches += 1
        place = f"journal, batch {row.seq}"
        if lost:
            continue
        try:
            records = decode_records(row.records)
        except msgspec.DecodeError as error:
            lost = True
            checked.findings.append(Finding(place, f"its records cannot be read: {error}"))
            continue
        if engine is None or engine.policy.digest != row.policy:
            policy = policy_for(row.policy)
            if policy is None:
                lost = True
                text = f"cannot be folded again: nobody has configuration {row.policy or '(none)'} any more"
                checked.findings.append(Finding(place, text, wrong=False))
                continue
            if engine is None:
                engine = Engine(policy, state, now_ms)
            else:
                engine.set_policy(policy)
        checked.folded += 1
        if engine.fold(records, row.now_ms).digest != row.digest:
            lost = True
            same = row.build == build
            text = "folded again, it decides something else" + ("" if same else f" (build {row.build} decided it)")
            checked.findings.append(Finding(place, text, wrong=same))
    return None if lost else engine


def _compare_live(queries: Queries, state: State, end: int, checked: Checked) -> None:
    """What lives on disk must be what folding ended with, unless a running daemon has written meanwhile."""
    wanted = {number for table in state.tables().values() for number in table.rows}
    found = {row.id for row, _ in queries.live()}
    position = queries.position()
    if position is None or position["seq"] != end:
        return
    for number in sorted(wanted - found):
        checked.findings.append(Finding("live", f"row {number} is missing"))
    for number in sorted(found - wanted):
        checked.findings.append(Finding("live", f"row {number} should not be there"))
