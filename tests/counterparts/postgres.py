"""A real PostgreSQL on loopback, started for the tests, or the user's own, named in SAMBAND_TEST_POSTGRESQL."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from tests.counterparts.process import READY_WITHIN_S, STOPPED_WITHIN_S, free_port

SETTING = "SAMBAND_TEST_POSTGRESQL"
"""The DSN of a database in which the tests may make schemas of their own, in place of a server of theirs."""

NOBODY = "nobody"


def binary(name: str) -> str:
    """The path of one of the server's programs; skips the test when this machine has none."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(debian[-1]) if debian else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} of PostgreSQL is not installed (tools/counterparts installs it)")
    return found


class Postgres:
    """One server in a folder of its own. It refuses to run as root, so then it runs as nobody.

    durable: whether it syncs what it calls durable; slower, and only needed where that is the question.
    """

    def __init__(self, *, durable: bool = False, port: int = 0, settings: Sequence[str] = ()) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="samband-postgres-"))
        self.data, self.log = self.folder / "data", self.folder / "log"
        self._settings = ["fsync=on" if durable else "fsync=off", *settings]
        self._running: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            user = pwd.getpwnam(NOBODY)
            os.chown(self.folder, user.pw_uid, user.pw_gid)

    @property
    def dsn(self) -> str:
        """Where it is."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    @property
    def pid(self) -> int:
        """The server's first process."""
        assert self._running is not None
        return self._running.pid

    def __enter__(self) -> Self:
        """Makes its data and starts it."""
        self.make()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops it, and leaves nothing."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def make(self) -> None:
        """A new cluster."""
        how = ["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        self._run("initdb", "-D", str(self.data), *how)

    def copy_of(self, primary: "Postgres", port: int) -> None:
        """In place of `make`: a standby that follows the primary, which it reaches at that port."""
        self._run("pg_basebackup", "-D", str(self.data), "-R", "-X", "stream", "-d", primary.at(port), "--no-sync")

    def at(self, port: int) -> str:
        """The same server at another port, where a proxy may stand."""
        return f"host=127.0.0.1 port={port} user=postgres dbname=postgres"

    def start(self) -> None:
        """Starts it; returns when it answers."""
        until = time.monotonic() + READY_WITHIN_S
        while True:
            self._launch()
            while self._running is not None and self._running.poll() is None:
                if self._answers():
                    return
                assert time.monotonic() < until, f"PostgreSQL is not ready:\n{self.tail()}"
                time.sleep(0.05)
            # After a kill the old server's children may live for some moments yet.
            assert time.monotonic() < until, f"PostgreSQL ended:\n{self.tail()}"
            time.sleep(0.1)

    def stop(self) -> None:
        """Stops it as an administrator does; connections end."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL, for the server's first process and thereby for all."""
        self._end(signal.SIGKILL)

    def promote(self) -> None:
        """Makes a standby the primary."""
        self.query("SELECT pg_promote(true, 30)")

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement finds, over a connection of its own."""
        import psycopg

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def _launch(self) -> None:
        settings = [f"-c{one}" for one in (f"port={self.port}", "listen_addresses=127.0.0.1", *self._settings)]
        command = [*self._as(), binary("postgres"), "-D", str(self.data), "-k", str(self.folder), *settings]
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _answers(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.dsn, connect_timeout=2).close()
            return True
        return False

    def _end(self, number: int) -> None:
        if self._running is None:
            return
        running, self._running = self._running, None
        running.send_signal(number)
        running.send_signal(signal.SIGCONT)
        try:
            running.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as(), binary(name), *arguments], cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def _as(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        user = pwd.getpwnam(NOBODY)
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A database for this run of the tests."""
    named = os.environ.get(SETTING, "")
    if named:
        yield named
        return
    pytest.importorskip("psycopg", reason="the extra postgresql is not installed")
    with Postgres() as server:
        yield server.dsn


@pytest.fixture
def postgresql(postgres_dsn: str) -> Iterator[str]:
    """A DSN whose tables are one test's alone: a schema of its own, gone after it."""
    with own_schema(postgres_dsn) as dsn:
        yield dsn


@contextlib.contextmanager
def own_schema(dsn: str) -> Iterator[str]:
    """The DSN of a new schema in that database."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        yield make_conninfo(dsn, options=f"-csearch_path={name}")
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())
