"""What a compiled condition looks like to the engine; compiling (RE2) happens outside core."""

from collections.abc import Mapping, Sequence
from typing import Protocol

Values = Mapping[str, Sequence[str]]
"""Label -> its values. Alerts have one value per label, incidents may have several."""


class Matcher(Protocol):
    """A conjunction of Alertmanager matchers over labels and native fields.

    A name with several values matches when any does; its negation when none does. A missing name
    counts as the empty string, as in Alertmanager.
    """

    text: str

    def matches(self, values: Values) -> bool:
        """Whether all the matchers hold."""
        ...
