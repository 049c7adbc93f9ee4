"""One suite per protocol, run over everything that speaks it."""
