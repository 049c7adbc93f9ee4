"""Golden: a mistake in the configuration in, the exact errors out."""

from pathlib import Path

import pytest

from daemon.assembly import assemble
from daemon.settings import ConfigError, load
from daemon.settings.check import check

CASES = Path(__file__).parent.parent / "golden" / "bad_config"
NAMES = sorted(path.stem for path in CASES.glob("*.yaml"))
FROM_MS = 1_793_600_000_000


def complaints(path: Path) -> str:
    """What somebody is told who starts samband with this file."""
    try:
        settings = load(path)
        entries = assemble(settings, from_ms=FROM_MS).entries
    except ConfigError as error:
        return f"{error}\n"
    return "".join(f"{finding}\n" for finding in check(settings, entries) if finding.level == "error")


@pytest.mark.parametrize("name", NAMES)
def test_every_mistake_is_named_with_its_place_and_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)
    told = complaints(Path(f"{name}.yaml"))
    assert told
    assert told == (CASES / f"{name}.err").read_text("utf-8")


def test_there_are_enough_of_them() -> None:
    assert len(NAMES) >= 20
    assert {path.stem for path in CASES.glob("*.err")} == set(NAMES)
