"""Before any training: settle the settings, read and check the rows, and see whose folder it is."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from . import adapters, checks, folder, hub, model, predict, repeats, scoring
from . import data as data_module
from ._version import __version__
from .config import SPLITS, RunConfig, merge, misfit, place_bare_keys, read_recipe_file, resolve, training_types
from .data import Data
from .errors import ConfigError, DataError, MissingPackageError, NotFoundError, nearest
from .portable import origin, portable
from .recipe import Recipe, arguments_name
from .registry import find, find_recipe_file, recipe_files, tasks
from .say import say

if TYPE_CHECKING:
    from datasets import Dataset

FROM_PYTHON = "(rows given from Python)"
# What every run does unless told otherwise; a recipe's own defaults come on top.
DEFAULTS: dict[str, Any] = {
    "eval_strategy": "epoch",
    "logging_strategy": "epoch",
    "save_total_limit": 1,
    "train_sampling_strategy": "group_by_length",
    "restore_callback_states_from_checkpoint": True,
    "report_to": "none",
    "seed": 42,
}
LORA_LEARNING_RATE = 5e-4


@dataclass
class Plan:
    """A run whose settings and rows are settled, and whose folder is free or its own.

    Attributes:
        config: Every setting, defaults and guesses filled in.
        recipe: The task, with its labels.
        data: Rows by split.
        golds: Answer of each row, by split; None where there is none.
        path: Folder of the run.
        about: What identifies the run: versions, and a fingerprint of each split.
    """

    config: RunConfig
    recipe: Recipe
    data: Data
    golds: dict[str, list[Any]]
    path: Path
    about: dict[str, Any]


def make_plan(what: str | Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """Settle settings and rows, and refuse what cannot be run; cheap steps first.

    Raises:
        HFRecipesError: A setting, the data, the model's folder or the output folder cannot be used.
    """
    config, recipe = configure(what, settings)
    model.check_start(model.name_and_keywords(config)[0])
    path = Path(config.output_dir or default_folder(what, config))
    folder.check_place(path)
    data, config = load_data(config, recipe)
    golds = {split: checks.golds(recipe, rows) for split, rows in data.splits.items()}
    check_metrics(config, recipe, data.splits["train"])
    prints = {split: f"{len(rows)} rows, {checks.fingerprint(rows)}" for split, rows in data.splits.items()}
    folder.claim(path, config, prints)
    about = {"hfrecipes": __version__, "versions": versions(), "data": prints, "origin": origin(config)}
    return Plan(config, recipe, data, golds, path, {**about, "shared": _shared(config)})


def _shared(config: RunConfig) -> dict[str, Any]:
    """Settings as others may see them, told while it can be seen which names are places of this machine."""
    shown = portable(config)
    return {name: getattr(shown, name) for name in ("task", "model", "dataset", "metrics", "training", "lora")}


def check(what: str | Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """Settle the settings and read every row, without training, and without writing anything.

    Args:
        what: As for `run`.
        **settings: As for `run`; the model may be left out.

    Returns:
        Task, rows by split, labels, columns, and the resolved settings; with a model also the share of cut texts by
        split, and an encoded row as `example`.

    Raises:
        HFRecipesError: As for `run`.

    Example:
        >>> hfrecipes.check("text-classification", dataset="texts.csv")["labels"]  # doctest: +SKIP
    """
    config, recipe = configure(what, settings)
    data, config = load_data(config, recipe)
    golds = {split: checks.golds(recipe, rows) for split, rows in data.splits.items()}
    check_metrics(config, recipe, data.splits["train"])
    for note in checks.repeated(data, recipe):
        say(note)
    report: dict[str, Any] = {"task": config.task, "rows": {split: len(rows) for split, rows in data.splits.items()}}
    report |= {"labels": recipe.labels, "columns": data.columns, "config": config}
    if config.model:
        model.check_start(model.name_and_keywords(config)[0])
        load_tokenizer(config, recipe)
        encoded = encode(recipe, data, golds)
        report["cut"] = {
            split: max(rows_cut(features, name) for name in recipe.cut_by) / len(data.splits[split])
            for split, features in encoded.items()
        }
        say_lengths(encoded, data, recipe)
        report["example"] = recipe.illustrate(encoded["train"][0])
    return report


# --- settings ----------------------------------------------------------------------------------------------------


def configure(what: str | Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[RunConfig, Recipe]:
    """Merge the layers, check every key, and make the recipe.

    Raises:
        ConfigError: With all that is wrong.
    """
    layers = [_settings_of(what), {key: value for key, value in settings.items() if value is not None}]
    task = next((layer["task"] for layer in reversed(layers) if isinstance(layer.get("task"), str)), None)
    if task is None:
        raise ConfigError(f"no task: name one of {', '.join(tasks())}")
    kind = find(task)
    lacking = [name for name in kind.packages if find_spec(name) is None]
    if lacking:
        raise MissingPackageError(f"{task} needs {' and '.join(lacking)}: pip install 'hfrecipes[generation]'")
    options, training = kind.option_types(), training_types(arguments_name(kind))
    placed = [place_bare_keys(layer, options=options, training=training) for layer in layers]
    config = resolve(merge(*placed), option_types=options, training=training)
    _check_keywords(config, kind)
    defaults = {**DEFAULTS, **kind.defaults, **({"learning_rate": LORA_LEARNING_RATE} if config.lora else {})}
    config = dataclasses.replace(config, training={**defaults, **config.training})
    return config, kind(**config.options)


def _check_keywords(config: RunConfig, kind: type[Recipe]) -> None:
    """Keywords of the blocks whose libraries are imported only where they are used."""
    problems = []
    if isinstance(config.early_stopping, dict):
        known = ["early_stopping_patience", "early_stopping_threshold"]
        problems += _unknown("early_stopping", config.early_stopping, known)
        for key, value in config.early_stopping.items():
            problems += misfit(f"early_stopping.{key}", value, float if key.endswith("threshold") else int)
    if not 0 <= config.training.get("label_smoothing_factor", 0.0) < 1:
        problems.append(
            f"label_smoothing_factor: found {config.training['label_smoothing_factor']}, expected 0 to below 1"
        )
    if config.lora == {}:
        problems.append("lora: found an empty block, expected true, false or keywords of LoraConfig")
    if config.lora and config.options.get("freeze"):
        problems.append("freeze: leave it out, lora freezes all but the adapters and the head")
    problems += repeats.problems(config) + hub.problems(config, origin(config)["model"])
    problems += adapters.problems(config.lora, kind) + model.quantization_problems(config)
    problems += model.label_problems(config)
    if problems:
        raise ConfigError(problems)


def _unknown(block: str, given: Mapping[str, Any], known: list[str]) -> list[str]:
    few = f"; it takes {' and '.join(known)}" if len(known) < 5 else ""
    return [f"unknown setting {block}.{key}{nearest(key, known) or few}" for key in given if key not in known]


def check_metrics(config: RunConfig, recipe: Recipe, train: Dataset) -> None:
    """Metrics that the user named, and the one that picks the checkpoint, before anything is trained.

    Raises:
        ConfigError: There is no such score.
    """
    scoring.try_metrics(config.metrics, recipe, train)
    best = str(config.training.get("metric_for_best_model", "loss")).removeprefix("eval_")
    if best == "loss":
        return
    few = train.select(range(min(2, len(train))))
    made = recipe.baseline(few)(few)
    if recipe.written_rows is not None:  # what the model writes is scored after training alone
        made = list(map(scoring.without_text, made))
    known = list(dict.fromkeys(["loss", *recipe.score(made, checks.golds(recipe, few))]))
    if best not in known:
        raise ConfigError(f"metric_for_best_model: no score {best}{nearest(best, known)}; there are {', '.join(known)}")


def _settings_of(what: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(what, Mapping):
        return dict(what)
    file = None if what.endswith(".py") else find_recipe_file(what)
    if file is not None:
        return read_recipe_file(file)
    try:
        find(what)
    except NotFoundError as error:
        if "/" in what:
            raise NotFoundError(f"{what} is no recipe file; there are {', '.join(recipe_files())}") from error
        raise
    return {"task": what}


def default_folder(what: str | Mapping[str, Any], config: RunConfig) -> str:
    """Name that the same command always gives, so that it finds its run again."""
    several = ""
    if repeats.are_wanted(config):
        several = f"-{len(repeats.names(config))}-{'seeds' if config.seeds else 'folds'}"
    if isinstance(what, str) and what != config.task and not what.endswith(".py"):
        return str(Path("runs", PurePath(what).stem + several))
    source = config.dataset.get("path", "data") if isinstance(config.dataset, dict) else config.dataset
    dataset = PurePath(source).stem.strip("*.") if isinstance(source, str) and source != FROM_PYTHON else "data"
    return str(Path("runs", f"{PurePath(config.task).stem}-{dataset}-{model_name(config)}{several}"))


def model_name(config: RunConfig) -> str:
    """Last part of the model's name; of a model inside a package, the package."""
    name = str(config.model["path"] if isinstance(config.model, dict) else config.model).partition("#")[0]
    return name.removeprefix("pkg://").partition("/")[0] if name.startswith("pkg://") else PurePath(name).name


