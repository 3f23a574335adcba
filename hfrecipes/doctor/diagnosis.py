"""A diagnosis: something about the data that may harm a run, with its rows, why it matters, and the edit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import counted

FEW = 5  # rows that are named
GRADES = ("error", "warning", "note")
Grade = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Diagnosis:
    """Something that was found in the data.

    The grade tells what follows. `error`: a run would refuse these rows. `warning`: it would train, and learn or score
    something else than what was meant. `note`: good to know.
    """

    grade: Grade
    name: str
    """Kind of finding, for programs."""
    sentence: str
    """What was found, to be followed by the rows."""
    split: str | None = None
    """None where it is about the labels or the settings."""
    rows: Sequence[int] = ()
    """Numbers of the rows in the data as it was read, counted from 0; empty for all of them together."""
    why: str = ""
    """Why it matters, as the second half of the sentence."""
    edit: str = ""
    """What to change."""

    @property
    def what(self) -> str:
        """The sentence with its split and the first rows."""
        about = f"{self.split}: " if self.split else ""
        return f"{about}{self.sentence}{_numbers(self.rows, self.sentence)}"

    @property
    def line(self) -> str:
        """Everything in one line, as a log has it."""
        why = f", {self.why}" if self.why else ""
        return f"{self.what}{why}{f': {self.edit}' if self.edit else ''}"

    def as_json(self) -> dict[str, Any]:
        """The diagnosis as programs read it, with all rows."""
        rows = list(dict.fromkeys(map(int, self.rows)))
        return {
            "grade": self.grade,
            "name": self.name,
            "split": self.split,
            "count": len(rows),
            "rows": rows,
            "sentence": self.sentence,
            "why": self.why,
            "edit": self.edit,
        }


def _numbers(rows: Sequence[int], sentence: str) -> str:
    """The first rows, in brackets after the sentence."""
    if not len(rows):
        return ""
    numbers = list(dict.fromkeys(rows))
    word = "" if sentence.endswith(("row", "rows")) else "row " if len(numbers) == 1 else "rows "
    more = ", …" if len(numbers) > FEW else ""
    return f" ({word}{', '.join(map(str, numbers[:FEW]))}{more}, counted from 0)"


def by_grade(diagnoses: Iterable[Diagnosis]) -> list[Diagnosis]:
    """Errors first, then warnings, then notes; in their order otherwise."""
    return sorted(diagnoses, key=lambda diagnosis: GRADES.index(diagnosis.grade))


def alike(diagnoses: Iterable[Diagnosis]) -> list[list[Diagnosis]]:
    """Those of the same kind together, as they are printed: one thing is often found in several splits."""
    together: dict[tuple[str, ...], list[Diagnosis]] = {}
    for diagnosis in by_grade(diagnoses):
        kind = (diagnosis.grade, diagnosis.name, *(() if diagnosis.split else [diagnosis.sentence]))
        together.setdefault(kind, []).append(diagnosis)
    return list(together.values())


def tally(diagnoses: Iterable[Diagnosis]) -> str:
    """`ok`, or how many errors, warnings and notes there are, each counted once for all splits.

    Example:
        >>> tally([]), tally([Diagnosis("note", "lengths", "all texts are short")])
        ('ok', 'ok: 1 note')
    """
    grades = [together[0].grade for together in alike(diagnoses)]
    parts = [counted(grades.count(grade), grade) for grade in GRADES if grade in grades]
    if not parts:
        return "ok"
    is_ok = set(grades) == {"note"}
    return f"{'ok: ' if is_ok else ''}{', '.join(parts)}"


def share(part: int, whole: int) -> str:
    """A share in percent.

    Example:
        >>> share(1, 3), share(1, 1)
        ('33.3 %', '100 %')
    """
    return f"{100 * part / max(1, whole):.1f} %".replace(".0 %", " %")
