"""Who is rung, when, and for what: seen at the pagers, held against what senders said and people did."""

from typing import TYPE_CHECKING, NamedTuple

from daemon.core.model.alert import Alert, ParsedAlert
from daemon.core.model.ids import parse_id, public_id
from daemon.core.model.incident import Incident
from tests.simulation.configuration import tier_one
from tests.simulation.ledger import service_of
from tests.simulation.services import AMBIGUOUS

if TYPE_CHECKING:
    from tests.simulation.world import World

WITHIN_S = 30.0
"""Promise 5: so soon a P1's page leaves."""
CALM_S = 160.0
"""So long before nothing may have gone wrong at the pager, for a page to be late by samband's fault: Retry-After."""
UNDER_WAY_S = 25.0
"""A request that was under way when its reason passed may still arrive."""


class Ring(NamedTuple):
    """A page that rang at PagerDuty."""

    at: float
    key: str
    summary: str


class Rings:
    """Listens at the pagers."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.rung: list[Ring] = []
        self._stalled_since = -1.0
        self._judged = 0
        services = world.services
        services.pagerduty.on_event = self._at_pagerduty
        services.jira.on_event = self._at_jira

    # ---- what is seen at the services ----------------------------------------------------------------------------
    def _at_pagerduty(self, line: str) -> None:
        word, key = line.split(" ", 2)[1], line.rpartition(" ")[2]
        if key.startswith("samband-host-"):
            return
        if word == "RINGS":
            summary = line.partition("RINGS ")[2]
            self.rung.append(Ring(self._world.loop.time(), key, summary))
            self._still_wanted("a page", key)
        elif word == "resolve":
            self._somebody_is_rung_still(key)

    def _at_jira(self, line: str) -> None:
        if " NEW " in line and self._world.services.jira.issues:
            issue = list(self._world.services.jira.issues.values())[-1]
            key = next((label for label in issue.labels if label.startswith("samband-")), "")
            self._still_wanted("a ticket", key)

    def _incident(self, key: str) -> Incident | None:
        runtime = self._world.runtime
        number = parse_id(key.partition("#")[0].removeprefix("samband-").rpartition("-")[0])
        if runtime is None or not number:
            return None
        state = runtime.engine.state
        return state.incidents.get(state.root(number))

    def _still_wanted(self, what: str, key: str) -> None:
        """Nothing is made for what is over, but for a P1's page and ticket."""
        incident, runtime = self._incident(key), self._world.runtime
        if incident is None or runtime is None or incident.live or self._world.services.late:
            return
        since = (runtime.now_ms() - incident.resolved_at) / 1000
        if incident.state == "resolved" and incident.priority != "P1" and since > UNDER_WAY_S:
            self._world.wrong(
                f"{what} was made for {incident.ref}, {since:.0f} s after it was over", public_id(incident.id)
            )

    def _somebody_is_rung_still(self, key: str) -> None:
        """A merge ends the other page only once the survivor's stands."""
        runtime, incident = self._world.runtime, self._incident(key)
        if runtime is None or incident is None or not incident.live or incident.held or not incident.firing:
            return
        state = runtime.engine.state
        own = parse_id(key.partition("#")[0].removeprefix("samband-").rpartition("-")[0])
        if own == incident.id or "#" in key or incident.generation > 1:
            return
        names = [public_id(one) for one in state.family(incident.id)]
        pages = self._world.services.pagerduty.pages
        if not any(page.status != "resolved" and any(name in page.key for name in names) for page in pages):
            text = f"the page {key} was ended by a merge, and no other stands for {incident.ref}"
            self._world.wrong(text, *names)

    # ---- from time to time -----------------------------------------------------------------------------------------
    def look(self) -> None:
        """Judges the pages that had to leave by now, and whether somebody knows that the store is down."""
        critical, now = self._world.ledger.critical, self._world.loop.time()
        while self._judged < len(critical) and critical[self._judged][0] + WITHIN_S < now:
            began, parsed = critical[self._judged]
            self._judged += 1
            self._in_time(began, parsed)
        self._out_of_band(now)

    def _in_time(self, began: float, parsed: ParsedAlert) -> None:
        world, runtime = self._world, self._world.runtime
        if runtime is None or not self._undisturbed(began, began + WITHIN_S):
            return
        if not tier_one(world.variant, service_of(parsed)):
            return
        state = runtime.engine.state
        alert = state.alerts.rows.get(state.by_key.get(parsed.key, 0))
        incident = state.incident_of(alert) if alert is not None else None
        if alert is None or incident is None or not self._speaks(alert, incident, began):
            return
        names = [public_id(one) for one in state.family(incident.id)]
        mine = [ring for ring in self.rung if any(name in ring.key for name in names)]
        if not any(ring.at <= began + WITHIN_S and " P1 " in f" {ring.summary}" for ring in mine):
            text = (
                f"{parsed.name} on {parsed.resource} made {incident.ref} P1 at {began:.2f} s, and no page left in 30 s"
            )
            world.wrong(text, parsed.key.hex(), public_id(incident.id))

    def _speaks(self, alert: Alert, incident: Incident, began: float) -> bool:
        """Whether nothing but the machine decides: nobody silenced it, nobody acted on its incident."""
        people, world = self._world.people, self._world
        if world.ledger.clock_wrong or "silences" in world.plan.has or "corrections" in world.plan.has:
            return False
        if "poison" in world.plan.has or people.touched.get(incident.id) is not None:
            return False
        return alert.open and alert.severity == "critical" and incident.priority == "P1"

    def _undisturbed(self, begin: float, end: float) -> bool:
        """Whether store, pager and samband itself had nothing against it from a while before on."""
        world = self._world
        if world.configuration.policy.mode == "shadow":
            return False
        if (
            not world.ledger.starts
            or world.ledger.starts[-1] > begin - 1
            or world.life is None
            or world.life.frozen_until
        ):
            return False
        if any(spell.begin < end and begin - CALM_S < spell.end for spell in world.disk_spells):
            return False
        for spell in world.services.spells:
            if spell.service == "pagerduty" and spell.begin < end and begin - CALM_S < spell.end:
                return False
        return not any(begin - CALM_S < at < end for at, _ in world.reloads)

    def _out_of_band(self, now: float) -> None:
        """When nothing can be made durable, somebody is told another way."""
        world, runtime = self._world, self._world.runtime
        stalled = runtime is not None and not runtime.healthy and world.life is not None and not world.life.frozen_until
        if not stalled:
            self._stalled_since = -1.0
            return
        if self._stalled_since < 0:
            self._stalled_since = now
        calm = not any(
            spell.service == "pagerduty" and spell.begin < now and now - CALM_S < spell.end
            for spell in world.services.spells
        )
        if now - self._stalled_since >= 40 and calm and not world.services.pagerduty.objects("samband-host-store"):
            world.wrong(f"the store has been down since {self._stalled_since:.0f} s, and nobody was told out of band")
            self._stalled_since = now


def rings_of_a_pager_without_keys(world: "World") -> list[str]:
    """Promise 2 for the class `none`: no more repeats than unclear outcomes and deaths, each marked."""
    found = []
    by_send: dict[int, list[bool]] = {}
    for ring in world.services.buzzer.rings:
        by_send.setdefault(ring.send, []).append(ring.repeat)
    for send, repeats in by_send.items():
        number = b'"send":%d' % send
        asked = [one for one in world.services.asked if one.sink == "buzzer" and number in one.request.body]
        unclear = sum(one.trouble in AMBIGUOUS for one in asked) + len(world.deaths)
        if len(repeats) - 1 > unclear:
            found.append(f"buzzer: {send} rang {len(repeats)} times, after {unclear} unclear outcomes and deaths")
        if repeats.count(False) > 1:
            found.append(f"buzzer: {send} rang again without saying that it is a repeat")
    return found