# --- rows --------------------------------------------------------------------------------------------------------


def load_data(config: RunConfig, recipe: Recipe) -> tuple[Data, RunConfig]:
    """Rows of all splits, checked, labels read; and the settings with what was settled on the way."""
    if config.dataset is None:
        raise ConfigError("no dataset: add dataset=<hub id, file or folder>")
    if isinstance(config.dataset, str) and config.dataset == FROM_PYTHON:
        raise ConfigError("this run had its rows given from Python: add dataset=<hub id, file, folder or rows>")
    data = data_module.load(config, recipe)
    data_module.number_rows(data)
    recipe.labels = data.class_names
    for note in recipe.study(data.splits["train"]):
        say(note)
    checks.check(data, recipe)
    data_module.limit(data, config)
    repeats.take_fold(data, recipe, config)
    if "validation" not in data.splits and "validation" not in config.splits:
        _draw_validation(data, recipe, config.training["seed"])
    data_module.drop_groups(data)
    for note in recipe.count(data.splits["train"]):
        say(note)
    data.notes = checks.scored_as_wrong(data, recipe)
    for note in [*data.notes.values(), *untested(data)]:
        say(note)
    return data, _settled(config, recipe, data)


def untested(data: Data) -> list[str]:
    """A sentence where no split is left that decided nothing."""
    if "test" in data.splits:
        return []
    return ["no test split: the validation scores also picked the checkpoint, and are flattered by that"]


