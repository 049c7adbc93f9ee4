"""Which correlators there are: samband's own, and those of other distributions (entry points `samband.correlators`)."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

from correlators.labels import Labels
from correlators.topology import Topology
from daemon.core.correlation import Correlator

CORRELATORS: Mapping[str, Callable[[], Correlator]] = {"labels": Labels, "topology": Topology}
"""Name -> what makes it, in the order in which they are asked."""

ENTRY_POINTS = "samband.correlators"


def correlators() -> tuple[Correlator, ...]:
    """All correlators, samband's own first, then the others by name.

    Raises ValueError when a distribution brings a name that is there already.
    """
    makers = dict(CORRELATORS)
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        if entry.name in makers:
            raise ValueError(f"the correlator {entry.name} is there twice: uninstall {entry.value}, or rename it")
        makers[entry.name] = entry.load()
    return tuple(make() for make in makers.values())
