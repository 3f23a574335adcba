"""Kinds of errors in spans: each reference and each prediction that is wrong is part of exactly one error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Span = tuple[str, int, int]  # type, first word, last word

TYPE, BOUNDARY, BOTH, MISSED, SPURIOUS = "type", "boundary", "type and boundary", "missed", "spurious"
MEANINGS = {
    BOUNDARY: "the right type, and only some of the words, or too many",
    TYPE: "the right words, and another type",
    BOTH: "some of the words, and another type",
    MISSED: "no prediction for an entity of the data",
    SPURIOUS: "no entity of the data for a prediction",
}


@dataclass(frozen=True)
class SpanError:
    """An entity that is missed or predicted in another way, or a prediction without an entity."""

    kind: str
    reference: Span | None
    prediction: Span | None


def span_errors(references: Iterable[Span], predictions: Iterable[Span]) -> list[SpanError]:
    """The errors of a row.

    What is equal is right. The others are paired, each with one at most: first those with the same words, then those
    that overlap and have the same type, then others that overlap, those with the most shared words first. References
    that are left are missed, and predictions that are left spurious.

    Args:
        references: Entities of the data.
        predictions: Those of the model.

    Example:
        >>> errors = span_errors([("person", 0, 1), ("place", 4, 4)], [("person", 0, 0), ("name", 4, 4)])
        >>> [error.kind for error in errors]
        ['type', 'boundary']
    """
    wanted, given = set(references), set(predictions)
    left, free = sorted(wanted - given), sorted(given - wanted)
    errors = []
    for kind in (TYPE, BOUNDARY, BOTH):
        pairs = [(reference, prediction) for reference in left for prediction in free]
        fitting = [pair for pair in pairs if _kind(*pair) == kind]
        for reference, prediction in sorted(fitting, key=lambda pair: -_shared(*pair)):
            if reference in left and prediction in free:
                errors.append(SpanError(kind, reference, prediction))
                left.remove(reference)
                free.remove(prediction)
    errors += [SpanError(MISSED, reference, None) for reference in left]
    return errors + [SpanError(SPURIOUS, None, prediction) for prediction in free]


def _kind(reference: Span, prediction: Span) -> str | None:
    if reference[1:] == prediction[1:]:
        return TYPE
    if not _shared(reference, prediction):
        return None
    return BOUNDARY if reference[0] == prediction[0] else BOTH


def _shared(reference: Span, prediction: Span) -> int:
    """Number of words that both have."""
    return max(0, min(reference[2], prediction[2]) - max(reference[1], prediction[1]) + 1)
