"""Alertmanager as Debian ships it, and amtool, which also speaks to whatever answers like Alertmanager."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

from tests.counterparts.process import Process, free_port, program


class Alertmanager(Process):
    """One Alertmanager without a cluster that tells a single receiver, quickly.

    `receiver` is what stands under its name, for instance `{"webhook_configs": [{"url": …}]}`. A second receiver,
    `nobody`, tells nobody. route: what is to stand otherwise in the root route.
    """

    def __init__(
        self,
        folder: Path,
        receiver: dict[str, object],
        *,
        group_by: tuple[str, ...] = ("alertname",),
        route: Mapping[str, object] | None = None,
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = folder / "alertmanager.yml"
        command = [
            program("prometheus-alertmanager"),
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",  # empty: no gossip port
        ]
        super().__init__(command, folder, f"{self.url}/-/ready")
        root = {
            "receiver": "test",
            "group_by": list(group_by),
            "group_wait": "1s",
            "group_interval": "1s",
            "repeat_interval": "1h",
            **(route or {}),
        }
        # JSON is YAML, and cannot be indented wrongly.
        config.write_text(json.dumps({"route": root, "receivers": [{"name": "test", **receiver}, {"name": "nobody"}]}))


async def amtool(url: str, *arguments: str) -> str:
    """What amtool prints when it is pointed at this URL; an exit code other than 0 is an error."""
    command = [program("amtool"), f"--alertmanager.url={url}", *arguments]
    # Its own configuration file must not change what the test says.
    running = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"HOME": "/nonexistent"},
    )
    said, complained = await running.communicate()
    if running.returncode:
        raise RuntimeError(f"amtool {' '.join(arguments)} ended with {running.returncode}: {complained.decode()}")
    return said.decode()
