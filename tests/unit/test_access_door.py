"""What is local, whose page a request comes from, sessions of browsers, and TLS."""

import asyncio
import http.client
import ssl
import subprocess
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from daemon.access import Access, Keys, arrival
from daemon.access.keys import Sessions
from daemon.listening import Listener, ListenError, bind, certificate, load_certificate
from daemon.settings.sections import Tls
from tests.unit.served import OPERATOR, served

LOCAL = "127.0.0.1:8112"


def scope(peer: str = "127.0.0.1", version: str = "1.1", **headers: str) -> dict[str, Any]:
    fields = {"host": LOCAL, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "client": (peer, 5) if peer else None,
        "http_version": version,
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (scope(), ""),
        (scope("::1", host="[::1]:8112"), ""),
        (scope("::ffff:127.0.0.1"), ""),
        (scope("10.0.0.7"), "another machine"),
        (scope(""), "another machine"),
        (scope(version="1.0"), "HTTP/1.0"),
        (scope(x_forwarded_for="1.2.3.4"), "forwarded"),
        (scope(via="1.1 x"), "forwarded"),
        (scope(host="rebound.example"), "Host"),
        (scope(host="127.0.0.1.evil.example"), "Host"),
        (scope(origin="http://evil.example"), "Origin"),
        (scope(origin="null"), "Origin"),
        (scope(origin="http://" + LOCAL), ""),
    ],
)
def test_what_is_a_request_of_this_machine(given: dict[str, Any], says: str) -> None:
    stranger = arrival(given).stranger
    assert says in stranger
    assert bool(stranger) is bool(says)


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({}, "10.0.0.1"),
        ({"x_forwarded_for": "203.0.113.9"}, "203.0.113.9"),
        ({"x_forwarded_for": "198.51.100.7, 203.0.113.9"}, "203.0.113.9"),
        ({"x_forwarded_for": "203.0.113.9, 10.0.0.2"}, "203.0.113.9"),
        ({"x_forwarded_for": "203.0.113.9:4711"}, "203.0.113.9"),
        ({"x_forwarded_for": "[2001:db8::7]:4711"}, "2001:db8::7"),
        ({"x_forwarded_for": "203.0.113.9, nonsense"}, "10.0.0.1"),
        ({"x_forwarded_for": "10.0.0.3, 10.0.0.2"}, "10.0.0.3"),
    ],
)
def test_the_client_as_a_trusted_proxy_names_it(headers: dict[str, str], client: str) -> None:
    came = arrival(scope("10.0.0.1", x_forwarded_proto="https", x_forwarded_host="s.example", **headers),
                   [ip_network("10.0.0.0/24")])  # fmt: skip
    assert (came.client, came.scheme, came.host) == (client, "https", "s.example")
    assert came.stranger


def test_nobody_else_is_believed() -> None:
    came = arrival(scope("10.9.0.1", x_forwarded_for="1.2.3.4", x_forwarded_proto="https"), [ip_network("10.0.0.0/24")])
    assert (came.client, came.scheme) == ("10.9.0.1", "http")


def judged(access: Access, method: str, path: str, given: dict[str, Any]) -> int:
    return access.judge(method, path, given["headers"], access.arrival(given)).status or 200


def test_metrics() -> None:
    keys = Keys(OPERATOR)
    local, remote = scope(), scope("10.0.0.7", host="s.example:8112")
    token = scope("10.0.0.7", host="s.example:8112", authorization=f"Bearer {OPERATOR}")
    wrong = scope(authorization="Bearer wrong")
    loopback, outside, opened = (
        Access(keys, loopback=True),
        Access(keys, loopback=False),
        Access(keys, loopback=False, metrics_open=True),
    )
    assert [judged(loopback, "GET", "/metrics", one) for one in (local, wrong, token)] == [200, 401, 200]
    assert [judged(outside, "GET", "/metrics", one) for one in (local, remote, token)] == [401, 401, 200]
    assert [judged(opened, "GET", "/metrics", one) for one in (local, remote, token)] == [200, 200, 200]
    assert judged(opened, "GET", "/api/v1/incidents", remote) == 401


