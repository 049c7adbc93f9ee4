"""Order within an incident, haste between incidents, and the circuit."""

from types import SimpleNamespace

from msgspec.structs import replace

from daemon.outbox_lanes import IN_FLIGHT_MAX, Circuit, Lane, Queue, queue_key
from daemon.outbox_rules import Timing, Verdict
from daemon.store.base import OutboxRow
from tests.unit.test_outbox_rules import NOW, make_row


def send(queue: Queue, row: OutboxRow) -> Verdict:
    return "send"


def test_raises_generations_and_the_object_itself_wait_in_one_queue() -> None:
    keys = ["samband-00000000000000ab-1", "samband-00000000000000ab-1#raise-2", "samband-00000000000000ab-2"]
    rows = [OutboxRow(send=replace(make_row().send, key=key), state="waiting") for key in keys]
    assert {queue_key(row) for row in rows} == {("jira", "samband-00000000000000ab")}


def test_rows_are_picked_in_the_order_of_their_ids() -> None:
    queue = Queue(("jira", "x"))
    for number in (12, 11, 13):
        queue.add(make_row(number=number), NOW)
    picked = queue.pick(lambda _: False, send)
    assert picked is not None
    assert picked[0].send.id == 11


def test_the_order_of_ids_decides_and_no_clock() -> None:
    queue = Queue(("jira", "x"))
    first, second = make_row(number=11), make_row("update", number=12)
    queue.add(replace(first, send=replace(first.send, at=NOW + 60_000)), NOW)
    queue.add(second, NOW)
    picked = queue.pick(lambda _: False, send)
    assert picked is not None
    assert picked[0].send.id == 11


def test_a_row_that_waits_for_another_keeps_back_its_own_delivery_only() -> None:
    queue = Queue(("jira", "x"))
    queue.add(make_row("resolve", number=11, after=7), NOW)
    queue.add(make_row("update", number=12), NOW)
    assert queue.pick(lambda number: number == 7, send) is None
    queue.add(make_row("create", number=13, delivery=6), NOW)
    picked = queue.pick(lambda number: number == 7, send)
    assert picked is not None
    assert picked[0].send.id == 13
    picked = queue.pick(lambda _: False, send)
    assert picked is not None
    assert picked[0].send.id == 11


def test_a_more_urgent_row_ends_the_back_off_of_those_before_it() -> None:
    queue = Queue(("jira", "x"))
    queue.add(make_row(number=11, next_at=NOW + 60_000, rank=3), NOW)
    queue.add(make_row(number=12, next_at=NOW + 60_000, rank=3), NOW)
    assert queue.rows[11].next_at == NOW + 60_000
    queue.add(make_row(number=13, rank=1), NOW)
    assert (queue.rows[11].next_at, queue.rank) == (NOW, 1)


def test_the_circuit_opens_after_failures_in_a_row_and_lets_one_probe_through() -> None:
    timing = Timing(circuit_after=3, circuit_pause=30_000)
    circuit = Circuit(timing)
    assert [circuit.failed(NOW) for _ in range(2)] == [False, False]
    assert circuit.wait(NOW) == 0
    assert circuit.failed(NOW)
    assert circuit.wait(NOW) == 30_000
    assert circuit.wait(NOW + 30_000) == 0
    circuit.begins()
    assert circuit.wait(NOW + 30_000) is None, "one probe at a time"
    assert not circuit.failed(NOW + 31_000), "it was open already"
    assert circuit.wait(NOW + 31_000) == 30_000
    circuit.begins()
    assert circuit.worked()
    assert circuit.wait(NOW + 61_000) == 0
    assert not circuit.failed(NOW), "counting begins anew"


def test_a_lane_takes_p1_first_and_bounds_what_is_under_way() -> None:
    lane = Lane(SimpleNamespace(kind="ticket"), Timing())
    queues = {}
    for number, rank in ((21, 3), (22, 1), (23, 2)):
        queue = queues["jira", str(number)] = Queue(("jira", str(number)))
        queue.add(make_row(number=number, rank=rank), NOW)
        queue.armed = number
        lane.put(rank, number, queue.key)
    taken = [lane.take(queues) for _ in range(3)]
    assert [found[1].send.id for found in taken if found] == [22, 23, 21]
    assert lane.take(queues) is None
    lane.put(1, 22, ("jira", "22"))
    lane.in_flight = IN_FLIGHT_MAX
    assert lane.wait(NOW) is None
    lane.in_flight, lane.paused_until = 0, NOW + 500
    assert lane.wait(NOW) == 500
    queues["jira", "22"].busy = True
    assert lane.take(queues) is None, "its queue is busy: the entry is outdated"


def test_a_status_page_holds_one_conversation_at_a_time_since_entries_share_components() -> None:
    lane = Lane(SimpleNamespace(kind="status_page"), Timing())
    lane.put(1, 11, ("page", "x"))
    assert lane.wait(NOW) == 0
    lane.in_flight = 1
    assert lane.wait(NOW) is None
