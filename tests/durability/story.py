"""What the record says the world was told, and when."""

import re
from collections.abc import Iterator, Sequence

from tests.durability.load import Answer
from tests.durability.traced import Call

KEY = rb"samband-[0-9a-f]+-\d+"


def acknowledged(calls: Sequence[Call], answers: Sequence[Answer]) -> Iterator[tuple[Call, Answer]]:
    """The call by which each 2xx left: the answers on a connection leave in the order in which they came in."""
    left: dict[int, list[Answer]] = {}
    for one in answers:
        left.setdefault(one.port, []).append(one)
    for call in calls:
        if call.data.startswith(b"HTTP/1.1 ") and left.get(call.peer):
            answer = left[call.peer].pop(0)
            assert call.data[9:12] == str(answer.status).encode(), "the trace and the senders tell different stories"
            if answer.status < 300:
                yield call, answer


def creates(calls: Sequence[Call], port: int) -> Iterator[tuple[bytes, float]]:
    """Key and begin of the first request to a sink that names each key: before it, the sink has nothing of it."""
    seen = set()
    for call in calls:
        if call.name != "connect" and call.peer == port and not call.data.startswith(b"HTTP/1.1 "):
            for key in re.findall(KEY, call.data):
                if key not in seen:
                    seen.add(key)
                    yield key, call.begin
