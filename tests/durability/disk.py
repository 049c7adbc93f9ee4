"""A disk that keeps only what was synced: the daemon's recorded writes played again, cut off at any call.

Why a record and not a file system of our own: strace sees what the kernel was really asked for, by
SQLite and by everybody else, of the unchanged daemon and without a kernel module; and from one record
any number of disks can be made, one for each cut and each mood of the disk.

What is assumed of the disk is the least that POSIX grants: what was written and not synced may be
there, or not, in any choice and order, a write torn at a sector; a new or removed name is there once its
directory was synced; and what a sync that failed had to write is gone for good, though a later sync
succeeds and though the kernel goes on showing it (as Linux does).
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

from tests.durability.traced import Call

SECTOR = 512
LEFT_OUT = ("-shm", ".lock")
"""Files of the store that recovery makes anew: whatever they hold must not matter."""


class File:
    """One file: what is certainly on disk, and what was written since, in order: (offset, data), or a new length."""

    def __init__(self) -> None:
        self.safe = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []

    def sync(self) -> None:
        """All of it is on disk."""
        for one in self.pending:
            _apply(self.safe, one)
        self.pending.clear()

    def lose(self) -> None:
        """A sync failed: what it had to write never gets there, unless it is written again."""
        self.pending.clear()

    def left(self, mood: Callable[[list[tuple[int, bytes | None]]], Iterable[tuple[int, bytes | None]]]) -> bytes:
        """What the disk holds after a power loss; `mood` chooses among the pending writes."""
        held = bytearray(self.safe)
        for one in mood(self.pending):
            _apply(held, one)
        return bytes(held)


def _apply(held: bytearray, one: tuple[int, bytes | None]) -> None:
    offset, data = one
    if data is None:
        del held[offset:]
        held.extend(bytes(offset - len(held)))
        return
    held.extend(bytes(max(0, offset - len(held))))
    held[offset : offset + len(data)] = data


class Disk:
    """The store's files as `play` left them."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.now: dict[str, File] = {}
        self.safe: dict[str, File] = {}
        self._renamed: list[tuple[str, File | None]] = []

    def concerns(self, call: Call) -> bool:
        """Whether the call changes what a power loss would leave."""
        if call.target == str(self.store.parent):
            return call.syncs
        return call.target.startswith(str(self.store)) and not call.target.endswith(LEFT_OUT)

    def play(self, call: Call) -> None:
        """Lets the call happen. One that did not return may have happened: it stays pending."""
        name = call.target
        if not self.concerns(call) or (call.failed and not call.syncs):
            return
        if name == str(self.store.parent):
            for entry, file in [] if call.failed else self._renamed:
                if file is None:
                    self.safe.pop(entry, None)
                else:
                    self.safe[entry] = file
            self._renamed = self._renamed if call.failed else []
        elif call.name == "openat":
            if name not in self.now and "O_CREAT" in call.flags:
                self._rename(name, File())
        elif call.name == "unlink":
            self._rename(name, None)
        elif name in self.now:
            self._change(self.now[name], call)

    def _rename(self, name: str, file: File | None) -> None:
        self._renamed.append((name, file))
        if file is None:
            self.now.pop(name, None)
        else:
            self.now[name] = file

    def _change(self, file: File, call: Call) -> None:
        if call.name == "pwrite64":
            file.pending.append((call.offset, call.data))
        elif call.name == "ftruncate":
            file.pending.append((call.offset, None))
        elif call.syncs and call.failed:
            file.lose()
        elif call.syncs and call.end != float("inf"):
            file.sync()
        else:
            assert call.syncs or call.name == "openat", f"{call.name} of {call.target} is not understood"

    def power_loss(self, folder: Path, mood: str, luck: Random) -> Path:
        """Writes what the disk holds into `folder`; the database's place there. mood: none, all, some, first.

        Of all that was pending nothing is there, or everything, or any choice with torn writes, or a
        beginning with its last write torn.
        """
        names = dict(self.safe)
        for entry, file in self._renamed if mood == "all" else self._renamed[: luck.randint(0, len(self._renamed))]:
            if mood != "none":
                names.pop(entry, None)
                names |= {} if file is None else {entry: file}
        folder.mkdir(parents=True)
        for name, file in names.items():
            (folder / Path(name).name).write_bytes(file.left(lambda pending: _chosen(pending, mood, luck)))
        return folder / self.store.name


def _chosen(pending: list[tuple[int, bytes | None]], mood: str, luck: Random) -> Iterable[tuple[int, bytes | None]]:
    if mood in ("none", "all"):
        yield from pending if mood == "all" else ()
        return
    if mood == "first":
        whole = luck.randint(0, len(pending))
        yield from pending[:whole]
        yield from (_torn(one, luck) for one in pending[whole : whole + 1])
        return
    share = luck.random()
    for one in pending:
        if luck.random() < share:
            yield _torn(one, luck) if luck.random() < 0.2 else one


def _torn(one: tuple[int, bytes | None], luck: Random) -> tuple[int, bytes | None]:
    """The beginning of a write, up to a sector's end."""
    offset, data = one
    if data is None:
        return one
    ends = [end - offset for end in range(offset - offset % SECTOR + SECTOR, offset + len(data), SECTOR)]
    return offset, data[: luck.choice([0, *ends])]
