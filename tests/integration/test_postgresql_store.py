"""The PostgreSQL store when its server, the network, or another daemon gets in the way."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from daemon import metrics
from daemon.core.effects import Row, Send
from daemon.core.state import EMITTER
from daemon.store.base import Batch, CommitUnknown, Fenced, Locked, OutboxRow, Recovered, StoreError
from daemon.store.postgres import PostgresStore
from tests.counterparts.postgres import Postgres, own_schema
from tests.counterparts.proxy import Proxy
from tests.unit.kit import T0

pytestmark = pytest.mark.integration

PATIENCE_S = 60.0


def batch(found: Recovered, seq: int, rows: int = 1, **rest: object) -> Batch:
    numbers = range(found.next_id + 100 * seq, found.next_id + 100 * seq + rows)
    made = [Row(EMITTER, number, b"i" * 500) for number in numbers]
    whole = Batch("default", found.epoch, seq, T0 + seq, "d", "live", found.next_id, 1, b"r", 1, b"d", made)
    for name, value in rest.items():
        setattr(whole, name, value)
    return whole


def send(number: int) -> Send:
    return Send(number, T0, 2, 3, 1, "desk", "ticket", "create", "ticket", "samband-3-1", 2)


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


def _port(dsn: str) -> int:
    return int(str(psycopg.conninfo.conninfo_to_dict(dsn)["port"]))


def state_of(dsn: str) -> tuple[int, int]:
    """Where the scope stands, and how many rows live."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT seq, (SELECT count(*) FROM live) FROM scope").fetchone()
    assert found is not None
    return found[0], found[1]


# ---- the network --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_connection_cut_at_commit_is_settled_by_the_identical_batch(postgresql: str, order: str) -> None:
    with Proxy(_port(postgresql)) as proxy:
        through = make_conninfo(postgresql, port=proxy.port, sslmode="disable", gssencmode="disable")
        with closing(PostgresStore(through, build="test")) as store:
            found = store.claim("default", T0)
            store.commit(batch(found, 1))
            proxy.at_commit(order)  # type: ignore[arg-type]
            two = batch(found, 2)
            with pytest.raises(CommitUnknown) as caught:
                store.commit(two)
            assert caught.value.reason == "down"
            assert state_of(postgresql)[0] == (2 if order == "after" else 1)
            store.commit(two)
            store.commit(batch(found, 3))
            assert state_of(postgresql) == (3, 3)
            assert proxy.cuts == 1


def test_a_broken_network_costs_nothing_once_it_is_back(postgresql: str) -> None:
    with Proxy(_port(postgresql)) as proxy:
        through = make_conninfo(postgresql, port=proxy.port, sslmode="disable", gssencmode="disable")
        with closing(PostgresStore(through, build="test")) as store:
            found = store.claim("default", T0)
            for seq in range(1, 31):
                if seq % 3 == 0:
                    proxy.cut()
                commit(store, batch(found, seq, 50))
            assert state_of(postgresql) == (30, 1500)


# ---- the server -----------------------------------------------------------------------------------------


def test_a_server_that_is_killed_keeps_what_it_had_confirmed(tmp_path: Path) -> None:
    with Postgres(durable=True) as server, closing(PostgresStore(server.dsn, build="test")) as store:
        found = store.claim("default", T0)
        for seq in range(1, 61):
            if seq % 20 == 0:
                server.kill()
                server.start()
            commit(store, batch(found, seq, 20))
        assert state_of(server.dsn) == (60, 1200)
        assert store.held_s() > 20


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.store.postgres_session.ANSWER_S", 1.0)
    with Postgres() as server, closing(PostgresStore(server.dsn, build="test")) as store:
        found = store.claim("default", T0)
        (backend,) = server.query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'samband %'")
        os.kill(backend[0], signal.SIGSTOP)
        try:
            with pytest.raises(StoreError, match="no answer within 1 s") as caught:
                store.commit(batch(found, 1))
            assert caught.value.reason == "down"
        finally:
            os.kill(backend[0], signal.SIGCONT)
        commit(store, batch(found, 1))
        assert state_of(server.dsn)[0] == 1


