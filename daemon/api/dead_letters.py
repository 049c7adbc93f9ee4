"""`/api/v1/dead-letters`: what could not be read, and what no sink ever took; to be tried again or dropped."""

import base64
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import Response

from daemon import log
from daemon.api.models_acts import DeadLetterDetail, DeadLetterList, LetterAct, LetterAnswer
from daemon.api.replies import ACTS, MISSING, REFUSALS, answer, refusal
from daemon.api.surface import LIMIT_DEFAULT, Cursor, Limit, Surface
from daemon.core.communication import clean
from daemon.core.model.ids import parse_id, public_id
from daemon.core.view_json import rfc3339_or_none
from daemon.sources.again import read_again
from daemon.sources.formats.base import Unreadable
from daemon.store.base import OutboxRow
from daemon.store.queries import DeadLetterRow

INPUT, SEND = "in-", "out-"
"""Ids: `in-12` is the twelfth input that could not be read, `out-<id>` a row of the outbox."""


def mount(app: FastAPI, surface: Surface) -> None:
    """Adds the routes."""

    @app.get("/api/v1/dead-letters", response_model=DeadLetterList, responses=REFUSALS, tags=["dead letters"])
    async def list_dead_letters(
        kind: Literal["", "input", "send"] = "", limit: Limit = LIMIT_DEFAULT, cursor: Cursor = ""
    ) -> Response:
        """What could not be read, then what could not be delivered; each oldest first."""
        return answer(200, await _listing(surface, kind, limit, cursor))

    @app.get(
        "/api/v1/dead-letters/{id}",
        response_model=DeadLetterDetail,
        responses=REFUSALS | MISSING,
        tags=["dead letters"],
    )
    async def show_dead_letter(id: str) -> Response:
        """One, with its bytes."""
        found = await _find(surface, id)
        return _missing(id) if found is None else answer(200, _detail(found))

    @app.post("/api/v1/dead-letters/{id}/{verb}", response_model=LetterAnswer, responses=ACTS, tags=["dead letters"])
    async def act_on_dead_letter(request: Request, id: str, verb: str, body: LetterAct | None = None) -> Response:
        """retry: input is read again as its source is now, a send is rendered again and sent. drop: nobody needs it."""
        if verb not in ("retry", "drop"):
            return refusal(404, f"there is no verb {verb[:40]!r}; there are retry, drop")
        said = body or LetterAct()
        found = await _find(surface, id)
        if found is None:
            return _missing(id)
        actor = said.actor or request.scope["actor"]
        if isinstance(found, DeadLetterRow):
            response = await (_read_again(surface, found) if verb == "retry" else _drop_input(surface, found))
        else:
            response = await _send(surface, found, verb, actor, said.reason)
        outcome = "ok" if response.status_code == 200 else "refused"
        log.COMMAND(verb=f"{verb} dead letter", incident="", actor=actor, outcome=outcome, text=f"{id} {said.reason}")
        return response


def _missing(name: str) -> Response:
    return refusal(404, f"there is no dead letter {name[:100]!r}")


async def _find(surface: Surface, name: str) -> DeadLetterRow | OutboxRow | None:
    digits = name.removeprefix(INPUT)
    if name.startswith(INPUT) and digits.isascii() and digits.isdigit() and len(digits) <= 18:
        return await surface.history.dead_letter(int(digits))
    if name.startswith(SEND) and (number := parse_id(name.removeprefix(SEND))):
        return await surface.history.dead_send(number)
    return None


async def _listing(surface: Surface, kind: str, limit: int, cursor: str) -> dict[str, Any]:
    """A page. The cursor is the id of the last item of the page before."""
    found: list[DeadLetterRow | OutboxRow] = []
    if kind != "send" and not cursor.startswith(SEND):
        after = cursor.removeprefix(INPUT)
        found += await surface.history.dead_letters(int(after) if after.isdigit() else 0, limit + 1)
    if kind != "input" and len(found) <= limit:
        after_id = parse_id(cursor.removeprefix(SEND)) if cursor.startswith(SEND) else 0
        found += await surface.history.dead_sends(after_id, limit + 1 - len(found))
    items = [_item(one) for one in found[:limit]]
    return {"items": items, "next": items[-1]["id"] if len(found) > limit else None}


def _item(found: DeadLetterRow | OutboxRow) -> dict[str, Any]:
    if isinstance(found, DeadLetterRow):
        return {
            "id": f"{INPUT}{found.id}",
            "kind": "input",
            "at": rfc3339_or_none(found.at),
            "origin": found.source,
            "reason": clean(found.reason, 600),
            "detail": "",
            "bytes": len(found.raw),
            "incident": None,
            "action": None,
            "attempts": 0,
        }
    send = found.send
    return {
        "id": f"{SEND}{public_id(send.id)}",
        "kind": "send",
        "at": rfc3339_or_none(send.at),
        "origin": send.sink,
        "reason": found.reason,
        "detail": clean(found.detail),
        "bytes": 0,
        "incident": public_id(send.incident),
        "action": send.action,
        "attempts": found.attempts,
    }


def _detail(found: DeadLetterRow | OutboxRow) -> dict[str, Any]:
    shown: dict[str, Any] = {**_item(found), "text": None, "base64": None}
    if isinstance(found, DeadLetterRow):
        try:
            shown["text"] = found.raw.decode()
        except UnicodeDecodeError:
            shown["base64"] = base64.b64encode(found.raw).decode()
    return shown


async def _read_again(surface: Surface, letter: DeadLetterRow) -> Response:
    """Takes in what can be read now; only when nothing is left that cannot, the letter goes."""
    source = surface.senders.get(letter.source)
    try:
        parsed = read_again(source, letter.reason, letter.raw, surface.runtime.now_ms())
    except Unreadable as error:
        return refusal(409, f"it cannot be read: {error.text}")
    await surface.runtime.intake(parsed.alerts)
    rejected = [{"index": one.index, "reason": one.reason} for one in parsed.rejected]
    if not rejected:
        await surface.runtime.drop_letter(letter.id)
    text = f"{len(parsed.alerts)} alerts were taken in" + (
        f"; {len(rejected)} cannot be read still, so it stays" if rejected else ""
    )
    return answer(200, {"text": text, "accepted": len(parsed.alerts), "rejected": rejected})


async def _drop_input(surface: Surface, letter: DeadLetterRow) -> Response:
    await surface.runtime.drop_letter(letter.id)
    return answer(200, {"text": f"{INPUT}{letter.id} is dropped", "accepted": 0, "rejected": []})


async def _send(surface: Surface, row: OutboxRow, verb: str, actor: str, reason: str) -> Response:
    if verb == "drop":
        problem = await surface.outbox.drop(row, actor, reason or "not needed any more")
        text = f"{row.send.action} at {row.send.sink} is dropped"
    else:
        problem = await surface.outbox.retry(row, actor)
        text = f"{row.send.action} at {row.send.sink} is being tried again"
    return refusal(409, problem) if problem else answer(200, {"text": text, "accepted": 0, "rejected": []})
