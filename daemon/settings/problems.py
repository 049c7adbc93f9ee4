"""What is wrong with a configuration: every mistake names its file, line, column, key and remedy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Place:
    """Where something stands. line, column: from 1; line 0 for what has none (the environment)."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake. key: dotted path of what it is about; text: what is wrong; remedy: what would mend it."""

    file: str
    line: int
    column: int
    key: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        place = str(Place(self.file, self.line, self.column))
        what = f"{self.key}: {self.text}" if self.key else self.text
        return f"{place}: {what}" + (f"\n    {self.remedy}" if self.remedy else "")


def problem_at(place: Place, path: KeyPath, text: str, remedy: str) -> Problem:
    """A problem that stands at a place."""
    return Problem(place.file, place.line, place.column, dotted(path), text, remedy)


class ConfigError(Exception):
    """The configuration cannot be used; `problems` are all that were found, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def dotted(path: KeyPath) -> str:
    """The path as people write it: policies[0].when."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for an unknown word: the nearest known one, else all of them."""
    known = sorted(set(known))
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known: {', '.join(known)}" if known else ""


def listed(words: Sequence[str], last: str = "or") -> str:
    """Words as people list them: a, b or c."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
