"""Alertmanager's matchers, `a="b", c=~"x|y", d!="z"`, compiled with RE2 (linear time).

The syntax is Alertmanager's: braces are optional, names and values may be quoted with double quotes
and Go's escapes, unquoted ones may hold anything but blanks and ``{}!=~,\\"'` ``; a trailing comma is
allowed. As in its classic form an escape that Go does not know (`"\\d+"`) is kept as it stands.
Regular expressions are anchored at both ends.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import re2

from daemon.core.matching import Values

Operator = Literal["=", "!=", "=~", "!~"]
_OPERATORS: tuple[Operator, ...] = ("=~", "!~", "!=", "=")
_RESERVED = frozenset("{}!=~,\\\"'`")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_HEX = {"x": 2, "u": 4, "U": 8}
_MISSING = ("",)
_CLASSIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!=|!~|=)\s*(.*?)\s*", re.DOTALL)


class MatcherError(ValueError):
    """The text is no conjunction of matchers. position: of the mistake in the text, from 1."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"at character {position}: {reason}")
        self.position, self.reason = position, reason


class Term(NamedTuple):
    """One matcher: `name operator value`."""

    name: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        plain = self.name and not any(char in _RESERVED or char.isspace() for char in self.name)
        return f"{self.name if plain else _quote(self.name)}{self.operator}{_quote(self.value)}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@dataclass(frozen=True)
class _Test:
    name: str
    value: str
    pattern: "re2._Regexp | None"
    negated: bool

    def holds(self, values: Values) -> bool:
        found: Sequence[str] = values.get(self.name) or _MISSING
        if self.pattern is None:
            return (self.value in found) is not self.negated
        return any(self.pattern.fullmatch(value) is not None for value in found) is not self.negated


class Matchers:
    """A conjunction of matchers (`daemon.core.matching.Matcher`). No matcher at all matches everything."""

    def __init__(self, text: str) -> None:
        """Raises MatcherError."""
        self.text = text.strip()
        self.terms = parse_matchers(text)
        self._tests = tuple(_compiled(term, text) for term in self.terms)

    def matches(self, values: Values) -> bool:
        """Whether all hold: a name with several values matches when any does, its negation when none does."""
        return all(test.holds(values) for test in self._tests)

    def __repr__(self) -> str:
        return f"Matchers({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matchers) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)


def parse_matchers(text: str) -> tuple[Term, ...]:
    """The matchers of a text, in its order. Raises MatcherError; regular expressions are not compiled."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # An argument of a command line that is no UTF-8 arrives like this.
        raise MatcherError(error.start + 1, "expected text in UTF-8") from None
    return _Parser(text).all()


def classic(text: str) -> Term:
    """One matcher in Alertmanager's classic form, in which all that follows the operator is the value.

    So blanks, commas and operators in it need no quotes, and it may be empty. Raises MatcherError.
    """
    found = _CLASSIC.fullmatch(text)
    if found is None:
        raise MatcherError(1, "expected a label name and =, !=, =~ or !~")
    name, operator, value = found.groups()
    if '"' not in value:
        value = f'"{value}"'
    (term,) = parse_matchers(name + operator + value)
    return term


def _compiled(term: Term, text: str) -> _Test:
    if term.operator in ("=", "!="):
        return _Test(term.name, term.value, None, term.operator == "!=")
    options = re2.Options()
    options.log_errors = False
    try:
        pattern = re2.compile(term.value, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        at = max(text.find(term.value), 0) + 1
        raise MatcherError(at, f"the regular expression of {term.name} is wrong: {reason}") from None
    return _Test(term.name, term.value, pattern, term.operator == "!~")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def all(self) -> tuple[Term, ...]:
        self._blanks()
        braces = self._take("{")
        terms: list[Term] = []
        self._blanks()
        while self._at < len(self._text) and self._peek() != "}":
            terms.append(self._term())
            self._blanks()
            if not self._take(","):
                break
            self._blanks()
        if braces and not self._take("}"):
            raise self._error('expected "," or "}"')
        self._blanks()
        if self._at < len(self._text):
            raise self._error('expected ","' if not braces else "expected nothing more")
        return tuple(terms)

    def _term(self) -> Term:
        name = self._word("a label name")
        if not name:
            raise self._error("the label name is empty")
        self._blanks()
        operator = next((o for o in _OPERATORS if self._text.startswith(o, self._at)), None)
        if operator is None:
            raise self._error("expected =, !=, =~ or !~")
        self._at += len(operator)
        self._blanks()
        return Term(name, operator, self._word("a value"))

    def _word(self, what: str) -> str:
        if self._peek() == '"':
            return self._quoted()
        start = self._at
        while self._at < len(self._text) and not (self._peek() in _RESERVED or self._peek().isspace()):
            self._at += 1
        if start == self._at:
            raise self._error(f"expected {what}" + (" in double quotes" if self._peek() in ("'", "`") else ""))
        return self._text[start : self._at]

    def _quoted(self) -> str:
        start = self._at
        self._at += 1
        out: list[str] = []
        while self._at < len(self._text):
            char = self._peek()
            self._at += 1
            if char == '"':
                return "".join(out)
            out.append(self._escape() if char == "\\" else char)
        raise MatcherError(start + 1, "this quote is never closed")

    def _escape(self) -> str:
        char = self._peek()
        self._at += 1
        if char in _ESCAPES:
            return _ESCAPES[char]
        digits = self._text[self._at : self._at + _HEX.get(char, 0)]
        if char in _HEX and len(digits) == _HEX[char]:
            try:
                code = int(digits, 16)
            except ValueError:
                return "\\" + char
            if code < 0x110000 and not 0xD800 <= code < 0xE000:
                self._at += len(digits)
                return chr(code)
        return "\\" + char

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, char: str) -> bool:
        if self._peek() != char:
            return False
        self._at += 1
        return True

    def _blanks(self) -> None:
        while self._peek().isspace():
            self._at += 1

    def _error(self, reason: str) -> MatcherError:
        return MatcherError(self._at + 1, reason)
