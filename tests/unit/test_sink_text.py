"""Text on its way to a sink: clean, short, without secrets."""

import pytest

from sinks.text import clean, cleaned, cut, detail, listed, masked, one_line, web_link


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\x00b\x1b[0m\x7f\x85", "ab[0m"),
        ("left\u202eright\u2066\u200b\ufeff", "leftright"),
        ("a\r\nb\rc\u2028d\u2029e", "a\nb\nc\nd\ne"),
        ("tab\there", "tab here"),
        ("\ud800half\ufffe", "\ufffdhalf\ufffd"),
        ("Åäö \U0001f525", "Åäö \U0001f525"),
    ],
)
def test_clean_keeps_words_and_line_breaks(text: str, shown: str) -> None:
    assert clean(text) == shown
    clean(text).encode()


def test_cleaned_reaches_into_json() -> None:
    assert cleaned({"a\x00": ["b\x00", {"c": "d\x00"}, 1, None]}) == {"a": ["b", {"c": "d"}, 1, None]}


@pytest.mark.parametrize(("limit", "shown"), [(9, "long text"), (8, "long te…"), (6, "long…"), (1, "…")])
def test_cut_shows_that_it_did(limit: int, shown: str) -> None:
    assert cut("long text", limit) == shown


def test_one_line_is_one_line() -> None:
    assert one_line("  a \n\n b\r\n\tc  ", 100) == "a b c"


def test_a_secret_is_masked_before_the_text_is_cut() -> None:
    """Half a secret is still worth something."""
    assert "s3cret" not in detail("x" * 297 + "s3cret-and-more", ["s3cret-and-more"])
    assert masked("a ab abc", ["ab", "abc", ""]) == "a *** ***"


@pytest.mark.parametrize("url", ["https://a.example/b?c=d#e", "http://127.0.0.1:8112/incidents/1"])
def test_web_links_are_links(url: str) -> None:
    assert web_link(url) == url


@pytest.mark.parametrize(
    "url", ["", "javascript:alert(1)", "https://a b", 'https://a"b', "https://a\nb", "data:text/html,x", "//a"]
)
def test_what_a_browser_should_not_follow_is_none(url: str) -> None:
    assert web_link(url) == ""


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_listed(words: list[str], text: str) -> None:
    assert listed(words) == text
