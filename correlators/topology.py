"""Topology: placeholder."""

from collections.abc import Iterable

from daemon.core.correlation import Evidence, View
from daemon.core.model.alert import Alert


class Topology:
    """Near in the catalogue."""

    name = "topology"
    version = 1

    def propose(self, alert: Alert, view: View, now_ms: int) -> Iterable[Evidence]:
        """Not yet."""
        return ()
