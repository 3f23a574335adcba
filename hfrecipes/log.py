"""One line for each decision, printed by one process of several."""

from __future__ import annotations

import logging
import os

logger = logging.getLogger("hfrecipes")


def is_main() -> bool:
    """Whether this process is the one that speaks and writes."""
    return os.environ.get("RANK", "0") == "0"


def log(sentence: str) -> None:
    """Log the sentence for the user to read; `logging.getLogger("hfrecipes").setLevel("WARNING")` mutes it."""
    if is_main():
        logger.info(sentence)
