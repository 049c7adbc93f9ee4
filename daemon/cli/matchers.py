"""Matchers as words of a command line, the way amtool takes them."""

import re
from collections.abc import Sequence
from typing import Annotated

import typer

from daemon.cli.output import stop

MatchersArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="MATCHER...", help="As in amtool: service=shop 'alertname=~Disk.*'; a first word alone is an alertname."
    ),
]


def matchers_of(words: Sequence[str]) -> str:
    """The words as one condition in Alertmanager's syntax. Ends the command (exit 2) on a word that is none."""
    from daemon.settings.matchers import MatcherError, Matchers

    texts = []
    for place, word in enumerate(words):
        text = _quoted(f"alertname={word}") if not place and not re.search(r"[=~]", word) else _quoted(word)
        try:
            Matchers(text)
        except MatcherError as error:
            stop(f"{word}: no matcher: {error}; write for example service=shop or 'alertname=~Disk.*'")
        texts.append(text)
    return ", ".join(texts)


def _quoted(word: str) -> str:
    """The matcher with its value in quotes, so that blanks and commas in it need no second pair."""
    from daemon.settings.matchers import MatcherError, classic

    try:
        return str(classic(word))
    except MatcherError:
        return word
