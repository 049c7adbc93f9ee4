"""What a seed draws: which faults, features, senders, sizes and durations its world has, and what it has not.

Most worlds are small and short, and each has only some of the troubles: one that had all of them
would hide the effects of each. Every sink and fault is the main trouble of some seed in eighty.
"""

from random import Random
from typing import NamedTuple

import msgspec

from tests.simulation.configuration import VARIANTS
from tests.simulation.coverage import FAULTS, SINK_POINTS, SINKS, SYSTEM_POINTS, can_exist, leads_to
from tests.simulation.life import Death
from tests.simulation.services import HOSTS, Spell
from tests.simulation.stores import MOODS, DiskSpell

HOUR_MS = 3_600_000

FEATURES: dict[str, float] = {
    "prometheus": 0.6,  # a server that repeats what fires
    "replica": 0.3,  # each server is a pair
    "second server": 0.35,  # another emitter of the same source
    "scripts": 0.7,  # senders that say a thing once, until it is acknowledged
    "events": 0.25,  # a source that never resolves
    "garbled": 0.25,  # items that cannot be read
    "copies": 0.4,  # a message arrives again, later
    "lag": 0.25,  # messages are on their way for a while, and overtake each other
    "skew": 0.3,  # the senders' clocks are wrong
    "vanish": 0.35,  # a rule is deleted: its alert is never mentioned again
    "restarts": 0.25,  # a server forgets what it knew
    "cut": 0.25,  # a server is cut off for some minutes
    "dies": 0.12,  # a server is heard no more
    "people": 0.55,  # somebody acknowledges, holds, resolves, ...
    "corrections": 0.3,  # ... merges and splits
    "silences": 0.35,
    "clock": 0.15,  # the daemon's clock is set
    "reload": 0.35,
    "weather": 0.8,  # sinks and the way to them fail
    "disk": 0.35,
    "slow disk": 0.25,
    "freeze": 0.08,  # the daemon is stopped, another takes its place, and it goes on
    "knobs": 0.5,  # small batches, buffers and queues
    "edge": 0.5,  # messages arrive just when a deadline is due
    "poison": 0.08,  # alerts and silences over which the engine raises
}

BEGINS_MS = (0, 0, 0, -40 * 60_000, int(8.8 * HOUR_MS), -5 * HOUR_MS, 30 * HOUR_MS)
"""After Friday 08:00: working hours, before the night's end, before their end, the night, the weekend."""

NEEDS: dict[str, tuple[str, ...]] = {
    "reload": ("reload",),
    "clock": ("clock",),
    "letter": ("scripts", "garbled"),
    "command": ("people",),
    "base": ("knobs",),
    "refresh": ("prometheus",),
    "stop": ("prometheus",),
    "notice": ("weather",),
}
"""What a world must have to come to a failpoint."""

RARE = tuple(
    point for point in SINK_POINTS if point.endswith(("drop", "twin", "mark", "opened", "closed", "delivered"))
)
"""Aimed at twice as often: it takes several things to come there."""

TARGETS = tuple((point, sink) for sink in SINKS for point in SINK_POINTS if can_exist(point, sink))


class Span(NamedTuple):
    """One life of the daemon. dies_at: a failpoint. kill_after: s, at the latest.

    how: kill, stop (in good order), or freeze. downtime: s until the next one starts. variant: the
    configuration that the next one has.
    """

    dies_at: Death | None
    kill_after: float
    how: str
    downtime: float
    variant: str


class Plan(msgspec.Struct, frozen=True):
    """The world to be."""

    seed: int
    has: tuple[str, ...]
    quick: bool
    variant: str
    buzzer: bool
    begin_ms: int
    storm_s: float
    conditions: int
    loud: str
    spans: tuple[Span, ...]
    spells: tuple[Spell, ...]
    disk: tuple[DiskSpell, ...]
    disk_delays: tuple[float, ...]
    knobs: tuple[tuple[str, int], ...]

    @property
    def frozen(self) -> bool:
        """Whether a daemon is replaced by another."""
        return any(span.how == "freeze" for span in self.spans)

    @staticmethod
    def calm(seed: int) -> "Plan":
        """Nothing goes wrong, and nobody sends, but what a test orders; with the default waits."""
        return Plan(seed, (), False, "base", False, 0, 0.0, 0, "", (), (), (), (0.001,), ())


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    luck = Random(f"{seed} plan")
    has = tuple(name for name, share in FEATURES.items() if luck.random() < share)
    if "prometheus" not in has and "scripts" not in has:
        has = (*has, luck.choice(("prometheus", "scripts")))
    quick, storm_s, conditions = _size(luck)
    turn, sink = seed // len(SINKS), SINKS[seed % len(SINKS)]
    fault = tuple(FAULTS)[turn % len(FAULTS)]
    points = [point for point in (*SINK_POINTS, *RARE) if can_exist(point, sink)]
    aim = points[turn % len(points)] if luck.random() < 0.8 else ""
    if aim and (leading := leads_to(aim, sink)):
        fault = luck.choice(sorted(leading))
        has = (*has, "weather") if "weather" not in has else has
    death = Death(aim, 1 if leads_to(aim, sink) else luck.choice((1, 1, 1, 2)), sink) if aim else None
    storm_s = max(storm_s, 250.0) if leads_to(aim, sink) else storm_s
    spans = _spans(luck, death, storm_s, "freeze" in has, "reload" in has)
    aimed = [span.dies_at.point.partition("-")[2] for span in spans if span.dies_at is not None]
    has = tuple(dict.fromkeys((*has, *(name for point in aimed for name in NEEDS.get(point, ())))))
    return Plan(
        seed=seed,
        has=has,
        quick=quick,
        variant=luck.choice(("base",) * 6 + tuple(VARIANTS)) if "reload" in has else "base",
        buzzer=sink == "buzzer" or luck.random() < 0.3,
        begin_ms=luck.choice(BEGINS_MS),
        storm_s=storm_s,
        conditions=conditions,
        loud="error" if aim.endswith("drop") else "critical" if aim else "",
        spans=spans,
        spells=_weather(luck, storm_s, sink, fault, aim) if "weather" in has else (),
        disk=_disk(luck, storm_s) if "disk" in has else (),
        disk_delays=(0.0005, 0.002, 0.02, 0.2, 1.5) if "slow disk" in has else (0.0005, 0.001, 0.002),
        knobs=_knobs(luck) if "knobs" in has else (),
    )