def _draw_validation(data: Data, recipe: Recipe, seed: int) -> None:
    train = data.splits["train"]
    repeated = checks.repeated_rows(train, recipe)
    groups = repeats.groups_of(train, recipe)
    kept, held = data_module.hold_out(train, recipe.strata(train), groups, seed, repeated)
    data.splits = {**data.splits, "train": kept, "validation": held}
    data.splits = {split: data.splits[split] for split in SPLITS if split in data.splits}
    say(f"validation: {len(held)} rows drawn from train with seed {seed}, {len(kept)} left to train on")


def _settled(config: RunConfig, recipe: Recipe, data: Data) -> RunConfig:
    """The settings with every guess about the data filled in; rows given from Python leave a mark in their place."""
    dataset = config.dataset if _is_written_down(config.dataset) else FROM_PYTHON
    options = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)}
    columns = {**config.columns, **{task: config.columns.get(task, own) for task, own in data.columns.items()}}
    splits = {**config.splits, **data.chosen}
    return dataclasses.replace(config, dataset=dataset, options=options, columns=columns, splits=splits)


def _is_written_down(dataset: Any) -> bool:
    """Whether a recipe file can name the dataset: a path, split -> path, or keywords of `load_dataset`."""
    if isinstance(dataset, str):
        return True
    if not isinstance(dataset, Mapping) or not (
        "path" in dataset or all(isinstance(one, str) for one in dataset.values())
    ):
        return False
    try:
        json.dumps(dataset)
    except TypeError:
        return False
    return True


