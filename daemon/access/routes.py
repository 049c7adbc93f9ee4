"""The table of routes and roles. What does not stand here is not reachable.

The roles are not a ladder: who sends alerts learns nothing, who reads changes nothing.
"""

from typing import Literal, NamedTuple

Role = Literal["ingest", "reader", "responder", "admin"]
ROLES: tuple[Role, ...] = ("ingest", "reader", "responder", "admin")

ANYBODY: frozenset[str] = frozenset()
"""No token is asked for."""
SEND = frozenset({"ingest", "admin"})
TELL = frozenset({"ingest", "responder", "admin"})
READ = frozenset({"reader", "responder", "admin"})
ACT = frozenset({"responder", "admin"})
RULE = frozenset({"admin"})


class Route(NamedTuple):
    """A method and a path, `{…}` for one part of it, and the roles that may ask for it. intake: sources have a say."""

    method: str
    path: str
    roles: frozenset[str]
    intake: bool = False


def _both(path: str, method: str, roles: frozenset[str], *, intake: bool = False) -> list[Route]:
    """A path of Alertmanager's API, also under the prefix that names a source."""
    return [Route(method, path, roles, intake), Route(method, "/sources/{source}" + path, roles, intake)]


ROUTES: tuple[Route, ...] = (
    Route("GET", "/-/healthy", ANYBODY),
    Route("HEAD", "/-/healthy", ANYBODY),
    Route("GET", "/-/ready", ANYBODY),
    Route("HEAD", "/-/ready", ANYBODY),
    Route("GET", "/login", ANYBODY),
    Route("GET", "/metrics", READ),
    Route("HEAD", "/metrics", READ),
    Route("POST", "/-/reload", RULE),
    Route("PUT", "/-/reload", RULE),
    # Intake: a source's own token does too, and on loopback a source without one is open.
    *_both("/api/v2/alerts", "POST", SEND, intake=True),
    Route("POST", "/api/v1/alerts", SEND, intake=True),
    Route("POST", "/hooks/{source}", SEND, intake=True),
    Route("POST", "/v2/enqueue", SEND, intake=True),
    Route("POST", "/v2/change/enqueue", SEND, intake=True),
    Route("POST", "/api/v1/changes", TELL),
    Route("GET", "/api/v1/changes", READ),
    # Alertmanager's API v2.
    *_both("/api/v2/alerts", "GET", READ),
    *_both("/api/v2/alerts/groups", "GET", READ),
    *_both("/api/v2/status", "GET", READ),
    *_both("/api/v2/receivers", "GET", READ),
    *_both("/api/v2/silences", "GET", READ),
    *_both("/api/v2/silences", "POST", ACT),
    *_both("/api/v2/silence/{id}", "GET", READ),
    *_both("/api/v2/silence/{id}", "DELETE", ACT),
    # samband's own.
    Route("GET", "/api/v1/openapi.json", READ),
    Route("GET", "/api/v1/alerts", READ),
    Route("GET", "/api/v1/incidents", READ),
    Route("POST", "/api/v1/incidents", ACT),
    Route("GET", "/api/v1/incidents/{incident}", READ),
    Route("GET", "/api/v1/incidents/{incident}/explain", READ),
    Route("POST", "/api/v1/incidents/{incident}/{verb}", ACT),
    Route("POST", "/api/v1/explain", READ),
    Route("GET", "/api/v1/silences", READ),
    Route("POST", "/api/v1/silences", ACT),
    Route("GET", "/api/v1/silences/{id}", READ),
    Route("DELETE", "/api/v1/silences/{id}", ACT),
    Route("GET", "/api/v1/maintenance", READ),
    Route("POST", "/api/v1/maintenance", ACT),
    Route("GET", "/api/v1/maintenance/{id}", READ),
    Route("DELETE", "/api/v1/maintenance/{id}", ACT),
    Route("GET", "/api/v1/dead-letters", READ),
    Route("GET", "/api/v1/dead-letters/{id}", READ),
    Route("POST", "/api/v1/dead-letters/{id}/{verb}", ACT),
    Route("GET", "/api/v1/tokens", RULE),
    Route("POST", "/api/v1/tokens", RULE),
    Route("DELETE", "/api/v1/tokens/{id}", RULE),
)

_EXACT = {(one.method, one.path): one for one in ROUTES if "{" not in one.path}
_PATTERNS = [(tuple(one.path.split("/")), one) for one in ROUTES if "{" in one.path]


def find(method: str, path: str) -> Route | None:
    """The route of a request, None when there is none."""
    found = _EXACT.get((method, path))
    if found is None:
        parts = path.split("/")
        found = next((one for shape, one in _PATTERNS if one.method == method and _fits(shape, parts)), None)
    return found


def methods(path: str) -> list[str]:
    """The methods that a path knows."""
    parts = path.split("/")
    return sorted(
        {one.method for one in ROUTES if one.path == path}
        | {one.method for shape, one in _PATTERNS if _fits(shape, parts)}
    )


def _fits(shape: tuple[str, ...], parts: list[str]) -> bool:
    return len(shape) == len(parts) and all(
        bool(part) if wanted[:1] == "{" else wanted == part for wanted, part in zip(shape, parts, strict=True)
    )
