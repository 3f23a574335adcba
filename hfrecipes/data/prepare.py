"""Rows from their source to checked splits, ready to be encoded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.run_config import TEST_SET, RunConfig
from ..errors import ConfigError, DataError, NotFoundError, counted
from ..log import log, once
from ..recipe import Recipe, file_formats, options
from . import redacting
from .checks import Collected, check_rows, not_scored, scored_as_wrong, with_references
from .columns import (
    as_spelled,
    check_lists,
    column_cells,
    columns_of_split,
    find_columns,
    further_references,
    keeps_rows,
    known_columns,
    lists_by_name,
    normalize_columns,
    other_tags,
    refuse_other_inputs,
    rename,
    without_rejected,
)
from .indicators import Columns, find_indicators
from .label_files import name_ids
from .parts import labels_without_rows, take_part
from .raw_cells import check_parts, plain_cells
from .redacting import redact_rows, redact_texts
from .row_origin import Origin, described, origin_of
from .rows import Data, drop_empty_references, drop_helper_columns, name_classes, number_rows, with_groups
from .sources import files_of, header_of, read_source
from .splits import choose_splits, draw_splits, limit, log_splits, split_to_test, take_fold
from .task_cells import with_task_cells

if TYPE_CHECKING:
    from datasets import Dataset

FROM_PYTHON = "(rows given from Python)"
FEW, SHOWN = 20, 12  # rows below which a label is called rare; number of labels that are listed


def load_data(config: RunConfig, recipe: Recipe, collected: Collected | None = None) -> tuple[Data, RunConfig]:
    """Rows of all splits, checked, with labels inferred; and the settings with every guess filled in.

    Args:
        config: Settings from `configure`.
        recipe: The task, made of these settings.
        collected: Takes what is found in the rows, which is printed or raised otherwise.

    Raises:
        HFRecipesError: The data is not there, or cannot be used.
    """
    if config.dataset is None:
        raise ConfigError("no dataset: add dataset=<hub id, file or folder>")
    for setting, source in {"dataset": config.dataset, **named_sources(config)}.items():
        if isinstance(source, str) and source == FROM_PYTHON:
            raise ConfigError(f"the rows of this run came from Python: add {setting}=<hub id, file, folder or rows>")
    data = number_rows(read_splits(config, recipe))
    if collected is not None:
        collected.data = data
    recipe.labels = list(data.class_names)
    log_all(name_ids(recipe, config.dataset, data.splits["train"]))
    log_all(recipe.infer_labels(data.splits["train"]))
    data = check_rows(data, recipe, collected=collected)
    data = take_fold(limit(data, config), recipe, config)
    data = draw_splits(data, recipe, config)
    data = with_references(drop_helper_columns(take_part(data, recipe, config)), recipe)
    log_all(redactions(data))
    log_all(_count_labels(data, recipe))
    log_all(labels_without_rows(recipe, config))
    data = replace(data, notes=scored_as_wrong(data, recipe))
    if collected is None:
        log_all([*data.notes.values(), *not_scored(data, recipe), *no_test_split(data)])
    return data, _with_guesses(config, recipe, data)


def check_again(data: Data, recipe: Recipe, collected: Collected | None = None) -> Data:
    """The rows after another check, where the tokenizer decides whether a row can be used.

    Args:
        data: Rows by split.
        recipe: The task, bound to the tokenizer.
        collected: As for `load_data`.

    Raises:
        DataError: Some cannot be used, and the options do not drop them.
    """
    if not recipe.checks_again:
        return data
    checked = drop_helper_columns(check_rows(number_rows(data), recipe, collected=collected))
    checked = with_references(checked, recipe)
    groups = {}
    for split, numbers in data.row_numbers.items():
        if split in data.groups:
            group_of = dict(zip(numbers, data.groups[split], strict=True))
            groups[split] = [group_of[number] for number in checked.row_numbers[split]]
    return replace(checked, groups=groups)


def log_all(sentences: list[str]) -> None:
    """Print each sentence."""
    for sentence in sentences:
        log(sentence)


@dataclass(frozen=True)
class _Part:
    """Rows of a split as they were read, and with the columns that a task knows."""

    raw: Dataset
    before: list[str]
    """Columns that were converted."""
    rows: Dataset
    numbers: Sequence[int]
    """Number of each row in its source."""
    names: Mapping[str, str | int]
    """Columns that the user named, as they are called now."""
    is_aligned: bool
    """Whether each row is still one of those that were read."""


def read_splits(config: RunConfig, recipe: Recipe) -> Data:
    """Rows of each split from their source, under the column names of the task.

    Raises:
        HFRecipesError: The data is not there, or not of a form that the task can use.
    """
    kind = type(recipe)
    sources = read_source(config.dataset, header=header_of(config.columns), formats=file_formats(recipe))
    chosen = choose_splits(list(sources), config.splits)
    if "train" not in chosen:
        raise DataError(f"found the splits {', '.join(sources)}, expected one to train on: splits.train=<one of them>")
    raw = sources[chosen["train"]]
    named = {**find_indicators(raw, kind, config.columns), **lists_by_name(config.columns, raw.column_names)}
    with once():
        parts = {split: _with_known_columns(sources[name], split, named, recipe) for split, name in chosen.items()}
    _log_conversions(parts)
    log_splits(chosen, {**sources, **{name: parts[split].rows for split, name in chosen.items()}})
    train = parts["train"].rows
    columns = find_columns(train.column_names, kind, parts["train"].names)
    check_parts(train, columns, kind)
    splits = {split: _renamed(part, split, columns, kind, config) for split, part in parts.items()}
    _log_columns(columns, train.column_names)
    log_all(other_tags(train, columns, kind, config.columns))
    joined = {column: name for column, name in named.items() if isinstance(name, list)}
    sets = _read_named_sets(config, recipe, {**columns, **joined})
    splits = with_task_cells({**splits, **{name: entry.rows for name, entry in sets.items()}}, recipe)
    splits = {split: redact_rows(rows, recipe, counts=True) for split, rows in splits.items()}
    folds = config.cross_validation
    if folds is not None and folds.groups:
        splits["train"] = with_groups(splits["train"], train, str(folds.groups))
    origins = {split: _origin(part, columns, kind) for split, part in parts.items()}
    origins |= {name: _origin(entry.part, entry.columns, kind) for name, entry in sets.items()}
    if recipe.redact is not None:
        # An id, or any column that differs in each row, may be the name or the number of somebody.
        origins = {split: origin.without_ids() for split, origin in origins.items()}
    log_all(described(origins))
    numbers = {split: part.numbers for split, part in parts.items()}
    numbers |= {name: entry.part.numbers for name, entry in sets.items()}
    cells = redact_texts(_slice_cells(config, parts, sets), recipe)
    data = Data(splits, {**columns, **joined}, chosen, row_numbers=numbers, origins=origins, slice_cells=cells)
    return drop_empty_references(name_classes(data, kind), kind)


def _slice_cells(config: RunConfig, parts: Mapping[str, _Part], sets: Mapping[str, _NamedSet]) -> dict[str, list[str]]:
    """Value of each row in the column `by`, of all splits and sets that have it.

    Raises:
        DataError: The split whose scores are reported does not have it.
    """
    if config.by is None:
        return {}
    of_train = config.folds is not None or isinstance(config.splits.get("test"), float)
    tested = ["train"] if of_train else ["test", "validation", "train"]
    reported = next(split for split in tested if split in parts)
    cells = {}
    for split, part in {**parts, **{name: entry.part for name, entry in sets.items()}}.items():
        rows = part.raw if part.is_aligned else part.rows
        if split == reported or as_spelled(config.by, rows.column_names) in rows.column_names:
            cells[split] = column_cells(config.by, rows)
        elif split in sets:
            log(f"{split}: no column {config.by!r}, so its rows are only scored together")
    return cells


def named_sources(config: RunConfig) -> dict[str, Any]:
    """The sources of the sets under `tests`, each by its name beside the splits."""
    return {f"{TEST_SET}{name}": source for name, source in config.tests.items()}


@dataclass(frozen=True)
class _NamedSet:
    """Rows of a set under `tests`."""

    part: _Part
    columns: Mapping[str, str]
    """Its column for each column of the task, which may have other names than those of the dataset."""
    rows: Dataset
    """The rows under the column names of the task."""


def _read_named_sets(config: RunConfig, recipe: Recipe, trained: Columns) -> dict[str, _NamedSet]:
    """The sets under `tests`, read as rows to evaluate are.

    Raises:
        ConfigError: A keyword of a source does not exist.
        DataError: The rows cannot be read, or do not have the columns of the training rows.
        NotFoundError: There is no such file, folder or dataset.
    """
    sets = {}
    for name, source in named_sources(config).items():
        try:
            parts = read_source(source, header=header_of(config.columns), formats=file_formats(recipe))
            split = split_to_test(list(parts))
            sets[name] = _named_set(name, parts[split], trained, recipe)
        except (ConfigError, DataError, NotFoundError) as error:
            raise type(error)(f"{name}: {error}") from error
        of_split = f" of {split}, one of its splits {', '.join(parts)}" if len(parts) > 1 else ""
        columns = []
        for column, used in sets[name].columns.items():
            if used != trained.get(column):
                columns.append(f"{column} is {used!r}")
        log(f"{name}: {', '.join([counted(len(sets[name].rows), 'row') + of_split, *columns])}")
    return sets


def _named_set(name: str, raw: Dataset, trained: Columns, recipe: Recipe) -> _NamedSet:
    """One of them.

    Args:
        name: Its name beside the splits.
        raw: Its rows as they were read.
        trained: Column of the training rows for each column of the task.
        recipe: The task.
    """
    kind = type(recipe)
    part = _with_known_columns(raw, name, known_columns(trained, raw.column_names), recipe)
    columns = find_columns(part.rows.column_names, kind, part.names)
    refuse_other_inputs(columns, trained, kind)
    rows = rename(part.rows, columns, kind, name)
    check_lists(rows, columns, kind)
    return _NamedSet(part, columns, rows)


def _with_known_columns(raw: Dataset, split: str, named: Columns, recipe: Recipe) -> _Part:
    """The rows of a split in one of the shapes that a task reads."""
    accepted, numbers = without_rejected(plain_cells(raw, named), split, named)
    rows, names = normalize_columns(accepted, recipe, named)
    return _Part(raw, accepted.column_names, rows, numbers, names, keeps_rows(accepted, rows))


def _log_conversions(parts: Mapping[str, _Part]) -> None:
    converted: list[set[str]] = []
    for split, part in parts.items():
        # A split with the columns of train is converted as train is.
        if part.rows.column_names != part.before and set(part.before) not in converted:
            converted.append(set(part.before))
            conversion = f"columns {', '.join(part.before)} were converted to {', '.join(part.rows.column_names)}"
            log(conversion if split == "train" else f"{split}: {conversion}")


def _renamed(part: _Part, split: str, columns: Mapping[str, str], kind: type[Recipe], config: RunConfig) -> Dataset:
    """The rows under the column names of the task; other splits may use other column names than train."""
    names = columns
    if split != "train":
        names = columns_of_split(part.rows, columns, kind, part.names)
        names = {**names, **further_references(part.rows, names, kind), **_given_positions(config, part.names)}
    rows = rename(part.rows, names, kind, split)
    check_lists(rows, columns, kind)
    return rows


def _origin(part: _Part, columns: Mapping[str, str], kind: type[Recipe]) -> Origin:
    """Where each row comes from."""
    everything = set(part.raw.column_names)
    # Columns that became others are those that the task reads.
    used = set(columns.values()) | (everything - set(part.rows.column_names))
    # Rows that became several ones, or were put together, have other numbers than those that were read.
    if not part.is_aligned:
        return origin_of(part.raw, everything, kind, ())
    return origin_of(part.raw, used, kind, files_of(part.raw))


def _given_positions(config: RunConfig, names: Mapping[str, str | int]) -> dict[str, str]:
    """Names, in one split, of the columns that the user gave by position: only some of the files may have a header."""
    return {column: str(name) for column, name in names.items() if isinstance(config.columns.get(column), int)}


def _log_columns(columns: Mapping[str, str], known: list[str]) -> None:
    renamed = {column: name for column, name in columns.items() if column != name}
    if renamed:
        log("columns: " + ", ".join(f"{column} is {name!r}" for column, name in renamed.items()))
    unused = [name for name in known if name not in columns.values()]
    if unused:
        log(f"columns not used: {', '.join(unused)}")


def _count_labels(data: Data, recipe: Recipe) -> list[str]:
    """Count the labels of the training rows, or compute mean and deviation of labels that are numbers."""
    known = [reference for reference in data.references["train"] if reference is not None]
    if known and all(isinstance(reference, float) for reference in known):
        recipe.number_scale = (float(np.mean(known)), float(np.std(known)))
        return []
    counts: Counter[str] = Counter()
    for reference in known if recipe.labels else []:
        counts.update(reference if isinstance(reference, list) else [reference])
    recipe.label_counts = {name: counts.get(name, 0) for name in recipe.labels}
    return recipe.use_label_counts(recipe.label_counts, len(known))


def no_test_split(data: Data) -> list[str]:
    """A sentence if there is no test split, so that every score is optimistic."""
    if "test" in data.splits:
        return []
    if "validation" not in data.splits:
        return ["no validation and no test split: the only scores are those of the rows that are trained on"]
    return [
        "no test split: validation also chose the checkpoint, so its scores are optimistic; splits.test=0.2 draws one "
        "from train, and folds=5 scores each row by a model that did not see it"
    ]


def load_again(config: RunConfig, recipe: Recipe) -> Data:
    """The rows of a finished run, without its further test sets.

    Args:
        config: Settings of the run.
        recipe: The task as `fresh_copy` gives it: reading infers the labels anew.
    """
    data, _ = load_data(replace(config, tests={}, by=None), recipe)
    return data


def redactions(data: Data) -> list[str]:
    """Sentences on what was replaced in the texts of each split; none where nothing was to be."""
    return redacting.described(data.redacted, {split: len(rows) for split, rows in data.splits.items()})


def rare_labels(recipe: Recipe) -> list[str]:
    """A sentence on labels with few rows in train; none where there are enough, or no labels."""
    rare = sorted((times, name) for name, times in recipe.label_counts.items() if times < FEW)
    if not rare:
        return []
    shown = []
    for times, name in rare[:SHOWN]:
        shown.append(f"{' '.join(name.replace('`', chr(39)).split())} ({times})")
    more = ", …" if len(rare) > SHOWN else ""
    return [f"labels with fewer than {FEW} training rows: {', '.join(shown)}{more}"]


def _with_guesses(config: RunConfig, recipe: Recipe, data: Data) -> RunConfig:
    """The settings with every guess about the data filled in; rows given from Python are replaced by a marker."""
    tests = {name: written_source(source) for name, source in config.tests.items()}
    columns = dict(config.columns)
    for column, name in data.columns.items():
        # A position in a file that turned out to have a header; prediction may read files with other columns.
        is_position = isinstance(columns.get(column), int) and name != str(columns[column])
        if column not in columns or is_position or isinstance(name, list):
            columns[column] = name
    splits = {**config.splits, **data.chosen}
    return replace(
        config,
        dataset=written_source(config.dataset),
        tests=tests,
        options=options(recipe),
        columns=columns,
        splits=splits,
    )


def _is_setting(part: Any) -> bool:
    """Whether a recipe file can hold the part of a dataset: a path, a list of paths, or how files are read."""
    if isinstance(part, list):
        return all(isinstance(entry, str) for entry in part)
    return isinstance(part, str | bool)


def written_source(source: Any) -> Any:
    """A dataset as a recipe file holds it: rows given from Python are replaced by a marker."""
    return source if can_be_written(source) else FROM_PYTHON


def can_be_written(dataset: Any) -> bool:
    """Whether a recipe file can name the dataset: a path, split -> path, or keywords of `load_dataset`."""
    if isinstance(dataset, str):
        return True
    if not isinstance(dataset, Mapping):
        return False
    if "path" not in dataset and not all(map(_is_setting, dataset.values())):
        return False
    try:
        json.dumps(dataset)
    except TypeError:
        return False
    return True
