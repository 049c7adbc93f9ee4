"""Golden: an event of PagerDuty's in, an alert, a change or PagerDuty's refusal out.

`alert.CASE.body` and `change.CASE.body` beside their `.json`. With SAMBAND_UPDATE_GOLDEN=1 the
expectations are written anew; read the difference before you commit it.
"""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.sources.formats import pagerduty_events as events
from daemon.sources.formats.base import Context
from tests.fakes.schemas import violations_of

FOLDER = Path(__file__).parent / "pagerduty_events"
BODIES = sorted(FOLDER.glob("*.body"))
NOW = 1_795_600_000_000
ROUTE = events.Route("scripts", "orders", "staging")
GENERATED = "made-up-by-samband"


def read(path: Path) -> dict[str, Any]:
    """What came of the body, as JSON."""
    kept = events.without_key(events.decode(path.read_bytes()))
    event = events.decode(kept)
    try:
        if path.name.startswith("change."):
            events.check_change(event)
            return shown(events.change_of(event, ROUTE, NOW))
        events.check(event)
        return shown(events.alert_of(event, event.get("dedup_key") or GENERATED, ROUTE, Context("scripts", NOW)))
    except events.Invalid as error:
        return {"errors": error.errors, "code": error.code, "kept": json.loads(kept)}


def shown(found: msgspec.Struct) -> dict[str, Any]:
    fields = msgspec.structs.asdict(found)
    decoded: dict[str, Any] = {name: json.loads(fields[name]) for name in ("labels", "annotations") if name in fields}
    return {**fields, **({"key": fields["key"].hex()} if "key" in fields else {}), **decoded}


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_event(path: Path) -> None:
    found = read(path)
    expected = path.with_suffix(".json")
    if os.environ.get("SAMBAND_UPDATE_GOLDEN") == "1":
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["alert.full", "change.build", "change.bare"])
def test_the_good_ones_are_good_by_the_vendors_schema(name: str) -> None:
    kind = "change" if name.startswith("change") else "enqueue"
    event = json.loads((FOLDER / f"{name}.body").read_text())
    assert violations_of(f"pagerduty-events-v2.{kind}.request", event) == ""
