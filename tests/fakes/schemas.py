"""The vendors' JSON Schemas, where the data folder is there (environment variable SAMBAND_DATA)."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tests import shared_data


def violations_of(name: str, body: Any) -> str:
    """The first thing wrong with a body by the schema of that name, "" when nothing is, or no schema is at hand."""
    validator = _validator(name)
    if validator is None:
        return ""
    for error in validator.iter_errors(body):
        return f"{error.json_path}: {error.message[:300]}"
    return ""


@cache
def _validator(name: str) -> Draft202012Validator | None:
    if shared_data.FOLDER is None:
        return None
    path = shared_data.FOLDER / "schemas" / f"{name}.schema.json"
    return Draft202012Validator(json.loads(path.read_text()))
