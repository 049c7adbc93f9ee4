"""What a source has sent before, so that it need not be worked out again: repeats are most of what comes in."""

from collections.abc import Mapping
from typing import Any

BYTES_MAX = 96 * 1024 * 1024
"""Of one source: some 100,000 label sets of ten labels; half of it is shared with the open alerts."""
KEY_BYTES_MAX = 4096
"""A request with a longer key among its new ones is worked out each time."""
ENTRY_BYTES = 512
"""What an entry takes beside its key, about: the table's place, the tuple, and the texts in it."""


class Memory:
    """What follows from bytes that were sent, by these bytes.

    Nobody can bring in something false: the whole bytes are the key, and what stands under them was
    worked out from them alone (and from the source's settings, with which a memory begins anew).
    Nor can it be made to grow: full, it takes nothing more in, which keeps the most of a set that
    is larger than it; once it was asked in vain as often as it has entries, it begins anew.
    """

    __slots__ = ("_asked_in_vain", "_entries", "_size", "get")

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[Any, ...]] = {}
        self._size = self._asked_in_vain = 0
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def learn(self, fresh: Mapping[bytes, tuple[Any, ...]]) -> None:
        """Remembers them, if there is room."""
        lengths = list(map(len, fresh))
        size = 2 * sum(lengths) + ENTRY_BYTES * len(lengths)
        if max(lengths) > KEY_BYTES_MAX:
            return
        if self._size + size > BYTES_MAX:
            self._asked_in_vain += len(lengths)
            if self._asked_in_vain > len(self._entries):
                self._entries.clear()
                self._size = self._asked_in_vain = 0
            return
        self._size += size
        self._entries.update(fresh)
