"""Limits on what comes in: each with its unit in its name, and a default that honest senders do not meet."""

from pydantic import Field

from daemon.settings.section import Section


class Limits(Section):
    """How much a sender may ask of samband. What is over a limit is refused with a reason that names the limit."""

    body_bytes_max: int = Field(
        16 * 1024 * 1024, ge=1024, description="One body, counted while it is read, and again after decompression"
    )
    bodies_bytes_max: int = Field(
        256 * 1024 * 1024, ge=1024, description="All bodies in memory at one time; beyond it senders get 503"
    )
    body_seconds_max: int = Field(30, ge=1, description="How long a sender may take for one body")
    head_bytes_max: int = Field(65_536, ge=4096, description="Request line and header fields of one request")
    head_seconds_max: int = Field(10, ge=1, description="How long a sender may take for them")
    connections_max: int = Field(2_000, ge=1, description="Open connections; further ones get 503")
    batch_alerts_max: int = Field(20_000, ge=1, description="Alerts in one request")
    nesting_depth_max: int = Field(64, ge=4, description="Arrays and objects inside each other, in one body")
    labels_max: int = Field(256, ge=1, description="Labels of one alert")
    label_name_chars_max: int = Field(1024, ge=1, description="The name of one label")
    label_value_bytes_max: int = Field(16_384, ge=1, description="The value of one label, as UTF-8")
    labels_bytes_max: int = Field(65_536, ge=64, description="All labels of one alert together, as JSON")
    annotations_bytes_max: int = Field(
        65_536, ge=64, description="All annotations of one alert together, as JSON; longer values are cut"
    )
    alerts_per_second_max: int = Field(
        100_000, ge=1, description="Alerts of one source, on average; beyond it 429 with Retry-After"
    )
    alerts_burst_max: int = Field(1_000_000, ge=1, description="How many more a source may send after it was quiet")
    open_alerts_max: int = Field(
        500_000, ge=1, description="Open alerts of one source; new ones beyond it get 429, repeats and resolves pass"
    )


LIMITS = Limits()
"""What holds when nothing is configured."""
