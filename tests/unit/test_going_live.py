"""From shadow to live: what is open is told once, what nobody has acknowledged pages, nothing else moves."""

import msgspec

from daemon.core.engine import Engine
from daemon.core.going_live import SHOWN, pictures, summary
from daemon.core.policy import Policy, Rule, SinkInfo
from daemon.core.records import PolicyChanged
from daemon.core.state import State
from tests.unit.kit import ALL, SINKS, T0, Play, alert, policy, services

PAGER_ONLY = (Rule(ALL, ("pager",)),)
SHOP = services(shop=1, pay=1, web=2)


def change(run: Play, at: float, **fields: object) -> None:
    """Another configuration at that time."""
    before: Policy = run.engine.policy
    now = msgspec.structs.replace(before, **fields)
    run.engine.set_policy(now)
    run.fold([PolicyChanged(T0 + int(at * 1000), now.digest, now.mode, before.mode)], at)


def sent(run: Play, since: int) -> list[str]:
    """What has really been sent after so many sends."""
    return [f"{one.sink} {one.action} {one.purpose}" for one in run.sent[since:] if not one.shadow]


def test_an_unacknowledged_p1_pages_once_and_everything_open_is_told_in_one_message() -> None:
    run = Play(policy(SHOP, mode="shadow"))
    run.see(0, alert(service="shop"))
    run.see(200, alert(service="web", severity="warning"))
    run.wait(2000)
    assert sent(run, 0) == []
    before = len(run.sent)
    change(run, 2000, mode="live")
    assert sent(run, before)[0] == "hook create summary"
    run.wait(2100)
    assert sorted(sent(run, before)) == [
        "desk create ticket",
        "hook create message",
        "hook create summary",
        "pager create page",
    ]
    worst, other = run.incidents()
    views, total = pictures(run.engine.state, run.engine.policy, run.engine.now_ms)
    title, text = summary(views, total)
    assert title == "samband is live: 2 open incidents"
    assert text.splitlines() == [
        title,
        f"P1 Down on shop ({worst.ref}), shop-team, open",
        f"P4 Down on web ({other.ref}), web-team, open",
    ]


def test_the_others_act_from_their_next_change() -> None:
    run = Play(policy(SHOP, mode="shadow"))
    run.see(0, alert(service="web", severity="warning"))
    run.wait(2000)
    change(run, 2000, mode="live")
    run.wait(3000)
    assert sent(run, 0) == ["hook create summary"]
    run.see(3000, alert("Slow", service="web", severity="warning"))
    run.wait(4000)
    assert sorted(sent(run, 0)) == [
        "desk create ticket",
        "hook create message",
        "hook create summary",
        "pager create page",
    ]


def test_who_has_acknowledged_is_not_paged_until_it_gets_worse() -> None:
    run = Play(policy(SHOP, mode="shadow"))
    run.see(0, alert(service="shop", severity="error"))
    run.wait(60)
    incident = run.only()
    assert incident.priority == "P2"
    run.say(61, "acknowledge", incident)
    change(run, 100, mode="live")
    run.see(110, alert("Slow", service="shop", severity="error"))
    run.wait(200)
    assert "pager create page" not in sent(run, 0)
    assert "desk create ticket" in sent(run, 0)
    run.see(210, alert("Down2", service="shop"))
    run.wait(300)
    assert [one for one in sent(run, 0) if one.startswith("pager")] == ["pager create raise-1"]


def test_a_wait_that_runs_goes_on_and_its_page_is_real() -> None:
    run = Play(policy(SHOP, mode="shadow", rules=PAGER_ONLY))
    run.see(0, alert(service="shop"))
    change(run, 5, mode="live")
    run.wait(60)
    assert run.acts("pager") == ["create page@15"]
    assert sent(run, 0) == ["hook create summary", "pager create page"]


def test_what_was_in_line_with_the_old_policy_is_looked_at_again() -> None:
    """With a pager alone nothing more was to be done for the incident; that must not be remembered."""
    run = Play(policy(SHOP, mode="shadow", rules=PAGER_ONLY))
    run.see(0, alert(service="shop"))
    run.wait(20)
    run.see(30, alert("Slow", service="shop"))
    change(run, 100, mode="live")
    run.wait(200)
    assert "pager create page" in sent(run, 0)


