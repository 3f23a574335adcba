"""Look at every row before anything is trained: what cannot be used, what repeats, and what the content is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..log import log
from ..recipe import Recipe, Row
from .rows import Data

if TYPE_CHECKING:
    from datasets import Dataset


FEW = 5  # of rows, or of kinds of problems, that are named


def check(data: Data, recipe: Recipe, *, in_training: bool = True) -> None:
    """Check every row of every split, and drop or name those that cannot be used.

    Args:
        data: Rows by split.
        recipe: The task.
        in_training: Whether the rows are of a run that is yet to come, whose settings may change.

    Raises:
        DataError: With every kind of problem found, counted, and the first places.
    """
    found: list[str] = []
    faulty: list[int] = []
    dropping_helps = False
    for split in data.splits:
        sentences, bad, helps = _check_split(data, split, recipe)
        found += [sentence for sentence in sentences if sentence not in found]
        faulty += bad
        dropping_helps |= helps
    if found:
        drop = ", or drop them with options.drop_invalid=true" * (in_training and dropping_helps)
        edit = f"Mend them{drop}" if faulty else "Use other data"
        raise DataError(
            "; ".join(found[:8]) + f"; and {len(found) - 8} more" * (len(found) > 8) + f". {edit}", rows=faulty
        )
    for split, rows in data.splits.items():
        for sentence, places in (recipe.notes(rows) if data_has_answers(rows, recipe) else {}).items():
            log(name_rows(split, sentence, places))


def _check_split(data: Data, split: str, recipe: Recipe) -> tuple[list[str], list[int], bool]:
    """Drop the rows that the options say, and tell what is left at fault.

    Returns:
        Sentences, the rows at fault, and whether `drop_invalid` would help against some of them.
    """
    rows = data.splits[split]
    if not len(rows):
        raise DataError(f"split {split} has no rows: leave it out, splits.{split}=null, or give it some")
    problems, of_labels = _problems(rows, recipe, split)
    dropped = _rows_in(problems)
    left = _not_scorable(of_labels, rows, recipe, dropped)
    if recipe.drop_invalid and all(problems.values()):
        if dropped:
            _drop(data, split, problems)
        problems = left
    else:
        problems |= of_labels
    bad = _rows_in(problems)
    helps = not recipe.drop_invalid and len(bad) > len(_rows_in(left))
    return [name_rows(split, sentence, places) for sentence, places in problems.items()], bad, helps


def _drop(data: Data, split: str, problems: Mapping[str, list[int]]) -> None:
    rows, dropped = data.splits[split], _rows_in(problems)
    sentences = "; ".join(name_rows(split, sentence, places) for sentence, places in problems.items())
    if len(dropped) == len(rows):
        raise DataError(f"no row of {split} can be used: {sentences}")
    data.splits[split] = rows.select(sorted(set(range(len(rows))) - set(dropped)))
    log(f"dropped {len(dropped)} of {len(rows)} rows: {sentences}")


def _problems(rows: Dataset, recipe: Recipe, split: str) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Problems for which rows may be dropped, and those of labels, for which no row to score is."""
    wrong: dict[str, list[int]] = {}
    of_labels: dict[str, list[int]] = {}
    if data_has_answers(rows, recipe):
        wrong, of_labels = dict(recipe.problems(rows)), dict(recipe.label_problems(rows))
        if split == "train":
            wrong, of_labels = {**wrong, **of_labels, **recipe.unknown_labels(rows)}, {}
            known = set(_rows_in(wrong))
            for sentence, indices in recipe.untrainable(rows).items():
                rest = [index for index in indices if index not in known]
                wrong |= {sentence: rest} if rest else {}
    empty = empty_texts(rows, recipe)
    missing = _missing_answers(rows, recipe, split, {**empty, **wrong, **of_labels})
    return {**empty, **missing, **wrong}, of_labels


def _rows_in(problems: Mapping[str, list[int]]) -> list[int]:
    """Indices of all rows that are named, in their order."""
    indices: set[int] = set()
    for rows in problems.values():
        indices.update(rows)
    return sorted(indices)


