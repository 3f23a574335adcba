"""Read files of one token a line, with blank lines between sentences: CoNLL with any columns, and CoNLL-U.

Columns of CoNLL are called "0", "1", …; those of CoNLL-U by the names in its specification. Sentences of a line each,
with a tag after each word (`The/DT dog/NN`), have the columns "0" and "1".
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..errors import DataError, counted

# Columns of CoNLL-U (universaldependencies.org/format.html), without the syntax, which no task reads.
_CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats")
_BATCH = 2_000  # sentences
_LINES_OF_WORDS = 1_000  # lines that are looked at to see whether each word is followed by a tag
_LINES_TO_JUDGE = 50_000  # lines from which the layout of a file is guessed
# Names that files with a header give to the column of tokens, and to that of tags.
_TOKEN_NAMES = {"token", "tokens", "word", "words", "form", "char", "chars"}
_TAG_NAMES = {"tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "upos", "chunk", "entity", "bio"}
# A tag begins with a letter or is punctuation; what follows the slash of a date is not a tag.
_TAG = r"([A-Za-z][\w$.:|+*-]*|-\w+-|[^\w\s]{1,2})"
_TAGGED = {"/": re.compile(f"(.+)/{_TAG}"), "_": re.compile(f"(.+)_{_TAG}")}
_ENTITY_TAG = re.compile(r"O|[BIESLUM]([-_].+)?")

OpenLines = Callable[[], Iterable[str]]
Sentence = list[list[str]]  # cells of each token
Batch = dict[str, list[list[str]]]  # column -> cells of each sentence


@dataclass(frozen=True)
class _Layout:
    """How the lines of a file are laid out."""

    separator: str
    names: list[str]
    """Names of the columns; their positions where the file has no header."""
    last_cells: Counter[str]
    """How often each text is the last cell of a line that is not a comment."""
    has_header: bool


def batches(open_lines: OpenLines, path: str) -> Iterator[Batch] | None:
    """Read the sentences of a file, as lists of cells by column; None where the file is plain text.

    Args:
        open_lines: Gives the lines from the start each time it is called.
        path: Name of the file, for errors.

    Raises:
        DataError: A line has a different number of cells from the others.
    """
    if _is_conllu(open_lines()):
        return _batched(_read_conllu(open_lines(), path), list(_CONLLU))
    separator = _separator_of_tags(open_lines())
    if separator is not None:
        return _batched(_read_tagged(open_lines(), path, separator), ["0", "1"])
    layout = _guess_layout(itertools.islice(_with_single_gaps(open_lines()), _LINES_TO_JUDGE))
    if layout is None:
        return None
    return _batched(_read_conll(open_lines(), path, layout), layout.names)


def _with_single_gaps(lines: Iterable[str]) -> Iterator[str]:
    """The lines, with one blank line in place of several, of which a file may have any number."""
    was_blank = True
    for line in lines:
        is_blank = not line.strip()
        if not (is_blank and was_blank):
            yield line
        was_blank = is_blank


def _batched(sentences: Iterator[Sentence], names: list[str]) -> Iterator[Batch]:
    while batch := list(itertools.islice(sentences, _BATCH)):
        columns: Batch = {name: [] for name in names}
        for sentence in batch:
            # zip turns the tokens of a sentence, which are rows of cells, into its columns.
            for name, cells in zip(names, zip(*sentence, strict=True), strict=True):
                columns[name].append(list(cells))
        yield columns


# --- CoNLL-U -----------------------------------------------------------------------------------------------------


def _is_conllu(lines: Iterable[str]) -> bool:
    """Whether the first token has the ten columns of CoNLL-U, with its number in front."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    cells = first.rstrip("\r\n").split("\t")
    return len(cells) == 10 and re.fullmatch(r"\d+([-.]\d+)?", cells[0]) is not None


def _read_conllu(lines: Iterable[str], path: str) -> Iterator[Sentence]:
    """Read words only: neither ranges (`1-2`: "don't" for "do" and "n't") nor empty nodes (`8.1`)."""
    sentence: Sentence = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            if sentence:
                yield sentence
            sentence = []
        # Comments come before the first token: inside a sentence, "#" can only be a broken line.
        elif sentence or not line.startswith("#"):
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) != 10:
                raise DataError(
                    f"{path} line {number} has {counted(len(cells), 'cell')}, expected the 10 of CoNLL-U: fix that line"
                )
            if cells[0].isdigit():
                sentence.append(cells[: len(_CONLLU)])
    if sentence:
        yield sentence


# --- a tag behind each word --------------------------------------------------------------------------------------


def _separator_of_tags(lines: Iterable[str]) -> str | None:
    """What is between each word and its tag in lines of sentences; None for any other file."""
    filled = (line for line in lines if line.strip())
    words = [word for line in itertools.islice(filled, _LINES_OF_WORDS) for word in _cells(line.lstrip(), " ")]
    for separator, pattern in _TAGGED.items():
        matches = [pattern.fullmatch(word) for word in words]
        tags = {match[2] for match in matches if match}
        # Tags repeat; the last parts of paths and file names do not.
        if words and all(matches) and 1 < len(tags) <= len(words) / 2:
            return separator
    return None


def _read_tagged(lines: Iterable[str], path: str, separator: str) -> Iterator[Sentence]:
    for number, line in enumerate(lines, 1):
        sentence: Sentence = []
        for word in _cells(line.lstrip(), " ") if line.strip() else ():
            match = _TAGGED[separator].fullmatch(word)
            if match is None:
                raise DataError(
                    f'{path} line {number} has "{word[:60]}", expected a word, {separator} and its tag: fix it'
                )
            sentence.append([match[1], match[2]])
        if sentence:
            yield sentence


