"""What `distill` asks for: the run to learn from, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import nearest
from .trainer_keywords import Range

RANGES = {"temperature": Range(0, above=True), "weight": Range(0, 1)}


@dataclass(frozen=True)
class DistillSettings:
    """The teacher of a run, and its part in the loss (Hinton, Vinyals and Dean 2015)."""

    run: str
    """Folder of a finished run of the same task, or of one with folds or seeds."""
    temperature: float = 2.0
    """What the logits of teacher and student are divided by: the higher, the more small probabilities count."""
    weight: float = 0.5
    """Share of the teacher in the loss, from 0 to 1; the labels of the rows have the rest."""

    @classmethod
    def of(cls, distill: str | Mapping[str, Any] | None) -> DistillSettings | None:
        """The settings as the user writes them; None for none.

        Example:
            >>> DistillSettings.of("runs/big")
            DistillSettings(run='runs/big', temperature=2.0, weight=0.5)
        """
        if not distill:
            return None
        return cls(**({"run": distill} if isinstance(distill, str) else distill))


_KEYS = [setting.name for setting in fields(DistillSettings)]


def problems(distill: str | Mapping[str, Any] | None) -> list[str]:
    """Sentences on unknown keys, a missing run, and numbers out of range."""
    if distill is None or isinstance(distill, str):
        return []
    sentences = []
    for key in distill:
        if key not in _KEYS:
            sentences.append(f"unknown setting distill.{key}{nearest(key, _KEYS)}")
    if not isinstance(distill.get("run"), str) or not distill["run"]:
        sentences.append("distill: found no run to learn from; add distill.run=<folder of a finished run>")
    temperature, weight = distill.get("temperature", 1.0), distill.get("weight", 0.5)
    if not _is_number(temperature) or not RANGES["temperature"].holds(temperature):
        sentences.append(f"distill.temperature: found {temperature}, expected a number above 0; 1 to 5 is usual")
    if not _is_number(weight) or not RANGES["weight"].holds(weight):
        sentences.append(f"distill.weight: found {weight}, expected the share of the teacher, from 0 to 1")
    return sentences


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
