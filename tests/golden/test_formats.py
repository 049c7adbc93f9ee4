"""Golden: a body in, alerts out. `FORMAT.case.body` beside `FORMAT.case.json`.

With SAMBAND_UPDATE_GOLDEN=1 the expectations are written anew; read the difference before you commit it.
"""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.sources.formats.base import Context, Unreadable
from daemon.sources.formats.registry import FORMATS

FOLDER = Path(__file__).parent / "formats"
BODIES = sorted(FOLDER.glob("*.body"))
NOW = 1_795_600_000_000
UPDATE = os.environ.get("SAMBAND_UPDATE_GOLDEN") == "1"


def read(path: Path) -> dict[str, Any]:
    """What came of the body, as JSON."""
    form = FORMATS[path.name.split(".")[0]]
    try:
        parsed = form.parse(path.read_bytes(), Context("monitor", NOW, client="192.0.2.7"))
    except Unreadable as error:
        return {"unreadable": {"code": error.code, "status": error.status}}
    return {
        "alerts": [
            {
                **msgspec.structs.asdict(alert),
                "key": alert.key.hex(),
                "labels": json.loads(alert.labels),
                "annotations": json.loads(alert.annotations),
            }
            for alert in parsed.alerts
        ],
        "rejected": [{"index": one.index, "code": one.code, "reason": one.reason} for one in parsed.rejected],
        "skewed": parsed.skewed,
    }


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_body(path: Path) -> None:
    found = read(path)
    expected = path.with_suffix(".json")
    if UPDATE:
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())


def test_every_format_has_a_case() -> None:
    assert {path.name.split(".")[0] for path in BODIES} == set(FORMATS)
