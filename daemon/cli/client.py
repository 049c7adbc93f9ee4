"""The client commands' way to a running daemon: its HTTP API, with the operator's token."""

import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

import typer

from daemon.cli.options import read_config
from daemon.cli.output import COULD_NOT, FOUND, stop

if TYPE_CHECKING:
    from daemon.settings.sections import Store

TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 256 * 1024 * 1024
PAGE = 500
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where to ask one that listens everywhere

UrlOption = Annotated[
    str,
    typer.Option("--url", envvar="SAMBAND_URL", help="Address of the daemon; by default what the configuration says."),
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="SAMBAND_TOKEN",
        help="Its token; by default operator.token beside the store. Others see a command line: prefer the variable.",
        show_envvar=True,
    ),
]


class Client:
    """One daemon. Every failure ends the command: a refusal with exit 1, anything else with exit 2."""

    def __init__(self, url: str, token: str, certificate: str = "") -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            stop(f"{url}: not the address of a daemon; it looks like http://127.0.0.1:8112")
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._parts, self._token, self._certificate = parts, token, certificate

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The answer to a GET."""
        filled = {name: value for name, value in (query or {}).items() if value}
        return self._ask("GET", f"{path}?{urlencode(filled)}" if filled else path)

    def post(self, path: str, body: object) -> Any:
        """The answer to a POST."""
        return self._ask("POST", path, json.dumps(body).encode())

    def delete(self, path: str) -> Any:
        """The answer to a DELETE."""
        return self._ask("DELETE", path)

    def items(self, path: str, query: Mapping[str, str], limit: int) -> Iterator[Any]:
        """The items of a listing, page after page; 0: all of them."""
        read, cursor = 0, ""
        while True:
            wanted = min(limit - read, PAGE) if limit else PAGE
            page = self.get(path, {**query, "limit": str(wanted), "cursor": cursor})
            yield from page["items"]
            read += len(page["items"])
            cursor = page["next"] or ""
            if not cursor or read == limit:
                return

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        headers = {"accept": "application/json", "user-agent": "samband-cli"}
        if body is not None:
            headers["content-type"] = "application/json"
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            connection = self._connection()
            connection.request(method, self._parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            raw = response.read(ANSWER_BYTES_MAX)
            connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            stop(f"{self.url}: no answer: {_told(error)}\nIs `samband run` running there? Another address: --url.")
        if response.status >= 300:
            self._refused(response.status, raw)
        try:
            return json.loads(raw)
        except ValueError:
            stop(f"{self.url}: answered something that is no JSON; is that samband?")

    def _connection(self) -> http.client.HTTPConnection:
        """Over TLS the daemon's own certificate is asked for when it is known, by whatever name; else a trusted one."""
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        context = ssl.create_default_context(cafile=self._certificate or None)
        if self._certificate:
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)

    def _refused(self, status: int, raw: bytes) -> None:
        text = _reason(raw)
        if status in (401, 403):
            remedy = "it wants a token: --token, SAMBAND_TOKEN, or --config of the daemon, to find its operator.token"
            stop(f"{self.url}: {status}: {remedy}")
        stop(f"{text or 'refused'} ({status})", FOUND if status in (404, 409, 422) else COULD_NOT)


def connect(config: Path | None, url: str, token: str) -> Client:
    """The client for these options. The operator's token is only ever sent where the configuration says."""
    if url:
        return Client(url, token)
    settings = read_config(config, secrets=False)
    address = settings.listen.internal
    host = _EVERYWHERE.get(address.host, address.host)
    host = f"[{host}]" if ":" in host else host
    known = token or _operator_token(settings.store)
    if settings.tls is not None:
        return Client(f"https://{host}:{address.port}", known, settings.tls.cert_file)
    return Client(f"http://{host}:{address.port}", known)


def incident_path(name: str) -> str:
    """The API's path of an incident, by its id or INC-number."""
    return f"/api/v1/incidents/{quote(name, safe='')}"


def actor() -> str:
    """Who acts, as the timeline shows it: the name under which this person is logged in."""
    return os.environ.get("USER") or os.environ.get("LOGNAME") or ""


def _operator_token(store: "Store") -> str:
    """The local operator's token; "" when there is none to be read, which is enough where `login: open` holds."""
    folder = Path(store.path).parent if store.type == "sqlite" else Path(store.state)
    try:
        return (folder / "operator.token").read_text().strip()
    except OSError:
        return ""


def _told(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _reason(raw: bytes) -> str:
    """What the daemon says, from a JSON answer of any of its shapes."""
    try:
        said = json.loads(raw)
    except ValueError:
        return raw[:500].decode("utf-8", "replace")
    if isinstance(said, dict):
        for key in ("error", "reason", "detail", "message", "text"):
            if said.get(key):
                return str(said[key])
    return str(said)[:500]
