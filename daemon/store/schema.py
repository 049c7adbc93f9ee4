"""The tables, once, in SQLAlchemy Core: for migrations, for cold queries, and for the names in hot statements.

All times are ms since 1970. Ids come from the engine and grow (`daemon.core.model.ids`), so that
every table is appended to; they are unique over all scopes of a database, because no two claims
get the same epoch. Entities that live stand as images in `live`; what is over stands in
`incidents` and the `history_…` tables in columns that people can query.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

HEAD = "0005"
"""The revision that this build reads and writes; `migrations/versions` must end with it."""

UNFINISHED = ("waiting", "sending", "unsure", "dead")
"""States of outbox rows that recovery hands over (dead ones hold back what comes behind them)."""

UNFINISHED_SQL = f"state IN ({', '.join(map(repr, UNFINISHED))})"
"""The same as a condition. A partial index serves only a query that says it in the same words."""

UNCLEAR_SQL = "unsure_at > 0"
"""Outbox rows that have had an attempt with an unclear outcome: what it may have made is looked for afterwards, too."""

_UNFINISHED, _UNCLEAR = text(UNFINISHED_SQL), text(UNCLEAR_SQL)

metadata = MetaData()

Big = BigInteger().with_variant(Integer(), "sqlite")


def _whole(name: str) -> "Column[int]":
    return Column(name, Big, nullable=False)


def _text(name: str) -> "Column[str]":
    return Column(name, Text, nullable=False)


def _blob(name: str) -> "Column[bytes]":
    return Column(name, LargeBinary, nullable=False)


def _crc() -> "Column[int]":
    """Over the rest of the row (`columns.sealed`); 0 in one from before there were any."""
    return Column("crc", Big, nullable=False, server_default="0")


def _key(name: str = "id") -> "Column[int]":
    return Column(name, Big, primary_key=True, autoincrement=False)


def _running(name: str = "id") -> "Column[int]":
    return Column(name, Big, primary_key=True, autoincrement=True)


scope = Table(
    "scope",
    metadata,
    _running(),
    _text("name"),
    _whole("epoch"),
    _whole("seq"),
    _whole("now_ms"),
    _whole("next_id"),
    _whole("next_number"),
    _text("policy"),
    _text("mode"),
    _text("build"),
    _blob("positions"),
    _text("holder"),
    _whole("lease_until"),
    Column("lineage", Text, nullable=False, server_default=""),
    UniqueConstraint("name", name="scope_name"),
)
"""One row per scope: where its journal stands, and (PostgreSQL) who holds it until when by the database's clock.

lineage: the server and its timeline at the last commit; another one at a claim means that the newest
commits may be missing.
"""

journal = Table(
    "journal",
    metadata,
    _whole("scope"),
    _whole("seq"),
    _whole("epoch"),
    _whole("now_ms"),
    _text("build"),
    _text("policy"),
    _blob("positions"),
    _whole("count"),
    _blob("inputs"),
    _blob("digest"),
    _crc(),
    PrimaryKeyConstraint("scope", "seq", name="journal_key"),
)
"""What went in: one row per batch with records; inputs are `records.encode_records` in zstd with a checksum."""

live = Table(
    "live",
    metadata,
    _key(),
    _whole("scope"),
    _whole("kind"),
    _whole("crc"),
    _blob("image"),
    _blob("extra"),
)
"""Everything that lives, as images; crc is zlib's CRC-32 over image and extra."""

bases = Table(
    "bases",
    metadata,
    _whole("scope"),
    _whole("seq"),
    _whole("now_ms"),
    _text("policy"),
    _text("build"),
    _whole("next_id"),
    _whole("next_number"),
    _crc(),
    PrimaryKeyConstraint("scope", "seq", name="bases_key"),
)
"""Copies of the engine's state as it was after batch `seq`: where folding again can start.

policy: in force from there on. next_id, next_number: counters as they were then.
"""

base_rows = Table(
    "base_rows",
    metadata,
    _whole("scope"),
    _whole("seq"),
    _whole("part"),
    _blob("rows"),
    PrimaryKeyConstraint("scope", "seq", "part", name="base_rows_key"),
)
"""The rows of a base in parts: MessagePack of [kind, id, image, extra], in zstd with a checksum."""

