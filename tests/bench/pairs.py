"""Two servers measured in alternating slices, so that a slow moment of the machine hits both."""

import dataclasses
import statistics
from collections.abc import Callable, Sequence

from tests.bench.load import send
from tests.bench.servers import Server

Bodies = Callable[[int], list[bytes]]
"""Number of the slice -> its requests."""


@dataclasses.dataclass
class Side:
    """One server: what each of its slices sends, and what came of them.

    alerts: per slice. per_cpu_s: alerts per CPU-second, a figure per slice. took: seconds of every answer.
    """

    server: Server
    bodies: Bodies
    alerts: int
    per_cpu_s: list[float] = dataclasses.field(default_factory=list)
    took: list[list[float]] = dataclasses.field(default_factory=list)
    _used: list[float] = dataclasses.field(default_factory=list)

    async def slice(self, number: int, connections: int) -> None:
        """Sends the slice of this number. What the server does until its next one begins is of this one."""
        bodies = self.bodies(number)
        self._used.append(self.server.cpu_s())
        self.took.append(await send(self.server.port, bodies, connections))

    def close(self) -> None:
        """Takes the first slice, which only warms up, and the last, which only ends the one before, out."""
        costs = [after - before for before, after in zip(self._used[1:-1], self._used[2:], strict=True)]
        self.per_cpu_s = [self.alerts / cost for cost in costs]
        self.took = self.took[1:-1]

    @property
    def rate(self) -> float:
        """Alerts per CPU-second: the median of the slices."""
        return statistics.median(self.per_cpu_s)

    @property
    def answers(self) -> list[float]:
        """Seconds of the answers of all slices."""
        return [one for took in self.took for one in took]


async def alternate(one: Side, other: Side, slices: int, connections: int) -> list[float]:
    """`slices` measured slices of each in turn; the ratios of `one`'s rate to `other`'s, pair by pair."""
    for number in range(slices + 2):
        for side in (one, other) if number % 2 else (other, one):
            await side.slice(number, connections)
    one.close()
    other.close()
    return ratios(one.per_cpu_s, other.per_cpu_s)


def ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Pair by pair."""
    return [mine / theirs for mine, theirs in zip(one, other, strict=True)]