def _not_scorable(
    problems: dict[str, list[int]], rows: Dataset, recipe: Recipe, dropped: list[int]
) -> dict[str, list[int]]:
    """The problems of labels that stay an error: of rows without a reference, and where no row has a label in order."""
    if not problems or len(_rows_in(problems)) == len(rows):
        return problems
    known, gone = references(recipe, rows), set(dropped)
    left: dict[str, list[int]] = {}
    for sentence, indices in problems.items():
        without = [index for index in indices if known[index] is None and index not in gone]
        left |= {sentence: without} if without else {}
    return left


def data_has_answers(rows: Dataset, recipe: Recipe) -> bool:
    """Whether the split has the columns that hold the answer."""
    needed = {name for name in recipe.reference_columns() if not recipe.columns[name].optional}
    return needed <= set(rows.column_names)


def empty_texts(rows: Dataset, recipe: Recipe) -> dict[str, list[int]]:
    """Places of rows whose input is missing or blank.

    Raises:
        DataError: A column holds something else than text, or than lists of text where those are expected.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    problems = {}
    for column in [name for name in recipe.inputs() if name in rows.column_names]:
        blank: list[int] = []
        gaps: list[int] = []
        for start, batch in zip(range(0, len(rows), 10_000), rows.with_format("arrow").iter(10_000), strict=False):
            kind = recipe.columns[column].kind
            cells, several = batch[column].combine_chunks(), isinstance(kind, list)
            if several and isinstance(kind[0], dict):  # what stands in them, the task looks at
                blank += (start + np.flatnonzero(_is_bare(cells))).tolist()
                continue
            if pa.types.is_null(cells.type):
                cells = cells.cast(pa.list_(pa.string()) if several else pa.string())
            if not _is_text(cells.type, several=several):
                expected = "a list of texts" if several else "text"
                raise DataError(
                    f"column {column} holds {cells.type}, expected {expected}: choose another, columns.{column}=…"
                )
            blank_cells = pc.equal(pc.list_value_length(cells), 0) if several else _is_blank(cells)
            empty = pc.fill_null(blank_cells, True)
            blank += (start + np.flatnonzero(empty.to_numpy(zero_copy_only=False))).tolist()
            if several:
                gaps += [start + place for place in _with_gaps(cells)]
        if blank:
            problems[f"{column} is empty"] = blank
        if gaps:
            problems[f"{column} has an empty entry"] = gaps
    return problems


def _is_bare(lists: Any) -> Any:
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    return pc.equal(lengths, 0).to_numpy(zero_copy_only=False)


def _is_text(kind: Any, *, several: bool) -> bool:
    import pyarrow as pa

    if several:
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        return bool(is_list and (pa.types.is_null(kind.value_type) or _is_text(kind.value_type, several=False)))
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_blank(cells: Any) -> Any:
    import pyarrow.compute as pc

    return pc.equal(pc.utf8_trim_whitespace(cells), "")


def _with_gaps(cells: Any) -> list[int]:
    """Places of lists that have a null or blank entry; unusual blanks are signs like others."""
    import pyarrow.compute as pc

    entries = pc.list_flatten(cells)
    empty = pc.fill_null(pc.equal(pc.ascii_trim_whitespace(entries.cast("string")), ""), True)
    places: list[int] = pc.unique(pc.list_parent_indices(cells).filter(empty)).to_pylist()
    return places


def _missing_answers(rows: Dataset, recipe: Recipe, split: str, wrong: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Places of rows without an answer, which only a test split may have, but for those whose answer is wrong."""
    names = recipe.answers() or recipe.reference_columns()
    columns = " and ".join(name for name in names if not recipe.columns[name].optional)
    if split == "test":
        return {}
    if not data_has_answers(rows, recipe):
        return {f"{columns} is not there": list(range(len(rows)))}
    known = set(_rows_in(wrong))
    missing = [
        place for place, reference in enumerate(references(recipe, rows)) if reference is None and place not in known
    ]
    return {f"{columns} is missing": missing} if missing else {}


