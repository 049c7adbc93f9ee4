"""The configuration: `load(path)` gives `Settings` or raises `ConfigError` with every mistake in it."""

from daemon.settings.load import load
from daemon.settings.models import Settings
from daemon.settings.problems import ConfigError, Problem

__all__ = ["ConfigError", "Problem", "Settings", "load"]