def test_a_new_policy_acts_on_what_is_open_from_its_next_change_as_it_would_after_a_restart() -> None:
    run = Play(policy(SHOP, rules=PAGER_ONLY))
    run.see(0, alert(service="shop"))
    run.wait(20)
    run.see(30, alert("Slow", service="shop"))
    change(run, 100, rules=(Rule(ALL, ("pager", "desk")),))
    assert run.acts("desk") == []
    run.see(110, alert("Slower", service="shop"))
    assert run.acts("desk") == ["create ticket@110"]
    assert run.acts("pager") == ["create page@15"]


def test_live_to_live_tells_nobody_and_live_to_shadow_goes_on_with_what_is_open() -> None:
    run = Play(policy(SHOP))
    run.see(0, alert(service="shop"))
    run.wait(60)
    before = len(run.sent)
    change(run, 100, digest="other")
    change(run, 200, mode="shadow")
    run.wait(300)
    assert len(run.sent) == before
    change(run, 400, mode="live")
    run.wait(500)
    assert sent(run, before) == ["hook create summary"], "what was opened before is served on, and not opened again"


def test_nothing_open_or_nowhere_to_tell_it_sends_nothing() -> None:
    run = Play(policy(SHOP, mode="shadow"))
    change(run, 10, mode="live")
    assert run.sent == []
    sinks = {"pager": SINKS["pager"], "virtual": SinkInfo("virtual", "message", virtual=True)}
    run = Play(policy(SHOP, mode="shadow", sinks=sinks))
    run.see(0, alert(service="web", severity="warning"))
    change(run, 10, mode="live")
    assert run.sent == []


def test_the_summary_is_no_object_of_its_incident() -> None:
    """It is neither updated nor resolved, nor taken for the message that the incident still has to get."""
    run = Play(policy(SHOP, mode="shadow", rules=(Rule(ALL, ("hook",)),)))
    run.see(0, alert(service="shop"))
    run.wait(60)
    change(run, 100, mode="live")
    run.wait(110)
    assert sent(run, 0) == ["hook create summary", "hook create message"]
    run.see(120, alert(service="shop", firing=False))
    run.wait(2000)
    assert [one for one in sent(run, 0) if "resolve" in one] == ["hook resolve resolve"]
    keys = [one.key for one in run.sent if not one.shadow]
    assert keys == [keys[1] + "#summary", keys[1], keys[1]]


def test_the_list_is_bounded_and_says_what_is_missing() -> None:
    run = Play(policy(mode="shadow"))
    run.see(0, *(alert(service=f"s{number}", severity="warning") for number in range(SHOWN + 7)))
    views, total = pictures(run.engine.state, run.engine.policy, run.engine.now_ms)
    _, text = summary(views, total)
    assert (len(views), total) == (SHOWN, SHOWN + 7)
    assert text.splitlines()[-1] == "and 7 more"


def test_it_survives_a_restart_in_between() -> None:
    """The state as the store holds it, loaded anew, gives the same sends."""
    run = Play(policy(SHOP, mode="shadow"))
    run.see(0, alert(service="shop"), alert(service="web", severity="warning"))
    run.wait(100)
    state = run.engine.state
    rows = [
        _Stored(table.kind, number, *image)
        for table in (state.alerts, state.incidents, state.services, state.deliveries, state.emitters)
        for number in table.rows
        if (image := state.image(table.kind, number)) is not None
    ]
    now, live = T0 + 100_000, policy(SHOP)
    again = Engine(live, State.load(rows, state.next_id, state.next_number), now)
    record = PolicyChanged(now, "test", "live", "shadow")
    run.engine.set_policy(live)
    assert run.engine.fold([record], now + 60_000).digest == again.fold([record], now + 60_000).digest


class _Stored(msgspec.Struct):
    kind: int
    id: int
    image: bytes
    extra: bytes
