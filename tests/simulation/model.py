"""What must hold, checked from outside: against the database, the services and the journal.

It shares no rule with the engine. A violation is a sentence; a world without any is right.
"""

from collections import Counter
from collections.abc import Iterator

from daemon.core.state import INCIDENT, State
from tests.fakes.jira import TWIN_LABEL
from tests.simulation.coverage import FINAL
from tests.simulation.rings import rings_of_a_pager_without_keys
from tests.simulation.world import World

IMAGE_BYTES_MAX = 1_200
"""Names in it are short; counts are of constant size."""


def violations(world: World) -> list[str]:
    """Everything that is wrong at the end of the quiet time."""
    world.journal.fold()
    found = [f"{one.at:.0f} s: {one.text}" for one in world.wrongs]
    found += _nothing_lost(world)
    found += _nothing_open(world)
    found += _sinks_agree(world)
    found += _one_object_each(world)
    found += rings_of_a_pager_without_keys(world)
    found += _constant_size(world)
    return found


def _state(world: World) -> State:
    assert world.runtime is not None
    return world.runtime.engine.state


def _nothing_lost(world: World) -> Iterator[str]:
    """Promise 1: what was acknowledged is in the state or in history, and what was decided is in the outbox."""
    state = _state(world)
    history = {key for (key,) in world.disk.read("SELECT key FROM history_alerts")}
    for key, firing, starts_at in world.ledger.answered:
        if key not in state.by_key and key not in history:
            yield f"alert {world.ledger.names[key]} ({firing=}, {starts_at=}) was acknowledged and is gone"
    rows = {number for (number,) in world.disk.read("SELECT id FROM outbox")}
    for number in world.journal.sends:
        if number not in rows:
            yield f"send {number} was decided and never came into the outbox"


def _nothing_open(world: World) -> Iterator[str]:
    """All that was wrong has ended, and somebody has looked after what waits for a person."""
    state = _state(world)
    for alert in state.alerts.rows.values():
        if alert.open and alert.source != "samband" and alert.name != "Watchdog":
            yield f"alert {alert.name} on {alert.resource} is still open, last sign {alert.last_sign}"
    for incident in state.incidents.rows.values():
        if incident.live:
            about = incident.self_cause or "the estate"
            yield f"{incident.ref} ({incident.priority}, about {about}) is still {incident.state}"
    for row in world.disk.read("SELECT id, sink, state, action, reason, detail FROM outbox"):
        if row[2] in ("waiting", "sending", "dead"):
            yield f"outbox row {row[0]} for {row[1]} is still {row[2]}: {row[3]} {row[4]} {row[5]}"


def _sinks_agree(world: World) -> Iterator[str]:
    """Promise 3: nothing stands open at a sink for what is over (chat lines may be missing)."""
    for name, fake in world.services.all.items():
        for key in () if name.startswith("webhook") else fake.keys():
            for one in () if _excused(world, name, key) else fake.open_objects(key):
                yield f"{name}: {key} is still open: {vars(one)}"
        for text in fake.violations:
            yield f"{name} was sent something wrong: {text}"
    for number, shown in world.services.statuspage.shown.items():
        if shown != "operational":
            yield f"statuspage: component {number} still shows {shown}"


def _excused(world: World, service: str, key: str) -> bool:
    """Whether an object may stay: a person gave it up, or nobody can know of it."""
    met = [one.trouble for one in world.services.asked if key.encode() in one.request.body]
    if key.startswith("samband-host-"):
        # Nobody knows after a death whom the life before had told that the store was down.
        return bool(world.deaths) or world.plan.frozen or any(one in FINAL for one in met)
    return key in world.people.gave_up or (service == "buzzer" and "late" in met)


def _constant_size(world: World) -> Iterator[str]:
    """The image of an incident does not grow with its members."""
    (longest,) = world.disk.read("SELECT max(length(image)) FROM live WHERE kind = ?", INCIDENT)[0]
    if longest is not None and longest > IMAGE_BYTES_MAX:
        yield f"the image of an incident has {longest} bytes"


def _one_object_each(world: World) -> Iterator[str]:
    """Promise 2: one object for one decision, and one for each that was reported as done."""
    services = world.services
    made = world.disk.read(
        "SELECT sink, key, count(*) FROM outbox WHERE state = 'done' AND action = 'create' GROUP BY 1, 2"
    )
    hosts = {
        "pager": "pagerduty",
        "desk": "jira",
        "page": "statuspage",
        "hook": "webhook",
        "second": "webhook2",
        "buzzer": "buzzer",
    }
    for sink, key, number in made:
        objects = len(services.all[hosts[sink]].objects(key))
        if number != 1 and not key.endswith("#summary"):
            yield f"{sink}: {key} was made {number} times"
        if objects == 0 and sink in ("desk", "page"):
            yield f"{sink}: {key} was reported as made, and is not there"
    rung = Counter(page.key for page in services.pagerduty.pages)
    for key, times in rung.items():
        # A request that is carried out long after its page was ended opens it anew, and nobody can know.
        late = sum(one.trouble == "late" and key.encode() in one.request.body for one in services.asked)
        if times > 1 + late and not key.startswith("samband-host-"):
            yield f"pagerduty rang {times} times for {key}"
    tickets_by_key = services.jira.keys()
    for key in tickets_by_key:
        tickets = [one for one in services.jira.objects(key) if TWIN_LABEL not in one.labels]
        if len(tickets) > 1:
            yield f"jira has {len(tickets)} tickets for {key}"
    entries_by_key = services.statuspage.keys()
    for key in entries_by_key:
        if len(services.statuspage.objects(key)) > 1:
            yield f"statuspage has {len(services.statuspage.objects(key))} entries for {key}"
    for message in services.webhook.messages:
        if message.copies > 1:
            yield f"the webhook got {message.type} of {message.key} {message.copies} times"
