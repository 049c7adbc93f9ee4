"""Alertmanager's matchers: syntax, meaning, and errors that say where."""

from time import process_time

import pytest

from daemon.core.matching import Matcher, Values
from daemon.settings.matchers import MatcherError, Matchers, Term, classic, parse_matchers


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ('a="b"', ['a="b"']),
        ('{a="b", c=~"x|y",d!="z"}', ['a="b"', 'c=~"x|y"', 'd!="z"']),
        ('  { a = "b" , }  ', ['a="b"']),
        ("a=b", ['a="b"']),
        ("a!~b.*", ['a!~"b.*"']),
        ('a=""', ['a=""']),
        ("", []),
        ("{}", []),
        ('"service name"="x"', ['"service name"="x"']),
        ("å.ä=ö", ['å.ä="ö"']),
        ('a="x,y}z=1"', ['a="x,y}z=1"']),
        ('a="say \\"hi\\""', ['a="say \\"hi\\""']),
        ('a="line\\nbreak"', ['a="line\\nbreak"']),
        ('a="\\u00e5\\x41"', ['a="åA"']),
        ('a=~"\\d+"', ['a=~"\\\\d+"']),
        ("a:b_c=1", ['a:b_c="1"']),
    ],
)
def test_reads_what_alertmanager_reads(text: str, terms: list[str]) -> None:
    assert [str(term) for term in parse_matchers(text)] == terms
    assert parse_matchers(",".join(terms)) == parse_matchers(text)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ('a="b', 3, "this quote is never closed"),
        ('a="b" c="d"', 7, 'expected ","'),
        ('{a="b"', 7, 'expected "," or "}"'),
        ('{a="b"} x', 9, "expected nothing more"),
        ("a", 2, "expected =, !=, =~ or !~"),
        ('="b"', 1, "expected a label name"),
        ("a=", 3, "expected a value"),
        ("a='b'", 3, "expected a value in double quotes"),
        ('a="b",,c="d"', 7, "expected a label name"),
        ('""="b"', 3, "the label name is empty"),
        ('a=~"x("', 5, "the regular expression of a is wrong: missing ): x("),
        ('a=~"(?=x)"', 5, "the regular expression of a is wrong: invalid perl operator: (?="),
        ('a=="b"', 3, "expected a value"),
    ],
)
def test_says_where_it_is_wrong(text: str, position: int, reason: str) -> None:
    with pytest.raises(MatcherError) as caught:
        Matchers(text)
    assert (caught.value.position, caught.value.reason) == (position, reason)


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ('a="b"', {"a": ["b"]}, True),
        ('a="b"', {"a": ["bb"]}, False),
        ('a="b"', {}, False),
        ('a=""', {}, True),
        ('a=""', {"a": []}, True),
        ('a!=""', {}, False),
        ('a!="b"', {}, True),
        ('a=~"b|c"', {"a": ["c"]}, True),
        ('a=~"b|c"', {"a": ["bc"]}, False),
        ('a=~"b"', {"a": ["xbx"]}, False),
        ('a=~"b|bc"', {"a": ["bc"]}, True),
        ('a=~".*"', {}, True),
        ('a=~".+"', {}, False),
        ('a!~"b.*"', {"a": ["bcd"]}, False),
        ('a!~"b.*"', {"a": ["xb"]}, True),
        ('a="b",c="d"', {"a": ["b"], "c": ["x"]}, False),
        ('a="b",c="d"', {"a": ["b"], "c": ["d"]}, True),
        ("", {}, True),
        ('services="db"', {"services": ["web", "db"]}, True),
        ('services!="db"', {"services": ["web", "db"]}, False),
        ('services!="db"', {"services": ["web", "api"]}, True),
        ('services=~"d."', {"services": ["web", "db"]}, True),
        ('services!~"d."', {"services": ["web", "db"]}, False),
    ],
)
def test_holds_as_alertmanager_and_the_product_say(text: str, values: Values, holds: bool) -> None:
    compiled: Matcher = Matchers(text)
    assert compiled.matches(values) is holds


def test_keeps_its_text() -> None:
    assert Matchers(' priority="P1" ').text == 'priority="P1"'


def test_a_regular_expression_cannot_stall_the_engine() -> None:
    matchers = Matchers('a=~"(x+x+)+y"')
    before = process_time()
    assert not matchers.matches({"a": ["x" * 50_000]})
    assert process_time() - before < 2


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("a=b", Term("a", "=", "b")),
        ("a=", Term("a", "=", "")),
        ("a =~ x|y ", Term("a", "=~", "x|y")),
        ("a!=two words, and a comma", Term("a", "!=", "two words, and a comma")),
        ("alertname=b=~(", Term("alertname", "=", "b=~(")),
        ('a="b \\" c"', Term("a", "=", 'b " c')),
        ("a=b\\n", Term("a", "=", "b\n")),
    ],
)
def test_the_classic_form_takes_all_that_follows_as_the_value(text: str, term: Term) -> None:
    assert classic(text) == term
    assert parse_matchers(str(term)) == (term,)


@pytest.mark.parametrize("text", ["", "a", "=b", "a-b=c", 'a=b"c', 'a="b'])
def test_what_is_not_of_the_classic_form(text: str) -> None:
    with pytest.raises(MatcherError):
        classic(text)
