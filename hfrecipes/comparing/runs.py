"""The runs that are compared: read from their folders, and refused where they were not scored on the same rows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from ..config.run_config import RunConfig
from ..data.checks import input_key
from ..errors import ConfigError, DataError, ModelError, NotFoundError, counted
from ..evaluation import scoring
from ..evaluation.scoring import Scores
from ..models.directory import is_adapter
from ..recipe import Recipe, Row
from ..repeats import OUT_OF_FOLD, names
from ..run_folder import contents
from ..run_folder.contents import RunInfo
from ..saved.run import find_run, settings_of

SHOWN = 80  # characters of a cell that an error shows


@dataclass(frozen=True)
class Run:
    """A run to compare: its scores, and the rows that they are over."""

    given: str
    """As the user named it."""
    path: Path
    """Folder of the run, or of all its folds."""
    model: Path
    """Folder of the model; of the first fold, where there are several."""
    config: RunConfig
    recipe: Recipe
    """The task with its options, without labels and tokenizer."""
    infos: Sequence[RunInfo]
    """Facts about the run, or about each of its folds."""
    scores: dict[str, Scores]
    split: str
    """Split that is compared: `test`, else `validation`; `out_of_fold` for folds."""
    lines: Sequence[Row]
    """Its rows with their predictions."""

    @property
    def rows(self) -> list[int]:
        """A number for each row, which rows with the same input and the same reference share."""
        columns = [name for name, column in self.recipe.columns.items() if not column.passthrough]
        keys = []
        for line in self.lines:
            keys.append(input_key(tuple(line.get(name) for name in columns)))
        return keys


def read_runs(given: Sequence[str | os.PathLike[str]], *, trust: bool) -> list[Run]:
    """The runs, whose rows are the same in the same order.

    Args:
        given: Folders of runs, or of all folds of one, or Hub ids.
        trust: As for `load`.

    Raises:
        HFRecipesError: There are fewer than two, or one of them twice; one is damaged or not complete; they are of
            different tasks, or were scored on different rows.
    """
    if len(given) < 2:
        raise ConfigError(
            f"found {counted(len(given), 'run')}, expected two or more:  hfrecipes compare <run> <run>;  to score one "
            "on other rows, hfrecipes evaluate"
        )
    for name in given:
        if not isinstance(name, str | os.PathLike):
            raise NotFoundError(f"found {name!r} ({type(name).__name__}), expected the folder of a run, or a Hub id")
    runs: list[Run] = []
    for name in given:
        run = _read(os.fspath(name), trust)
        for other in runs:
            if os.path.realpath(run.path) == os.path.realpath(other.path):
                raise ConfigError(f"{run.given} and {other.given} are the same run: name each run once")
        runs.append(run)
    for run in runs[1:]:
        _check_same_task(runs[0], run)
    for run in runs[1:]:
        _check_same_split(runs[0], run)
        _check_same_rows(runs[0], run)
    return [_in_order_of(runs[0], run) for run in runs]


def _read(name: str, trust: bool) -> Run:
    folder = Path(os.path.expanduser(name))
    if folder.is_dir() and (folder / contents.RECIPE).exists() and any(folder.glob("fold-*")):
        return _read_folds(name, folder, trust)
    for prefix, each in (("seed", "seed"), ("rows", "part of train")):
        parts = ", ".join(map(str, sorted(folder.glob(f"{prefix}-*"))))
        if parts:
            raise ModelError(f"{name} has a model for each {each}: compare one of them ({parts})")
    folder, is_foreign = find_run(name)
    if is_adapter(folder) and (folder.parent / contents.RUN).exists():
        folder = folder.parent
    if not contents.is_complete(folder):
        raise ModelError(f"{name} has no scores: give the command that started it again, which scores the saved model")
    config, recipe = settings_of(folder, is_foreign, trust)
    scores = _scores(name, folder)
    split = next((split for split in ("test", "validation") if scores.get(split)), "")
    if not split:
        raise DataError(
            f"{name} has scores of neither test nor validation, so there is nothing to compare: score both on the same "
            f"rows:  hfrecipes evaluate {name} <file>"
        )
    lines = _lines(name, folder, split)
    return Run(name, folder, folder, config, recipe, _infos(name, [folder]), scores, split, lines)


def _read_folds(name: str, folder: Path, trust: bool) -> Run:
    """All folds of a run as one, by their out-of-fold predictions.

    Raises:
        ModelError: Some folds have not been run yet.
    """
    parts = sorted(part for part in folder.glob("fold-*") if (part / contents.RUN).exists())
    if not parts or not contents.is_complete(folder):
        raise ModelError(f"the folds in {name} are not complete: give the command that started them again")
    config, recipe = settings_of(parts[0], False, trust)
    parts = [folder / part for part in names(config)]
    scores = _scores(name, folder)
    lines = _lines(name, folder, OUT_OF_FOLD)
    return Run(name, folder, parts[0], config, recipe, _infos(name, parts), scores, OUT_OF_FOLD, lines)


def _scores(name: str, folder: Path) -> dict[str, Scores]:
    try:
        return scoring.from_json(contents.read_scores(folder))
    except contents.DamagedError as error:
        raise ModelError(f"{name} cannot be compared: {error}") from error


def _infos(name: str, folders: Sequence[Path]) -> list[RunInfo]:
    infos = []
    for folder in folders:
        try:
            infos.append(RunInfo.read(folder) or RunInfo())
        except contents.DamagedError as error:
            raise ModelError(f"{name} cannot be compared: {error}") from error
    return infos


def _lines(name: str, folder: Path, split: str) -> list[Row]:
    """Rows of a split with their predictions.

    Raises:
        NotFoundError: There are none, as in a model on the Hub.
        ModelError: The file is damaged.
    """
    file = folder / contents.PREDICTIONS
    if not file.exists():
        raise NotFoundError(
            f"{name} has no {contents.PREDICTIONS}, which is not pushed to the Hub: score each model on the same rows "
            f"instead:  hfrecipes evaluate {name} <file>"
        )
    lines = []
    try:
        for line in contents.read_predictions(folder):
            if line.get("split", OUT_OF_FOLD) == split:
                lines.append(line)
            if not isinstance(line["prediction"], dict) or not isinstance(line["row"], int):
                raise ValueError(f"line {len(lines)} holds no prediction")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{name} cannot be compared: {contents.DamagedError(file, str(error))}") from error
    if not lines:
        damaged = contents.DamagedError(file, f"it has no row of {split}")
        raise ModelError(f"{name} cannot be compared: {damaged}")
    return lines


# --- the same task, the same rows --------------------------------------------------------------------------------


def _check_same_task(first: Run, other: Run) -> None:
    """Refuse runs whose scores mean different things.

    Raises:
        ConfigError: They are of different tasks, or their metrics differ.
    """
    tasks = type(first.recipe).task, type(other.recipe).task
    if tasks[0] != tasks[1]:
        raise ConfigError(
            f"{first.given} is a run of {tasks[0]} and {other.given} of {tasks[1]}: compare runs of one task"
        )
    scopes = [run.config.options.get("out_of_scope") for run in (first, other)]
    if scopes[0] != scopes[1]:
        raise ConfigError(
            f"{first.given} has out_of_scope={scopes[0]} and {other.given} {scopes[1]}, so that they are scored on "
            "other rows: compare runs with the same out_of_scope"
        )
    kinds = [run.config.options.get("problem_type") for run in (first, other)]
    if kinds[0] != kinds[1]:
        raise ConfigError(
            f"{first.given} has problem_type={kinds[0]} and {other.given} {kinds[1]}, so that their metrics differ: "
            "compare runs with the same problem_type"
        )


def _check_same_split(first: Run, other: Run) -> None:
    """Refuse a run of which another split was scored.

    Raises:
        DataError: It was.
    """
    if first.split != other.split:
        raise DataError(
            f"{first.given} was scored on {first.split} and {other.given} on {other.split}: compare runs that were "
            "scored on the same rows"
        )


def _check_same_rows(first: Run, other: Run) -> None:
    """Refuse runs that were scored on different rows.

    Raises:
        DataError: They were.
        ModelError: run.json says that they were not, so the predictions of one have changed since.
    """
    counts, other_counts = Counter(first.rows), Counter(other.rows)
    if counts == other_counts:
        return
    split = first.split
    kept = first.infos[0].data.get(split)
    if kept and kept == other.infos[0].data.get(split):
        raise ModelError(
            f"{first.given} and {other.given} were scored on the same rows of {split}, but the rows in their "
            f"{contents.PREDICTIONS} differ, so one of these files has changed: delete it, and give the command of "
            "its run again, which scores the saved model"
        )
    only_first, only_other = (counts - other_counts).total(), (other_counts - counts).total()
    raise DataError(
        f"{first.given} and {other.given} were scored on different rows of {split}: {only_first} of "
        f"{len(first.lines)} rows are only in the first, {only_other} of {len(other.lines)} only in the second"
        f"{_first_difference(first, other)}; score both on the same rows:  hfrecipes evaluate <run> <file>"
    )


def _first_difference(first: Run, other: Run) -> str:
    """The first row of one run that the other one does not have."""
    known = set(other.rows)
    for key, line in zip(first.rows, first.lines, strict=True):
        if key not in known:
            cells = [f"{name}={line[name]!r:.{SHOWN}}" for name in first.recipe.columns if name in line]
            return f", such as row {line['row']} of the first ({', '.join(cells)[: 2 * SHOWN]})"
    return ""


def _in_order_of(first: Run, run: Run) -> Run:
    """The run with its rows in the order of those of the first one."""
    keys, wanted = run.rows, first.rows
    if keys == wanted:
        return run
    lines_of: dict[int, list[Row]] = {}
    for key, line in zip(keys, run.lines, strict=True):
        lines_of.setdefault(key, []).append(line)
    return replace(run, lines=[lines_of[key].pop(0) for key in wanted])


# --- names -------------------------------------------------------------------------------------------------------


def short_names(paths: Sequence[str]) -> list[str]:
    """The last parts of the paths, as few as tell them apart.

    Example:
        >>> short_names(["runs/full", "runs/lora"]), short_names(["a/x", "b/x"])
        (['full', 'lora'], ['a/x', 'b/x'])
    """
    parts = [PurePath(path).parts or (path,) for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        short = ["/".join(part[-length:]) for part in parts]
        if len(set(short)) == len(short):
            return short
    return list(paths)
