"""Rows from anywhere: load, choose splits, rename columns, limit, check.

After this module a dataset has the splits `train`, `validation`, `test` (some may lack) and the columns of the task.
"""

from __future__ import annotations

import contextlib
import glob
import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from .config import SPLITS, RunConfig, local_path
from .errors import ConfigError, DataError, HFRecipesError, NotFoundError, nearest
from .files import SUFFIXES, read_file
from .recipe import Recipe
from .say import say

if TYPE_CHECKING:
    from datasets import Dataset

USUAL_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development"),
    "test": ("test", "testing", "tst"),
}
HELD_OUT = 0.1
_BLIND = {"-1", "-1.0", "None"}


@dataclass
class Data:
    """Rows by split, under the task's column names."""

    splits: dict[str, Dataset]
    """Split name -> rows."""
    columns: dict[str, str]
    """Task column -> column of the dataset."""
    chosen: dict[str, str]
    """Split -> split of the dataset; a drawn validation split is not among them."""
    class_names: list[str] = field(default_factory=list)
    """Names of the classes, where the dataset itself knows them."""


def load(config: RunConfig, recipe: type[Recipe]) -> Data:
    """Load the dataset of a run, its columns renamed.

    Raises:
        HFRecipesError: The data is not there, or not of a form that the task can use.
    """
    found = read(config.dataset, header=not by_position(config.columns))
    chosen = choose_splits(list(found), config.splits)
    if "train" not in chosen:
        raise DataError(f"found the splits {', '.join(found)}, expected one to train on: splits.train=<one of them>")
    _say_splits(chosen, found)
    columns = find_columns(found[chosen["train"]].column_names, recipe, config.columns)
    splits = {split: rename(found[name], columns, recipe, split) for split, name in chosen.items()}
    renamed = {task: own for task, own in columns.items() if task != own}
    if renamed:
        say("columns: " + ", ".join(f"{task} is {own!r}" for task, own in renamed.items()))
    others = [name for name in found[chosen["train"]].column_names if name not in columns.values()]
    if others:
        say(f"columns not used: {', '.join(others)}")
    data = Data(splits, columns, chosen)
    name_classes(data, recipe)
    drop_blind_answers(data, recipe)
    return data


# --- read --------------------------------------------------------------------------------------------------------