def test_open_login_holds_on_loopback_only() -> None:
    keys = Keys(OPERATOR)
    opened = Access(keys, open_=True)
    assert judged(opened, "GET", "/api/v1/incidents", scope()) == 200
    assert judged(opened, "GET", "/api/v1/incidents", scope("10.0.0.7")) == 403
    assert judged(opened, "GET", "/api/v1/incidents", scope(authorization="Bearer wrong")) == 401
    assert judged(Access(keys, open_=True, loopback=False), "GET", "/api/v1/incidents", scope()) == 401


def test_programs_of_this_machine_tell_of_changes_where_no_source_has_a_token() -> None:
    keys = Keys(OPERATOR)
    assert judged(Access(keys), "POST", "/api/v1/changes", scope()) == 200
    assert judged(Access(keys), "GET", "/api/v1/changes", scope()) == 401
    assert judged(Access(keys), "POST", "/api/v1/changes", scope(via="x")) == 401
    assert judged(Access(keys, sources={"a": [b"x"]}), "POST", "/api/v1/changes", scope()) == 401
    assert judged(Access(keys, loopback=False), "POST", "/api/v1/changes", scope()) == 401


def test_a_code_works_once_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("daemon.access.keys.time.monotonic", lambda: now)
    sessions = Sessions()
    code, late = sessions.code(), sessions.code()
    session = sessions.redeem(code)
    cookie = [(b"cookie", f"a=b; samband_session={session}".encode())]
    assert session
    assert sessions.redeem(code) == ""
    assert sessions.redeem("") == ""
    assert sessions.known(cookie)
    assert not sessions.known([(b"cookie", b"samband_session=other")])
    now += 901
    assert sessions.redeem(late) == ""
    now += 12 * 3600
    assert not sessions.known(cookie)


async def test_a_browser_logs_in_by_the_link_and_acts_from_its_own_page_only(tmp_path: Path) -> None:
    async with served(tmp_path, open_=False) as it:
        url = f"{it.url}/login?code={it.keys.sessions.code()}"
        async with it.client.get(url, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["location"]) == (303, "/api/v1/incidents")
            set_cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in set_cookie.split(";")}
        cookie = set_cookie.partition(";")[0]
        it.client.cookie_jar.clear()
        assert (await it.ask("GET", "/api/v1/incidents", cookie=cookie))[0] == 200
        path = "/api/v1/incidents/INC-1/ack"
        assert (await it.ask("POST", path, b"{}", cookie=cookie))[0] == 403
        assert (await it.ask("POST", path, b"{}", cookie=cookie, origin="http://evil.example"))[0] == 403
        assert (await it.ask("POST", path, b"{}", cookie=cookie, origin=it.url))[0] == 404
        assert (await it.ask("GET", "/api/v1/incidents"))[0] == 401
        async with it.client.get(url, allow_redirects=False) as answer:
            assert answer.status == 403


def self_signed(folder: Path, name: str) -> Tls:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return Tls(cert_file=str(cert), key_file=str(key))


def asked(port: int, trusted: str) -> int:
    context = ssl.create_default_context(cafile=trusted)
    context.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    with closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().status


async def test_tls_and_a_new_certificate_without_a_restart(tmp_path: Path) -> None:
    async def hello(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    first, second = self_signed(tmp_path, "first"), self_signed(tmp_path, "second")
    context = certificate(first)
    assert context is not None
    listener = Listener(hello, bind("127.0.0.1", 0), tls=context)
    await listener.start()
    try:
        assert listener.url.startswith("https://")
        port = int(listener.address.rpartition(":")[2])
        assert await asyncio.to_thread(asked, port, first.cert_file) == 204
        mixed = Tls(cert_file=second.cert_file, key_file=first.key_file)
        with pytest.raises(ListenError, match=r"second.pem.*own key"):
            load_certificate(context, mixed)
        assert await asyncio.to_thread(asked, port, first.cert_file) == 204, "the old one stays"
        load_certificate(context, second)
        assert await asyncio.to_thread(asked, port, second.cert_file) == 204
    finally:
        await listener.stop()


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("nonsense")
    with pytest.raises(ListenError, match="tls: "):
        certificate(Tls(cert_file=str(tmp_path / "x"), key_file=str(tmp_path / "y")))
    assert certificate(None) is None