def references(recipe: Recipe, rows: Dataset) -> list[Any]:
    """What each row's prediction is scored against; None where it has no answer."""
    if not data_has_answers(rows, recipe):
        return [None] * len(rows)
    columns = [name for name in recipe.reference_columns() if name in rows.column_names]
    if not columns:
        return [recipe.reference({}) for _ in range(len(rows))]
    cells = zip(*(rows[name] for name in columns), strict=True)
    return [recipe.reference(dict(zip(columns, row, strict=True))) for row in cells]


def label_column(recipe: Recipe, prediction: Row) -> str | None:
    """The column of the label, where predictions have the label under the same name."""
    names = [name for name in recipe.answers() if name in recipe.reference_columns() and name in prediction]
    return names[0] if len(names) == 1 else None


def written_label(recipe: Recipe, reference: Any, prediction: Row) -> Row:
    """The label of a row as its prediction spells it; nothing where predictions have none, or the row."""
    name = label_column(recipe, prediction)
    return {} if name is None or reference is None else {name: reference}


def written_reference(recipe: Recipe, line: Row) -> Any:
    """What a written row with its prediction is scored against."""
    name = label_column(recipe, line["prediction"])
    return recipe.reference(line) if name is None else line[name]


def name_rows(split: str, sentence: str, places: list[int]) -> str:
    """The sentence with the number of rows at fault and the first of them."""
    return f"{split}: {_in_rows(sentence, places)}"


def _in_rows(sentence: str, indices: list[int]) -> str:
    if not indices:
        return sentence
    rows = list(dict.fromkeys(indices))
    times = f" {len(indices)} times" if len(indices) > len(rows) else ""
    shown = ", ".join(map(str, rows[:FEW])) + (", …" if len(rows) > FEW else "")
    return f"{sentence}{times} in {len(rows)} row{'s' * (len(rows) > 1)} ({shown}, counted from 0)"


def scored_as_wrong(data: Data, recipe: Recipe) -> dict[str, str]:
    """For each split but train a sentence on labels in it that no prediction can match; none where there are none."""
    notes = {}
    for split, rows in data.splits.items():
        if split == "train" or not data_has_answers(rows, recipe):
            continue
        problems = {**recipe.unknown_labels(rows), **recipe.label_problems(rows)}
        if problems:
            named = []
            for sentence, indices in problems.items():
                named.append(_in_rows(sentence, [data.places[split][index] for index in indices]))
            more = [f"and {len(named) - FEW} more"] if len(named) > FEW else []
            notes[split] = (
                f"{split}: no prediction can match the label of {len(_rows_in(problems))} of {len(rows)} rows; "
                f"it counts as wrong: {'; '.join([*named[:FEW], *more])}"
            )
    return notes


def repeated(data: Data, recipe: Recipe) -> list[str]:
    """Sentences on inputs that stand in train more than once, or in train and in another split too."""
    keys = {split: input_keys(rows, recipe) for split, rows in data.splits.items()}
    train = set(keys["train"])
    notes = []
    if len(train) < len(keys["train"]):
        notes.append(
            f"train: {len(keys['train']) - len(train)} of {len(keys['train'])} rows repeat the input of another"
        )
    for split in [name for name in keys if name != "train"]:
        leaked = sum(key in train for key in keys[split])
        if leaked:
            notes.append(
                f"{split}: {leaked} of {len(keys[split])} inputs also stand in train, which flatters its score"
            )
    return notes


def repeated_rows(rows: Dataset, recipe: Recipe) -> set[int]:
    """Places of rows whose input stands more than once."""
    keys = input_keys(rows, recipe)
    times = Counter(keys)
    return {place for place, key in enumerate(keys) if times[key] > 1}


def input_keys(rows: Dataset, recipe: Recipe) -> list[int]:
    """A number for each row that rows of the same input share."""
    inputs = [name for name in recipe.inputs() if name in rows.column_names]
    return [hash(str(row)) for row in zip(*(rows[name] for name in inputs), strict=True)]


def fingerprint(rows: Dataset) -> str:
    """Hash of the content, the same in every process and on every machine."""
    from hashlib import blake2b

    digest = blake2b(digest_size=16)
    for batch in rows.with_format("arrow").iter(10_000):
        for column in batch.column_names:
            digest.update(column.encode())
            for cell in batch[column].to_pylist():
                digest.update(repr(cell).encode() + b"\0")
    return digest.hexdigest()
