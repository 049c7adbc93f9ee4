"""Ids: one growing integer per entity, outbox row and incident, unique over restarts and backups.

The upper bits are the epoch (a number for each start of the daemon, at least unix seconds), the
lower 31 count within it. A restored backup starts in a later epoch, so it never uses an id again,
and rows are appended to the store in the order of their ids.
"""

COUNTER_BITS = 31


def first_id(epoch: int) -> int:
    """The first id of an epoch."""
    return epoch << COUNTER_BITS


def epoch_of(number: int) -> int:
    """The epoch in which an id was given."""
    return number >> COUNTER_BITS


def public_id(number: int) -> str:
    """The form in which ids leave the daemon: 16 hexadecimal digits, "" for none."""
    return f"{number:016x}" if number else ""


def parse_id(text: str) -> int:
    """The inverse of `public_id`; 0 for anything that is no id."""
    if len(text) != 16:
        return 0
    try:
        return int(text, 16)
    except ValueError:
        return 0
