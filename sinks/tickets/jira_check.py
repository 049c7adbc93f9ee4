"""What would not work at Jira, asked without creating anything."""

from collections.abc import Set
from typing import Any
from urllib.parse import quote

from sinks.base import Problem
from sinks.calls import Calls, Stop, dig, items

PERMISSIONS = ("BROWSE_PROJECTS", "CREATE_ISSUES", "EDIT_ISSUES", "ADD_COMMENTS", "TRANSITION_ISSUES")


async def problems_of(calls: Calls, project: str, issue_type: str, given: Set[str]) -> list[Problem]:
    """given: ids of the fields that a new issue will carry."""
    try:
        return (
            await _credentials(calls)
            or await _permissions(calls, project)
            or await _fields(calls, project, issue_type, given)
        )
    except Stop as stop:
        said = getattr(stop.outcome, "detail", "")
        return [Problem(f"Jira cannot be asked: {said}", "check url, and that the site answers")]


async def _credentials(calls: Calls) -> list[Problem]:
    try:
        await calls.read("/rest/api/3/myself")
    except Stop as stop:
        said = getattr(stop.outcome, "detail", "")
        remedy = "check url, user and token_file; make a token at id.atlassian.com > Security > API tokens"
        return [Problem(f"Jira does not know this account: {said}", remedy)]
    return []


async def _permissions(calls: Calls, project: str) -> list[Problem]:
    query = f"projectKey={quote(project)}&permissions={','.join(PERMISSIONS)}"
    answer = await calls.read(f"/rest/api/3/mypermissions?{query}", missing=True)
    if answer is None:
        return [Problem(f"project {project} is not there", "set project to the key of a project the account can see")]
    lacking = [name for name in PERMISSIONS if dig(answer, "permissions", name, "havePermission") is False]
    remedy = "give the account a role that has them: Project settings > Access"
    return [Problem(f"permissions lack in {project}: {', '.join(lacking)}", remedy)] if lacking else []


async def _fields(calls: Calls, project: str, issue_type: str, given: Set[str]) -> list[Problem]:
    meta = f"/rest/api/3/issue/createmeta/{quote(project)}/issuetypes"
    types = items(await calls.read(meta), "issueTypes")
    chosen = next((one for one in types if dig(one, "name") == issue_type), None)
    if chosen is None:
        names = ", ".join(str(dig(one, "name")) for one in types)
        return [Problem(f"issue type {issue_type} is not there in {project}", f"set issue_type to one of: {names}")]
    fields = items(await calls.read(f"{meta}/{quote(str(dig(chosen, 'id')))}"), "fields")
    problems = [
        Problem(f"{_name(one)} is required and not given", f"add it to fields: {{{dig(one, 'fieldId')}: ...}}")
        for one in fields
        if dig(one, "required") and not dig(one, "hasDefaultValue") and dig(one, "fieldId") not in _always(given)
    ]
    known = {dig(one, "fieldId") for one in fields}
    remedy = f"remove it, or put it on the create screen of {issue_type}"
    return problems + [Problem(f"Jira knows no field {name} here", remedy) for name in sorted(given - known)]


def _always(given: Set[str]) -> set[str]:
    return {*given, "reporter"}


def _name(field: Any) -> str:
    return f"{dig(field, 'name')} ({dig(field, 'fieldId')})"
