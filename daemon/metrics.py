"""Every metric, declared once with its meaning. Base units (seconds, bytes), names `samband_…`.

Labels are bounded: names from the configuration (source, sink) and closed sets (status, reason,
outcome, …), never anything that a sender chooses. `.labels()` costs a microsecond, so hot paths
keep the child and call `.inc(n)` once per batch.
"""

from collections.abc import Mapping
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

disable_created_metrics()  # type: ignore[no-untyped-call]  # They double the number of series, and nobody asks for them.
REGISTRY = CollectorRegistry()
CONTENT_TYPE = CONTENT_TYPE_LATEST
ProcessCollector(namespace="samband", registry=REGISTRY)

_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"samband_{name}", meaning, labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(f"samband_{name}", meaning, labels, registry=REGISTRY)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"samband_{name}", meaning, labels, buckets=buckets, registry=REGISTRY)


# Intake
ALERTS_RECEIVED = _counter(
    "alerts_received_total",
    "Alerts accepted and made durable, by source, format and the sender's status (firing, resolved); repeats included.",
    "source",
    "format",
    "status",
)
ALERTS_REJECTED = _counter(
    "alerts_rejected_total",
    "Items that could not be read and were reported to their sender; a body unreadable as a whole counts as one.",
    "source",
    "format",
    "reason",
)
CLOCK_SKEW = _counter(
    "alerts_clock_skew_total",
    "Firing alerts whose ends_at was past on arrival; it was ignored. The sender's clock is behind, or its queue long.",
    "source",
)
INTAKE_REQUESTS = _counter(
    "intake_requests_total",
    "Requests on the intake paths by source ('' before it is known) and HTTP status.",
    "source",
    "code",
)
INTAKE_SECONDS = _histogram(
    "intake_seconds", "From the whole body read to the answer, durability included, for accepted requests.", _FAST
)
INTAKE_BYTES = _counter(
    "intake_bytes_total", "Bytes of bodies read on the intake paths, after decompression.", "source"
)
CONNECTIONS_CUT = _counter(
    "connections_cut_total",
    "Connections that were cut off, by reason: silent (said nothing), 408 (the head of a request took too long), 431 "
    "(it was too long), 503 (too many connections).",
    "reason",
)
DEAD_LETTERS = _counter(
    "dead_letters_total",
    "Dead letters written: what a known sender sent and could not be read, or a sink never took, by origin "
    "(source or sink) and reason.",
    "origin",
    "reason",
)
DEAD_LETTERS_LOST = _counter(
    "dead_letters_lost_total", "Unreadable requests whose raw bytes could not be kept, because the store was down."
)

# Kafka
KAFKA_CONNECTED = _gauge("kafka_connected", "1 while the source is connected to its brokers, else 0.", "source")
KAFKA_MESSAGES = _counter(
    "kafka_messages_total",
    "Messages that are durable with their position, by outcome: read, partly (some of their alerts), unreadable, empty "
    "(tombstones).",
    "source",
    "topic",
    "outcome",
)
KAFKA_BYTES = _counter("kafka_bytes_total", "Bytes of the values of these messages, decompressed.", "source", "topic")
KAFKA_UNCOPIED = _counter(
    "kafka_dead_letters_uncopied_total",
    "Dead letters that samband keeps itself, but that the dead-letter topic did not take.",
    "source",
    "topic",
)
KAFKA_POSITION = _gauge(
    "kafka_position_offset", "Offset of the next message: all before it is durable.", "source", "topic", "partition"
)
KAFKA_WATERMARK = _gauge(
    "kafka_watermark_offset", "Where the partition ended at the last fetch.", "source", "topic", "partition"
)
KAFKA_LAG = _gauge("kafka_lag_messages", "Watermark less position.", "source", "topic", "partition")
KAFKA_BEHIND = _gauge(
    "kafka_behind",
    "1 while something may stand in the partition that was appended more than 10 s ago and is not taken in: alerts of "
    "the source then neither lapse nor expire.",
    "source",
    "topic",
    "partition",
)
KAFKA_STOPPED = _gauge(
    "kafka_stopped", "1 while the partition is not read on, because too much in it cannot be read.", "source", "topic",
    "partition",
)  # fmt: skip
KAFKA_PAUSED = _gauge("kafka_paused", "1 while reading waits for the store or the queue, else 0.", "source")
KAFKA_FETCHED = _gauge(
    "kafka_last_fetch_timestamp_seconds", "Unix time of the last answered fetch.", "source", "topic", "partition"
)

