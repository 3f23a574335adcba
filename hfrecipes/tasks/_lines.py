"""Lines of a text file that are parts of sentences, as in a book with a fixed width, and no texts of their own."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from ._tokens import sample_rows

if TYPE_CHECKING:
    from datasets import Dataset

MANY = 0.25  # share of lines
_ENDED = re.compile(r"[.!?…:;。！？」』”’\"')\]*=]\s*$")


def describe_lines(rows: Dataset, document: str) -> list[str]:
    """A sentence if many lines run on into the next one; none where they are texts, or no lines.

    Args:
        rows: Training rows, in the order of the file.
        document: Option that tells what one text is in a text file.
    """
    if document != "line" or len(rows) < 2:
        return []
    # Neighbours are compared, so the first rows are looked at, and not some of all.
    texts = [(text or "").strip() for text in rows[: len(sample_rows(rows))]["text"]]
    capitalized = sum(text[:1].isupper() for text in texts)
    run_on = 0
    for text, following in pairwise(texts):
        run_on += bool(text) and not _ENDED.search(text) and following[:1].islower()
    # Texts that have no capitals at all, as some social media, look so too.
    if run_on < MANY * len(texts) or capitalized < MANY * len(texts):
        return []
    return [
        f"text: {run_on / len(texts):.0%} of the lines run on into the next one, and each is read as one text; "
        "options.document=paragraph reads the lines between blank lines as one text, document=file the whole file"
    ]
