"""What is remembered of what people did: commands already carried out, and corrections of correlation."""

import msgspec


class Given(msgspec.Struct, gc=False, array_like=True):
    """A command that was carried out, by its idempotency key, and the answer that it got."""

    id: int
    command: str
    status: str
    text: str
    incident: int


class Apart(msgspec.Struct, gc=False, array_like=True):
    """A split: alerts of the two keys, and the two incidents, are not one thing."""

    id: int
    key: bytes
    other: bytes
    incident: int
    other_incident: int
