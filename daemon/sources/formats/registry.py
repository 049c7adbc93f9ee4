"""The formats by name, and which of them a source of a type speaks on which path."""

from daemon.sources.formats import alertmanager, alertmanager_webhook, native
from daemon.sources.formats.base import Format

FORMATS: dict[str, Format] = {
    one.name: one for one in (alertmanager.FORMAT, alertmanager_webhook.FORMAT, native.FORMAT)
}

HOOKS: dict[str, Format] = {
    "alertmanager": alertmanager_webhook.FORMAT,
    "native": native.FORMAT,
}
"""Type of a source -> what it posts to `/hooks/{source}`."""
