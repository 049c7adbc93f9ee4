"""The documentation keeps up: its configuration loads, and no key, metric, command or page is missing or made up."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from typer.main import get_command

from daemon import metrics
from daemon.cli import app
from daemon.settings import Settings, load
from daemon.settings.sources import SOURCES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def text(name: str) -> str:
    return (DOCS / name).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def examples(page: Path) -> Iterator[str]:
    """Blocks of YAML that are a whole configuration of samband."""
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        lines = [line.removeprefix("   ") for line in block.splitlines()]
        if any(line.startswith("sources:") for line in lines):
            yield "\n".join(lines) + "\n"


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "getting-started.md", DOCS / "configuration.md"], ids=str)
def test_the_configurations_that_are_shown_load_and_everything_in_them_is_active(page: Path, tmp_path: Path) -> None:
    (tmp_path / "services.yaml").write_text("services: {}\n")
    found = list(examples(page))
    assert found
    for example in found:
        (tmp_path / "samband.yaml").write_text(example)
        assert load(tmp_path / "samband.yaml", secrets=False).inactive == []


def active_keys(model: type[BaseModel], *path: str) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "not_active" in extra:
            continue
        below = field.annotation
        if isinstance(below, type) and issubclass(below, BaseModel) and path == () and name != "listen":
            yield from active_keys(below, *path, name)
        else:
            yield (*path, name)


@pytest.mark.parametrize("key", list(active_keys(Settings)), ids=".".join)
def test_every_active_key_is_described(key: tuple[str, ...]) -> None:
    page = text("limits.md" if key[0] == "limits" else "configuration.md")
    if key[0] in ("store", "tls"):
        return  # shown as one map
    wanted = f"`{key[-1]}`" if key[0] in ("timing", "delivery", "limits") else f"`{'.'.join(key)}`"
    assert wanted in page, f"docs/configuration.md lacks {wanted}"


def test_every_option_of_a_source_is_described() -> None:
    page = text("configuration.md")
    for model in SOURCES.values():
        for name in model.model_fields:
            assert f"`{name}`" in page, name


def test_every_metric_is_described_and_none_besides() -> None:
    wanted = set()
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            wanted.add(f"| `{name}` | {metric._type} | {labels} | {metric._documentation} |")

    assert set(re.findall(r"^\| `samband_.*$", text("metrics.md"), re.MULTILINE)) == wanted


def test_metrics_that_operations_names_are_there() -> None:
    assert set(re.findall(r"samband_[a-z_]+", text("operations.md"))) <= set(
        re.findall(r"samband_[a-z_]+", text("metrics.md"))
    )


def test_every_command_is_described() -> None:
    page = text("cli.md")
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for below in getattr(command, "commands", {None: None}):
            assert f"`samband {' '.join(filter(None, (name, below)))}" in page
