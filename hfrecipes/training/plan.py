"""Before any training: resolve the settings, read and check the rows, and claim the folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from .. import repeats, run_folder
from .._version import __version__
from ..config import RunConfig, merge, misfit, place_bare_keys, read_recipe_file, resolve, training_types
from ..data import checks
from ..data.features import encode, rows_cut, say_lengths
from ..data.prepare import FROM_PYTHON, load_data
from ..data.rows import Data
from ..errors import ConfigError, MissingPackageError, NotFoundError, nearest
from ..evaluation import scoring
from ..hub.names import origin, portable
from ..hub.settings import problems as settings_problems
from ..log import log
from ..models import adapters
from ..models.directory import check_start, name_and_keywords
from ..models.loading import checkpoint_labels, fit_length, label_problems, quantization_problems
from ..models.loading import load_tokenizer as loading_load_tokenizer
from ..recipe import Recipe, arguments_name
from ..registry import find, find_recipe_file, recipe_files, tasks

if TYPE_CHECKING:
    from datasets import Dataset

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
    references: dict[str, list[Any]]
    path: Path
    about: dict[str, Any]


def make_plan(what: str | Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """Settle settings and rows, and refuse what cannot be run; cheap steps first.

    Raises:
        HFRecipesError: A setting, the data, the model's folder or the output folder cannot be used.
    """
    config, recipe = configure(what, settings)
    check_start(name_and_keywords(config)[0])
    path = Path(config.output_dir or default_folder(what, config))
    run_folder.check_place(path)
    data, config = load_data(config, recipe)
    references = {split: checks.references(recipe, rows) for split, rows in data.splits.items()}
    check_metrics(config, recipe, data.splits["train"])
    prints = {split: f"{len(rows)} rows, {checks.fingerprint(rows)}" for split, rows in data.splits.items()}
    run_folder.claim(path, config, prints)
    about = {"hfrecipes": __version__, "versions": versions(), "data": prints, "origin": origin(config)}
    return Plan(config, recipe, data, references, path, {**about, "shared": _shared(config)})


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
    references = {split: checks.references(recipe, rows) for split, rows in data.splits.items()}
    check_metrics(config, recipe, data.splits["train"])
    for note in checks.repeated(data, recipe):
        log(note)
    report: dict[str, Any] = {"task": config.task, "rows": {split: len(rows) for split, rows in data.splits.items()}}
    report |= {"labels": recipe.labels, "columns": data.columns, "config": config}
    if config.model:
        check_start(name_and_keywords(config)[0])
        load_tokenizer(config, recipe)
        encoded = encode(recipe, data, references)
        report["cut"] = {
            split: max(rows_cut(features, name) for name in recipe.cut_by) / len(data.splits[split])
            for split, features in encoded.items()
        }
        say_lengths(encoded, data, recipe)
        report["example"] = recipe.illustrate(encoded["train"][0])
    return report


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
    problems += repeats.problems(config) + settings_problems(config, origin(config)["model"])
    problems += adapters.problems(config.lora, kind) + quantization_problems(config)
    problems += label_problems(config)
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
    known = list(dict.fromkeys(["loss", *recipe.score(made, checks.references(recipe, few))]))
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


def load_tokenizer(config: RunConfig, recipe: Recipe) -> None:
    """Tokenizer and length limit of the model, and its own order of the labels where it knows them."""
    recipe.tokenizer, model_config = loading_load_tokenizer(config, recipe.padding_side)
    if recipe.labels:
        recipe.labels = checkpoint_labels(recipe.labels, model_config)
    fit_length(recipe, model_config, adapters.virtual_tokens(config.lora))
    for sentence in recipe.adapt_to_model(model_config):
        log(sentence)


def versions() -> dict[str, str]:
    """Versions of what the run stands on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "datasets", "evaluate", "accelerate", "peft")}