def test_what_the_server_says_has_a_reason_and_a_remedy(postgresql: str) -> None:
    with closing(PostgresStore(postgresql, build="test")) as store:
        found = store.claim("default", T0)
        with psycopg.connect(postgresql) as other:
            other.execute("LOCK TABLE scope IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(StoreError, match="waits for a lock") as caught:
                store.commit(batch(found, 1))
        assert caught.value.reason == "busy"
        store.commit(batch(found, 1))
        with psycopg.connect(postgresql, autocommit=True) as other:
            other.execute("ALTER TABLE live RENAME TO gone")
            with pytest.raises(StoreError, match="db upgrade") as caught:
                store.commit(batch(found, 2))
            assert caught.value.reason == "schema"
            other.execute("ALTER TABLE gone RENAME TO live")
        store.commit(batch(found, 2))
    port = _port(postgresql)
    nobody = make_conninfo(postgresql, user="nobody-at-all", password="hidden-word")
    with pytest.raises(StoreError, match=f"nobody-at-all@127.0.0.1:{port}/postgres: .*store.dsn") as caught:
        PostgresStore(nobody, build="test")
    assert caught.value.reason == "down"
    assert "hidden-word" not in str(caught.value)


def test_every_commit_is_synced_whatever_the_server_is_set_to(postgresql: str) -> None:
    lax = make_conninfo(postgresql, options=f"{_options(postgresql)} -csynchronous_commit=off -cstatement_timeout=0")
    with closing(PostgresStore(lax, build="test")) as store:
        connection = store._ready().connection
        found = [
            connection.execute(f"SHOW {name}".encode()).fetchone() for name in ("synchronous_commit", "lock_timeout")
        ]
        assert found == [("on",), ("5s",)]
    strict = make_conninfo(postgresql, options=f"{_options(postgresql)} -csynchronous_commit=remote_apply")
    with closing(PostgresStore(strict, build="test")) as store:
        assert store._ready().connection.execute("SHOW synchronous_commit").fetchone() == ("remote_apply",)


def _options(dsn: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["options"])


# ---- the lease ---------------------------------------------------------------------------------------------

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


# ---- a failover that loses commits ----------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Postgres, Proxy, str]]:
    """A primary, a standby that follows it through a network that can be cut, and the DSN of both."""
    with ExitStack() as open_ones:
        primary = open_ones.enter_context(Postgres(settings=["wal_keep_size=64MB"]))
        proxy = open_ones.enter_context(Proxy(primary.port))
        standby = Postgres()
        open_ones.push(standby.__exit__)
        standby.copy_of(primary, proxy.port)
        standby.start()
        both = make_conninfo(
            host="127.0.0.1,127.0.0.1", port=f"{primary.port},{standby.port}", user="postgres", dbname="postgres"
        )
        yield primary, standby, proxy, both


def caught_up(primary: Postgres, standby: Postgres) -> None:
    (at,) = primary.query("SELECT pg_current_wal_lsn()")
    until = time.monotonic() + PATIENCE_S
    while standby.query("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", at[0]) != [(True,)]:
        assert time.monotonic() < until
        time.sleep(0.05)


def fail_over(primary: Postgres, standby: Postgres) -> None:
    primary.kill()
    standby.promote()


def test_commits_that_a_failover_lost_are_committed_again(pair: tuple[Postgres, Postgres, Proxy, str]) -> None:
    primary, standby, proxy, dsn = pair
    with closing(PostgresStore(dsn, build="test")) as store:
        found = store.claim("default", T0)
        for seq in range(1, 6):
            store.commit(batch(found, seq))
        caught_up(primary, standby)
        proxy.to = 1
        proxy.cut()
        for seq in range(6, 10):
            store.commit(batch(found, seq))
        assert state_of(primary.dsn) == (9, 9)
        before = metrics.COMMITS_REPEATED._value.get()
        fail_over(primary, standby)
        assert state_of(standby.dsn) == (5, 5)
        commit(store, batch(found, 10))
        assert state_of(standby.dsn) == (10, 10)
        assert metrics.COMMITS_REPEATED._value.get() - before == 4
        assert [seq for (seq,) in standby.query("SELECT seq FROM journal ORDER BY seq")] == list(range(1, 11))
    # Another start afterwards has nothing to suspect.
    with closing(PostgresStore(dsn, build="test")) as again:
        recovered = again.claim("default", T0)
        again.commit(batch(recovered, 11, outbox=[OutboxRow(send(recovered.next_id + 5), "waiting")]))
    with closing(PostgresStore(dsn, build="test")) as once_more:
        assert [row.state for row in once_more.claim("default", T0).outbox] == ["waiting"]


def test_a_database_that_has_gone_back_too_far_stops_the_daemon(pair: tuple[Postgres, Postgres, Proxy, str]) -> None:
    primary, standby, proxy, dsn = pair
    with closing(PostgresStore(dsn, build="test")) as first:
        found = first.claim("default", T0)
        first.commit(batch(found, 1, outbox=[OutboxRow(send(found.next_id + 5), "waiting")]))
    caught_up(primary, standby)
    proxy.to = 1
    proxy.cut()
    second = PostgresStore(dsn, build="test")
    later = second.claim("default", T0)
    second.commit(batch(later, 2, outbox=[OutboxRow(send(later.next_id + 5), "sending")]))
    fail_over(primary, standby)
    with pytest.raises(StoreError, match="gone back to batch 1 of epoch") as caught:
        commit(second, batch(later, 3))
    assert caught.value.reason == "gone_back"
    second.close()
    # The start after it sees that the newest commits may be missing: what waits may have been sent.
    with closing(PostgresStore(dsn, build="test")) as third:
        recovered = third.claim("default", T0)
        assert recovered.seq == 1
        assert recovered.epoch > found.epoch
        assert [row.state for row in recovered.outbox] == ["sending"]
        third.commit(batch(recovered, 2))


def test_a_commit_is_not_called_durable_before_a_synchronous_replica_has_it(
    pair: tuple[Postgres, Postgres, Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.store.postgres_session.ANSWER_S", 1.5)
    primary, standby, proxy, dsn = pair
    with closing(PostgresStore(dsn, build="test")) as store:
        found = store.claim("default", T0)
        primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.query("SELECT pg_reload_conf()")
        commit(store, batch(found, 1))
        proxy.to = 1
        proxy.cut()
        two = batch(found, 2)
        with pytest.raises(CommitUnknown):
            store.commit(two)
        # It stands on the primary by now, and still nobody may be told so.
        with pytest.raises(StoreError):
            store.commit(two)
        assert state_of(primary.dsn)[0] == 2
        proxy.to = primary.port
        commit(store, two)
        caught_up(primary, standby)
        assert state_of(standby.dsn)[0] == 2


def test_the_postgres_of_the_tests_can_be_ones_own(postgresql: str) -> None:
    with own_schema(postgresql) as dsn, closing(PostgresStore(dsn, build="test")) as store:
        assert store.claim("default", T0).seq == 0
