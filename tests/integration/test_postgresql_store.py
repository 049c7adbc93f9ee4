"""The PostgreSQL store when its server or the network gets in the way."""

import os
import signal
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from daemon.store.base import CommitUnknown, StoreError
from daemon.store.postgres import PostgresStore
from tests.counterparts.postgres import Postgres, own_schema
from tests.counterparts.proxy import Proxy
from tests.integration.postgresql_kit import batch, commit, port_of, state_of
from tests.unit.kit import T0

pytestmark = pytest.mark.integration


# ---- the network --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_connection_cut_at_commit_is_settled_by_the_identical_batch(postgresql: str, order: str) -> None:
    with Proxy(port_of(postgresql)) as proxy:
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
    with Proxy(port_of(postgresql)) as proxy:
        through = make_conninfo(postgresql, port=proxy.port, sslmode="disable", gssencmode="disable")
        with closing(PostgresStore(through, build="test")) as store:
            found = store.claim("default", T0)
            for seq in range(1, 31):
                if seq % 3 == 0:
                    proxy.cut()
                commit(store, batch(found, seq, 50))
            assert state_of(postgresql) == (30, 1500)


# ---- the server -----------------------------------------------------------------------------------------


def test_a_server_that_is_killed_keeps_what_it_had_confirmed() -> None:
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
    port = port_of(postgresql)
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


def test_the_postgres_of_the_tests_can_be_ones_own(postgresql: str) -> None:
    with own_schema(postgresql) as dsn, closing(PostgresStore(dsn, build="test")) as store:
        assert store.claim("default", T0).seq == 0
