"""What stays behind of a request: counts, a line in the log, and a dead letter for what could not be read."""

import time
from collections.abc import Mapping

from daemon import log, metrics
from daemon.core.model.alert import ParsedAlert
from daemon.sources.answers import Answer
from daemon.sources.formats.base import Format, Rejected
from daemon.sources.formats.registry import FORMATS, HOOKS
from daemon.sources.receiver import Receiver, Unavailable
from daemon.sources.senders import Source

DEAD_LETTER_BYTES_MAX = 1024 * 1024
REFUSALS_LOGGED_EVERY_S = 60.0


class Remains:
    """Counts, logs and buries."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._logged: dict[tuple[str, int], float] = {}
        self.replace({})

    def replace(self, sources: Mapping[str, Source]) -> None:
        """Other sources are in force."""
        self._received = {
            (source.name, form.name, status): metrics.ALERTS_RECEIVED.labels(source.name, form.name, status)
            for source in sources.values()
            for form in _formats_of(source)
            for status in ("firing", "resolved")
        }
        self._logged.clear()

    def accepted(self, source: Source, form: Format, alerts: list[ParsedAlert], skewed: int) -> None:
        """Counts alerts that are durable."""
        firing = sum([alert.firing for alert in alerts])
        if firing:
            self._received[source.name, form.name, "firing"].inc(firing)
        if firing < len(alerts):
            self._received[source.name, form.name, "resolved"].inc(len(alerts) - firing)
        if skewed:
            metrics.CLOCK_SKEW.labels(source.name).inc(skewed)

    def over(self, source: Source, form: Format, code: str, alerts: int) -> None:
        """Counts alerts that were turned away because of a limit; they are the sender's to send again."""
        metrics.ALERTS_REJECTED.labels(source.name, form.name, code).inc(alerts)

    async def bury_items(self, source: Source, form: Format, rejected: list[Rejected], good: int) -> None:
        """Keeps items that could not be read, as one letter."""
        codes: dict[str, int] = {}
        for one in rejected:
            codes[one.code] = codes.get(one.code, 0) + 1
        for code, number in codes.items():
            metrics.ALERTS_REJECTED.labels(source.name, form.name, code).inc(number)
        first = rejected[0]
        text = f"{len(rejected)} of {len(rejected) + good} items rejected; item {first.index}: {first.reason}"
        log.ITEMS_REJECTED(source=source.name, rejected=len(rejected), accepted=good, first=first.reason[:300])
        await self.keep(source, first.code, text, b"\n".join(one.raw for one in rejected))

    async def bury(self, source: Source, form: Format, code: str, text: str, raw: bytes) -> None:
        """Keeps a body that could not be read."""
        metrics.ALERTS_REJECTED.labels(source.name, form.name, code).inc()
        await self.keep(source, code, text, raw)

    async def keep(self, source: Source, code: str, text: str, raw: bytes) -> None:
        """Writes the dead letter, cut to its bound; counted as lost where that cannot be."""
        cut = "" if len(raw) <= DEAD_LETTER_BYTES_MAX else f" (cut from {len(raw)} bytes)"
        try:
            await self._receiver.dead_letter(source.name, text[:500] + cut, raw[:DEAD_LETTER_BYTES_MAX])
        except Unavailable:
            metrics.DEAD_LETTERS_LOST.inc()
            return
        metrics.DEAD_LETTERS.labels(source.name, code).inc()

    def refused(self, source: str, path: str, answer: Answer) -> None:
        """One line a minute for each source and status; `samband_intake_requests_total` counts them all."""
        now = time.monotonic()
        if now - self._logged.get((source, answer.status), -REFUSALS_LOGGED_EVERY_S) < REFUSALS_LOGGED_EVERY_S:
            return
        self._logged[source, answer.status] = now
        log.REQUEST_REFUSED(
            source=source,
            path=path[:200],
            status=answer.status,
            answer=answer.body[:300].decode("utf-8", "replace"),
        )


def _formats_of(source: Source) -> list[Format]:
    forms = [HOOKS[source.type]] if source.type in HOOKS else []
    return forms + ([FORMATS[source.type]] if source.type in FORMATS else [])
