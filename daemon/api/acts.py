"""Commands: what people do with incidents, carried out once for each idempotency key, whatever happens between."""

from collections.abc import Mapping

from daemon import log
from daemon.api.surface import Surface
from daemon.core.effects import Reply
from daemon.core.model.ids import public_id
from daemon.core.records import CommandGiven


def scoped(key: str, *parts: str) -> str:
    """The key as it is remembered: clients that count 1, 2, 3 do not get each other's answers. "" stays "": no key."""
    return "/".join((*parts, key)) if key else ""


async def command(
    surface: Surface, verb: str, incident: int, actor: str, arguments: Mapping[str, str], key: str = ""
) -> Reply:
    """Carries a command out and returns what came of it, once it is durable. Raises NotDurable."""
    record = CommandGiven(surface.runtime.now_ms(), key, actor, verb, incident, dict(arguments))
    (reply,) = await surface.runtime.submit([record])
    if reply is None:
        raise RuntimeError("a command was not answered")
    about = public_id(reply.incident or incident)
    log.COMMAND(verb=verb, incident=about, actor=actor, outcome=reply.status, text=reply.text)
    return reply
