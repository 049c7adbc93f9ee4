"""YAML 1.2 with places, and durations."""

from pathlib import Path
from typing import Any

import pytest

from daemon.settings.durations import format_duration, parse_duration
from daemon.settings.problems import ConfigError, Place
from daemon.settings.yaml_file import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"), ("on", "on"), ("off", "off"), ("yes", "yes"), ("true", True), ("False", False), ("~", None),
        ("", None), ("null", None), ("12", 12), ("-3", -3), ("0x1f", 31), ("0o17", 15),
        ("0042", "0042"), ("1_000", "1_000"),
        ("1.5", 1.5), ("1e3", 1000.0), ("2026-11-02", "2026-11-02"), ("12:30:45", "12:30:45"), ("'12'", "12"),
        ('"true"', "true"), ("|\n  a\n  b\n", "a\nb\n"), ("[a, 1]", ["a", 1]), ("{a: NO}", {"a": "NO"}),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(tmp_path: Path, text: str, value: Any) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"key: {text}\n")
    found = read_yaml(file).data["key"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("NO: 1\n12: 2\ntrue: 3\n")
    assert read_yaml(file).data == {"NO": 1, "12": 2, "true": 3}


def test_places_of_keys_and_values(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("a: 1\nb:\n  - {c: 2,\n     d: 3}\n")
    places = read_yaml(file).places
    assert places.key(("b", 0, "d")) == Place(str(file), 4, 6)
    assert places.value(("b", 0, "d")) == Place(str(file), 4, 9)
    assert places.value(("b", 0, "missing")) == Place(str(file), 3, 5)
    assert places.key(("nowhere",)) == Place(str(file), 1, 1)


def test_anchors_are_followed(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("a: &x {b: 1}\nc: *x\n")
    assert read_yaml(file).data == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    assert read_yaml(file).data == {}


@pytest.mark.parametrize(
    "raw", [b"a: \x00\n", b"a: 1\n---\nb: 2\n", b"a: !!python/object:os.system x\nb: [\n", b"a: *none\n"]
)
def test_what_is_no_single_document_is_refused(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError, match="is not YAML"):
        read_yaml(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0s", 0), ("0", 0), (0, 0), ("100ms", 100), ("5m", 300_000), ("1h30m", 5_400_000), ("1d", 86_400_000),
        ("2w", 1_209_600_000), ("1y", 31_536_000_000), ("1m1s1ms", 61_001), ("3d", 259_200_000),
    ],
)  # fmt: skip
def test_durations_are_prometheus_s(text: Any, ms: int) -> None:
    assert parse_duration(text) == ms
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize("text", ["", "5", 5, 1.5, None, True, "1.5h", "-1s", "1m1h", "1 h", "5min", "200y", "s"])
def test_anything_else_is_no_duration(text: Any) -> None:
    with pytest.raises(ValueError, match="; write"):
        parse_duration(text)
