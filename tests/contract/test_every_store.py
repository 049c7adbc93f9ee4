"""What every store must do, whatever it is made of: claim, commit once, fence, recover."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from daemon.core.effects import Noted, Row, Send
from daemon.core.model.ids import epoch_of, first_id
from daemon.core.records import AlertSeen, AnyRecord, Delivered
from daemon.core.state import ALERT, EMITTER, INCIDENT
from daemon.store.base import Batch, DeadLetter, Fenced, OutboxRow, Recovered, Store, StoreError
from daemon.store.places import Place, PostgresqlPlace, SqlitePlace
from daemon.store.queries import Queries
from tests.unit.kit import T0, Play, alert, policy

Opened = tuple[Callable[[], Store], Queries]


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """A way to open the same store again and again (the one before is closed), and the queries over it."""
    open_ones = list[Store]()
    if request.param == "sqlite":
        place: Place = SqlitePlace(tmp_path / "samband.db")
    else:
        place = PostgresqlPlace(request.getfixturevalue("postgresql"), tmp_path)

    def open_again() -> Store:
        for one in open_ones:
            one.close()
        open_ones.append(place.open("test"))
        return open_ones[-1]

    engine = place.reading()
    yield open_again, Queries(engine)
    engine.dispose()
    for one in open_ones:
        one.close()


def batch(recovered: Recovered, seq: int, **rest: object) -> Batch:
    fields: dict[str, object] = {
        "scope": "default",
        "epoch": recovered.epoch,
        "seq": seq,
        "now_ms": T0 + seq,
        "policy": "digest",
        "mode": "live",
        "next_id": recovered.next_id + 10 * seq,
        "next_number": seq,
        "records": b"\x90",
        "digest": b"%d" % seq,
    }
    return Batch(**{**fields, **rest})  # type: ignore[arg-type]


def send(number: int, **rest: object) -> Send:
    whole = Send(number, T0, 2, 3, 1, "desk", "ticket", "create", "ticket", "samband-3-1", 2)
    return msgspec.structs.replace(whole, **rest)


def emitter_row(number: int, image: bytes = b"\x91\x01") -> Row:
    return Row(EMITTER, number, image)


def test_a_new_store_is_empty_and_its_epoch_is_the_time(opened: Opened) -> None:
    recovered = opened[0]().claim("default", T0)
    assert (recovered.seq, recovered.now_ms, recovered.policy, recovered.mode) == (0, 0, "", "")
    assert list(recovered.live) == []
    assert recovered.outbox == []
    assert recovered.epoch == T0 // 1000
    assert (recovered.next_id, recovered.next_number) == (first_id(recovered.epoch), 1)


def test_epochs_grow_though_the_clock_went_back(opened: Opened) -> None:
    first = opened[0]().claim("default", T0)
    second = opened[0]().claim("default", T0 - 86_400_000)
    other = opened[0]().claim("tenant", T0)
    assert first.epoch < second.epoch < other.epoch


def test_an_epoch_is_beyond_every_id_that_was_given(opened: Opened) -> None:
    store = opened[0]()
    recovered = store.claim("default", T0)
    far = first_id(recovered.epoch + 1000) + 5
    store.commit(batch(recovered, 1, next_id=far))
    assert opened[0]().claim("default", T0).next_id > far
    assert epoch_of(far) < opened[0]().claim("default", T0).epoch


def test_what_was_committed_is_recovered(opened: Opened) -> None:
    store = opened[0]()
    recovered = store.claim("default", T0)
    a, b, c = (recovered.next_id + step for step in range(3))
    store.commit(batch(recovered, 1, rows=[emitter_row(a), emitter_row(b, b"one")], positions=b"p"))
    store.commit(batch(recovered, 2, rows=[Row(EMITTER, a, None), emitter_row(b, b"two"), emitter_row(c)]))
    again = opened[0]().claim("default", T0)
    assert [(row.id, row.image) for row in again.live] == [(b, b"two"), (c, b"\x91\x01")]
    assert (again.seq, again.now_ms, again.policy, again.mode) == (2, T0 + 2, "digest", "live")
    assert again.next_number == 2


def test_the_same_batch_again_is_a_success_and_changes_nothing(opened: Opened) -> None:
    store, queries = opened[0](), opened[1]
    recovered = store.claim("default", T0)
    noted = Noted(7, T0, "opened", "it began")
    one = batch(recovered, 1, timeline=[noted], dead_letters=[DeadLetter(T0, "s", "r", b"raw")])
    other = batch(recovered, 2, records=b"", timeline=[noted])
    for it in (one, one, other, other):
        store.commit(it)
    assert [line["text"] for line in queries.timeline([7])] == ["it began", "it began"]
    assert len(queries.dead_letters()) == 1
    assert [row.seq for row in queries.journal()] == [1]


def test_whoever_lost_the_scope_is_fenced_and_writes_nothing(opened: Opened) -> None:
    before = opened[0]().claim("default", T0)
    store = opened[0]()
    store.claim("default", T0)
    with pytest.raises(Fenced):
        store.commit(batch(before, 1, rows=[emitter_row(before.next_id)]))
    assert list(opened[0]().claim("default", T0).live) == []


def test_a_batch_that_does_not_follow_is_refused(opened: Opened) -> None:
    store = opened[0]()
    recovered = store.claim("default", T0)
    store.commit(batch(recovered, 1))
    with pytest.raises(StoreError, match="does not follow") as caught:
        store.commit(batch(recovered, 3))
    assert caught.value.reason == "refused"
    store.commit(batch(recovered, 2))


def test_a_batch_is_written_whole_or_not_at_all(opened: Opened) -> None:
    store, queries = opened[0](), opened[1]
    recovered = store.claim("default", T0)
    impossible = Noted(1 << 70, T0, "opened", "an id that no database holds")
    with pytest.raises(StoreError) as caught:
        store.commit(
            batch(
                recovered,
                1,
                rows=[emitter_row(recovered.next_id)],
                outbox=[OutboxRow(send(10), "waiting")],
                timeline=[impossible],
            )
        )
    assert caught.value.reason == "refused"
    assert list(queries.journal()) == []
    assert queries.outbox() == []
    store.commit(batch(recovered, 1))
    assert list(opened[0]().claim("default", T0).live) == []


def test_the_outbox_is_recovered_but_for_what_is_over(opened: Opened) -> None:
    store, queries = opened[0](), opened[1]
    recovered = store.claim("default", T0)
    states = ("waiting", "sending", "done", "unsure", "dead", "superseded", "shadow")
    rows = [OutboxRow(send(10 + place), state) for place, state in enumerate(states)]  # type: ignore[arg-type]
    store.commit(batch(recovered, 1, outbox=rows))
    changed = OutboxRow(send(10), "unsure", 3, T0 + 5, T0, T0 + 1, "timeout", "it took long", "OPS-1", 0)
    store.commit(batch(recovered, 2, records=b"", outbox=[changed]))
    again = opened[0]().claim("default", T0)
    assert again.outbox == [changed, rows[1], rows[3], rows[4]]
    assert queries.outbox(states=["done"]) == [rows[2]]
    assert len(queries.outbox(incident=3, after=12, limit=2)) == 2
    assert again.seq == 2


def test_what_is_over_can_be_queried(opened: Opened) -> None:
    store, queries = opened[0](), opened[1]
    recovered = store.claim("default", T0)
    play = Play(policy())
    seq = 0

    def keep(at: float, *seen: AnyRecord) -> None:
        nonlocal seq
        seq += 1
        changes = play.fold(seen, at)
        state = play.engine.state
        notes = [one for one in changes.effects if isinstance(one, Noted)]
        store.commit(
            batch(
                recovered,
                seq,
                rows=changes.changed,
                timeline=notes,
                next_id=state.next_id,
                next_number=state.next_number,
            )
        )

    play.deliver = False  # A batch is a fold here; what was asked for is answered below.
    keep(1, AlertSeen(T0 + 1000, alert("Down", "shop", "error", start=0, cluster="c1")))
    (shown,) = queries.incidents(where={"state": "open"})
    assert (shown["number"], shown["priority"], shown["live"]) == (1, play.only().priority, 1)
    incident = play.only().id
    keep(100, AlertSeen(T0 + 100_000, alert("Down", "shop", "error", firing=False, start=0, end=90, cluster="c1")))
    keep(3600)
    asked = [one.id for one in play.sent]
    keep(3601, *[Delivered(T0 + 3_601_000, number, "r") for number in asked])
    keep(3 * 86_400)
    past = queries.incident(incident)
    assert past is not None
    assert (past["live"], past["state"]) == (0, "closed")
    (member,) = queries.members([incident])
    assert (member["name"], member["service"], member["ending"]) == ("Down", "shop", "resolved")
    assert member["labels"] == '{"cluster":"c1"}'
    assert member["annotations"] == '{"summary":"it is down"}'
    (named,) = queries.incidents(past=True, where={"service": "shop"})
    assert (named["lead_name"], named["lead_service"]) == ("Down", "shop")
    assert queries.incidents(past=True, where={"service": "other"}) == []
    assert {row["sink"] for row in queries.deliveries([incident])} == {"pager", "desk", "hook"}
    assert [row["service"] for row in queries.services([incident])] == ["shop"]
    assert queries.timeline([incident])[-1]["text"] == "closed"
    assert not [row for row, _ in queries.live() if row.kind in (ALERT, INCIDENT)]


def test_listings_page_by_key(opened: Opened) -> None:
    store, queries = opened[0](), opened[1]
    recovered = store.claim("default", T0)
    store.commit(batch(recovered, 1, timeline=[Noted(1, T0, "k", f"line {n}") for n in range(25)]))
    first = queries.timeline([1], limit=10)
    rest = queries.timeline([1], after=first[-1]["id"], limit=100)
    assert [line["text"] for line in (*first, *rest)] == [f"line {n}" for n in range(25)]


def test_a_base_comes_back_as_it_was(opened: Opened) -> None:
    store, queries = opened[0](), opened[1]
    recovered = store.claim("default", T0)
    assert (recovered.base_at, recovered.comparable) == (0, False)
    store.commit(batch(recovered, 1))
    parts = [msgspec.msgpack.encode([(5, 1, b"image", b"extra")]), msgspec.msgpack.encode([(5, 2, b"x", b"")])]
    store.commit(batch(recovered, 2, base=parts))
    again = opened[0]().claim("default", T0)
    assert (again.base_at, again.comparable) == (T0 + 1, True)
    (base,) = queries.bases()
    assert (base.seq, base.now_ms, base.next_number) == (1, T0 + 1, 1)
    assert [(row.kind, row.id, row.image, row.extra) for row in queries.base_rows(base)] == [
        (5, 1, b"image", b"extra"),
        (5, 2, b"x", b""),
    ]
