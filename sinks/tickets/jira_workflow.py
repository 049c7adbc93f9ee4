"""Moving an issue through a workflow that others have drawn."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from sinks.base import Reason, Reject
from sinks.calls import Calls, Stop, dig, items

RESOLVING = ("done", "resolve", "resolved", "resolve issue", "complete", "completed", "close", "closed", "close issue")
REOPENING = ("reopen", "reopened", "reopen issue", "open", "to do", "in progress")
_GIVING_UP = ("cancel", "declin", "reject", "duplicate", "won't", "wont")
STEPS_MAX = 5


class Transitions(BaseModel):
    """Which transitions to take. Several names are steps: the last one that Jira offers is taken, then again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resolve: str | list[str] = Field(
        default=[], description="Transition or status names that lead to done; without it the first that leads there"
    )
    reopen: str | list[str] = Field(default=[], description="Likewise, for opening a resolved ticket again")


async def move(calls: Calls, ref: str, issue: Any, wanted: str | Sequence[str], *, done: bool) -> None:
    """Brings the issue to a status that is done, or to one that is not.

    Raises Stop: with Reject when no offered transition leads there.
    """
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    path = f"/rest/api/3/issue/{quote(ref, safe='')}"
    for _ in range(min(max(len(names), 1), STEPS_MAX)):
        if _is_done(dig(issue, "fields", "status")) is done:
            return
        offered = items(await calls.read(f"{path}/transitions"), "transitions")
        chosen = _choose(offered, names, done=done)
        if chosen is None:
            raise Stop(Reject(Reason.REFUSED, _nothing_fits(issue, offered, names, done=done)))
        try:
            await calls.write(calls.request("POST", f"{path}/transitions", {"transition": {"id": dig(chosen, "id")}}))
        except Stop as stop:
            # Refused: perhaps because a person was quicker.
            issue = await calls.read(f"{path}?fields=status")
            if isinstance(stop.outcome, Reject) and _is_done(dig(issue, "fields", "status")) is done:
                return
            raise
        if names and names[-1].casefold() in _words(chosen):
            return
        issue = {"fields": {"status": dig(chosen, "to")}}


def _choose(offered: list[Any], names: Sequence[str], *, done: bool) -> Any:
    if names:
        for name in reversed(names):
            for one in offered:
                if name.casefold() in _words(one):
                    return one
        return None
    fitting = [one for one in offered if _leads(one, done=done)]
    for name in RESOLVING if done else REOPENING:
        for one in fitting:
            if name in _words(one):
                return one
    return fitting[0] if fitting else None


def _leads(transition: Any, *, done: bool) -> bool:
    """Whether it leads to such a status; never one that gives the work up, those are people's."""
    words = _words(transition)
    if any(word.startswith(_GIVING_UP) for word in words):
        return False
    category = _category(dig(transition, "to"))
    if category:
        return (category == "done") is done
    return bool(words & set(RESOLVING if done else REOPENING))


def _words(transition: Any) -> set[str]:
    words = (dig(transition, "name"), dig(transition, "to", "name"), dig(transition, "id"))
    return {str(word).casefold() for word in words if word}


def _category(status: Any) -> str:
    return str(dig(status, "statusCategory", "key") or "")


def _is_done(status: Any) -> bool:
    return _category(status) == "done"


def _nothing_fits(issue: Any, offered: list[Any], names: Sequence[str], *, done: bool) -> str:
    verb = "resolve" if done else "reopen"
    status = dig(issue, "fields", "status", "name") or "its status"
    there = ", ".join(str(dig(one, "name")) for one in offered) or "none"
    asked = f"of {', '.join(names)} none is offered" if names else f"no transition to {verb} by is offered"
    return f"{asked} in {status} (offered: {there}); set transitions: {{{verb}: [NAME, ...]}} of this sink"