# Runtime: queue, fold, commit
QUEUE_RECORDS = _gauge("queue_records", "Records accepted from sources and waiting for their batch.")
QUEUE_FULL = _counter("queue_full_total", "Requests answered 503 because the queue was full.")
REFRESH_BUFFERED = _gauge("refresh_buffer_alerts", "Unchanged repeats whose later expiry waits for the next batch.")
REPEATS = _counter("alerts_repeated_total", "Unchanged repeats that only moved an expiry.")
BATCH_RECORDS = _histogram("batch_records", "Records per committed batch.", _SIZES)
FOLD_SECONDS = _histogram("fold_seconds", "Time that the engine took to fold a batch.", _FAST)
COMMIT_SECONDS = _histogram("commit_seconds", "Time that the store took to make a batch durable.", _FAST)
COMMITS_REPEATED = _counter(
    "commits_repeated_total",
    "Batches committed again because the database had lost them: it failed over to a replica that lacked them.",
)
COMMIT_FAILURES = _counter(
    "commit_failures_total",
    "Commits that failed, by reason: busy, full, read_only, down, fenced, gone_back, damaged, unknown. Batches are "
    "retried.",
    "reason",
)
LAST_COMMIT_TIMESTAMP = _gauge("last_commit_timestamp_seconds", "Unix time of the last successful commit.")
QUARANTINED = _counter(
    "quarantined_records_total",
    "Records and deadlines that were set aside: the engine raised, or the store refused them.",
)
DECISIONS = _counter(
    "decisions_total",
    "What the engine decided, by step and reason; late and orphaned alerts are among it.",
    "step",
    "reason",
)
CLOCK_STEPS = _counter("clock_steps_total", "Steps of the wall clock that were noticed and allowed for.")
CLOCK_OFFSET = _gauge("clock_offset_seconds", "Engine time less wall clock; it is slewed back to 0.")

# State, set when /metrics is read
ALERTS = _gauge("alerts", "Alerts held in memory by status: firing, stale, resolved, expired.", "status")
INCIDENTS = _gauge("incidents", "Incidents held in memory by state and priority.", "state", "priority")
EMITTERS = _gauge("emitters", "Senders that are told apart behind the sources.")

# Outbox
SENDS = _counter(
    "sends_total",
    "Attempts at sinks by sink, action (create, update, resolve, reopen), outcome (done, retry, rejected, unsure, "
    "superseded) and reason ('' when done).",
    "sink",
    "action",
    "outcome",
    "reason",
)
SEND_SECONDS = _histogram("send_seconds", "Duration of one attempt at a sink.", _SLOW, "sink")
DELIVERY_SECONDS = _histogram(
    "delivery_seconds",
    "From the decision to the confirmation by the sink, waits and retries included.",
    (*_SLOW, 60.0, 300.0, 1800.0),
    "sink",
)
OUTBOX_ROWS = _gauge("outbox_rows", "Rows of the outbox that are not finished, by sink and state.", "sink", "state")
OUTBOX_OLDEST = _gauge(
    "outbox_oldest_waiting_seconds", "Age of the oldest thing that a sink should have been told and was not.", "sink"
)
CIRCUIT_OPEN = _gauge("circuit_open", "1 while a sink is left alone after failures, else 0.", "sink")

# The daemon itself
BUILD_INFO = _gauge("build_info", "Always 1; version and configuration digest in force.", "version", "config")
READY = _gauge("ready", "1 while the daemon takes alerts and can make them durable, else 0.")
CONFIG_RELOAD_SUCCESSFUL = _gauge(
    "config_last_reload_successful", "1 if the last reload of the configuration worked, else 0."
)
CONFIG_RELOAD_TIMESTAMP = _gauge(
    "config_last_reload_success_timestamp_seconds", "Unix time of the last reload that worked."
)
SHADOW = _gauge("mode_shadow", "1 while the mode is shadow: everything is decided, nothing is sent.")


@cache
def intake_requests(source: str, status: int) -> Counter:
    """The child of `INTAKE_REQUESTS`, looked up once: there are as many as sources and statuses."""
    return INTAKE_REQUESTS.labels(source, str(status))


@cache
def intake_bytes(source: str) -> Counter:
    """The child of `INTAKE_BYTES`, looked up once."""
    return INTAKE_BYTES.labels(source)


def count_decisions(counts: Mapping[tuple[str, str], int]) -> None:
    """Adds the counts of one fold (`Changes.counts`) to `samband_decisions_total`."""
    for (step, reason), number in counts.items():
        DECISIONS.labels(step, reason).inc(number)


def exposition() -> bytes:
    """All metrics in the text format of Prometheus."""
    return generate_latest(REGISTRY)
