"""Where the shared recordings are: payloads, schemas, labelled streams, cases. They are no part of the project."""

import os
from pathlib import Path

SETTING = "SAMBAND_DATA"
FOLDER = Path(os.environ[SETTING]).resolve() if os.environ.get(SETTING) else None


def files(pattern: str) -> list[Path]:
    """The recordings that match, for `parametrize`; none when the folder is not known.

    A test made from them is to be marked `shared_data` as well.
    """
    return sorted(FOLDER.glob(pattern)) if FOLDER else []
