"""`make postgres-up`: a server in the foreground, for people who want to try something."""

import signal
import sys

from tests.counterparts.postgres import Postgres

HELP = """\
PostgreSQL listens on 127.0.0.1:{port}, user postgres, without a password. Ctrl-C ends it, and what it holds is gone.
  store: {{type: postgresql, dsn: "postgresql://postgres@127.0.0.1:{port}/postgres"}}
  samband db move --to postgresql://postgres@127.0.0.1:{port}/postgres
"""


def main(port: int) -> None:
    """Runs the server until SIGINT or SIGTERM."""
    stopping = {signal.SIGINT, signal.SIGTERM}
    # The server gets the signals of the terminal too; nothing here may end before it has been stopped.
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
    with Postgres(durable=True, port=port) as server:
        sys.stdout.write(HELP.format(port=server.port))
        sys.stdout.flush()
        signal.sigwait(stopping)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5432)
