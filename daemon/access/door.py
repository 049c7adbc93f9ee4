"""Who may ask for what: one judgement a request, by the table of routes and roles."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from daemon.access.keys import Caller, Headers, Keys, matching, presented
from daemon.access.origin import Arrival, Network, arrival
from daemon.access.routes import ANYBODY, TELL, find, methods

TOKEN_NEEDED = "a token is needed: Authorization: Bearer TOKEN; operator.token beside the store holds one"
ROLE_LACKING = "this token's role may not do that; `samband token create --role` makes others"


class Verdict(NamedTuple):
    """caller: who asks, None for somebody who need not say. status: 0 when it may go on, else the answer's."""

    caller: Caller | None
    status: int = 0
    text: str = ""
    allowed: Sequence[str] = ()


class Access:
    """Who may ask for what.

    open_: `login: open`; the caller has made sure that samband listens on loopback only. loopback:
    whether it does; `/metrics` then asks local programs for no token. metrics_open: it asks nobody.
    proxies: whose forwarding is believed. sources: name -> digests of the tokens of its own.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        open_: bool = False,
        loopback: bool = True,
        metrics_open: bool = False,
        proxies: Sequence[Network] = (),
        sources: Mapping[str, Sequence[bytes]] | None = None,
    ) -> None:
        self.keys = keys
        self._open, self._loopback, self._metrics_open = open_ and loopback, loopback, metrics_open
        self._proxies, self._sources = proxies, dict(sources or {})

    def arrival(self, scope: Mapping[str, Any]) -> Arrival:
        """Where a request comes from."""
        return arrival(scope, self._proxies)

    def judge(self, method: str, path: str, headers: Sequence[tuple[bytes, bytes]], came: Arrival) -> Verdict:
        """Whether a request may go on. Who has no token does not learn what there is."""
        route = find(method, path)
        if route is not None and route.roles == ANYBODY:
            return Verdict(None)
        given = presented(headers)
        caller = self.keys.find(given) or self._sender(given)
        if given is None:
            caller, refusal = self._without_token(method, path, headers, came)
            if refusal is not None:
                return refusal
            if caller is None and path == "/metrics" and route is not None:
                return Verdict(None)
        if caller is None:
            return Verdict(None, 401, TOKEN_NEEDED)
        if route is None:
            known = methods(path)
            text = f"{method[:20]} is not answered here" if known else f"there is nothing at {path[:200]}"
            return Verdict(caller, 405 if known else 404, text, known)
        if caller.role not in route.roles:
            return Verdict(caller, 403, ROLE_LACKING)
        return Verdict(caller)

    def _sender(self, given: bytes | None) -> Caller | None:
        """A source's own token is one of role ingest."""
        named = matching(given, self._sources)
        return Caller(named[0], "ingest", named[0]) if named else None

    def _without_token(
        self, method: str, path: str, headers: Headers, came: Arrival
    ) -> tuple[Caller | None, Verdict | None]:
        """Who asks without a token, or why not. Neither: somebody who may see `/metrics`, and nothing else."""
        if self.keys.sessions.known(headers):
            if method in ("GET", "HEAD") or _same_site(headers, came):
                return Caller("operator", "admin"), None
            return None, Verdict(None, 403, "Origin is missing or another site: send a token")
        if self._open and not came.stranger:
            return Caller("open", "admin"), None
        if path == "/metrics" and (self._metrics_open or (self._loopback and not came.stranger)):
            return None, None
        route = find(method, path)
        if route is not None and route.roles == TELL and self._tells_openly(came):
            return Caller("open", "ingest"), None
        return None, Verdict(None, 403, came.stranger) if self._open else Verdict(None, 401, TOKEN_NEEDED)

    def _tells_openly(self, came: Arrival) -> bool:
        """On loopback, where no source has a token, programs of this machine tell of changes without one too."""
        return self._loopback and not came.stranger and not any(self._sources.values())


def _same_site(headers: Headers, came: Arrival) -> bool:
    origin = next((value.decode("latin-1") for name, value in headers if name == b"origin"), "")
    return origin == f"{came.scheme}://{came.host}"
