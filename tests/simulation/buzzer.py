"""A pager without keys: it rings for every create that it is sent, and forgets."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.base import Fake, json_of


@dataclass
class Ring:
    """It rang. send: the order's number, the same for every try of it."""

    key: str
    send: int
    repeat: bool
    title: str
    at: float


class FakeBuzzer(Fake):
    """Takes what `Buzzer` sends. events: action and key of all that came."""

    name = "buzzer"

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.rings: list[Ring] = []
        self.events: list[tuple[str, str]] = []

    def routes(self) -> list[web.RouteDef]:
        """One."""
        return [web.post("/", self._take)]

    def objects(self, key: str) -> list[Ring]:
        """The rings of a key."""
        return [ring for ring in self.rings if ring.key == key]

    def open_objects(self, key: str) -> list[Ring]:
        """Those whose end has not come since."""
        actions = [action for action, of in self.events if of == key]
        return [] if actions and actions[-1] == "resolve" else self.objects(key)

    def keys(self) -> list[str]:
        """All keys."""
        return list(dict.fromkeys(key for _, key in self.events))

    async def _take(self, request: web.Request) -> web.Response:
        body = await json_of(request)
        self.events.append((body["action"], body["key"]))
        if body["action"] == "create":
            self.rings.append(Ring(body["key"], body["send"], body["repeat"], body["title"], self.clock()))
        self.say(f"{body['action']} {body['key']}")
        return web.Response(status=204)
