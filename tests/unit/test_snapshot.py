"""A copy of the state leaves nothing out: folding goes on from it as it would have from the state itself."""

import msgspec

from daemon.core.model.memory import Apart, Given
from daemon.core.state import State
from daemon.snapshot import base_parts
from tests.unit.kit import Play, alert, policy
from tests.unit.test_restart import Stored


async def test_every_table_is_in_the_copy() -> None:
    play = Play(policy())
    play.see(0, alert("Down", service="shop"))
    play.say(1, "acknowledge", play.only())
    state = play.engine.state
    state.given.add(Given(state.new_id(), "key", "ok", "done", 0))
    state.aparts.add(Apart(state.new_id(), b"a", b"b", 1, 2))

    parts = await base_parts(state)
    rows = [Stored(*row) for part in parts for row in msgspec.msgpack.decode(part)]
    copy = State.load(rows, state.next_id, state.next_number)

    held = {kind: sorted(table.rows) for kind, table in state.tables().items()}
    assert {kind: sorted(table.rows) for kind, table in copy.tables().items()} == held
    assert sum(map(bool, held.values())) >= 6, held
