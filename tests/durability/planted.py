"""A copy of the daemon's code with one bug planted in it: what the tests of this folder must find."""

import shutil
from pathlib import Path

import daemon

ROOT = Path(daemon.__file__).resolve().parents[1]

PLANTS = {
    "answer before commit": (
        "daemon/carrying.py",
        "            await self._committer.commit(flight.batch)\n",
        "            flight.settle()\n            await self._committer.commit(flight.batch)\n",
    ),
    "commits are not synced": (
        "daemon/store/connection.py",
        '"PRAGMA synchronous = FULL"',
        '"PRAGMA synchronous = NORMAL"',
    ),
    "no sending mark": (
        "daemon/outbox_attempts.py",
        'if row.attempts or sink.idempotency != "native":',
        "if row.attempts:",
    ),
    "what a failed sync left is trusted": (
        "daemon/store/sqlite.py",
        '        rewrite(real.with_name(real.name + "-wal"))\n',
        "",
    ),
}


def planted(name: str, folder: Path) -> dict[str, str]:
    """The environment in which `python -m daemon.cli` runs the copy with that bug."""
    file, before, after = PLANTS[name]
    for package in ("daemon", "sinks", "correlators"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / file).read_text()
    assert text.count(before) == 1, f"{file} has changed: plant {name!r} anew"
    (folder / file).write_text(text.replace(before, after))
    return {"PYTHONPATH": str(folder)}
