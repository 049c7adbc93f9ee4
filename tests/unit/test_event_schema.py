"""docs/schemas/incident-event.json says what the webhook and Kafka send, no more and no less."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from daemon.core.model.incident import PRIORITIES, IncidentState
from sinks.base import Order
from sinks.event import TYPE, event_of
from tests.contract.sinks_kit import KEY, order, view

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/incident-event.json").read_text())
INCIDENT = SCHEMA["$defs"]["incident"]
CHECK = Draft202012Validator(SCHEMA)

ENDED = view(state="resolved", acknowledged_at=3, resolved_at=4, closed_at=5, merged_into="6a59f1e380000000")
ORDERS = [
    order(),
    order("create", purpose="raise-2"),
    order("update"),
    order("resolve", shown=ENDED),
    order("reopen"),
    order(shown=view(services=(), cause="", owner="", itself=True)),
    order(purpose="summary", key=f"{KEY}#summary", incidents=(view(), view(ref="INC-4212"))),
]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("told", ORDERS, ids=lambda told: f"{told.action}-{told.purpose}")
def test_every_event_is_as_the_schema_says_and_nothing_in_it_is_left_out(told: Order) -> None:
    event: dict[str, Any] = json.loads(json.dumps(event_of(told)))
    CHECK.validate(event)
    assert set(event) <= set(SCHEMA["properties"])
    assert set(event["incident"]) == set(INCIDENT["properties"]) == set(INCIDENT["required"])
    assert set(event["incident"]["alerts"]) == set(INCIDENT["properties"]["alerts"]["properties"])
    if told.purpose == "summary":
        assert set(event) == set(SCHEMA["properties"])


def test_the_words_are_those_of_the_core() -> None:
    assert INCIDENT["properties"]["state"]["enum"] == [*get_args(IncidentState)]
    assert INCIDENT["properties"]["priority"]["enum"] == [*PRIORITIES]
    assert set(SCHEMA["properties"]["type"]["enum"]) == {*TYPE.values(), "incident.summary"}


@pytest.mark.parametrize(
    "change", [{"type": "incident.vanished"}, {"sent_at": 7}, {"incident": {}}, {"type": "incident.summary"}]
)
def test_the_schema_refuses_what_is_none(change: dict[str, Any]) -> None:
    assert not CHECK.is_valid(event_of(order()) | change)
