"""The configurations that the simulated daemon runs: variations of one, compiled once per process."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from ruamel.yaml import YAML

from daemon.assembly import Assembly, assemble
from daemon.core import policy as core
from daemon.core.matching import Matcher
from daemon.settings import load
from sinks.base import Sink
from tests.simulation.sinks import BUZZER, Buzzer, Watched

BASE = Path(__file__).with_name("samband.yaml")

BEGIN_MS = 1_800_000_000_000
"""Friday, 15 January 2027, 08:00 UTC. Calendars reach from two days before this to ten days after."""

QUICK: Mapping[str, Any] = {
    "timing": {
        "first_page": {"P1": "10s", "P2": "20s", "P3": "40s", "P4": "40s", "P5": "40s"},
        "ticket": {"P1": "0s", "P2": "0s", "P3": "20s", "P4": "45s", "P5": "45s"},
        "acknowledge_lapses": {"P1": "3m", "P2": "5m", "P3": "8m"},
        "resolve_after": {"P1": "90s", "P2": "90s", "P3": "60s", "P4": "45s", "P5": "45s"},
        "priority_down_after": "2m",
        "lapse_after": "3m",
        "lapse_after_gap": "7m",
        "event_expires": "12m",
        "reopen_window": "4m",
        "comment_every": "1m",
    },
    "delivery": {"retry_max": "40s", "give_up_after": "15m", "circuit_pause": "10s", "settle": "30s"},
    "status_page": {"green_after": "2m"},
}
"""Every wait is a few minutes at most, in about the proportions of the defaults."""

PATIENT: Mapping[str, Any] = {}
"""The defaults."""

OTHER_TEAMS: Mapping[str, Any] = {
    "services": {
        "shop": {"team": "money", "tier": 1, "component": "Checkout", "depends_on": ["orders-db", "payments"]},
        "payments": {"team": "web", "tier": 2, "component": "Payments", "depends_on": ["orders-db"]},
        "search": {"team": "data", "tier": 1},
    }
}
_HOOK = {"type": "webhook", "url": "http://webhook2/in"}

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "base": {},
    "other teams": OTHER_TEAMS,
    "shadow": {"mode": "shadow"},
    "no hook": {"sinks": {"hook": None}},
    "second hook": {"sinks": {"second": _HOOK}},
    "later pages": {"timing": {"first_page": {"P1": "20s", "P2": "40s", "P3": "60s"}, "reopen_window": "2m"}},
    "approve": {"status_page": {"publish": "approve"}},
}
"""What a reload or a restart may change. None takes a key away."""


def tier_one(variant: str, service: str) -> bool:
    """Whether a service is of the first tier there, as the configuration's author knows."""
    tiers = {"shop": 1, "payments": 2, "search": 1} if variant == "other teams" else {"shop": 1, "payments": 1}
    return tiers.get(service) == 1


class Sinks:
    """`daemon.outbox_lanes.Sinks`: those of the configuration and the buzzer, each watched."""

    def __init__(self, assembly: Assembly, buzzer: bool) -> None:
        self._assembly = assembly
        self._buzzer: Sink | None = Watched(Buzzer()) if buzzer else None
        self._known: dict[int, Sink] = {}

    def get(self, name: str, team: str = "") -> Sink:
        """See there. Raises KeyError."""
        if name == BUZZER and self._buzzer is not None:
            return self._buzzer
        sink = self._assembly.sinks.get(name, team)
        if id(sink) not in self._known:
            self._known[id(sink)] = Watched(sink)
        return self._known[id(sink)]


class Configuration:
    """One configuration, compiled. `assembly.policy` knows the buzzer, if there is one.

    poison: a condition that says so raises in the engine, as a bug would.
    """

    def __init__(self, assembly: Assembly, *, buzzer: bool, poison: bool) -> None:
        policy = assembly.policy
        if poison:
            policy = msgspec.structs.replace(
                policy, matcher=_poisoned(policy.matcher), digest=f"{policy.digest} poisoned"
            )
        if buzzer:
            rules = [msgspec.structs.replace(one, to=_with_buzzer(one.to)) for one in policy.rules]
            sinks = {**policy.sinks, BUZZER: core.SinkInfo(BUZZER, "pager")}
            digest = f"{policy.digest} and a buzzer"
            policy = msgspec.structs.replace(policy, rules=tuple(rules), sinks=sinks, digest=digest)
        self.assembly = replace(assembly, policy=policy)
        self.sinks = Sinks(assembly, buzzer)

    @property
    def policy(self) -> core.Policy:
        """What decides."""
        return self.assembly.policy


class _Poison:
    """A condition over which the engine raises."""

    text = "poison"

    def matches(self, values: Mapping[str, Sequence[str]]) -> bool:
        """Never says."""
        raise ZeroDivisionError("poison")


def _poisoned(compiled: Callable[[str], Matcher]) -> Callable[[str], Matcher]:
    return lambda text: _Poison() if "poison" in text else compiled(text)


def _with_buzzer(to: tuple[str, ...]) -> tuple[str, ...]:
    return (*to, BUZZER) if "pager" in to else to


@lru_cache(maxsize=64)
def configuration(
    variant: str = "base", *, quick: bool = False, buzzer: bool = False, poison: bool = False
) -> Configuration:
    """One of VARIANTS with quick or default waits."""
    wanted = YAML(typ="safe").load(BASE.read_text(encoding="utf-8"))
    for change in (QUICK if quick else PATIENT, VARIANTS[variant]):
        wanted = _changed(wanted, change)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "samband.yaml"
        path.write_text(json.dumps(wanted), encoding="utf-8")  # JSON is YAML.
        settings = load(path)
    return Configuration(assemble(settings, from_ms=BEGIN_MS - 2 * core.DAY, days=12), buzzer=buzzer, poison=poison)


def _changed(before: Any, change: Mapping[str, Any]) -> dict[str, Any]:
    after = dict(before)
    for key, value in change.items():
        if value is None:
            after.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(after.get(key), Mapping):
            after[key] = _changed(after[key], value)
        else:
            after[key] = value
    return after
