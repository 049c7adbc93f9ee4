"""What the tests of the PostgreSQL store share: batches, and commits as the runtime makes them."""

import time

import psycopg

from daemon.core.effects import Row
from daemon.core.state import EMITTER
from daemon.store.base import Batch, Recovered, StoreError
from daemon.store.postgres import PostgresStore
from tests.unit.kit import T0

PATIENCE_S = 60.0


def batch(found: Recovered, seq: int, rows: int = 1, **rest: object) -> Batch:
    """A batch with so many rows that live."""
    numbers = range(found.next_id + 100 * seq, found.next_id + 100 * seq + rows)
    made = [Row(EMITTER, number, b"i" * 500) for number in numbers]
    whole = Batch("default", found.epoch, seq, T0 + seq, "d", "live", found.next_id, 1, b"r", 1, b"d", made)
    for name, value in rest.items():
        setattr(whole, name, value)
    return whole


def commit(store: PostgresStore, one: Batch) -> list[str]:
    """Commits as the runtime does, identically until it is there; the reasons of what failed on the way."""
    reasons, until = list[str](), time.monotonic() + PATIENCE_S
    while True:
        try:
            store.commit(one)
            return reasons
        except StoreError as error:
            if error.reason not in ("down", "busy") or time.monotonic() > until:
                raise
            reasons.append(error.reason)
            time.sleep(0.05)


def port_of(dsn: str) -> int:
    """The port in a DSN."""
    return int(str(psycopg.conninfo.conninfo_to_dict(dsn)["port"]))


def state_of(dsn: str) -> tuple[int, int]:
    """Where the scope stands, and how many rows live."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT seq, (SELECT count(*) FROM live) FROM scope").fetchone()
    assert found is not None
    return found[0], found[1]
