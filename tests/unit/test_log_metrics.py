"""Log events and metrics: declared once, with a meaning; nothing secret, nothing that a sender chose."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest

from daemon import log, metrics


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logging is the process's own: it is set back for the tests that follow."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    log._secrets.clear()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_a_line_on_a_pipe() -> None:
    out = io.StringIO()
    log.configure(stream=out)
    log.STARTED(listen="127.0.0.1:8112", text="two\nlines \x1b[31m")
    (line,) = lines(out)
    assert (line["event"], line["level"], line["listen"]) == ("started", "info", "127.0.0.1:8112")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(line["at"]))
    assert "\x1b" not in out.getvalue()


def test_readable_and_harmless_on_a_terminal() -> None:
    out = io.StringIO()
    log.configure(stream=out, terminal=True)
    log.STARTED(listen="127.0.0.1:8112", text="evil \x1b]0;title\x07\nline")
    shown = out.getvalue()
    assert "started" in shown
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown
    assert shown.count("\n") == 1


def test_levels() -> None:
    out = io.StringIO()
    log.configure(stream=out, level="warning")
    log.STARTED(listen="x")
    log.COMMIT_FAILED(reason="full", text="x")
    assert [line["event"] for line in lines(out)] == ["commit_failed"]


def test_secrets_are_masked_wherever_they_turn_up() -> None:
    out = io.StringIO()
    log.configure(stream=out)
    log.conceal(["hunter2-token", "hunter2", "abc"])
    log.SENT(sink="x", detail="a hunter2-token b", more=["hunter2", {"deep": b"hunter2"}], text="abc")
    assert "hunter2" not in out.getvalue()
    assert lines(out)[0]["detail"] == "a *** b"
    assert lines(out)[0]["text"] == "abc", "too short to be a secret, long enough to be a word"


def test_libraries_are_routed_and_warnings_too() -> None:
    out = io.StringIO()
    log.configure(stream=out)
    log.conceal(["hunter2-token"])
    logging.getLogger("aiohttp.client").warning("no %s", "hunter2-token")
    logging.getLogger("aiohttp.client").info("chatter")
    logging.getLogger("uvicorn.error").info("chatter")
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("asyncio").exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    first, second, third = lines(out)
    assert (first["event"], first["logger"], first["text"]) == ("library", "aiohttp.client", "no ***")
    assert "ValueError: boom" in str(second["exception"])
    assert third["logger"] == "py.warnings"


def test_an_exception_stands_in_its_line() -> None:
    out = io.StringIO()
    log.configure(stream=out)
    try:
        raise ValueError("boom")
    except ValueError as error:
        log.API_FAILED(path="/x", exc_info=error)
    (line,) = lines(out)
    assert "ValueError: boom" in str(line["exception"])


def test_every_event_has_a_meaning_and_its_own_name() -> None:
    declared = [value for value in vars(log).values() if isinstance(value, log.Event)]
    assert len(declared) == len(log.EVENTS) > 20
    for event in declared:
        assert re.fullmatch(r"[a-z_]+", event.name)
        assert event.meaning.endswith(".")


def test_every_metric_is_samband_with_a_meaning_and_bounded_labels() -> None:
    known = {
        "source", "format", "status", "reason", "code", "origin", "step", "state", "priority", "sink", "action",
        "outcome", "version", "config", "topic", "partition",
    }  # fmt: skip
    families = list(metrics.REGISTRY.collect())
    assert len(families) > 30
    for family in families:
        assert family.name.startswith("samband_"), family.name
        assert len(family.documentation) > 10, family.name
        for sample in family.samples:
            assert set(sample.labels) <= known | {"le"}, sample
    declared = [one for one in vars(metrics).values() if hasattr(one, "_labelnames")]
    assert {label for one in declared for label in one._labelnames} == known


def test_decisions_are_counted_by_step_and_reason() -> None:
    def value() -> float:
        return metrics.REGISTRY.get_sample_value("samband_decisions_total", {"step": "t", "reason": "r"}) or 0

    before = value()
    metrics.count_decisions({("t", "r"): 3})
    assert value() == before + 3
    assert b"samband_decisions_total" in metrics.exposition()
