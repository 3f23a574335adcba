"""Look at every row before anything is trained: what cannot be used, what repeats, and what the content is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .data import Data
from .errors import DataError
from .recipe import Recipe
from .say import say

if TYPE_CHECKING:
    from datasets import Dataset


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
    for split, rows in data.splits.items():
        if not len(rows):
            raise DataError(f"split {split} has no rows: leave it out, splits.{split}=null, or give it some")
        has_answers = data_has_answers(rows, recipe)
        wrong = recipe.problems(rows) if has_answers else {}
        if split == "train" and has_answers:
            known = {place for places in wrong.values() for place in places}
            found_too = recipe.untrainable(rows).items()
            wrong |= {one: rest for one, places in found_too if (rest := [at for at in places if at not in known])}
        empty = empty_texts(rows, recipe)
        problems = {**empty, **_missing_answers(rows, recipe, split, {**empty, **wrong}), **wrong}
        bad = sorted({place for places in problems.values() for place in places})
        sentences = [name_rows(split, sentence, places) for sentence, places in problems.items()]
        if recipe.drop_invalid and bad and all(problems.values()):
            if len(bad) == len(rows):
                raise DataError(f"no row of {split} can be used: {'; '.join(sentences)}")
            data.splits[split] = rows.select(sorted(set(range(len(rows))) - set(bad)))
            say(f"dropped {len(bad)} of {len(rows)} rows: " + "; ".join(sentences))
        else:
            found += [sentence for sentence in sentences if sentence not in found]
            faulty += bad
    if found:
        edit = (
            "Mend them" + ", or drop them with options.drop_invalid=true" * in_training if faulty else "Use other data"
        )
        raise DataError(
            "; ".join(found[:8]) + f"; and {len(found) - 8} more" * (len(found) > 8) + f". {edit}", rows=faulty
        )
    for split, rows in data.splits.items():
        for sentence, places in (recipe.notes(rows) if data_has_answers(rows, recipe) else {}).items():
            say(name_rows(split, sentence, places))


def data_has_answers(rows: Dataset, recipe: Recipe) -> bool:
    """Whether the split has the columns that hold the answer."""
    needed = {name for name in recipe.gold_reads() if not recipe.columns[name].optional}
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
    names = recipe.answers() or recipe.gold_reads()
    columns = " and ".join(name for name in names if not recipe.columns[name].optional)
    if split == "test":
        return {}
    if not data_has_answers(rows, recipe):
        return {f"{columns} is not there": list(range(len(rows)))}
    known = {place for places in wrong.values() for place in places}
    missing = [place for place, gold in enumerate(golds(recipe, rows)) if gold is None and place not in known]
    return {f"{columns} is missing": missing} if missing else {}


def golds(recipe: Recipe, rows: Dataset) -> list[Any]:
    """What each row's prediction is scored against; None where it has no answer."""
    if not data_has_answers(rows, recipe):
        return [None] * len(rows)
    columns = [name for name in recipe.gold_reads() if name in rows.column_names]
    if not columns:
        return [recipe.gold({}) for _ in range(len(rows))]
    cells = zip(*(rows[name] for name in columns), strict=True)
    return [recipe.gold(dict(zip(columns, row, strict=True))) for row in cells]


def name_rows(split: str, sentence: str, places: list[int]) -> str:
    """The sentence with the number of rows at fault and the first of them."""
    if not places:
        return f"{split}: {sentence}"
    places = list(dict.fromkeys(places))
    shown = ", ".join(map(str, places[:5])) + (", …" if len(places) > 5 else "")
    return f"{split}: {sentence} in {len(places)} row{'s' * (len(places) > 1)} ({shown}, counted from 0)"


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
