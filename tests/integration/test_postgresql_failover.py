"""Failovers to a replica: what it lacks is noticed, said and made good, and nothing is sent twice."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from psycopg.conninfo import make_conninfo

from daemon import metrics
from daemon.core.effects import Send
from daemon.store.base import CommitUnknown, OutboxRow, StoreError
from daemon.store.postgres import PostgresStore
from tests.counterparts.postgres import Postgres
from tests.counterparts.proxy import Proxy
from tests.integration.postgresql_kit import PATIENCE_S, batch, commit, state_of
from tests.unit.kit import T0

pytestmark = pytest.mark.integration


def send(number: int) -> Send:
    return Send(number, T0, 2, 3, 1, "desk", "ticket", "create", "ticket", "samband-3-1", 2)


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
