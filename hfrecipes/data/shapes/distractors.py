"""A right answer beside wrong ones, as SciQ, GPQA and TruthfulQA publish questions, instead of choices with a label."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...log import log
from ...recipe import Batch
from .cells import Change, first_column, parse_list
from .texts import joined

_RIGHT = ("correct_answer", "correct answer", "right_answer", "best_answer", "best answer")
_WRONG = re.compile(r"(distractor|incorrect[ _]answer|wrong[ _]answer|false[ _]answer)s?[ _]?(\d{1,2}|[a-j])?")
_TARGETS = ("mc1_targets", "mc2_targets")  # objects of `choices` and `labels`; of the second, several may be right


def column_normalizer(columns: Mapping[str, Any]) -> Change | None:
    """A function that makes choices from a correct answer and wrong ones; None if the columns have none.

    The choices are in alphabetical order; otherwise the correct one would always be the first.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
    """
    by_name = {name.strip().lower(): name for name in columns}
    targets = first_column(by_name, _TARGETS[:1])
    if targets is not None:
        _log_order(targets)
        return _Targets(targets)
    right = first_column(by_name, _RIGHT)
    wrong = [column for name, column in sorted(by_name.items()) if _WRONG.fullmatch(name)]
    if right is None or not wrong:
        return None
    _log_order(", ".join([right, *wrong]))
    return _Distractors(right, wrong)


def _log_order(names: str) -> None:
    log(f"choices are made of {names}, in the order of the alphabet, since the right one is always first there")


@dataclass(frozen=True)
class _Distractors:
    """Function of a batch: choices of a column of right answers and those of wrong ones."""

    right: str
    wrong: list[str]
    """Columns of a wrong answer each, or of lists of them."""

    def __call__(self, batch: Batch) -> Batch:
        rows = {name: cells for name, cells in batch.items() if name not in (self.right, *self.wrong)}
        rows |= {"choices": [], "label": [joined(cell) for cell in batch[self.right]]}
        for answer, *others in zip(rows["label"], *(batch[name] for name in self.wrong), strict=True):
            texts = [answer]
            for cell in others:
                texts.extend(_texts(cell))
            rows["choices"].append(_in_alphabet(texts))
        return rows


@dataclass(frozen=True)
class _Targets:
    """Function of a batch: choices of objects with `choices` and `labels`, of which one is 1."""

    column: str

    def __call__(self, batch: Batch) -> Batch:
        rows = {name: cells for name, cells in batch.items() if name not in _TARGETS}
        rows |= {"choices": [], "label": []}
        for cell in batch[self.column]:
            texts = list((cell or {}).get("choices") or [])
            right = [text for text, label in zip(texts, (cell or {}).get("labels") or [], strict=False) if label]
            rows["choices"].append(_in_alphabet(texts))
            rows["label"].append(right[0] if len(right) == 1 else None)
        return rows


def _texts(cell: Any) -> list[str | None]:
    """The wrong answers of a cell, which may be a list, also written as text."""
    value = parse_list(cell) if isinstance(cell, str) and cell.lstrip().startswith("[") else cell
    if isinstance(value, list):
        return [joined(item) for item in value]
    text = joined(cell)
    return [text] if (text or "").strip() else []


def _in_alphabet(texts: list[str | None]) -> list[str | None]:
    return sorted(texts, key=lambda text: text or "")