incidents = Table(
    "incidents",
    metadata,
    _key(),
    _whole("scope"),
    _whole("live"),
    _whole("number"),
    _text("state"),
    _whole("generation"),
    _text("priority"),
    _text("impact"),
    _text("urgency"),
    _text("forced"),
    _text("derivation"),
    _text("owner"),
    _text("environment"),
    _whole("opened_at"),
    _whole("acknowledged_at"),
    _text("acknowledged_by"),
    _whole("resolved_at"),
    _text("resolved_by"),
    _whole("closed_at"),
    _whole("merged_into"),
    _whole("cleared"),
    _whole("cleared_at"),
    _whole("firing"),
    _whole("ended"),
    _whole("held"),
    _whole("lead"),
    _text("self_cause"),
    _text("self_sink"),
    UniqueConstraint("scope", "number", name="incidents_number"),
)
"""Every incident there ever was; `live` is 1 while its image stands in `live`."""

history_alerts = Table(
    "history_alerts",
    metadata,
    _key(),
    _whole("scope"),
    _whole("incident"),
    _blob("key"),
    _text("source"),
    _text("name"),
    _text("severity"),
    _text("service"),
    _text("resource"),
    _text("environment"),
    _text("labels"),
    _text("annotations"),
    _whole("generation"),
    _whole("starts_at"),
    _whole("began_at"),
    _whole("ended_at"),
    _whole("last_sign"),
    _text("ending"),
    _whole("event"),
    _text("held"),
    _text("reason"),
    _text("facts"),
    _whole("strength"),
    Index("history_alerts_incident", "incident", "id"),
)
"""Episodes that are over. ending: resolved, lapsed, expired, closed. labels, annotations: JSON."""

history_services = Table(
    "history_services",
    metadata,
    _key(),
    _whole("scope"),
    _whole("incident"),
    _text("service"),
    _text("environment"),
    _whole("tier"),
    _text("team"),
    _whole("ended"),
    Index("history_services_incident", "incident", "id"),
    Index("history_services_service", "service", "incident"),
)
"""What past incidents were about."""

history_deliveries = Table(
    "history_deliveries",
    metadata,
    _key(),
    _whole("scope"),
    _whole("incident"),
    _whole("generation"),
    _text("sink"),
    _text("kind"),
    _text("purpose"),
    _text("key"),
    _text("state"),
    _text("team"),
    _text("ref"),
    _whole("confirmed"),
    _whole("last_update"),
    _whole("shadow"),
    Index("history_deliveries_incident", "incident", "id"),
)
"""The objects that past incidents had at sinks."""

timeline = Table(
    "timeline",
    metadata,
    _running(),
    _whole("scope"),
    _whole("incident"),
    _whole("at"),
    _text("kind"),
    _text("text"),
    _text("actor"),
    Index("timeline_incident", "incident", "id"),
)
"""Append-only: everything done about an incident."""

outbox = Table(
    "outbox",
    metadata,
    _key(),
    _whole("scope"),
    _whole("at"),
    _whole("delivery"),
    _whole("incident"),
    _whole("generation"),
    _text("sink"),
    _text("kind"),
    _text("action"),
    _text("purpose"),
    _text("key"),
    _whole("rank"),
    _whole("after"),
    _whole("shadow"),
    _text("state"),
    _whole("attempts"),
    _whole("next_at"),
    _whole("first_try_at"),
    _whole("unsure_at"),
    _text("reason"),
    _text("detail"),
    _text("ref"),
    _whole("done_at"),
    _crc(),
    Index("outbox_incident", "incident", "id"),
    Index("outbox_unfinished", "id", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
    Index("outbox_unclear", "unsure_at", sqlite_where=_UNCLEAR, postgresql_where=_UNCLEAR),
)
"""One row per send; what a sink is told is rendered when it is sent."""

dead_letters = Table(
    "dead_letters",
    metadata,
    _running(),
    _whole("scope"),
    _whole("at"),
    _text("source"),
    _text("reason"),
    _blob("raw"),
)
"""What was authenticated and could not be read, or could not be folded."""

tokens = Table(
    "tokens",
    metadata,
    _key(),
    _whole("scope"),
    _text("name"),
    _text("role"),
    _text("source"),
    _blob("digest"),
    _whole("created_at"),
    _text("created_by"),
    _whole("revoked_at"),
)
"""Tokens that were issued, as SHA-256 digests; revoked_at: 0 while it works."""
