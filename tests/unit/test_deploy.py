"""deploy/: what people start beside samband is pinned, stays on this machine, and fits together."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose.yaml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(COMPOSE)
    return loaded


def test_it_has_the_sections_and_keys_of_the_compose_format_that_it_uses_and_no_other(compose: dict[str, Any]) -> None:
    assert set(compose) == {"name", "services", "volumes"}
    known = {"image", "environment", "ports", "volumes", "healthcheck", "depends_on", "command"}
    for name, service in compose["services"].items():
        assert set(service) <= known, name
        assert set(service.get("healthcheck", {})) <= {"test", "interval", "timeout", "retries"}


def test_every_image_is_pinned_to_a_version(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?", service["image"])


def test_nothing_is_open_to_the_network(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_is_kept_has_a_volume_and_what_is_waited_for_a_check(compose: dict[str, Any]) -> None:
    services = compose["services"]
    mounted = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert mounted == set(compose["volumes"])
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services[other]


def test_people_reach_the_broker_where_it_says_that_it_is(compose: dict[str, Any]) -> None:
    kafka = compose["services"]["kafka"]
    advertised = dict(re.findall(r"(\w+)://([^,]+)", kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"]))
    assert [f"{advertised['HOST']}:9092"] == kafka["ports"]
    listeners = dict(re.findall(r"(\w+)://:(\d+)", kafka["environment"]["KAFKA_LISTENERS"]))
    protocols = dict(re.findall(r"(\w+):(\w+)", kafka["environment"]["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"]))
    assert set(protocols) == set(listeners) == {*advertised, "CONTROLLER"}
    for name, at in advertised.items():
        assert at.rpartition(":")[2] == listeners[name]
