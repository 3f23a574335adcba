"""Log one line for each decision, from one process even when training runs in several."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger("hfrecipes")


def is_main() -> bool:
    """Whether this process is the one that prints and writes files."""
    # torchrun and accelerate launch set RANK before the libraries are imported, so torch is not needed to know.
    return os.environ.get("RANK", "0") == "0"


def log(sentence: str) -> None:
    """Print a sentence for the user; `logging.getLogger("hfrecipes").setLevel("WARNING")` turns these off."""
    if is_main():
        logger.info(sentence)
