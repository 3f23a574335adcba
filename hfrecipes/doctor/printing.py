"""The report of a check, as people read it in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..characters import visible_line
from .diagnosis import Diagnosis, alike
from .lengths import histogram

MOST, LEAST = 8, 4  # labels that are listed where there are many: the most frequent ones, and the least
NARROW = 60  # characters of the shortest line
_INDENT = " " * 9


def findings(diagnoses: Iterable[Diagnosis], width: int | None) -> Iterator[str]:
    """What was found in each split, then once why it matters and the edit.

    Args:
        diagnoses: In any order.
        width: Characters of a line; None for lines as long as their sentence, as files and pipes have them.
    """
    for together in alike(diagnoses):
        for number, diagnosis in enumerate(together):
            yield from _wrapped(diagnosis.what, _INDENT if number else f"{diagnosis.grade:<9}", width)
        after = ": ".join(filter(None, [together[0].why, together[0].edit]))
        # Suggested models are a list with a line for each.
        for line in after.split("\n- ") if after else []:
            yield from _wrapped(line, _INDENT, width)


def _wrapped(text: str, start: str, width: int | None) -> list[str]:
    """Lines of a sentence; words such as paths and settings are never broken."""
    if width is None:
        return [start + visible_line(text)]
    return textwrap.wrap(
        visible_line(text),
        max(width, NARROW),
        initial_indent=start,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def label_lines(table: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """A line for each label with its number in each split, the most frequent ones first; a few of many."""
    if not table:
        return
    splits = list(next(iter(table.values())))
    names = sorted(table, key=lambda name: -table[name].get("train", 0))
    left_out = len(names) - MOST - LEAST
    shown = [*names[:MOST], *names[-LEAST:]] if left_out > 1 else names
    written = {name: visible_line(name)[:40] for name in shown}
    width = max(len("labels"), *(len(text) + 2 for text in written.values()))
    yield f"{'labels':<{width}}" + "".join(f"  {split:>10}" for split in splits)
    for number, name in enumerate(shown):
        if left_out > 1 and number == MOST:
            yield f"  … {left_out} more"
        yield f"  {written[name]:<{width - 2}}" + "".join(f"  {table[name][split]:>10}" for split in splits)


def length_lines(lengths: Sequence[int], unit: str) -> Iterator[str]:
    """A histogram of the lengths of the training texts."""
    if lengths:
        yield f"lengths of train in {unit}"
        for line in histogram(lengths):
            yield f"  {line}"
