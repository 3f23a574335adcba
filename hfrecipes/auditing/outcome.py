"""What an audit found, in figures, in a table and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import counted
from ..evaluation import scoring
from ..evaluation.scoring import Score, Scores, number
from ..evaluation.tables import html_table
from . import canaries
from .attacks import ADVANTAGE, AUC, FPR, GUESSING, TPR
from .canaries import Remembered

LOSS = "loss"
_HEADS = {AUC: "AUC", ADVANTAGE: "advantage", TPR: "found at 1 % false alarms"}


@dataclass(frozen=True)
class Audit:
    """How much a model tells about its training rows.

    Attributes:
        path: `audit.json` in the folder of the run.
        members: Number of rows of train.
        others: Number of rows that the model never saw.
        split: Split of the others, `test` or `validation`.
        seen: Number of rows of that split that were left out, as train has their input too.
        attacks: Name of an attack -> its figures: `loss`, and with shadow models `likelihood ratio`.
        text_alone: Area under the ROC curve of telling both kinds of rows by their texts, without the model.
        shadows: Number of shadow models.
        spent: Epsilon and delta of a private training; None for another one.
        canaries: What is remembered of planted secrets, and of secrets that never were; empty where none were planted.
    """

    path: Path
    members: int
    others: int
    split: str
    seen: int
    attacks: Mapping[str, Scores]
    text_alone: Score
    shadows: int = 0
    spent: Mapping[str, float] | None = field(default=None)
    canaries: Sequence[Remembered] = ()

    @property
    def strongest(self) -> str:
        """The attack with the greatest advantage."""
        return max(self.attacks, key=lambda name: self.attacks[name][ADVANTAGE].value)

    @property
    def advantage(self) -> Score:
        """The advantage of that attack; of two attacks, chance makes it a little too large."""
        return self.attacks[self.strongest][ADVANTAGE]

    @property
    def bound(self) -> float | None:
        """What epsilon and delta allow as advantage at most; None for a training that is not private."""
        return None if self.spent is None else advantage_bound(self.spent["epsilon"], self.spent["delta"])

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of a table: a row for each attack, and one for guessing."""
        names = [name for name in _HEADS if name in next(iter(self.attacks.values()))]
        rows = []
        for name, figures in self.attacks.items():
            rows.append([name, *[str(figures[figure]) for figure in names]])
        rows.append(["text alone", str(self.text_alone), *[""] * (len(names) - 1)])
        rows.append(["guessing", *[number(GUESSING[figure]) for figure in names]])
        return ["attack", *[_HEADS[name] for name in names]], rows

    @property
    def sentences(self) -> list[str]:
        """What the figures mean, a verdict on each attack first."""
        return [
            *_verdicts(self.attacks, self.shadows),
            *_bound(self.bound, self.advantage, self.spent),
            _rows(self),
            *_alarms(self.attacks),
            *_unlike(self.text_alone, self.split),
            *canaries.sentences(self.canaries, is_private=self.spent is not None),
        ]

    def tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Heads and rows of the table of attacks, and of that of planted secrets where there are some."""
        return [self.cells(), canaries.cells(self.canaries)] if self.canaries else [self.cells()]

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values; `table`, that of `canaries`, and `sentences` are on the card and in the report."""
        heads, rows = self.cells()
        figures = scoring.to_json({**self.attacks, "text_alone": {AUC: self.text_alone}})
        text_alone = figures.pop("text_alone")
        privacy = None if self.spent is None else {**self.spent, "advantage_at_most": self.bound}
        return {
            "rows": {"members": self.members, "others": self.others, "split": self.split, "left_out": self.seen},
            "shadows": self.shadows,
            "attacks": figures,
            "text_alone": text_alone,
            "privacy": privacy,
            "canaries": canaries.as_json(self.canaries),
            "table": [heads, *rows],
            "sentences": self.sentences,
        }

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return "".join(html_table(*table) for table in self.tables())


def advantage_bound(epsilon: float, delta: float) -> float:
    """Greatest advantage of any attack on one row, against a model that is (epsilon, delta)-differentially private.

    (e^epsilon - 1 + 2 delta) / (e^epsilon + 1), from the error rates that Kairouz et al. (2015) allow; Humphries et al.
    (2023) state it for membership inference.

    Example:
        >>> advantage_bound(0.0, 0.0), round(advantage_bound(2.0, 1e-5), 3)
        (0.0, 0.762)
    """
    # The same without e^epsilon, which overflows.
    return 1 - 2 * (1 - delta) * math.exp(-epsilon) / (1 + math.exp(-epsilon))


# --- in words ----------------------------------------------------------------------------------------------------


def verdict(advantage: Score, shadows: int) -> str:
    """Whether the attack works better than guessing, in a sentence.

    Args:
        advantage: Of the attack.
        shadows: Number of shadow models that it has.
    """
    around = f"advantage {advantage}"
    if advantage.low is None or not advantage.low > 0:
        return f"the attack cannot be told from guessing ({around})"
    right = round(50 + 50 * advantage.value)
    more = right - 50
    knows = f"the model, {counted(shadows, 'shadow model')} and a row" if shadows else "the model and a row"
    return (
        f"an attacker who has {knows} tells in {right} of 100 cases whether it was trained on, {more} more than by "
        f"guessing ({around})"
    )


def _verdicts(attacks: Mapping[str, Scores], shadows: int) -> list[str]:
    sentences = []
    for name, figures in attacks.items():
        sentence = verdict(figures[ADVANTAGE], 0 if name == LOSS else shadows)
        sentences.append(f"{name}: {sentence}" if len(attacks) > 1 else sentence)
    return sentences


def _bound(bound: float | None, advantage: Score, spent: Mapping[str, float] | None) -> list[str]:
    if bound is None or spent is None:
        return []
    return [
        f"privacy: epsilon {spent['epsilon']:.3g} allows no attack an advantage above "
        f"{math.ceil(bound * 1000) / 1000:.3f}; this one has {number(advantage.value)}",
        "privacy: these figures are made from rows of train without noise, which epsilon does not cover",
    ]


def _rows(audit: Audit) -> str:
    sentence = f"{audit.members} rows of train against {audit.others} of {audit.split}"
    if audit.seen:
        sentence += f"; {counted(audit.seen, 'row')} of {audit.split} with the input of one of train left out"
    if audit.split == "validation":
        sentence += "; validation chose the checkpoint, so the attack looks weaker on its rows than it is"
    return sentence


def _alarms(attacks: Mapping[str, Scores]) -> list[str]:
    measured = [f"{figures[FPR]} for {name}" for name, figures in attacks.items() if FPR in figures]
    if not measured:
        return []
    return [f"false alarms on rows that did not choose the threshold for 1 %: {', '.join(measured)}"]


def _unlike(text_alone: Score, split: str) -> list[str]:
    """What to know where the rows are not alike."""
    if text_alone.low is None or not text_alone.low > GUESSING[AUC]:
        return []
    return [
        f"rows of train and {split} can be told apart by their texts alone, without the model (AUC {text_alone}): they "
        "are not alike, and the attack may find that in place of what the model remembers"
    ]
