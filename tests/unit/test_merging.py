"""Two incidents that turn out to be one: nobody is paged again, and nothing is merged over people's heads."""

import msgspec

from daemon.core.model.catalogue import Service
from daemon.core.model.incident import Incident
from daemon.core.policy import Rule
from daemon.core.records import CommandGiven
from tests.unit.kit import ALL, AT_ONCE, T0, Play, alert, policy

BY_LABELS = policy().correlators[:1]
SHOP = {
    "a": Service("a", depends_on=("db",), tier=1, team="a-team"),
    "c": Service("c", depends_on=("db",), tier=1, team="c-team"),
    "db": Service("db", tier=2, team="db-team"),
}
PAGER = (Rule(ALL, ("pager",)),)


def connect(run: Play, at: float) -> Incident:
    """An alert between the two, once the catalogue counts."""
    run.engine.set_policy(msgspec.structs.replace(run.policy, correlators=policy().correlators))
    run.see(at, alert(service="db", start=at))
    return run.incidents()[0]


def creates(run: Play) -> list[str]:
    return [act for act in run.acts("pager") if act.startswith("create")]


def test_a_merge_tells_nobody_again_of_what_the_other_had_told() -> None:
    run = Play(policy(SHOP, timing=AT_ONCE, correlators=BY_LABELS, rules=PAGER))
    run.see(0, alert(service="a", start=0), alert(service="c", start=0))
    assert creates(run) == ["create page@0", "create page@0"]
    connect(run, 10)
    run.wait(600)
    assert len(run.incidents()) == 1
    assert creates(run) == ["create page@0", "create page@0"]


def test_a_merge_takes_over_the_page_that_the_other_has_sent() -> None:
    """The older one's page waits still; the younger one, of a higher priority, has paged already."""
    timing = msgspec.structs.replace(AT_ONCE, first_page=(0, 0, 0, 60_000, 60_000))
    run = Play(policy(SHOP, timing=timing, correlators=BY_LABELS, rules=PAGER))
    run.see(0, alert(service="a", severity="info", start=0))
    run.see(1, alert(service="c", start=1))
    assert creates(run) == ["create page@1"]
    connect(run, 10)
    run.wait(600)
    assert len(run.incidents()) == 1
    assert [act for act in run.acts("pager") if "raise" not in act] == ["create page@1"]
    served = [one.purpose for one in run.engine.state.incident_deliveries(run.only().id) if one.state == "open"]
    assert served.count("page") == 1


def test_what_two_teams_have_acknowledged_is_only_proposed_for_merging() -> None:
    run = Play(policy(SHOP, timing=AT_ONCE, correlators=BY_LABELS, rules=PAGER))
    run.see(0, alert(service="a", start=0), alert(service="c", start=0))
    for at, incident in enumerate(run.incidents(), 1):
        run.say(at, "acknowledge", incident)
    connect(run, 10)
    assert len(run.incidents()) == 2
    assert [one.kind for one in run.notes].count("merge-proposed") == 1


def split(run: Play) -> tuple[Incident, Incident]:
    """A person says that Slow has nothing to do with Down."""
    _, slow = run.see(0, alert("Down", service="a", start=0), alert("Slow", service="a", start=0))
    said = CommandGiven(T0 + 1_000, "", "bo", "split", run.only().id, {"alerts": slow.key.hex()})
    (reply,) = run.fold([said], 1).replies
    assert reply.status == "ok"
    first, second = run.incidents()
    return first, second


def test_what_a_person_split_stays_apart_when_it_fires_anew() -> None:
    run = Play(policy(SHOP, timing=AT_ONCE, rules=PAGER))
    first, second = split(run)
    run.see(10, alert("Slow", service="a", firing=False, start=0, end=10))
    assert second.state == "resolved"
    run.see(4_000, alert("Slow", service="a", start=4_000))
    assert [one.firing for one in run.incidents()] == [1, 0, 1]
    run.see(4_010, alert("Third", service="a", start=4_010))
    assert first.firing == 2, "others of this service still join"


def test_what_a_person_split_is_not_merged_by_what_connects_it() -> None:
    run = Play(policy(SHOP, timing=AT_ONCE, rules=PAGER))
    split(run)
    run.see(10, alert("Third", service="a", start=10))
    assert [one.state for one in run.incidents()] == ["open", "open"]
    assert [one.kind for one in run.notes].count("merge-proposed") == 1


def test_an_image_does_not_grow_with_its_members() -> None:
    sizes = []
    for members in (2, 300):
        run = Play(policy(SHOP, rules=PAGER))
        run.see(0, alert("First", service="a", start=0))
        for at in range(1, members):
            run.see(at / 10, alert(f"Down{at}", service="a", start=at / 10))
        incident = run.only()
        assert incident.firing == members
        state = run.engine.state
        (row,) = state.incident_services(incident.id)
        images = [
            state.image(table.kind, one.id) for table, one in ((state.incidents, incident), (state.services, row))
        ]
        sizes.append(sum(len(image) + len(extra) for image, extra in filter(None, images)))
    assert sizes[1] - sizes[0] < 40, "counters may take some bytes more, and nothing else"
