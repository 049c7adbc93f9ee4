"""Mutants: what they are, and a copy of the tree that they are planted in, one at a time."""

import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).with_name("mutants.toml")


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One planted bug; mutants.toml says what its fields mean."""

    name: str
    breaks: str
    file: str
    find: str
    replace: str
    caught_by: list[str]

    @property
    def module(self) -> str:
        """The file as Python imports it."""
        return self.file.removesuffix(".py").replace("/", ".")


class Outdated(Exception):
    """The source has changed: the mutant cannot be planted as it stands."""


def load() -> list[Mutant]:
    """All mutants, in the order of the file."""
    return msgspec.convert(tomllib.loads(DATA.read_text(encoding="utf-8"))["mutant"], list[Mutant])


def planted(mutant: Mutant, source: str) -> str:
    """The source with the bug in it. Raises Outdated."""
    count = source.count(mutant.find)
    if count != 1:
        raise Outdated(
            f"{mutant.name}: its text stands {count} times in {mutant.file}, not once; renew the mutant in "
            f"{DATA.relative_to(ROOT)}, so that it breaks the same promise in today's code"
        )
    return source.replace(mutant.find, mutant.replace)


class Copy:
    """A copy of the tree as git sees it, files that are not committed yet included."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._planted = 0
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            source, target = ROOT / name, folder / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    @contextmanager
    def with_bug(self, mutant: Mutant) -> Iterator[None]:
        """The copy with the bug in it. Raises Outdated."""
        path = self.folder / mutant.file
        source, before = path.read_text(encoding="utf-8"), path.stat()
        path.write_text(planted(mutant, source), encoding="utf-8")
        # Python takes a compiled file for its source's by time in seconds and size, so no two may share them.
        self._planted += 1
        then = before.st_mtime_ns + 2_000_000_000 * self._planted
        os.utime(path, ns=(then, then))
        try:
            yield
        finally:
            path.write_text(source, encoding="utf-8")
            os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