def load_tokenizer(config: RunConfig, recipe: Recipe) -> None:
    """Tokenizer and length limit of the model, and its own order of the labels where it knows them."""
    recipe.tokenizer, model_config = model.load_tokenizer(config, recipe.padding_side)
    if recipe.labels:
        recipe.labels = model.checkpoint_labels(recipe.labels, model_config)
    model.fit_length(recipe, model_config, adapters.virtual_tokens(config.lora))
    for sentence in recipe.settle(model_config):
        say(sentence)


def encode(recipe: Recipe, data: Data, golds: Mapping[str, list[Any]]) -> dict[str, Dataset]:
    """Features of the rows of each split; targets are left out unless every row has an answer."""
    encoded = {}
    for split, rows in data.splits.items():
        if any(gold is None for gold in golds[split]):
            rows = rows.remove_columns([name for name in recipe.answers() if name in rows.column_names])
        encoded[split] = predict.encode(recipe, rows, training=split == "train")
        if not len(encoded[split]):
            raise DataError(
                f"{split}: of no row anything can be learnt within {recipe.max_length} tokens: raise max_length"
            )
    return encoded


def say_lengths(encoded: Mapping[str, Dataset], data: Data, recipe: Recipe) -> list[str]:
    """How long the features are, how many each split makes, and the share of texts that was cut.

    Returns:
        A sentence for each split of which something was cut, left out, or not shown to the model.
    """
    limits = []
    for split, features in encoded.items():
        rows, lengths = len(data.splits[split]), np.asarray(features["length"])
        parts = f" in {len(features)} pieces" if len(features) != rows else ""
        cut = ", ".join(_cut_shares(features, rows, recipe))
        about = f", {lengths.mean():.0f} tokens on average, {lengths.max()} at most, {cut or 'none cut'}"
        say(f"{split}: {rows} rows{parts}{about}")
        unknown = unknown_share(features, recipe.tokenizer.unk_token_id) if split == "train" else 0.0
        if unknown > 0.05:
            say(f"{split}: {unknown:.0%} of the tokens are unknown to the model: is it of the language of the texts?")
        for name, reason in recipe.hidden_by.items():
            if hidden := rows_cut(features, name):
                limits.append(f"{split}: {hidden} of {rows} rows {reason}")
                say(limits[-1])
        lost = rows - len(np.unique(features["row"])) if "row" in features.column_names else 0
        if lost:
            say(f"{split}: of {lost} rows nothing is left within {recipe.max_length} tokens; they are left out")
        limits += [f"{split}: of {rows} rows {cut}"] * bool(cut) + [
            f"{split}: {lost} rows left out as too long"
        ] * bool(lost)
    return limits


def _cut_shares(features: Dataset, rows: int, recipe: Recipe) -> list[str]:
    cut = {limit: number for name, limit in recipe.cut_by.items() if (number := rows_cut(features, name))}
    return [f"{number} ({number / rows:.1%}) cut at {limit}={getattr(recipe, limit)}" for limit, number in cut.items()]


def unknown_share(features: Dataset, unknown: int | None) -> float:
    """Share of the tokens of the first features that the model has no word for."""
    first = [np.asarray(ids).ravel() for ids in features["input_ids"][:500] if not isinstance(ids[0], list)]
    return float(np.mean(np.concatenate(first) == unknown)) if first and unknown is not None else 0.0


def rows_cut(features: Dataset, name: str) -> int:
    """Number of the rows of which something was cut off, as the feature tells; 0 where a task cuts nothing."""
    if name not in features.column_names:
        return 0
    cut = np.flatnonzero(features[name][:])
    return len(np.unique(np.asarray(features["row"][:])[cut])) if "row" in features.column_names else len(cut)


def versions() -> dict[str, str]:
    """Versions of what the run stands on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "datasets", "evaluate", "accelerate", "peft")}


def machine() -> str:
    """What the run is carried out on."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {torch.cuda.device_count()} visible"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"
