"""Changes: deploys, feature flags, changes from change management. They page nobody; they explain."""

import msgspec


class ParsedChange(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One change as its format hands it in. at: when it was made (0: when received), ms. labels: canonical JSON."""

    id: str
    at: int
    source: str
    service: str
    environment: str
    summary: str
    url: str = ""
    labels: bytes = b"{}"


class Change(msgspec.Struct, gc=False, array_like=True):
    """A change that is remembered, newest `id` last. due_forget: when it leaves."""

    id: int
    at: int
    source: str
    name: str
    service: str
    environment: str
    summary: str
    url: str
    labels: bytes
    due_forget: int = 0
