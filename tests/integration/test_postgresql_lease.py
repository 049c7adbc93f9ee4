"""Two daemons and one PostgreSQL database: one of them writes."""

import select
import signal
import subprocess
import sys
import time
from contextlib import closing

import psycopg
import pytest

from daemon.store.base import Fenced, Locked, StoreError
from daemon.store.postgres import PostgresStore
from tests.integration.postgresql_kit import PATIENCE_S, batch
from tests.unit.kit import T0

pytestmark = pytest.mark.integration

HOLDER = """
import sys, time
from daemon import log
from daemon.core.effects import Row
from daemon.store.base import Batch, StoreError
from daemon.store.postgres import PostgresStore

log.configure(stream=sys.stderr, level="error")
store = PostgresStore(sys.argv[1], build="test", lease_s=float(sys.argv[2]))
found = store.claim("default", 1_780_000_000_000)
seq = found.seq
while True:
    seq += 1
    rows = [Row(5, found.next_id + 50 * seq + n, b"i" * 500) for n in range(50)]
    try:
        store.commit(Batch("default", found.epoch, seq, seq, "d", "live", found.next_id, 1, b"r", 1, b"d", rows))
    except StoreError as error:
        print(error.reason, flush=True)
        if error.reason == "fenced":
            sys.exit(1)
        seq -= 1
        time.sleep(0.1)
    else:
        print(seq, flush=True)
    if len(sys.argv) > 3:
        time.sleep(600)
"""


class Holder:
    """A daemon in a process of its own, which commits as fast as it can, or once and then sleeps."""

    def __init__(self, dsn: str, lease_s: float, *, idle: bool = False) -> None:
        command = [sys.executable, "-c", HOLDER, dsn, str(lease_s), *(["idle"] if idle else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Holder":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()

    def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert ready, "it says nothing"
        return self.process.stdout.readline().strip()


def test_a_second_daemon_is_kept_out_and_told_whom_by(postgresql: str) -> None:
    with Holder(postgresql, 30, idle=True) as first, closing(PostgresStore(postgresql, build="test")) as second:
        assert first.line() == "1"
        with pytest.raises(Locked, match=f"process {first.process.pid} on .* has this store open") as caught:
            second.claim("default", T0)
        assert caught.value.pid == first.process.pid
        first.process.kill()
        first.process.wait()
        # It is known to be gone, so nobody waits for its lease.
        began = time.monotonic()
        assert second.claim("default", T0).seq == 1
        assert time.monotonic() - began < 20


def test_where_nobody_knows_whether_the_holder_lives_its_lease_is_waited_for(postgresql: str) -> None:
    with closing(PostgresStore(postgresql, build="test")) as first:
        first.claim("default", T0)
        far = "process 1 on far-away (12345678.1, 9)"
        with psycopg.connect(postgresql, autocommit=True) as other:
            clock = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
            other.execute(f"UPDATE scope SET holder = %s, lease_until = {clock} + 2500", (far,))
            with closing(PostgresStore(postgresql, build="test")) as second:
                began = time.monotonic()
                found = second.claim("default", T0)
                assert time.monotonic() - began >= 2
                assert found.epoch > T0 // 1000
            other.execute(f"UPDATE scope SET holder = %s, lease_until = {clock} + 20000", (far,))
            with closing(PostgresStore(postgresql, build="test")) as third:
                # It is heard of meanwhile.
                beat = "UPDATE scope SET lease_until = lease_until + 1 WHERE pg_sleep(0.5) IS NOT NULL"
                pulse = subprocess.Popen(
                    [
                        sys.executable,
                        "-c",
                        f"import psycopg; psycopg.connect({postgresql!r}, autocommit=True).execute({beat!r})",
                    ]
                )
                with pytest.raises(Locked, match="far-away") as caught:
                    third.claim("default", T0)
                assert caught.value.pid == 0
                assert pulse.wait() == 0


def test_a_lock_held_by_a_stopped_process_does_not_keep_its_successor_out(postgresql: str) -> None:
    with Holder(postgresql, 2) as first, closing(PostgresStore(postgresql, build="test")) as second:
        for _ in range(5):
            first.line()
        # Somewhere in a transaction, or between two: it stands still, and its lease runs out.
        first.process.send_signal(signal.SIGSTOP)
        time.sleep(2.2)
        found = second.claim("default", T0)
        second.commit(batch(found, found.seq + 1))
        first.process.send_signal(signal.SIGCONT)
        said = [first.line()]
        while said[-1] != "fenced":
            said.append(first.line())
        assert first.process.wait(PATIENCE_S) == 1
        second.commit(batch(found, found.seq + 2))
        with psycopg.connect(postgresql) as connection:
            assert connection.execute("SELECT max(seq), max(epoch) FROM journal").fetchone() == (
                found.seq + 2,
                found.epoch,
            )


def test_an_idle_daemon_keeps_its_lease_and_lets_go_of_it_when_it_stops(postgresql: str) -> None:
    with closing(PostgresStore(postgresql, build="test", lease_s=6)) as store:
        store.claim("default", T0)
        time.sleep(1)
        assert store.held_s() < 5.1
        store.tidy(idle=True)
        assert store.held_s() > 5.1
        with closing(PostgresStore(postgresql, build="test")) as second:
            with pytest.raises(Locked):
                second.claim("default", T0)
            store.close()
            found = second.claim("default", T0)
            second.commit(batch(found, 1))


def test_a_daemon_that_lost_the_scope_hears_of_it_when_idle(postgresql: str) -> None:
    with closing(PostgresStore(postgresql, build="test", lease_s=0.2)) as first:
        first.claim("default", T0)
        time.sleep(0.3)
        with closing(PostgresStore(postgresql, build="test")) as second:
            second.claim("default", T0)
            assert first.held_s() < 0
            with pytest.raises((Fenced, StoreError)):
                first.tidy(idle=True)  # Its connection was ended: it says so, and connects again.
            with pytest.raises(Fenced):
                first.tidy(idle=True)
