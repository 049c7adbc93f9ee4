"""The fakes in a process of their own: `python -m tests.fakes`; says what arrives.

Ports are those of a test configuration; 0 takes a free one. `GET /_fake` shows what a fake holds,
`POST /_fake/faults {"kind": "hang_after", "times": 2}` orders a misbehaviour.
"""

import argparse
import asyncio
import sys

from tests.fakes.base import Fake
from tests.fakes.jira import FakeJira
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.statuspage import FakeStatuspage
from tests.fakes.webhook import FakeWebhook

FAKES: dict[str, tuple[type[Fake], int]] = {
    "pagerduty": (FakePagerDuty, 18201),
    "jira": (FakeJira, 18202),
    "statuspage": (FakeStatuspage, 18203),
    "webhook": (FakeWebhook, 18204),
}


def say(line: str) -> None:
    """Writes a line at once, for whoever watches."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def serve(ports: dict[str, int]) -> None:
    """Runs them until it is cancelled."""
    fakes = [fake(port=ports[name]) for name, (fake, _) in FAKES.items()]
    for one in fakes:
        one.on_event = say
        await one.start()
        say(f"{one.name}: {one.url}")
    try:
        await asyncio.Event().wait()
    finally:
        for one in fakes:
            await one.stop()


def main() -> None:
    """Reads the ports and runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes", description=__doc__)
    for name, (_, port) in FAKES.items():
        parser.add_argument(f"--{name}-port", type=int, default=port)
    arguments = parser.parse_args()
    try:
        asyncio.run(serve({name: getattr(arguments, f"{name}_port") for name in FAKES}))
    except KeyboardInterrupt:
        say("stopped")


if __name__ == "__main__":
    main()
