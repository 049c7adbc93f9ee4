"""The hot path to PostgreSQL: prepared statements in libpq's pipeline, values in binary, every answer within a bound.

psycopg's cursors cost some 60 us a statement, more than a small batch costs as a whole. So the statements
of a transaction go through psycopg's own wrapper of libpq, all of them in one round trip.
"""

import select
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGresult

Call = tuple[bytes, Sequence[bytes]]
"""Name of a prepared statement and its values, each in PostgreSQL's binary form."""

_FAILED = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)


class Wire:
    """One connection. within_s: a server that has not answered by then is given up, and the connection with it.

    All methods raise psycopg.Error.
    """

    def __init__(self, connection: "psycopg.Connection[tuple[object, ...]]", within_s: float) -> None:
        self._pgconn, self._within = connection.pgconn, within_s
        self._pgconn.nonblocking = 1
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, select.POLLIN)

    def simple(self, sql: str) -> list[PGresult]:
        """Runs statements without values; their results."""
        self._pgconn.send_query(sql.encode())
        return _sound(self._results(piped=False))

    def prepare(self, statements: Mapping[bytes, str]) -> None:
        """Prepares statements under their names."""
        self._pgconn.enter_pipeline_mode()
        for name, sql in statements.items():
            self._pgconn.send_prepare(name, sql.encode())
        self._piped()

    def run(self, calls: Iterable[Call]) -> list[PGresult]:
        """Runs prepared statements in one round trip; the result of each. After a failed one none is run."""
        self._pgconn.enter_pipeline_mode()
        try:
            for name, values in calls:
                self._pgconn.send_query_prepared(name, values, [1] * len(values))
        except BaseException:
            self._piped()  # What was sent is answered before the connection can be used again.
            raise
        return self._piped()

    def _piped(self) -> list[PGresult]:
        self._pgconn.pipeline_sync()
        results = self._results(piped=True)
        self._pgconn.exit_pipeline_mode()
        return _sound(results[:-1])

    def _results(self, *, piped: bool) -> list[PGresult]:
        pgconn, until = self._pgconn, monotonic() + self._within
        found: list[PGresult] = []
        while pgconn.flush():
            self._poll.modify(pgconn.socket, select.POLLIN | select.POLLOUT)
            self._wait(until)
            pgconn.consume_input()
        self._poll.modify(pgconn.socket, select.POLLIN)
        while True:
            while pgconn.is_busy():
                self._wait(until)
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is not None:
                found.append(result)
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    return found
            elif not piped or pgconn.status != pq.ConnStatus.OK:
                return found if not piped else self._gone(found)

    def _gone(self, found: Sequence[PGresult]) -> list[PGresult]:
        """The connection ended before the pipeline did."""
        _sound(found)
        raise psycopg.OperationalError(self._pgconn.get_error_message() or "the connection was lost")

    def _wait(self, until: float) -> None:
        if not self._poll.poll(max(0.0, until - monotonic()) * 1000):
            self._pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self._within:g} s")


def _sound(results: Sequence[PGresult]) -> list[PGresult]:
    for result in results:
        if result.status in _FAILED:
            raise error_from_result(result)
    return list(results)
