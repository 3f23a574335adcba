"""Read files of one token a line, sentences parted by blank lines: CoNLL with any columns, and CoNLL-U.

Columns of CoNLL are called "0", "1", …; those of CoNLL-U by the names of its specification.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..errors import DataError

# Columns of CoNLL-U (universaldependencies.org/format.html); those of a treebank's syntax are left out.
_CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats")
_BATCH = 2_000  # sentences
_LOOKED_AT = 50_000  # lines that tell how a file is laid out
# What heads the columns of files that name them.
_TOKEN_HEADS = {"token", "tokens", "word", "words", "form", "char", "chars"}
_TAG_HEADS = {"tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "upos", "chunk", "entity", "bio"}
_ENTITY = re.compile(r"O|[BIESLUM]([-_].+)?")

Lines = Callable[[], Iterable[str]]
Batch = dict[str, list[list[str]]]


@dataclass(frozen=True)
class _Form:
    """How the lines of a file are laid out."""

    separator: str
    names: list[str]
    """Of the columns, by position where the file has no header."""
    ends: Counter[str]
    """What stands last in lines that are no remark."""
    has_header: bool


def batches(open_lines: Lines, path: str) -> Iterator[Batch] | None:
    """Sentences of the file, as lists of cells by column; None where the file is no CoNLL but plain text.

    Args:
        open_lines: Gives the lines from the start, each time that it is called.
        path: Name of the file, for errors.

    Raises:
        DataError: A line has another number of cells than the others.
    """
    if _is_conllu(open_lines()):
        return _batched(_conllu(open_lines(), path), list(_CONLLU))
    form = _form(itertools.islice(open_lines(), _LOOKED_AT))
    return None if form is None else _batched(_conll(open_lines(), path, form), form.names)


def _batched(sentences: Iterator[list[list[str]]], names: list[str]) -> Iterator[Batch]:
    while batch := list(itertools.islice(sentences, _BATCH)):
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
    line = line.rstrip(" \t\r\n")
    # Not str.split(): a token may be an unusual blank.
    return line.split("\t") if separator == "\t" else re.split(r"[ \t]+", line)


def _form(lines: Iterable[str]) -> _Form | None:
    """What most lines have in common; None where they have nothing, as lines of plain text."""
    seen = _Seen()
    for line in lines:
        seen.look(line)
    separator = "\t" if seen.tabs and seen.tabs.most_common(1)[0][0] > 1 else " "
    (width, alike), *_ = (seen.tabs if separator == "\t" else seen.blanks).most_common(1) or [(1, 0)]
    if separator == " " and (alike < 0.7 * seen.number or not seen.are_tokens(width)):
        return None
    names = [str(number) for number in range(width)]
    if width > 1 and any(seen.counts) and seen.number > 1:
        names[0] = "id"
    head = [cell.lower() for cell in seen.first[separator == "\t"]] if seen.first else []
    has_header = len(set(head)) == width > 1 and seen.ends[seen.first[0][-1]] == 1 and head[-1] in _TAG_HEADS
    has_header = has_header and bool({head[0], head[1]} & _TOKEN_HEADS)
    if has_header and not seen.gaps:
        return None  # a table, whose rows are sentences
    return _Form(separator, head if has_header else names, seen.ends, has_header)


class _Seen:
    """Counts over the lines of a file that are no remarks."""

    def __init__(self) -> None:
        self.tabs, self.blanks, self.ends = Counter[int](), Counter[int](), Counter[str]()
        self.first: list[list[str]] = []  # cells of the first line, parted by blanks and by tabs
        self.number = self.gaps = self.letters = self.place = 0
        # Whether the first cells count lines: of each sentence from 0, from 1, or of the file from 1.
        self.counts = [True, True, True]

    def look(self, line: str) -> None:
        """Take one more line into account."""
        if not line.strip() or line.startswith("-DOCSTART-"):
            self.place = 0
        elif not line.startswith("#"):
            cells, by_tabs = _cells(line, " "), _cells(line, "\t")
            self.gaps += bool(self.first) and self.place == 0
            self.first = self.first or [cells, by_tabs]
            self.tabs[len(by_tabs)] += 1
            self.blanks[len(cells)] += 1
            self.ends[cells[-1]] += 1
            expected = (self.place, self.place + 1, self.number + 1)
            self.counts = [known and cells[0] == str(at) for known, at in zip(self.counts, expected, strict=True)]
            self.letters += len(cells[0])
            self.place += 1
            self.number += 1

    def are_tokens(self, width: int) -> bool:
        """Whether lines parted by blanks are tokens, with their tags last if there are any, rather than plain text."""
        if width == 1:  # tokens are short, and sentences have several
            return self.number >= 1.5 * (self.gaps + 1) and self.gaps > 0 and self.letters <= 12 * self.number
        entities = sum(number for end, number in self.ends.items() if _ENTITY.fullmatch(end))
        are_few = len(self.ends) <= 0.5 * self.number and self.number >= 10 and self.gaps > 0
        return entities >= 0.7 * self.number or are_few


def _conll(lines: Iterable[str], path: str, form: _Form) -> Iterator[list[list[str]]]:
    sentence: list[list[str]] = []
    is_head, width = form.has_header, len(form.names)
    for number, line in enumerate(lines, 1):
        cells = _cells(line, form.separator)
        if not line.strip() or line.startswith("-DOCSTART-"):
            if sentence:
                yield sentence
            sentence = []
        elif len(cells) == width and not _is_remark(line, cells, form, starts=not sentence):
            if not is_head:
                sentence.append(cells)
            is_head = False
        elif not line.startswith("#"):
            raise DataError(
                f"{path} line {number} has {len(cells)} cells, expected {width} as in most lines "
                f'(token first, tag last): "{line.strip()[:60]}"'
            )
    if sentence:
        yield sentence


def _is_remark(line: str, cells: list[str], form: _Form, *, starts: bool) -> bool:
    """Whether a line that begins with # is a remark: "#" is a token too, above all in tweets."""
    return starts and len(cells) > 1 and line.startswith("# ") and cells[-1] not in form.ends
