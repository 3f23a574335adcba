"""Read files of one token a line, sentences parted by blank lines: CoNLL with any columns, and CoNLL-U.

Columns of CoNLL are called "0", "1", …; those of CoNLL-U by the names of its specification.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from .errors import DataError

# Columns of CoNLL-U (universaldependencies.org/format.html); those of a treebank's syntax are left out.
_CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats")
_BATCH = 2_000  # sentences

Lines = Callable[[], Iterable[str]]
Batch = dict[str, list[list[str]]]


def batches(open_lines: Lines, path: str) -> Iterator[Batch]:
    """Sentences of the file, as lists of cells by column.

    Args:
        open_lines: Gives the lines from the start, each time that it is called.
        path: Name of the file, for errors.

    Raises:
        DataError: A line has another number of cells than the others.
    """
    if _is_conllu(open_lines()):
        found, names = _conllu(open_lines(), path), list(_CONLLU)
    else:
        separator, width, ends = _form(open_lines())
        found = _conll(open_lines(), path, separator, width, ends)
        names = [str(place) for place in range(width)]
    while batch := list(itertools.islice(found, _BATCH)):
        yield {name: [[cells[place] for cells in one] for one in batch] for place, name in enumerate(names)}


def _is_conllu(lines: Iterable[str]) -> bool:
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    cells = first.rstrip("\r\n").split("\t")
    return len(cells) == 10 and re.fullmatch(r"\d+([-.]\d+)?", cells[0]) is not None


def _conllu(lines: Iterable[str], path: str) -> Iterator[list[list[str]]]:
    """Words alone: not the ranges (`1-2`) that they are written as, nor empty nodes (`8.1`)."""
    sentence: list[list[str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            if sentence:
                yield sentence
            sentence = []
        elif sentence or not line.startswith("#"):
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) != 10:
                raise DataError(f"{path} line {number} has {len(cells)} cells, expected the 10 of CoNLL-U")
            if cells[0].isdigit():
                sentence.append(cells[: len(_CONLLU)])
    if sentence:
        yield sentence


def _cells(line: str, separator: str) -> list[str]:
    line = line.rstrip("\r\n")
    # Not str.split(): a token may be an unusual blank.
    return line.split("\t") if separator == "\t" else re.split(r"[ \t]+", line.rstrip(" \t"))


def _form(lines: Iterable[str]) -> tuple[str, int, set[str]]:
    """Separator, number of cells, and what stands last in lines that are no comment."""
    tabs, blanks, ends = Counter[int](), Counter[int](), set()
    for line in lines:
        if line.strip() and not line.startswith(("#", "-DOCSTART-")):
            tabs[len(_cells(line, "\t"))] += 1
            several = _cells(line, " ")
            blanks[len(several)] += 1
            ends.add(several[-1])
    separator = "\t" if tabs and max(tabs) > 1 and tabs.most_common(1)[0][0] > 1 else " "
    widths = tabs if separator == "\t" else blanks
    return separator, widths.most_common(1)[0][0] if widths else 1, ends


def _conll(lines: Iterable[str], path: str, separator: str, width: int, ends: set[str]) -> Iterator[list[list[str]]]:
    sentence: list[list[str]] = []
    for number, line in enumerate(lines, 1):
        cells = _cells(line, separator)
        if not line.strip() or line.startswith("-DOCSTART-"):
            if sentence:
                yield sentence
            sentence = []
        elif len(cells) == width and not _is_comment(line, cells, ends, width, starts=not sentence):
            sentence.append(cells)
        elif not line.startswith("#"):
            raise DataError(
                f"{path} line {number} has {len(cells)} cells, expected {width} as in most lines "
                f'(token first, tag last): "{line.strip()[:60]}"'
            )
    if sentence:
        yield sentence


def _is_comment(line: str, cells: list[str], ends: set[str], width: int, *, starts: bool) -> bool:
    """Whether a line that begins with # is a remark: "#" is a token too, above all in tweets."""
    return starts and width > 1 and line.startswith("# ") and cells[-1] not in ends
