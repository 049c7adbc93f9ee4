"""Where a request comes from: this machine, another one, or through a proxy; and whose web page sent it."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple

Network = IPv4Network | IPv6Network

FORWARDING = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port",
     b"x-forwarded-server", b"x-forwarded-by", b"x-real-ip", b"x-client-ip", b"x-original-forwarded-for",
     b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip", b"x-envoy-external-address", b"x-forwarded-user"}
)  # fmt: skip
"""Header fields by which a request betrays that somebody forwarded it."""

ADDRESS_CHARS_MAX = 100
"""No address of this machine is written with more."""


class Arrival(NamedTuple):
    """How a request arrived. client: the sender's address, as far as it can be believed; host: the Host it asked for.

    stranger: why it is not a request of a person or program on this machine, "" when it is one.
    """

    client: str
    scheme: str
    host: str
    stranger: str


def arrival(scope: Mapping[str, Any], proxies: Sequence[Network] = ()) -> Arrival:
    """How the request of an ASGI scope arrived. Only `proxies` are believed what they say of others."""
    peer = scope["client"][0] if scope.get("client") else ""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    believed = bool(proxies) and _within(peer, proxies)
    if believed:
        return _forwarded(scope, peer, headers, proxies)
    host, origin, passed_on = "", "", ""
    for name, value in headers:
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"origin":
            origin = value.decode("latin-1")
        elif name in FORWARDING:
            passed_on = name.decode()
    stranger = ""
    if not is_loopback(peer):
        stranger = "a request from another machine needs a token"
    elif passed_on:
        stranger = f"a request that was forwarded ({passed_on}) needs a token"
    elif scope.get("http_version") == "1.0":
        # How nginx forwards unless it is told otherwise, without any other trace.
        stranger = "a request in HTTP/1.0 may have been forwarded, and needs a token"
    else:
        stranger = _foreign(host, origin)
    return Arrival(peer, scope.get("scheme", "http"), host, stranger)


def _forwarded(
    scope: Mapping[str, Any], peer: str, headers: Iterable[tuple[bytes, bytes]], proxies: Sequence[Network]
) -> Arrival:
    """What a proxy that is believed says of the request. Never local: whoever it is, it came through the proxy."""
    said: dict[bytes, list[str]] = {}
    for name, value in headers:
        said.setdefault(name, []).append(value.decode("latin-1"))

    def first(name: bytes) -> str:
        return ",".join(said.get(name, [])).partition(",")[0].strip()

    client = peer
    for hop in reversed(",".join(said.get(b"x-forwarded-for", [])).split(",")):
        address = _address(hop.strip())
        if address is None:
            break
        client = str(address)
        if not _within(client, proxies):
            break
    scheme = first(b"x-forwarded-proto").lower()
    return Arrival(
        client,
        scheme if scheme in ("http", "https") else scope.get("scheme", "http"),
        first(b"x-forwarded-host") or first(b"host"),
        "a request that came through a proxy needs a token",
    )


def is_loopback(host: str) -> bool:
    """Whether an address (or `localhost`) can only be reached from this machine."""
    return len(host) <= ADDRESS_CHARS_MAX and _is_loopback(host)


@lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    """Cached: it is asked twice a request, and mostly about the same few."""
    if host.lower() == "localhost":
        return True
    address = _address(host.strip("[]"))
    return address is not None and address.is_loopback


def foreign_page(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Why a request that needs no token must be refused all the same, "" if it need not.

    A web page that somebody on this machine looks at must not act here: its requests carry the
    page's own Origin, or (DNS rebinding) a Host that is not this machine.
    """
    host, origin = "", ""
    for name, value in headers:
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"origin":
            origin = value.decode("latin-1")
    return _foreign(host, origin)


def _foreign(host: str, origin: str) -> str:
    if host and not is_loopback(_host_of(host)):
        return "Host is not an address of this machine: use 127.0.0.1 or localhost, or send a token"
    if origin and origin.partition("://")[2] != host:
        return "Origin is another site: send a token"
    return ""


def _host_of(authority: str) -> str:
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in a text, with or without a port; one of IPv4 that was mapped into IPv6 as what it is."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _within(host: str, networks: Sequence[Network]) -> bool:
    address = _address(host)
    return address is not None and any(address in network for network in networks)
