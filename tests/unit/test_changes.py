"""Changes in the engine: which of them an incident may come from, and how the page says so."""

from daemon.core.changes import LOOK_BACK
from daemon.core.communication import page
from daemon.core.model.catalogue import Service
from daemon.core.model.change import ParsedChange
from daemon.core.records import ChangeSeen
from tests.unit.kit import AT_ONCE, T0, Play, alert, policy

SERVICES = {"shop": Service("shop", tier=1, depends_on=("orders-db",)), "orders-db": Service("orders-db")}


def changed(play: Play, at: float, service: str, name: str, summary: str = "", made: float | None = None) -> None:
    """A change is reported at `at`; it was made then, or at `made`."""
    when = 0 if made is None else T0 + int(made * 1000)
    change = ParsedChange(name, when, "ci", service, "", summary)
    play.fold([ChangeSeen(T0 + int(at * 1000), change)], at)


def lines(play: Play) -> list[str]:
    text = page(play.shown(play.only()), play.engine.now_ms)
    return [line for line in text.splitlines() if line.startswith("CHANGED")]


def test_the_page_names_the_nearest_and_newest_changes_first() -> None:
    play = Play(policy(SERVICES, timing=AT_ONCE))
    changed(play, 60, "orders-db", "CHG-2", "pool size 20")
    changed(play, 120, "shop", "CHG-1")
    changed(play, 130, "wiki", "CHG-3")
    play.see(540, alert())
    # T0 is 20:26:40 UTC.
    assert lines(play) == [
        "CHANGED CHG-1 shop, 20:28, 7 min before; CHG-2 orders-db: pool size 20, 20:27, 8 min before"
    ]


def test_what_is_too_old_or_far_away_is_not_named() -> None:
    play = Play(policy(SERVICES, timing=AT_ONCE))
    changed(play, 0, "shop", "CHG-1")
    changed(play, 1, "wiki", "CHG-2")
    play.see(LOOK_BACK / 1000 + 60, alert())
    assert lines(play) == []


def test_a_change_that_is_told_of_late_is_shown_with_its_own_time() -> None:
    play = Play(policy(SERVICES, timing=AT_ONCE))
    play.see(600, alert())
    changed(play, 900, "shop", "CHG-1", made=300)
    assert lines(play) == ["CHANGED CHG-1 shop, 20:31, 5 min before"]
    changed(play, 901, "shop", "CHG-4", made=700)
    assert "CHG-4 shop, 20:38, 1 min after" in lines(play)[0]
