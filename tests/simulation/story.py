"""The story of a world in words: what was said, what was decided, what was sent, what went wrong, where it died.

It is told only of what the violations are about, when they name anything, and of what concerns everybody.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from daemon.core.model.ids import parse_id, public_id
from tests.simulation.coverage import FAULTS
from tests.simulation.services import Spell

if TYPE_CHECKING:
    from tests.simulation.world import World

LINES_MAX = 400


class Line(NamedTuple):
    """One thing that happened, at `at` s of the world, to the left what kind of thing it was."""

    at: float
    who: str
    text: str


def story(world: "World", about: Iterable[str] = ()) -> list[str]:
    """The lines. about: alert keys and incident ids in hexadecimal; all of it when there are none."""
    keys, incidents = _circle(world, dict.fromkeys(about))
    lines = [
        Line(0.0, "plan", _plan(world)),
        *(Line(at, "samband", text) for at, text in world.log),
        *(Line(one.at, "WRONG", one.text) for one in world.wrongs),
        *(Line(spell.begin, "weather", _weather(spell)) for spell in world.plan.spells),
        *(
            Line(spell.begin, "disk", f"{spell.mood} until {spell.end:.0f} s ({spell.share})")
            for spell in world.disk_spells
        ),
        *_said(world, keys),
        *_decided(world, incidents),
        *_sent(world, incidents),
    ]
    lines.sort(key=lambda line: line.at)
    told = [f"{line.at:9.2f} s  {line.who:<10} {line.text}" for line in lines]
    if len(told) > LINES_MAX:
        half = LINES_MAX // 2
        told = [*told[:half], f"... {len(told) - LINES_MAX} lines ...", *told[-half:]]
    return told


def _circle(world: "World", about: dict[str, None]) -> tuple[dict[str, None] | None, dict[int, None] | None]:
    """The alert keys and the incidents concerned: an alert's incidents with what was merged, and their members."""
    if not about:
        return None, None
    keys = {one: None for one in about if len(one) == 32}
    incidents = {parse_id(one): None for one in about if len(one) == 16}
    rows = world.disk.read("SELECT hex(key), incident FROM history_alerts")
    if world.runtime is not None:
        state = world.runtime.engine.state
        rows += [(one.key.hex(), one.incident) for one in state.alerts.rows.values()]
        for number in [*incidents, *(incident for key, incident in rows if key.lower() in keys and incident)]:
            incidents |= dict.fromkeys(state.family(state.root(number)))
    keys |= {key.lower(): None for key, incident in rows if incident in incidents}
    return keys, incidents


def _plan(world: "World") -> str:
    plan = world.plan
    waits = "quick" if plan.quick else "default"
    return (
        f"seed {plan.seed}: {', '.join(plan.has)}; {waits} waits, storm {plan.storm_s:.0f} s, "
        f"configuration {plan.variant!r}, knobs {dict(plan.knobs)}"
    )


def _weather(spell: Spell) -> str:
    return f"{spell.service}: {', '.join(spell.troubles)} until {spell.end:.0f} s, {spell.share:.0%} of the requests"


def _said(world: "World", keys: dict[str, None] | None) -> Iterator[Line]:
    for began, ended, alerts, answered in world.ledger.attempts:
        for alert in alerts:
            if keys is not None and alert.key.hex() not in keys:
                continue
            word = "fires" if alert.firing else "is over"
            start = f" since {_s(world, alert.starts_at)}" if alert.starts_at else ""
            until = f" until {_s(world, alert.ends_at)}" if alert.ends_at else ""
            came = (
                f"acknowledged after {ended - began:.2f} s" if answered else f"NOT acknowledged ({ended - began:.2f} s)"
            )
            replica = f" ({alert.replica})" if alert.replica else ""
            text = f"{alert.name} on {alert.resource}{replica} {word}{start}{until}"
            yield Line(began, alert.source, f"{text}, {alert.severity or 'no severity'}: {came}")


def _s(world: "World", ms: int) -> str:
    return f"{(ms - world.clock.true_ms()) / 1000 + world.loop.time():.1f}"


def _decided(world: "World", incidents: dict[int, None] | None) -> Iterator[Line]:
    base = world.clock.true_ms() - world.loop.time() * 1000
    for number, at, kind, text, actor in world.disk.read("SELECT incident, at, kind, text, actor FROM timeline"):
        if incidents is None or number in incidents:
            who = f" by {actor}" if actor else ""
            yield Line((at - base) / 1000, "decided", f"{public_id(number)} {kind}: {text}{who}")
    rows = world.disk.read(
        "SELECT incident, at, id, sink, action, purpose, key, state, reason, done_at FROM outbox ORDER BY id"
    )
    for number, at, send, sink, action, purpose, key, state, reason, done_at in rows:
        if incidents is None or number in incidents:
            done = f" at {(done_at - base) / 1000:.2f}" if done_at else ""
            text = f"send {send:016x}: {action} of {purpose} to {sink} as {key}: {state}{done} {reason}"
            yield Line((at - base) / 1000, "decided", text.rstrip())


def _sent(world: "World", incidents: dict[int, None] | None) -> Iterator[Line]:
    names = None if incidents is None else [public_id(number).encode() for number in incidents]
    refs = () if incidents is None or world.runtime is None else _refs(world, incidents)
    for asked in world.services.asked:
        text = f"{asked.request.method} {asked.request.url.partition('//')[2]}"
        whole = asked.request.body + text.encode()
        if names is None or any(name in whole for name in names) or any(ref in whole for ref in refs):
            became = f": {FAULTS[asked.trouble]}" if asked.trouble else ""
            yield Line(asked.at, f"-> {asked.sink}", f"{text} {_gist(asked.request.body)}{became}")


def _refs(world: "World", incidents: dict[int, None]) -> list[bytes]:
    assert world.runtime is not None
    rows = world.runtime.engine.state.deliveries.rows.values()
    return [one.ref.encode() for one in rows if one.incident in incidents and one.ref]


def _gist(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return text if len(text) < 160 else text[:160] + "..."
