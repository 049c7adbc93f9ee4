"""Prometheus as Debian ships it, with rules and targets of the test."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp

from tests.counterparts.process import Process, free_port, get_json, program


@dataclass(frozen=True)
class Rule:
    """One alerting rule. It fires while `expr` has results and stops when it has none."""

    alert: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    wait: str = "0s"

    def as_config(self) -> dict[str, object]:
        """The rule as it stands in a rule file."""
        return {
            "alert": self.alert,
            "expr": self.expr,
            "for": self.wait,
            "labels": self.labels,
            "annotations": self.annotations,
        }


class Prometheus(Process):
    """One Prometheus that evaluates every second and tells `alertmanagers` (base URLs, a path prefix included).

    With `resend` 3 s it sends a firing alert every 4 s, and each time says that it holds for 12 s more.
    """

    def __init__(
        self,
        folder: Path,
        alertmanagers: Sequence[str],
        rules: Sequence[Rule],
        targets: Sequence[str] = (),
        *,
        external_labels: dict[str, str] | None = None,
        token: str | None = None,
        resend: str = "3s",
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._config = folder / "prometheus.yml"
        self._rules = folder / "rules.yml"
        command = [
            program("prometheus"),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-lifecycle",
            f"--rules.alert.resend-delay={resend}",
        ]
        super().__init__(command, folder, f"{self.url}/-/ready")
        # JSON is YAML, and cannot be indented wrongly.
        self._config.write_text(json.dumps(self._configuration(alertmanagers, targets, external_labels or {}, token)))
        self._write(rules)

    async def load(self, rules: Sequence[Rule]) -> None:
        """Replace the rules while it runs."""
        self._write(rules)
        async with aiohttp.ClientSession() as session, session.post(f"{self.url}/-/reload") as answer:
            answer.raise_for_status()

    async def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """The instant value of an expression: labels and value of each series."""
        answer = await get_json(f"{self.url}/api/v1/query?query={quote(expr)}")
        return [(series["metric"], float(series["value"][1])) for series in answer["data"]["result"]]

    def _write(self, rules: Sequence[Rule]) -> None:
        groups = [{"name": "test", "interval": "1s", "rules": [rule.as_config() for rule in rules]}]
        self._rules.write_text(json.dumps({"groups": groups}))

    def _configuration(
        self, alertmanagers: Sequence[str], targets: Sequence[str], external_labels: dict[str, str], token: str | None
    ) -> dict[str, object]:
        return {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "external_labels": external_labels},
            "rule_files": [str(self._rules)],
            "alerting": {"alertmanagers": [_alertmanager(url, token) for url in alertmanagers]},
            "scrape_configs": [{"job_name": "test", "honor_labels": True, "static_configs": [{"targets": [*targets]}]}],
        }


def _alertmanager(url: str, token: str | None) -> dict[str, object]:
    parts = urlsplit(url)
    told: dict[str, object] = {
        "scheme": parts.scheme,
        "path_prefix": parts.path or "/",
        "static_configs": [{"targets": [parts.netloc]}],
    }
    if token is not None:
        told["authorization"] = {"credentials": token}
    return told
