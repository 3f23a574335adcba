"""Scores of whole entities, as conlleval and seqeval count them, for many resamples at once.

Tags are canonical: `O`, or a letter of BIOES, a hyphen and the type of entity (`B-person`), which is how seqeval reads
them whatever the scheme of the data.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

import numpy as np

from ..recipe import Measure
from . import _weighted

Tags = Sequence[str]
Entity = tuple[str, int, int]  # type, first word, last word
Counts = tuple[np.ndarray, np.ndarray, np.ndarray]  # right, predicted, reference entities, (rows, types) each


def entities_in(tags: Tags) -> list[Entity]:
    """Type, first and last word of each entity, by the rules of conlleval: a tag that breaks the scheme opens one.

    Example:
        >>> entities_in(["B-person", "I-person", "O", "I-place"])
        [('person', 0, 1), ('place', 3, 3)]
    """
    from seqeval.metrics.sequence_labeling import get_entities

    # seqeval gives the numbers as numpy has them, which json cannot write.
    return [(entity_type, int(first), int(last)) for entity_type, first, last in get_entities(list(tags))]


def _lenient_entities(sentences: Sequence[Tags]) -> list[set[Entity]]:
    """Entities of each sentence, also those whose tags break the scheme."""
    return list(map(set, map(entities_in, sentences)))


def strict_entities(sentences: Sequence[Tags], scheme: str | None) -> list[set[Entity]]:
    """Entities of each sentence whose tags follow the scheme, as in seqeval's strict mode."""
    from seqeval.scheme import IOB1, IOB2, IOBES, Entities

    # Canonical tags have the letters of BIOES, so the schemes with an end and a single are all IOBES to seqeval.
    seqeval_scheme = {"BIO": IOB2, "IOB1": IOB1}.get(scheme or "", IOBES)
    entities = []
    for sentence in Entities(list(map(list, sentences)), seqeval_scheme).entities:
        # The ends of seqeval are exclusive here, and inclusive in `get_entities`.
        entities.append({(entity.tag, entity.start, entity.end - 1) for entity in sentence})
    return entities


def measure_entities(
    predicted: Sequence[Tags],
    references: Sequence[Tags],
    types: Sequence[str],
    scheme: str | None,
    left_out: Collection[str] = (),
) -> Measure:
    """Precision, recall and F1 of whole entities, overall, strict and by type, and accuracy of tags, from 0 to 1.

    Args:
        predicted: Canonical tags, as many as words, of each row.
        references: The same for the references.
        types: Types of entity that train has, in the order in which their scores are listed.
        scheme: Of the data, for the strict scores.
        left_out: Types that the mean over types leaves out.

    Returns:
        A function of weights (resamples, rows) that computes each metric, (resamples,).
    """
    predicted_entities, reference_entities = _lenient_entities(predicted), _lenient_entities(references)
    types = _with_other_types(types, [*reference_entities, *predicted_entities])
    return partial(
        _entity_scores,
        _right_and_total(predicted, references),
        _count(predicted_entities, reference_entities, types),
        _count(strict_entities(predicted, scheme), strict_entities(references, scheme), types),
        types,
        left_out,
    )


def measure_tags(
    predicted: Sequence[Tags], references: Sequence[Tags], tags: Sequence[str], left_out: Collection[str] = ()
) -> Measure:
    """Accuracy of tags without a scheme, their mean F1, and precision, recall and F1 of each, from 0 to 1.

    Args:
        predicted: Tags, as many as words, of each row.
        references: The same for the references.
        tags: Tags that train has, in the order in which their scores are listed.
        left_out: Tags that the mean over tags leaves out.

    Returns:
        A function of weights (resamples, rows) that computes each metric, (resamples,).
    """
    predicted_words, reference_words = _one_per_word(predicted), _one_per_word(references)
    # A tag that only predictions have cannot occur: the model predicts no tag beyond those of train.
    tags = _with_other_types(tags, reference_words)
    counts = _count(predicted_words, reference_words, tags)
    return partial(_tag_scores, _right_and_total(predicted, references), counts, tags, left_out)


def _entity_scores(
    right_and_total: tuple[np.ndarray, np.ndarray],
    lenient: Counts,
    strict: Counts,
    types: list[str],
    left_out: Collection[str],
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    scores = _weighted.by_type(*lenient, weights, types, micro=True, left_out=left_out)
    for name, values in _weighted.by_type(*strict, weights, [], micro=True).items():
        scores[f"{name}_strict"] = values
    scores["accuracy"] = _accuracy(*right_and_total, weights)
    return scores


def _tag_scores(
    right_and_total: tuple[np.ndarray, np.ndarray],
    counts: Counts,
    tags: list[str],
    left_out: Collection[str],
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    scores = {"accuracy": _accuracy(*right_and_total, weights)}
    # Micro precision, recall and F1 of one tag per word all equal the accuracy.
    return scores | _weighted.by_type(*counts, weights, tags, micro=False, left_out=left_out)


def _accuracy(right: np.ndarray, total: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # A resample may draw only rows without words.
    return np.asarray((weights @ right) / np.maximum(weights @ total, 1))


def _right_and_total(predicted: Sequence[Tags], references: Sequence[Tags]) -> tuple[np.ndarray, np.ndarray]:
    """Number of right tags, and of all tags, of each row, (rows,) each."""
    right, total = np.zeros(len(references)), np.zeros(len(references))
    for row, (row_predicted, row_reference) in enumerate(zip(predicted, references, strict=True)):
        right[row] = sum(map(str.__eq__, row_predicted, row_reference))
        total[row] = len(row_reference)
    return right, total


def _one_per_word(sentences: Sequence[Tags]) -> list[set[Entity]]:
    """Each word as an entity of one word, whose type is its tag."""
    entities = []
    for tags in sentences:
        entities.append({(tag, word, word) for word, tag in enumerate(tags)})
    return entities


def _with_other_types(known: Sequence[str], rows: list[set[Entity]]) -> list[str]:
    """The known types, then the others that occur in the rows, by first appearance."""
    # A dict keeps their order; a set of entities has none, and is sorted for the same order in every process.
    types = dict.fromkeys(known)
    for entities in rows:
        for entity_type, _, _ in sorted(entities):
            types.setdefault(entity_type)
    return list(types)


def _count(predicted: list[set[Entity]], references: list[set[Entity]], types: list[str]) -> Counts:
    """Entities that are right, predicted, and in the references: three tables (rows, types)."""
    columns = dict(zip(types, range(len(types)), strict=True))
    tables = np.zeros((3, len(references), len(types)))
    for row, (row_predicted, row_reference) in enumerate(zip(predicted, references, strict=True)):
        for table, entities in enumerate((row_predicted & row_reference, row_predicted, row_reference)):
            for entity_type, _, _ in entities:
                tables[table, row, columns[entity_type]] += 1
    return tables[0], tables[1], tables[2]