# --- CoNLL -------------------------------------------------------------------------------------------------------


def _cells(line: str, separator: str) -> list[str]:
    line = line.rstrip(" \t\r\n")
    if separator == "\t":
        return line.split("\t")
    # Not str.split(), which splits at every Unicode space: some corpora have such a space as a token.
    return re.split(r"[ \t]+", line)


def _guess_layout(lines: Iterable[str]) -> _Layout | None:
    """Infer the layout of most lines; None if they look like plain text, or like a table of sentences."""
    counts = _LineCounts()
    for line in lines:
        counts.add(line)
    separator, widths = " ", counts.widths_by_spaces
    if counts.widths_by_tabs and counts.widths_by_tabs.most_common(1)[0][0] > 1:
        separator, widths = "\t", counts.widths_by_tabs
    (width, matching), *_ = widths.most_common(1) or [(1, 0)]
    # Every line of prose has spaces, so files that seem to be separated by spaces must pass more tests.
    if separator == " " and (matching < 0.7 * counts.lines or not counts.are_tokens(width)):
        return None
    if counts.has_header(separator, width):
        if not counts.blank_gaps:
            return None  # a table of sentences, one a row
        return _Layout(separator, counts.header(separator), counts.last_cells, has_header=True)
    names = list(map(str, range(width)))
    if width > 1 and counts.lines > 1 and counts.first_cells_are_numbers():
        names[0] = "id"
    return _Layout(separator, names, counts.last_cells, has_header=False)


class _LineCounts:
    """Counts over the lines of a file that are not comments."""

    def __init__(self) -> None:
        self.widths_by_tabs, self.widths_by_spaces = Counter[int](), Counter[int]()
        self.last_cells = Counter[str]()
        self.first_line: dict[str, list[str]] = {}  # separator -> cells of the first line
        self.lines = self.blank_gaps = self.token_characters = self.tokens_in_sentence = 0
        # Three ways to number lines: within each sentence from 0 or from 1, or through the file from 1.
        self._matches_numbering = [True, True, True]

    def add(self, line: str) -> None:
        """Count one more line."""
        if not line.strip() or line.startswith("-DOCSTART-"):
            self.tokens_in_sentence = 0
            return
        if line.startswith("#"):
            return
        by_spaces, by_tabs = _cells(line, " "), _cells(line, "\t")
        if not self.first_line:
            self.first_line = {" ": by_spaces, "\t": by_tabs}
        elif self.tokens_in_sentence == 0:
            self.blank_gaps += 1
        self.widths_by_tabs[len(by_tabs)] += 1
        self.widths_by_spaces[len(by_spaces)] += 1
        self.last_cells[by_spaces[-1]] += 1
        self.token_characters += len(by_spaces[0])
        numberings = (self.tokens_in_sentence, self.tokens_in_sentence + 1, self.lines + 1)
        for index, number in enumerate(numberings):
            if by_spaces[0] != str(number):
                self._matches_numbering[index] = False
        self.tokens_in_sentence += 1
        self.lines += 1

    def first_cells_are_numbers(self) -> bool:
        """Whether the first cells number the lines, in any of the usual ways."""
        return any(self._matches_numbering)

    def header(self, separator: str) -> list[str]:
        """Cells of the first line, in lower case."""
        return [cell.lower() for cell in self.first_line.get(separator, [])]

    def has_header(self, separator: str, width: int) -> bool:
        """Whether the first line names the `width` columns, rather than being the first token."""
        names = self.header(separator)
        if width < 2 or len(set(names)) != width:
            return False
        # A last cell that other lines have too is a tag, and no name of a column.
        is_unique = self.last_cells[self.first_line[" "][-1]] == 1
        return is_unique and names[-1] in _TAG_NAMES and bool({names[0], names[1]} & _TOKEN_NAMES)

    def are_tokens(self, width: int) -> bool:
        """Whether lines separated by spaces are tokens, each with its tag last if there are tags, and not prose."""
        if width == 1:
            # One word a line: words are short, and sentences have several.
            is_list_of_words = self.token_characters <= 12 * self.lines
            return self.lines >= 1.5 * (self.blank_gaps + 1) and self.blank_gaps > 0 and is_list_of_words
        entity_tags = sum(count for cell, count in self.last_cells.items() if _ENTITY_TAG.fullmatch(cell))
        # Tags repeat, where the last words of prose do not.
        has_few_tags = len(self.last_cells) <= 0.5 * self.lines and self.lines >= 10 and self.blank_gaps > 0
        return entity_tags >= 0.7 * self.lines or has_few_tags


def _read_conll(lines: Iterable[str], path: str, layout: _Layout) -> Iterator[Sentence]:
    sentence: Sentence = []
    is_header, width = layout.has_header, len(layout.names)
    for number, line in enumerate(lines, 1):
        cells = _cells(line, layout.separator)
        if not line.strip() or line.startswith("-DOCSTART-"):
            if sentence:
                yield sentence
            sentence = []
        # Comments come before the first token of a sentence.
        elif len(cells) == width and (sentence or not _looks_like_comment(line, cells, layout)):
            if not is_header:
                sentence.append(cells)
            is_header = False
        elif not line.startswith("#"):
            raise DataError(
                f"{path} line {number} has {counted(len(cells), 'cell')}, expected {width} as in most lines "
                f'(token first, tag last): "{line.strip()[:60]}"'
            )
    if sentence:
        yield sentence


def _looks_like_comment(line: str, cells: list[str], layout: _Layout) -> bool:
    """Whether a line that begins with "#", and has as many cells as the others, is a comment.

    "#" is a token too, above all in tweets: then its last cell is a tag, which other lines have as well.
    """
    return len(cells) > 1 and line.startswith("# ") and cells[-1] not in layout.last_cells
