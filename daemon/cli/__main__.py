"""`python -m daemon.cli` is `samband`."""

from daemon.cli import main

main()
