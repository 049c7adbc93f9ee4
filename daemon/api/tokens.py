"""`/api/v1/tokens`: tokens for others than the local operator. Only the answer that makes one holds it."""

import asyncio
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import Field

from daemon import log
from daemon.access import Issued, Role
from daemon.access.keys import NAME_CHARS_MAX
from daemon.api.models import Shape
from daemon.api.replies import ACTS, MISSING, REFUSALS, UNAVAILABLE, answer, refusal
from daemon.api.surface import Surface
from daemon.core.view_json import rfc3339, rfc3339_or_none
from daemon.tokens import TokenRefused, issue, named, revoked


class TokenWanted(Shape):
    """A token that somebody asks for."""

    name: str = Field(min_length=1, max_length=NAME_CHARS_MAX, description="Whose it is")
    role: Role
    source: str = Field("", max_length=200, description="Of role ingest: the only source that it may send for")


class TokenItem(Shape):
    """A token, without itself."""

    id: int
    name: str
    role: Role
    source: str
    created_at: str
    created_by: str
    revoked_at: str | None


class TokenList(Shape):
    """All tokens, oldest first."""

    items: list[TokenItem]
    next: None


class TokenMade(TokenItem):
    """A new token."""

    token: str = Field(description="Shown here and nowhere else")


class TokenRevoked(Shape):
    """What came of it."""

    revoked: Literal[True]
    name: str


def mount(app: FastAPI, surface: Surface) -> None:
    """Adds the paths. Only the role admin gets here."""
    one_at_a_time = asyncio.Lock()

    @app.get("/api/v1/tokens", response_model=TokenList, responses=REFUSALS, tags=["tokens"])
    async def list_tokens() -> Response:
        """The tokens that were issued, revoked ones among them."""
        return answer(200, {"items": [shown(one) for one in surface.keys.issued], "next": None})

    @app.post("/api/v1/tokens", response_model=TokenMade, responses=REFUSALS | UNAVAILABLE, tags=["tokens"])
    async def create_token(request: Request, wanted: TokenWanted) -> Response:
        """Makes a token."""
        async with one_at_a_time:
            if wanted.source and wanted.source not in surface.sources:
                return refusal(422, f"source: there is no source {wanted.source!r}")
            by, now = request.scope["actor"], surface.runtime.now_ms()
            try:
                kept, token = issue(surface.keys.issued, wanted.name, wanted.role, wanted.source, by, now)
            except TokenRefused as error:
                return refusal(422, str(error))
            await surface.runtime.write_token(kept)
            log.conceal([token])
            surface.keys.put(kept)
        log.TOKEN_ISSUED(name=kept.name, role=kept.role, source=kept.source, actor=by)
        return answer(200, {**shown(kept), "token": token})

    @app.delete("/api/v1/tokens/{token}", response_model=TokenRevoked, responses=ACTS | MISSING, tags=["tokens"])
    async def revoke_token(request: Request, token: str) -> Response:
        """Revokes a token, by name or number: it does not work any more."""
        async with one_at_a_time:
            found = named(surface.keys.issued, token)
            if found is None:
                return refusal(404, f"there is no token {token[:100]!r} that works")
            gone = revoked(found, surface.runtime.now_ms())
            await surface.runtime.write_token(gone)
            surface.keys.put(gone)
        log.TOKEN_REVOKED(name=gone.name, role=gone.role, actor=request.scope["actor"])
        return answer(200, {"revoked": True, "name": gone.name})


def shown(one: Issued) -> dict[str, Any]:
    """A token as it is shown: without its digest."""
    return {
        "id": one.id,
        "name": one.name,
        "role": one.role,
        "source": one.source,
        "created_at": rfc3339(one.created_at),
        "created_by": one.created_by,
        "revoked_at": rfc3339_or_none(one.revoked_at),
    }