def _size(luck: Random) -> tuple[bool, float, int]:
    """Quick waits or the defaults; how long things go wrong, s; how many things."""
    dice = luck.random()
    if dice < 0.01:
        return False, luck.uniform(1800, 5400), luck.randint(4, 20)
    if dice < 0.05:
        return True, luck.uniform(600, 1800), luck.randint(10, 30)
    if dice < 0.6:
        return True, luck.uniform(80, 300), luck.randint(1, 4)
    return True, luck.uniform(150, 600), luck.randint(2, 7)


def _spans(luck: Random, aim: Death | None, storm_s: float, freezes: bool, reloads: bool) -> tuple[Span, ...]:
    """aim: where the first life ends, if the world comes there."""
    spans = []
    for number in range(max(luck.choice((0, 1, 1, 2, 2, 3)), 1 if aim else 0)):
        how = luck.choice(("kill", "kill", "kill", "stop"))
        latest, death = luck.uniform(5, storm_s * 0.7), None
        if number == 0 and aim is not None:
            death = aim
        elif luck.random() < 0.5:
            death = Death(luck.choice(SYSTEM_POINTS), luck.choice((1, 1, 2, 5)))
        elif luck.random() < 0.75:
            point, at = luck.choice(TARGETS)
            death = Death(point, luck.choice((1, 1, 1, 3)), at)
        if death is not None:
            latest = luck.uniform(storm_s * 0.7, storm_s)
        downtime = luck.choice((0.1, 0.1, 2, 20, 120, 400)) * luck.uniform(0.5, 1.5)
        if luck.random() < 0.02:
            downtime = luck.uniform(1800, 3 * 3600)
        if death is not None and death.point.endswith("twin"):
            latest = storm_s + 600
        if death is not None and death.point.endswith("-stop"):
            how, latest = "stop", luck.uniform(storm_s * 0.3, storm_s * 0.9)
        if freezes and death is None:
            how = "freeze"
        variant = luck.choice(tuple(VARIANTS)) if reloads and luck.random() < 0.3 else ""
        spans.append(Span(death, latest, how, downtime, variant))
    return tuple(spans)


def _weather(luck: Random, storm_s: float, sink: str, fault: str, aim: str) -> tuple[Spell, ...]:
    """The seed's own sink and fault, so that it comes where it aims at; and perhaps more."""
    found = []
    if aim.endswith("twin"):
        found.append(Spell(HOSTS[sink], 0.0, 60.0, ("late",), 0.7))
    elif aim and leads_to(aim, sink):
        share = 0.4 if aim.endswith("delivered") else luck.choice((0.8, 1.0))
        found.append(Spell(HOSTS[sink], 0.0, 220.0 if aim.endswith("drop") else luck.uniform(90, 200), (fault,), share))
    elif fault:
        begin = luck.choice((0.0, 0.0, luck.uniform(0, storm_s * 0.5)))
        length = luck.choice((5, 20, 60) if fault in ("rejected", "credentials") else (15, 40, 120, 400))
        found.append(Spell(HOSTS[sink], begin, begin + length, (fault,), luck.choice((0.4, 0.7, 1.0))))
    faults = tuple(luck.sample([one for one in FAULTS if one], luck.randint(1, 4)))
    for name in luck.sample(SINKS, luck.choice((0, 0, 1, 2, 5))):
        begin = luck.uniform(0, storm_s)
        lasts = luck.choice((10.0, 60.0, 200.0, storm_s))
        found.append(Spell(HOSTS[name], begin, begin + lasts, faults, luck.choice((0.05, 0.3, 0.7))))
    return tuple(spell._replace(end=min(spell.end, storm_s)) for spell in found)


def _disk(luck: Random, storm_s: float) -> tuple[DiskSpell, ...]:
    found = []
    for _ in range(luck.choice((1, 1, 2, 3))):
        begin = luck.uniform(0, storm_s * 0.95)
        end = begin + luck.choice((0.5, 4, 10, 40, 100))
        found.append(DiskSpell(begin, min(end, storm_s), luck.choice(MOODS), luck.choice((0.3, 0.6, 1.0))))
    return tuple(found)


def _knobs(luck: Random) -> tuple[tuple[str, int], ...]:
    """Bounds of `daemon.runtime`, so low that they matter."""
    chosen = {
        "BATCH_RECORDS_MAX": luck.choice((1, 2, 5, 1_000)),
        "REFRESHES_MAX": luck.choice((1, 3, 1_000)),
        "RECORDS_MAX": luck.choice((4, 20, 10_000)),
        "BASE_EVERY_MS": luck.choice((60_000, 300_000, 86_400_000)),
    }
    return tuple(chosen.items())
