"""Logs that alerts are read from: while one has not been read to its end, nothing of its source lapses or expires.

Silence in what was read means nothing as long as the sign that is missed may stand in what was not.
"""

from daemon.core.context import Context
from daemon.core.model.stream import Stream
from daemon.core.records import StreamMoved


def moved(ctx: Context, record: StreamMoved) -> None:
    """Notes where the log stands now."""
    state = ctx.state
    key = (record.source, record.stream)
    number = state.by_stream.get(key, 0)
    if record.place == "gone":
        if number:
            state.unlink(state.behind, record.source, number)
            state.drop(state.by_stream, key)
            state.streams.remove(number)
        return
    behind = record.place == "behind"
    if not number:
        number = state.streams.add(Stream(state.new_id(), record.source, record.stream, behind)).id
        state.put(state.by_stream, key, number)
    elif state.streams.rows[number].behind != behind:
        state.streams.edit(number).behind = behind
    (state.link if behind else state.unlink)(state.behind, record.source, number)
    ctx.count("streams", record.place)


def all_behind(ctx: Context) -> None:
    """After a start nobody knows what was appended meanwhile. Nothing of this is written to `live`."""
    state = ctx.state
    for number, stream in state.streams.rows.items():
        if not stream.behind:
            state.streams.touch(number).behind = True
        state.link(state.behind, stream.source, number)
