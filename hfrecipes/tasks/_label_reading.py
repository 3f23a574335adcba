"""How the cells of labels are read: found out from the training rows, and the same for all other rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from .. import losses
from ..data.shapes import annotations as annotation_shapes
from ..data.shapes.cells import in_order
from ..data.shapes.label_cells import LabelReader, infer_reader, names_of
from ..data.shapes.labels import MULTI, SINGLE, any_list, is_missing, label_name, problem_type_of
from ..data.shapes.texts import lists_joiner
from ..errors import ConfigError
from ..recipe import Batch, Finding
from ._abstention import check_abstain
from ._column_names import PAIRS
from ._label_sets import check_coverage
from ._named_labels import ignored_labels
from ._two_labels import check_threshold

if TYPE_CHECKING:
    from datasets import Dataset


def check_options(recipe: Any) -> None:
    """Refuse values that the options of text classification cannot have.

    Raises:
        ConfigError: One is out of range, or two correct the same imbalance.
    """
    losses.check_options(recipe)
    check_threshold(recipe.threshold)
    check_coverage(recipe.coverage)
    check_abstain(recipe.abstain)
    if recipe.abstain is not None and recipe.threshold is not None:
        raise ConfigError(
            "abstain and threshold: leave one of them out; a threshold says which of two errors is worse, and abstain "
            "counts both alike"
        )


def normalizer(columns: Mapping[str, Any], text_names: Sequence[str]) -> Callable[[Batch], Batch] | None:
    """What brings the rows of exports, and texts that are lists, to one text for each column.

    Args:
        columns: Names and types of the columns.
        text_names: Other names of the column `text`.
    """
    if annotation_shapes.has_choices_shape(columns):
        return annotation_shapes.from_choices
    if annotation_shapes.has_label_studio_shape(columns):
        return from_label_studio
    names = {name.strip().lower() for name in columns}
    first, second = next((pair for pair in PAIRS if set(pair) <= names), ("text", "text_pair"))
    texts = lists_joiner(columns, (first, "text", *text_names))
    return in_order(texts, lists_joiner(columns, (second, "text_pair")))


def infer_labels(recipe: Any, train: Dataset) -> list[str]:
    """Infer the form of the labels and the problem type, and collect the labels.

    Args:
        recipe: Text classification; problem type, labels and what is learnt of the cells are set.
        train: All training rows.

    Returns:
        One sentence for each guess.
    """
    if "text_pair" in train.column_names:
        recipe.learned["has_pairs"] = True
    cells = [value for value in train["label"][:] if not is_missing(value)]
    # Where the dataset names its classes, cells are names even if they look like lists or numbers.
    has_class_names = bool(recipe.labels) and not any_list(cells)
    is_guess = recipe.problem_type is None
    asked = SINGLE if has_class_names and is_guess else recipe.problem_type
    ignored = recipe.ignore_labels if isinstance(recipe.ignore_labels, list | None) else [recipe.ignore_labels]
    reader, sentences = infer_reader(cells, asked, names_of(recipe.label_names), ignored)
    if reader != LabelReader():
        recipe.learned["label_cells"] = asdict(reader)
    sentences += _without_rows(reader, cells)
    values = [value for value in map(reader.read, cells) if value is not None]
    recipe.problem_type = asked or problem_type_of(values)
    described = recipe.label_kind.infer_labels(values)
    # A fact of the class for all tasks but this one, where the labels decide what the model does.
    recipe.card = replace(recipe.card, purpose=recipe.label_kind.purpose)
    if not described:
        return sentences
    hint = "; options.problem_type changes that" if is_guess else ""
    return [*sentences, f"labels: {described}{hint}"]


def _without_rows(reader: LabelReader, cells: list[Any]) -> list[str]:
    """A sentence on labels of `ignore_labels` that no training row has."""
    if not reader.ignored:
        return []
    names: set[str] = set()
    for value in map(replace(reader, ignored=[]).read, cells):
        for label in value if isinstance(value, list) else [value]:
            names.add(label_name(label))
    absent = [label for label in reader.ignored if label not in names]
    return [f"ignore_labels: no row of train has the label {', '.join(map(repr, absent))}"] if absent else []


def check(recipe: Any, rows: Dataset) -> Iterator[Finding]:
    """Labels that are of another kind, or that do not occur in train.

    Args:
        recipe: Text classification, after `infer_labels`.
        rows: With labels.
    """
    cells = rows["label"][:]
    values = list(map(recipe.reader.read, cells))
    if recipe.problem_type != MULTI:  # several labels without those that are ignored are a list all the same
        yield from ignored_labels(cells, values)
    yield from recipe.label_kind.check(values)


def from_label_studio(batch: Batch) -> Batch:
    """Texts and the labels that were chosen for them, from an export of Label Studio."""
    rows = annotation_shapes.from_label_studio(batch)
    return {"text": rows["text"], "label": rows["label"]}
