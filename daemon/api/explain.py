"""`GET /api/v1/incidents/{id}/explain` and `POST /api/v1/explain`: why, and what would happen. Both only read."""

import asyncio
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.responses import Response

from daemon.api import incidents
from daemon.api.asked import Unclear, asked
from daemon.api.models_explain import Explanation, Foretold, Question
from daemon.api.replies import CONFLICT, MISSING, REFUSALS, answer, no_incident, refusal
from daemon.api.surface import Pace, Surface
from daemon.core.explaining import explain
from daemon.core.foretelling import EXAMPLES, foretell
from daemon.core.matching import Matcher
from daemon.core.model.alert import Alert
from daemon.core.model.ids import parse_id
from daemon.core.suppress import values_of
from daemon.settings.matchers import MatcherError, Matchers
from daemon.sources.senders import Source

TOLD_KINDS = frozenset({"merged", "merge-proposed", "split"})
"""Lines of the timeline that say how the incident came to be this one thing."""


def mount(app: FastAPI, surface: Surface) -> None:
    """Adds the routes."""

    @app.get(
        "/api/v1/incidents/{incident}/explain",
        response_model=Explanation,
        responses=REFUSALS | MISSING | CONFLICT,
        tags=["incidents"],
    )
    async def explain_incident(incident: str) -> Response:
        """Why its alerts are one incident, why this priority, why these people; what is held, what comes next."""
        state = surface.runtime.engine.state
        number = state.root(incidents.find(state, incident))
        if number not in state.incidents.rows:
            return await _past(surface, incident)
        told = explain(state, surface.runtime.engine.policy, number, surface.runtime.now_ms())
        shown: dict[str, Any] = msgspec.to_builtins(told)
        timeline = await surface.history.timeline(list(state.family(number)))
        lines = [f"{one['at']}: {one['text']}." for one in timeline if one["kind"] in TOLD_KINDS]
        shown["together"]["text"] += lines
        return answer(200, shown)

    @app.post("/api/v1/explain", response_model=Foretold, responses=REFUSALS, tags=["alerts"])
    async def explain_alert(body: Question) -> Response:
        """What would happen to such an alert now. Nothing happens."""
        try:
            matchers = Matchers(body.alert)
            alert = asked(matchers, _sources(surface), surface.runtime.now_ms())
        except MatcherError as error:
            return refusal(422, f"alert: {error}")
        except Unclear as unclear:
            return refusal(422, f"alert: {unclear}")
        alike, count = await _alike(surface, matchers)
        engine, now = surface.runtime.engine, surface.runtime.now_ms()
        return answer(200, msgspec.to_builtins(foretell(engine.state, engine.policy, alert, now, alike, count)))


def _sources(surface: Surface) -> dict[str, Source]:
    return {name: surface.senders.get(name) or Source(name, kind) for name, kind in surface.sources.items()}


async def _past(surface: Surface, name: str) -> Response:
    """What decided is gone with the incident; the members' evidence is kept."""
    reference, past = await surface.history.state_of(name, parse_id(name))
    if not reference:
        return no_incident(name)
    return refusal(409, f"{reference} is {past}; `samband incidents show {reference}` shows why its members were in")


async def _alike(surface: Surface, matcher: Matcher) -> tuple[list[Alert], int]:
    """Some of the open alerts that match, and how many there are."""
    alerts, pace = surface.runtime.engine.state.alerts.rows, Pace()
    found: list[Alert] = []
    count = 0
    for number in list(alerts):
        alert = alerts.get(number)
        if alert is not None and not alert.end and matcher.matches(values_of(alert)):
            count += 1
            if len(found) <= EXAMPLES:
                found.append(alert)
        if pace.tired:
            await asyncio.sleep(0)
    return found, count
