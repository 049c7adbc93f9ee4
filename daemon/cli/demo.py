"""`samband demo`."""


def demo() -> None:
    """Demo."""
