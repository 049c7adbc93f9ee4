"""Silences and maintenance windows: made, changed, ended, listed, and how many alerts they hold or would hold."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from daemon import log
from daemon.api.surface import Pace, Surface
from daemon.core.effects import Reply
from daemon.core.matching import Matcher
from daemon.core.model.silence import Silence, SilenceKind, Term, silence_id
from daemon.core.policy import DAY
from daemon.core.records import SilenceExpired, SilencePut
from daemon.core.suppress import values_of
from daemon.settings import matchers as settings_matchers
from daemon.settings.matchers import MatcherError, Matchers

LONG = 7 * DAY
"""Longer silences are refused where people make them, and warned of where Alertmanager's clients do."""
TERMS_MAX = 100
BYTES_MAX = 64 * 1024
"""A silence's matchers, author and comment together."""


def terms_of(found: Matchers) -> tuple[Term, ...]:
    """The matchers as Alertmanager's API spells them."""
    return tuple(
        Term(one.name, one.value, one.operator in ("=~", "!~"), one.operator in ("=", "=~")) for one in found.terms
    )


def text_of(terms: Sequence[Term]) -> str:
    """The inverse: the matchers in Alertmanager's syntax."""
    return ", ".join(str(_plain(term)) for term in terms)


def _plain(term: Term) -> settings_matchers.Term:
    if term.is_regex:
        return settings_matchers.Term(term.name, "=~" if term.is_equal else "!~", term.value)
    return settings_matchers.Term(term.name, "=" if term.is_equal else "!=", term.value)


def holds_everything(terms: Sequence[Term]) -> bool:
    """Whether no matcher asks for anything that must be there: such a silence would hold what nobody meant."""
    return all(Matchers(text_of([term])).matches({}) for term in terms)


def compiled(text: str) -> Matchers:
    """Matchers that a silence may have. Raises MatcherError."""
    found = Matchers(text)
    if not found.terms:
        raise MatcherError(1, "a silence needs a matcher, for example service=shop")
    if len(found.terms) > TERMS_MAX:
        raise MatcherError(1, f"a silence has at most {TERMS_MAX} matchers")
    if holds_everything(terms_of(found)):
        raise MatcherError(1, "at least one matcher must not match the empty string, or everything would be held")
    return found


async def matching(surface: Surface, matcher: Matcher) -> int:
    """How many open alerts match now."""
    rows, pace, found = surface.runtime.engine.state.alerts.rows, Pace(), 0
    for number in list(rows):
        if pace.tired:
            await asyncio.sleep(0)
        alert = rows.get(number)
        if alert is not None and alert.open and matcher.matches(values_of(alert)):
            found += 1
    return found


async def held_by(surface: Surface) -> Counter[str]:
    """Reason -> how many open alerts are held by it."""
    rows, pace = surface.runtime.engine.state.alerts.rows, Pace()
    counts: Counter[str] = Counter()
    for number in list(rows):
        if pace.tired:
            await asyncio.sleep(0)
        alert = rows.get(number)
        if alert is not None and alert.open:
            counts.update(alert.held)
    return counts


def find(surface: Surface, uuid: str) -> Silence | None:
    """The silence or window of this id."""
    return surface.runtime.engine.state.silences.rows.get(silence_id(uuid.lower()))


async def put(
    surface: Surface,
    terms: tuple[Term, ...],
    starts_at: int,
    ends_at: int,
    *,
    actor: str,
    comment: str,
    kind: SilenceKind = "silence",
    key: str = "",
    changed: Silence | None = None,
) -> Reply:
    """Makes one, or changes one; the reply's text is its UUID. Raises NotDurable.

    A start that has passed is now. Of one that is active the start stays as it is, to the second, so
    that clients without milliseconds change it and do not end it.
    """
    now = surface.runtime.now_ms()
    if changed is not None and changed.starts_at // 1000 == starts_at // 1000:
        starts_at = changed.starts_at
    elif changed is None:
        starts_at = max(starts_at, now)
    number = changed.id if changed is not None else 0
    record = SilencePut(now, key, actor, number, kind, text_of(terms), terms, starts_at, ends_at, comment)
    (reply,) = await surface.runtime.submit([record])
    return _told(kind, actor, reply)


async def expire(surface: Surface, silence: Silence, actor: str, key: str = "") -> Reply:
    """Ends one now. Raises NotDurable."""
    (reply,) = await surface.runtime.submit([SilenceExpired(surface.runtime.now_ms(), key, actor, silence.id)])
    return _told(f"end {silence.kind}", actor, reply)


def _told(verb: str, actor: str, reply: Reply | None) -> Reply:
    if reply is None:
        raise RuntimeError("a silence was not answered")
    log.COMMAND(verb=verb, incident="", actor=actor, outcome=reply.status, text=reply.text)
    return reply
