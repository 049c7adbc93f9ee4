"""The sinks and the daemon, there for one test and gone after it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.estate import configuration
from tests.integration.samband import Samband, Sinks

StartSamband = Callable[..., Awaitable[Samband]]


@pytest.fixture
async def sinks() -> AsyncIterator[Sinks]:
    """Pager, desk and public page on real sockets. Whatever they were told must have been in order."""
    async with Sinks() as running:
        yield running
        running.in_order()


@pytest.fixture
async def start_samband(tmp_path: Path, sinks: Sinks) -> AsyncIterator[StartSamband]:
    """Starts the daemon with the estate's configuration; arguments are keys of it that differ."""
    async with AsyncExitStack() as started:

        async def start(**changes: Any) -> Samband:
            return await started.enter_async_context(Samband(tmp_path / "samband", configuration(sinks, **changes)))

        yield start
