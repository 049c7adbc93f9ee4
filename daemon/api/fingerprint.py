"""Alertmanager's fingerprint: FNV-1a-64 over the sorted labels. Shown by the compatible API, used for nothing else."""

from functools import lru_cache

_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


@lru_cache(maxsize=20_000)
def fingerprint(labels: tuple[tuple[str, str], ...]) -> str:
    """16 hexadecimal digits over name 0xFF value 0xFF, for labels sorted by name. Cached: it takes 16 µs."""
    value = _OFFSET
    for name, text in labels:
        for byte in (*name.encode(), 0xFF, *text.encode(), 0xFF):
            value = ((value ^ byte) * _PRIME) & _MASK
    return f"{value:016x}"