def read(source: Any, *, header: bool = True) -> dict[str, Dataset]:
    """Any source as rows by split; a source with one part has the split `train`.

    Args:
        source: Hub id, file, folder, glob, URL, split -> any of these, keywords of `load_dataset`, or rows.
        header: Whether csv and tsv files name their columns.
    """
    import datasets

    if isinstance(source, datasets.DatasetDict):
        return dict(source)
    if isinstance(source, datasets.Dataset):
        return {"train": source}
    if isinstance(source, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DataError("found a streamed dataset, expected one with a length: load it without streaming=True")
    if isinstance(source, Mapping) and "path" in source:
        return _from_hub(dict(source))
    if isinstance(source, Mapping) and source and not is_column(next(iter(source.values()))):
        return {str(split): one_part(part, header=header) for split, part in source.items()}
    if isinstance(source, str | os.PathLike):
        return _from_path(local_path(os.fspath(source)), header)
    return {"train": _from_rows(source)}


def is_column(value: Any) -> bool:
    """Whether the value of a dict is a column of cells, as in {"text": ["a", "b"]}, and not a split."""
    return isinstance(value, list | np.ndarray) and (not len(value) or not isinstance(value[0], Mapping))


def by_position(columns: Mapping[str, Any]) -> bool:
    """Whether columns are named by position, as in a file without header."""
    return any(isinstance(name, int) for name in columns.values())


def one_part(source: Any, *, header: bool = True) -> Dataset:
    """Rows of a source that has no splits.

    Raises:
        DataError: It has several.
    """
    parts = read(source, header=header)
    if len(parts) != 1:
        raise DataError(f"found the splits {', '.join(parts)} where one part is expected: name a file, not a folder")
    return next(iter(parts.values()))


@contextlib.contextmanager
def quiet_bars(rows: int) -> Iterator[None]:
    """No progress bar for work that takes a moment."""
    from datasets.utils import logging

    was_on = logging.is_progress_bar_enabled()
    if rows < 50_000:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _from_rows(source: Any) -> Dataset:
    import datasets
    import pandas as pd
    from pyarrow.lib import ArrowException

    try:
        if isinstance(source, pd.DataFrame):
            return datasets.Dataset.from_pandas(source, preserve_index=False)
        if isinstance(source, Mapping):
            return datasets.Dataset.from_dict(dict(source))
        if isinstance(source, Sequence) and source and all(isinstance(row, Mapping) for row in source):
            keys = dict.fromkeys(key for row in source for key in row)
            return datasets.Dataset.from_dict({key: [row.get(key) for row in source] for key in keys})
    except (TypeError, ValueError, ArrowException) as error:
        raise DataError(f"the rows do not fit into columns: {' '.join(str(error).split())[:200]}") from error
    raise DataError(
        f"found {type(source).__name__}, expected a Hub id, a file, a folder, a DataFrame, a Dataset or a list of dicts"
    )


def _from_path(path: str, header: bool) -> dict[str, Dataset]:
    import datasets

    path = os.path.expanduser(path)
    if "://" in path:
        return {"train": read_file(path, header=header)}
    if os.path.isdir(path):
        if any(Path(path, name).exists() for name in ("dataset_info.json", "dataset_dict.json", "state.json")):
            return read(datasets.load_from_disk(path))
        return _from_files(sorted(_data_files(path)), path, header)
    if os.path.isfile(path):
        return {"train": read_file(path, header=header)}
    if any(sign in path for sign in "*?["):
        return _from_files(sorted(filter(os.path.isfile, glob.glob(path, recursive=True))), path, header)
    if PurePath(path).suffix.lower() in SUFFIXES or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise NotFoundError(f"there is no file or folder {path} (looked from {os.getcwd()})")
    return _from_hub({"path": path})


def _data_files(folder: str) -> Iterable[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            if PurePath(name).suffix.lower() in SUFFIXES and not name.startswith((".", "_")):
                yield os.path.join(place, name)


def _from_files(files: list[str], where: str, header: bool) -> dict[str, Dataset]:
    """Group files by the split that their names tell."""
    import datasets

    if not files:
        raise NotFoundError(f"no data file in {where}: expected {', '.join(SUFFIXES)}")
    root = os.path.commonpath([os.path.dirname(file) for file in files])
    by_split: dict[str, list[str]] = {}
    for split, names in USUAL_NAMES.items():
        exact = [file for file in files if PurePath(file).stem.lower() in names]
        by_split[split] = exact or [file for file in files if _mentions(os.path.relpath(file, root), names)]
    if not any(by_split.values()):
        by_split = {"train": files}
    used = [file for several in by_split.values() for file in several]
    twice = next((file for file in used if used.count(file) > 1), None)
    if twice:
        raise DataError(f"{twice} could be of two splits by its name: say which, dataset.train=… dataset.test=…")
    if len(used) < len(files):
        say(f"files not used: {', '.join(os.path.relpath(file, root) for file in files if file not in used)}")
    for split, several in by_split.items():
        if len({PurePath(file).suffix for file in several}) > 1:
            raise DataError(
                f"{where} has several files for {split}: {', '.join(map(os.path.basename, several))}; "
                f"name one of them: dataset.{split}=<file>"
            )
    parts = {split: [read_file(file, header=header) for file in several] for split, several in by_split.items()}
    return {
        split: rows[0] if len(rows) == 1 else datasets.concatenate_datasets(rows)
        for split, rows in parts.items()
        if rows
    }


def _mentions(name: str, words: Iterable[str]) -> bool:
    return any(word in words for word in re.split(r"[^a-z]+", name.lower()))


def _from_hub(keywords: dict[str, Any]) -> dict[str, Dataset]:
    import datasets

    known = inspect.signature(datasets.load_dataset).parameters
    builder = keywords["path"] in datasets.packaged_modules._PACKAGED_DATASETS_MODULES
    unknown = [key for key in keywords if key not in known] if not builder else []
    if unknown:
        raise ConfigError([f"dataset: unknown key {key}{nearest(key, known)}" for key in unknown])
    keywords["path"] = local_path(keywords["path"])
    if os.path.exists(keywords["path"]) and len(keywords) == 1:
        return _from_path(keywords["path"], header=True)
    try:
        return read(datasets.load_dataset(**keywords))
    except HFRecipesError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise NotFoundError(
            f"dataset {keywords['path']!r} is no file or folder here, and loading it from the Hub failed: {reason}"
        ) from error


# --- splits ------------------------------------------------------------------------------------------------------


def choose_splits(found: list[str], wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Which split of the dataset serves as train, validation and test.

    Example:
        >>> choose_splits(["train", "dev"], {})
        {'train': 'train', 'validation': 'dev'}
    """
    missing = [name for name in wanted.values() if name is not None and name not in found]
    if missing:
        raise ConfigError(
            [f"splits: no split {name}{nearest(name, found)}; the dataset has {', '.join(found)}" for name in missing]
        )
    chosen = {split: name for split, name in wanted.items() if name is not None}
    for split, names in USUAL_NAMES.items():
        usual = next((name for name in found if name.lower() in names and name not in chosen.values()), None)
        if split not in wanted and usual:
            chosen[split] = usual
    if not chosen and len(found) == 1:
        chosen["train"] = found[0]
    return {split: chosen[split] for split in SPLITS if split in chosen}


def _say_splits(chosen: dict[str, str], found: dict[str, Dataset]) -> None:
    other = [name for name in found if name not in chosen.values()]
    counts = [f"{split} {len(found[name])} rows" + (f" ({name})" * (name != split)) for split, name in chosen.items()]
    say("splits: " + ", ".join(counts) + (f"; not used: {', '.join(other)}" if other else ""))


def hold_out(rows: Dataset, strata: Sequence[Any] | None, seed: int) -> tuple[Dataset, Dataset]:
    """Draw a tenth of the rows as validation, each stratum in proportion and none of them emptied.

    Raises:
        DataError: There are too few rows.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    if strata is not None:
        order = np.array(sorted(order.tolist(), key=lambda place: str(strata[place])))
    step = round(1 / HELD_OUT)
    seen: set[str] = set()
    held = []
    for position, place in enumerate(order.tolist()):
        first_of_stratum = strata is not None and str(strata[place]) not in seen
        seen.add(str(strata[place]) if strata is not None else "")
        if position % step == step // 2 and not first_of_stratum:
            held.append(place)
    if not held:
        raise DataError(
            f"{len(rows)} training rows are too few to draw a validation split from: give one, or more rows"
        )
    kept = sorted(set(range(len(rows))) - set(held))
    return rows.select(kept), rows.select(sorted(held))


def limit(data: Data, config: RunConfig) -> None:
    """Keep no more rows of each split than asked for, drawn with the seed and in their order."""
    limits = dict.fromkeys(SPLITS, config.limit) if isinstance(config.limit, int) else (config.limit or {})
    generator = np.random.default_rng(config.training.get("seed", 42))
    for split, rows in data.splits.items():
        most = limits.get(split)
        if most and len(rows) > most:
            data.splits[split] = rows.select(sorted(generator.permutation(len(rows))[:most].tolist()))
            say(f"limit: {most} of {len(rows)} rows of {split}, drawn with the seed")


# --- columns -----------------------------------------------------------------------------------------------------


def find_columns(
    found: list[str], recipe: type[Recipe], given: Mapping[str, str | int], *, gold: bool = True
) -> dict[str, str]:
    """The column of the dataset for each column of the task.

    Args:
        found: Columns of the dataset.
        recipe: Whose columns are wanted.
        given: Columns that the user named.
        gold: Whether the answer's column must be there.

    Raises:
        DataError: With the columns found and the edit to make.
    """
    wanted = {column: str(name) for column, name in given.items()}
    problems = [
        f"columns.{column}: {recipe.task} has no such column{nearest(column, recipe.columns)}"
        for column in wanted
        if column not in recipe.columns
    ]
    problems += [
        f"columns.{column}: there is no column {name!r}{nearest(name, found)}"
        for column, name in wanted.items()
        if name not in found
        and (gold or not recipe.columns.get(column, recipe.columns[next(iter(recipe.columns))]).gold)
    ]
    names = list(wanted.values())
    twice = dict.fromkeys(name for name in names if names.count(name) > 1)
    problems += [f"column {name!r} is named for two columns of the task" for name in twice]
    if problems:
        raise DataError("; ".join(problems) + f". The dataset has the columns {', '.join(found)}")
    columns = {column: name for column, name in wanted.items() if name in found}
    columns |= _known_layout(found, recipe, columns)
    for column in recipe.columns:
        if column not in columns and (name := _one_name(column, found, recipe, columns, gold)):
            columns[column] = name
    lacking = [name for name, facts in recipe.columns.items() if name not in columns and not facts.optional]
    lacking = [name for name in lacking if gold or not recipe.columns[name].gold]
    if lacking:
        edit = " ".join(f"columns.{name}=<one of them>" for name in lacking)
        raise DataError(
            f"no column for {' and '.join(lacking)} among {', '.join(map(repr, found))}: {edit}"
            " (positions from 0, such as columns.text=1, for a file without header)"
        )
    return {column: columns[column] for column in recipe.columns if column in columns}


def _known_layout(found: list[str], recipe: type[Recipe], taken: Mapping[str, str]) -> dict[str, str]:
    own = {name.strip().lower(): name for name in found}
    for layout in recipe.layouts:
        clash = set(layout) & {*taken, *found} - set(layout.values())
        if set(layout.values()) <= set(own) and not clash:
            return {column: own[name] for column, name in layout.items()}
    return {}


def _one_name(column: str, found: list[str], recipe: type[Recipe], taken: Mapping[str, str], gold: bool) -> str | None:
    """The column called so, or the only one with a name that real datasets give it."""
    if column in found and column not in taken.values():
        return column
    facts = recipe.columns[column]
    known = {name.lower() for name in (column, *facts.names)}
    usual = [name for name in found if name.strip().lower() in known and name not in taken.values()]
    if len(usual) > 1 and (gold or not facts.gold):
        raise DataError(
            f"several columns could be {column}: {', '.join(map(repr, usual))}; choose with columns.{column}={usual[0]}"
        )
    return usual[0] if len(usual) == 1 else None


def rename(rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe], split: str) -> Dataset:
    """Keep the task's columns, under its names; a split may lack the answer unless it is to train on."""
    present = {column: name for column, name in columns.items() if name in rows.column_names}
    lacking = [
        name
        for column, name in columns.items()
        if column not in present and not (recipe.columns[column].gold and split != "train")
    ]
    if lacking:
        raise DataError(
            f"split {split} has no column {', '.join(lacking)}; it has {', '.join(rows.column_names)}: "
            "use the same names in all splits"
        )
    rows = rows.select_columns(list(present.values()))
    return rows.rename_columns({name: column for column, name in present.items() if name != column})


def name_classes(data: Data, recipe: type[Recipe]) -> None:
    """Turn class ids into the names that the dataset's own features give them; -1 becomes missing."""
    for column in (name for name, facts in recipe.columns.items() if facts.gold):
        data.class_names = _class_names(next(iter(data.splits.values())), column)
        for split, rows in data.splits.items():
            own = _class_names(rows, column)
            if own and data.class_names:
                data.splits[split] = _with_names(rows, column, own)


def drop_blind_answers(data: Data, recipe: type[Recipe]) -> None:
    """Take away the answers of a test split where each is -1, as benchmarks publish a test without answers."""
    for column in (name for name, facts in recipe.columns.items() if facts.gold):
        rows = data.splits.get("test")
        if (
            rows is not None
            and len(rows)
            and column in rows.column_names
            and all(str(one) in _BLIND for one in rows[column])
        ):
            data.splits["test"] = rows.remove_columns(column)
            say(f"test: every {column} is -1 or missing, so no row has an answer")


def _class_names(rows: Dataset, column: str) -> list[str]:
    kind = rows.features.get(column)
    names: list[str] = getattr(getattr(kind, "feature", kind), "names", None) or []
    return names


def _with_names(rows: Dataset, column: str, names: list[str]) -> Dataset:
    from datasets import List, Value

    several = hasattr(rows.features[column], "feature")
    features = rows.features.copy()
    features[column] = List(Value("string")) if several else Value("string")
    about = {"column": column, "names": names}
    with quiet_bars(len(rows)):
        return rows.map(_name_batch, batched=True, fn_kwargs=about, features=features, desc=f"Naming {column}")


def _name_batch(batch: dict[str, list[Any]], column: str, names: list[str]) -> dict[str, list[Any]]:
    return {column: [_class_name(value, names) for value in batch[column]]}


def _class_name(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_class_name(one, names) for one in value]
    return None if value is None or value < 0 else names[value]


# --- checks ------------------------------------------------------------------------------------------------------


def check(data: Data, recipe: Recipe, *, drop: bool) -> None:
    """Check every row of every split, and drop or name those that cannot be used.

    Raises:
        DataError: With every kind of problem found, counted, and the first places.
    """
    found: list[str] = []
    any_rows = False
    for split, rows in data.splits.items():
        if not len(rows):
            raise DataError(f"split {split} has no rows: leave it out, splits.{split}=null, or give it some")
        problems = {**empty_texts(rows, recipe), **_missing_answers(rows, recipe, split)}
        if data_has_answers(rows, recipe):
            problems |= recipe.problems(rows)
        bad = sorted({place for places in problems.values() for place in places})
        sentences = [name_rows(split, sentence, places) for sentence, places in problems.items()]
        if drop and bad and all(problems.values()):
            if len(bad) == len(rows):
                raise DataError(f"no row of {split} can be used: {'; '.join(sentences)}")
            data.splits[split] = rows.select(sorted(set(range(len(rows))) - set(bad)))
            say(f"dropped {len(bad)} of {len(rows)} rows: " + "; ".join(sentences))
        else:
            found += [sentence for sentence in sentences if sentence not in found]
            any_rows = any_rows or bool(bad)
    if found:
        edit = "Mend them, or drop them with options.drop_invalid=true" if any_rows else "Use other data"
        raise DataError("; ".join(found[:8]) + f"; and {len(found) - 8} more" * (len(found) > 8) + f". {edit}")


def data_has_answers(rows: Dataset, recipe: Recipe) -> bool:
    """Whether the split has the columns that hold the answer."""
    return all(name in rows.column_names for name, facts in recipe.columns.items() if facts.gold)


def empty_texts(rows: Dataset, recipe: Recipe) -> dict[str, list[int]]:
    """Places of rows whose input is missing or blank.

    Raises:
        DataError: A column holds something else than text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    problems = {}
    for column in [name for name, facts in recipe.columns.items() if not facts.gold and name in rows.column_names]:
        blank: list[int] = []
        for start, batch in zip(range(0, len(rows), 10_000), rows.with_format("arrow").iter(10_000), strict=False):
            cells = batch[column].combine_chunks()
            if pa.types.is_null(cells.type):
                cells = cells.cast(pa.string())
            if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
                raise DataError(
                    f"column {column} holds {cells.type}, expected text: choose another, columns.{column}=…"
                )
            empty = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(cells), ""), True)
            blank += (start + np.flatnonzero(empty.to_numpy(zero_copy_only=False))).tolist()
        if blank:
            problems[f"{column} is empty"] = blank
    return problems


def _missing_answers(rows: Dataset, recipe: Recipe, split: str) -> dict[str, list[int]]:
    gold = [name for name, facts in recipe.columns.items() if facts.gold]
    if split == "test" or not data_has_answers(rows, recipe):
        return {} if split == "test" else {f"{', '.join(gold)} is not there": list(range(len(rows)))}
    missing = [place for place, row in enumerate(rows.select_columns(gold)) if recipe.gold(row) is None]
    invalid = {place for places in recipe.problems(rows).values() for place in places}
    missing = [place for place in missing if place not in invalid]
    return {f"{', '.join(gold)} is missing": missing} if missing else {}


def name_rows(split: str, sentence: str, places: list[int]) -> str:
    """The sentence with the number of rows at fault and the first of them."""
    if not places:
        return f"{split}: {sentence}"
    shown = ", ".join(map(str, places[:5])) + (", …" if len(places) > 5 else "")
    return f"{split}: {sentence} in {len(places)} row{'s' * (len(places) > 1)} ({shown}, counted from 0)"


def repeated(data: Data, recipe: Recipe) -> list[str]:
    """Sentences on inputs that stand in train more than once, or in train and in another split too."""
    inputs = [
        name for name, facts in recipe.columns.items() if not facts.gold and name in data.splits["train"].column_names
    ]
    keys = {
        split: [hash(tuple(row)) for row in zip(*(rows[name] for name in inputs), strict=True)]
        for split, rows in data.splits.items()
    }
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
