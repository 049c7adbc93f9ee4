"""Every route × every role over a real socket, and a daemon behind a proxy on the same machine that gives nothing."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from daemon.access import ROLES, Caller, digest
from daemon.access.routes import ANYBODY, ROUTES, Route, find, methods
from daemon.api.app import build
from daemon.sources.senders import Source
from daemon.tokens import issue, revoked
from tests.unit.served import OPERATOR, Served, served

SOURCES = {
    "prometheus": Source("prometheus", "alertmanager", (digest("prometheus-token"),)),
    "scripts": Source("scripts", "native", (digest("scripts-token"),)),
}
REFUSALS = (401, 403)


def issued(it: Served, role: str, source: str = "") -> str:
    kept, token = issue(it.keys.issued, f"{role} {source}", role, source, "test", 1)
    it.keys.put(kept)
    return token


def path_of(route: Route) -> str:
    """A path that fits the route; the source is one that is there and speaks that path."""
    name = "prometheus" if route.path.startswith("/sources/") else "scripts"
    return route.path.replace("{source}", name).replace("{incident}", "INC-9").replace("{verb}", "ack").replace(
        "{id}", "9"
    )  # fmt: skip


async def status(it: Served, route: Route, token: str = "", **headers: str) -> int:
    if token:
        headers["authorization"] = f"Bearer {token}"
    body = None if route.method in ("GET", "HEAD", "DELETE") else b"{}"
    return (await it.ask(route.method, path_of(route), body, **headers))[0]


async def test_every_route_and_every_role(tmp_path: Path) -> None:
    async with served(tmp_path, sources=SOURCES, open_=False) as it:
        tokens = {role: issued(it, role) for role in ROLES}
        for route in ROUTES:
            where = (route.method, route.path)
            if route.path.startswith("/v2/"):
                continue  # Its credential is the routing key in the body: see the test below.
            if route.path == "/login":
                assert await status(it, route, "") == 403, "without the link's code nobody gets in"
                continue
            if route.roles == ANYBODY:
                assert await status(it, route, "") == 200, where
                continue
            assert await status(it, route, "") == 401, where
            assert await status(it, route, "not-a-token-of-anybody") == 401, where
            for role, token in tokens.items():
                got = await status(it, route, token)
                if role in route.roles:
                    assert got not in REFUSALS, (*where, role, got)
                    assert got < 500, (*where, role, got)
                else:
                    assert got == 403, (*where, role, got)
            assert await status(it, route, OPERATOR) not in REFUSALS, where


async def test_a_sources_own_token_sends_and_does_nothing_else(tmp_path: Path) -> None:
    async with served(tmp_path, sources=SOURCES, open_=False) as it:
        for route in ROUTES:
            if route.roles == ANYBODY or route.path.startswith("/v2/"):
                continue
            got = await status(it, route, "scripts-token")
            own = route.path in ("/api/v1/alerts", "/hooks/{source}", "/api/v1/changes") and route.method == "POST"
            assert (got not in REFUSALS) is own, (route.method, route.path, got)


async def test_pagerdutys_paths_know_routing_keys_only(tmp_path: Path) -> None:
    async with served(tmp_path, sources=SOURCES, open_=False) as it:
        for path in ("/v2/enqueue", "/v2/change/enqueue"):
            assert (await it.ask("POST", path, b"{}", authorization=f"Bearer {OPERATOR}"))[0] == 404


async def test_what_does_not_stand_in_the_table_is_not_reachable(tmp_path: Path) -> None:
    async with served(tmp_path, sources=SOURCES, open_=False) as it:
        for path in ("/", "/docs", "/api/v1", "/api/v1/alerts/", "/api/v2/nonsense", "/-/quit", "//api/v1/incidents"):
            assert (await it.ask("GET", path))[0] == 401, path
            assert (await it.ask("GET", path, authorization=f"Bearer {OPERATOR}"))[0] == 404, path
        said = await it.ask("DELETE", "/api/v1/alerts", authorization=f"Bearer {OPERATOR}")
        assert said[0] == 405


async def test_the_application_has_no_route_that_the_table_lacks_and_the_table_none_that_it_lacks(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as it:
        paths = [
            (method, path)
            for route in build(it.surface).routes
            if (path := getattr(route, "path", "")).startswith(("/api/", "/sources/"))
            for method in getattr(route, "methods", None) or ()
            if method != "HEAD"
        ]

    def shape(path: str) -> str:
        return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))

    known = {(one.method, shape(one.path)) for one in ROUTES}
    api = {(method, shape(path)) for method, path in paths}
    assert api <= known, "give each new route its roles in daemon/access/routes.py"
    apart = ("/-/", "/metrics", "/login", "/hooks/", "/v2/")
    wanted = {
        (one.method, shape(one.path)) for one in ROUTES if not one.path.startswith(apart) and not one.intake
    }  # fmt: skip
    assert wanted <= api, "the table names routes that nothing answers"


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/api/v1/incidents", "/api/v1/incidents"),
        ("GET", "/api/v1/incidents/INC-1", "/api/v1/incidents/{incident}"),
        ("GET", "/api/v1/incidents/", None),
        ("PATCH", "/api/v1/incidents", None),
        ("POST", "/sources/a/api/v2/alerts", "/sources/{source}/api/v2/alerts"),
        ("POST", "/sources//api/v2/alerts", None),
        ("POST", "/sources/a/b/api/v2/alerts", None),
    ],
)
def test_finding_a_route(method: str, path: str, found: str | None) -> None:
    route = find(method, path)
    assert (route.path if route else None) == found


def test_methods_of_a_path() -> None:
    assert methods("/-/reload") == ["POST", "PUT"]
    assert methods("/api/v2/silence/x") == ["DELETE", "GET"]
    assert methods("/nothing") == []


FORWARDED: list[dict[str, str]] = [
    {"x-forwarded-for": "203.0.113.9"},
    {"x-forwarded-for": "127.0.0.1"},
    {"forwarded": "for=203.0.113.9"},
    {"x-real-ip": "203.0.113.9"},
    {"via": "1.1 proxy"},
    {"x-forwarded-proto": "https"},
    {"host": "alerts.example.org"},
    {"host": "alerts.example.org:8112"},
    {"origin": "https://alerts.example.org"},
]


@pytest.mark.parametrize("headers", FORWARDED, ids=str)
async def test_a_stranger_behind_a_proxy_on_this_machine_gets_nothing(tmp_path: Path, headers: dict[str, str]) -> None:
    """`login: open` and sources without tokens are for this machine, and a forwarded request is not of it."""
    async with served(tmp_path) as it:
        for route in ROUTES:
            if route.roles == ANYBODY or route.path.startswith("/v2/"):
                continue
            got = await status(it, route, **headers)
            assert got in REFUSALS, (route.method, route.path, got)
        assert not it.runtime.engine.state.alerts.rows
        assert (await it.ask("GET", "/api/v1/incidents", None, authorization=f"Bearer {OPERATOR}", **headers))[0] == 200


async def test_a_proxy_that_is_trusted_opens_nothing_either(tmp_path: Path) -> None:
    async with served(tmp_path, proxies=(ip_network("127.0.0.0/8"),)) as it:
        assert (await it.ask("GET", "/api/v1/incidents"))[0] == 403
        assert (await it.ask("POST", "/hooks/scripts", b'{"name":"A"}'))[0] == 403
        token = issued(it, "ingest")
        sent = {"authorization": f"Bearer {token}", "x-forwarded-for": "198.51.100.7, 203.0.113.9"}
        assert (await it.ask("POST", "/hooks/scripts", b'{"name":"A"}', **sent))[0] == 200
        (alert,) = it.runtime.engine.state.alerts.rows.values()
        assert alert.emitter == "scripts 203.0.113.9", "the client as the trusted proxy names it"


async def test_an_issued_token_in_place_of_a_sources_own(tmp_path: Path) -> None:
    async with served(tmp_path, sources=SOURCES, open_=False) as it:
        any_, bound = issued(it, "ingest"), issued(it, "ingest", "scripts")

        async def post(path: str, token: str) -> int:
            body = b'[{"labels":{"alertname":"A"}}]' if "v2" in path else b'{"name":"A"}'
            return (await it.ask("POST", path, body, authorization=f"Bearer {token}"))[0]

        assert [await post(path, any_) for path in ("/hooks/scripts", "/api/v1/alerts", "/api/v2/alerts")] == [200] * 3
        assert [await post(path, bound) for path in ("/hooks/scripts", "/api/v1/alerts")] == [200, 200]
        assert [await post(path, bound) for path in ("/hooks/prometheus", "/api/v2/alerts")] == [403, 403]
        assert await post("/hooks/nobody", any_) == 404
        it.keys.put(revoked(it.keys.issued[0], 5))
        assert await post("/hooks/scripts", any_) == 401, "revoked"
        assert it.keys.find(digest(bound)) == Caller("ingest scripts", "ingest", "scripts")
