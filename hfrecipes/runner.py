"""The one runner: feed a recipe to the Trainer, and leave a model with its honest scores."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from . import data as data_module
from . import folder, predict
from . import hub as hub_module
from . import model as model_module
from ._version import __version__
from .card import write_card
from .config import RunConfig, merge, read_recipe_file, resolve, training_types
from .data import Data
from .errors import ConfigError, NotFoundError
from .predict import Predictor
from .recipe import Recipe, Row, arguments_name
from .registry import find, find_recipe_file, recipe_files, tasks

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

logger = logging.getLogger("hfrecipes")


def say(sentence: str) -> None:
    """Tell what was decided, from one process of several."""
    if os.environ.get("RANK", "0") == "0":
        logger.info(sentence)


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
PATIENCE = 2


@dataclass
class Result:
    """What a run gives back.

    Attributes:
        metrics: Split -> metric -> value.
        path: Folder with the model, its scores and its predictions.
        trainer: Plain `transformers.Trainer`, with the best model in it.
        scores: As `metrics`, each value with its 95 % interval and its baseline.
    """

    metrics: dict[str, dict[str, float]]
    path: Path
    trainer: Trainer
    scores: dict[str, dict[str, dict[str, Any]]]
    predictor: Predictor

    def predict(self, rows: Any) -> Any:
        """Predict new rows: a text, a list of texts, or rows with the columns of training."""
        return self.predictor.predict(rows)

    def __repr__(self) -> str:
        best = self.predictor.recipe.best_metric[0]
        shown = ", ".join(
            f"{split} {best} {values[best]:.3f}" for split, values in self.metrics.items() if best in values
        )
        return f"Result({shown}, path={str(self.path)!r})"


@dataclass
class Plan:
    """A run whose settings and rows are settled, and whose folder is free or its own."""

    config: RunConfig
    recipe: Recipe
    data: Data
    path: Path
    about: dict[str, Any]


@dataclass
class Job(Plan):
    """A run that is ready to train."""

    encoded: dict[str, Dataset]
    trainer: Trainer


def run(
    what: str | Mapping[str, Any],
    *,
    model: str | os.PathLike[str] | dict[str, Any] | None = None,
    dataset: Any = None,
    output_dir: str | os.PathLike[str] | None = None,
    splits: dict[str, str | None] | None = None,
    columns: dict[str, str | int] | None = None,
    limit: int | dict[str, int] | None = None,
    metrics: list[str] | None = None,
    options: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    early_stopping: bool | dict[str, Any] | None = None,
    lora: bool | dict[str, Any] | None = None,
    hub: str | dict[str, Any] | None = None,
    **bare_keys: Any,
) -> Result:
    """Fine-tune, evaluate and save.

    The same call again resumes an interrupted run, and returns a complete one as it is.

    Args:
        what: Task name, recipe file (a path, or `<task>/<name>` of one that ships), or dict of settings.
        model: Hub id or folder, or keywords of `from_pretrained` with the name under `path`.
        dataset: Hub id, file, folder, glob, URL, split -> any of these, keywords of `load_dataset`, or rows: a
            DataFrame, a list of dicts, a `Dataset`, a `DatasetDict`.
        output_dir: Folder that the run leaves; `runs/<task>-<dataset>-<model>` where not given.
        splits: Split of the dataset that serves as `train`, `validation`, `test`; None for none.
        columns: Column of the dataset for each column of the task; a position in a file without header.
        limit: Rows kept of each split, drawn with the seed.
        metrics: Further `evaluate` metrics: shipped name, Hub id, or path to a .py file.
        options: The task's own options.
        training: Keywords of `TrainingArguments`.
        early_stopping: Keywords of `EarlyStoppingCallback`; False for none.
        lora: Keywords of `LoraConfig`; True for defaults.
        hub: Hub repository to push to, or keywords of `create_repo`.
        **bare_keys: Keys of `options` or `training`, without the block: `learning_rate=3e-5`.

    Raises:
        HFRecipesError: A setting, the data, the model or the output folder cannot be used; nothing was written.

    Example:
        >>> result = hfrecipes.run("text-classification", model="<hub id>", dataset="texts.csv")  # doctest: +SKIP
        >>> result.metrics["test"]["accuracy"]  # doctest: +SKIP
    """
    settings = {name: value for name, value in locals().items() if name not in ("what", "bare_keys")}
    return _run(what, {**settings, **bare_keys})


def _run(what: str | Mapping[str, Any], settings: Mapping[str, Any]) -> Result:
    start = time.perf_counter()
    plan = make_plan(what, settings)
    if folder.is_complete(plan.path):
        say(f"this run is complete: {plan.path}")
        return _reload(plan)
    job = make_job(plan)
    if _writes(job):
        hub_module.preflight(job.config.hub)
        folder.begin(job.path, job.config, job.about)
    _train(job)
    result = _evaluate_and_save(job, start)
    if job.config.hub and _writes(job):
        hub_module.push(job.path, job.config.hub, say)
    return result


def build(what: str | Mapping[str, Any], **settings: Any) -> Trainer:
    """Everything up to training: a plain `transformers.Trainer` with data, model, scores and early stopping in place.

    Args:
        what: As for `run`.
        **settings: As for `run`.

    Raises:
        HFRecipesError: As for `run`.

    Example:
        >>> trainer = hfrecipes.build("text-classification/quickstart", num_train_epochs=1)  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
    """
    return make_job(make_plan(what, settings)).trainer


def check(what: str | Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """Settle the settings and read every row, without training, and without writing anything.

    Returns:
        Task, rows by split, labels, share of cut texts, and the resolved settings.

    Raises:
        HFRecipesError: As for `run`.
    """
    config, recipe = configure(what, settings)
    data, config = load_data(config, recipe)
    for note in data_module.repeated(data, recipe):
        say(note)
    report: dict[str, Any] = {"task": config.task, "rows": {split: len(rows) for split, rows in data.splits.items()}}
    report |= {"labels": recipe.labels, "columns": data.columns, "config": config}
    if config.model:
        load_tokenizer(config, recipe)
        encoded = {split: encode(recipe, rows) for split, rows in data.splits.items()}
        report["cut"] = {split: float(np.mean(rows["cut"])) for split, rows in encoded.items()}
        say_lengths(encoded, recipe)
    return report


def make_plan(what: str | Mapping[str, Any], settings: Mapping[str, Any]) -> Plan:
    """Settle settings and rows, and refuse a folder that holds something else; cheap steps first."""
    config, recipe = configure(what, settings)
    model_module.check_folder(model_module.name_and_keywords(config)[0])
    data, config = load_data(config, recipe)
    path = Path(config.output_dir or default_folder(what, config))
    fingerprints = {split: f"{len(rows)} rows, {data_module.fingerprint(rows)}" for split, rows in data.splits.items()}
    folder.claim(path, config, fingerprints)
    predict.try_metrics(config.metrics, recipe, predict.golds(recipe, data.splits["train"]))
    return Plan(config, recipe, data, path, {"hfrecipes": __version__, "versions": versions(), "data": fingerprints})


def make_job(plan: Plan) -> Job:
    """Encode the rows, load the model, and make the Trainer."""
    for note in data_module.repeated(plan.data, plan.recipe):
        say(note)
    arguments = make_arguments(plan.config, plan.recipe, plan.path, has_validation="validation" in plan.data.splits)
    load_tokenizer(plan.config, plan.recipe)
    with arguments.main_process_first():
        encoded = {split: encode(plan.recipe, rows) for split, rows in plan.data.splits.items()}
    say_lengths(encoded, plan.recipe)
    trainer = make_trainer(plan, arguments, encoded)
    return Job(**vars(plan), encoded=encoded, trainer=trainer)


# --- settings ----------------------------------------------------------------------------------------------------


def configure(what: str | Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[RunConfig, Recipe]:
    """Merge the layers, check every key, and make the recipe."""
    given = merge(_settings_of(what), {key: value for key, value in settings.items() if value is not None})
    if not isinstance(given.get("task"), str):
        raise ConfigError(f"no task: name one of {', '.join(tasks())}")
    kind = find(given["task"])
    config = resolve(given, option_types=kind.option_types(), training=training_types(arguments_name(kind)))
    return config, kind(**config.options)


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
    if isinstance(what, str) and what != config.task and not what.endswith(".py"):
        return str(Path("runs", PurePath(what).stem))
    source = config.dataset.get("path", "data") if isinstance(config.dataset, dict) else config.dataset
    dataset = PurePath(source).stem.strip("*.") if isinstance(source, str) and source != FROM_PYTHON else "data"
    return str(Path("runs", f"{PurePath(config.task).stem}-{dataset}-{model_name(config)}"))


def model_name(config: RunConfig) -> str:
    """Last part of the model's name; of a model inside a package, the package."""
    name = str(config.model["path"] if isinstance(config.model, dict) else config.model).partition("#")[0]
    return name.removeprefix("pkg://").partition("/")[0] if name.startswith("pkg://") else PurePath(name).name


# --- rows --------------------------------------------------------------------------------------------------------


def load_data(config: RunConfig, recipe: Recipe) -> tuple[Data, RunConfig]:
    """Rows of all splits, checked, labels read; and the settings with what was settled on the way."""
    if config.dataset is None:
        raise ConfigError("no dataset: add dataset=<hub id, file or folder>")
    if config.dataset == FROM_PYTHON:
        raise ConfigError("this run had its rows given from Python: add dataset=<hub id, file, folder or rows>")
    data = data_module.load(config, type(recipe), say)
    recipe.labels = data.class_names
    for note in recipe.study(data.splits["train"]):
        say(note)
    data_module.check(data, recipe, say, drop=bool(config.options.get("drop_invalid")))
    if "validation" not in data.splits and "validation" not in config.splits:
        train, seed = data.splits["train"], config.training.get("seed", DEFAULTS["seed"])
        data.splits["train"], held = data_module.hold_out(train, recipe.strata(train), seed)
        data.splits = {"train": data.splits["train"], "validation": held, **data.splits}
        say(
            f"validation: {len(held)} rows drawn from train with seed {seed}, {len(train) - len(held)} left to train on"
        )
    if "test" not in data.splits:
        say("no test split: the validation scores below also picked the checkpoint, and are flattered by that")
    return data, _settled(config, recipe, data)


def _settled(config: RunConfig, recipe: Recipe, data: Data) -> RunConfig:
    """The settings with every guess about the data filled in; rows given from Python leave a mark in their place."""
    named = isinstance(config.dataset, str) or _is_keywords(config.dataset)
    dataset = config.dataset if named else FROM_PYTHON
    options = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)}
    columns = {task: config.columns.get(task, own) for task, own in data.columns.items()}
    splits = {**config.splits, **data.chosen}
    return dataclasses.replace(config, dataset=dataset, options=options, columns=columns, splits=splits)


def _is_keywords(dataset: Any) -> bool:
    return isinstance(dataset, Mapping) and all(isinstance(value, str | int | None) for value in dataset.values())


def load_tokenizer(config: RunConfig, recipe: Recipe) -> None:
    """Tokenizer and length limit of the model, and its own order of the labels where it knows them."""
    recipe.tokenizer, model_config = model_module.load_tokenizer(config)
    if recipe.labels:
        recipe.labels = model_module.checkpoint_labels(recipe.labels, model_config)
    limit = model_module.longest_input(recipe.tokenizer, model_config)
    wanted = getattr(recipe, "max_length", None)
    if limit and wanted and wanted > limit:
        say(f"max_length: {limit}, the most that the model reads ({wanted} was wanted)")
        recipe.max_length = limit  # type: ignore[attr-defined]


def encode(recipe: Recipe, rows: Dataset) -> Dataset:
    """Features of the rows; labels are left out unless every row has one."""
    gold = [name for name, facts in recipe.columns.items() if facts.gold and name in rows.column_names]
    if gold and any(reference is None for reference in predict.golds(recipe, rows)):
        rows = rows.remove_columns(gold)
    return predict.encode(recipe, rows)


def say_lengths(encoded: Mapping[str, Dataset], recipe: Recipe) -> None:
    """How long the encoded rows are, and the share that was cut."""
    for split, rows in encoded.items():
        lengths, cut = np.asarray(rows["length"]), np.asarray(rows["cut"])
        share = (
            f", {cut.mean():.1%} of the texts cut at {getattr(recipe, 'max_length', '')}" if cut.any() else ", none cut"
        )
        say(f"{split}: {len(lengths)} rows, {lengths.mean():.0f} tokens on average, {lengths.max()} at most{share}")


# --- the Trainer -------------------------------------------------------------------------------------------------


def make_trainer(plan: Plan, arguments: TrainingArguments, encoded: Mapping[str, Dataset]) -> Trainer:
    """A plain Trainer, with scores and early stopping where there is validation."""
    import transformers

    config, recipe = plan.config, plan.recipe
    transformers.set_seed(arguments.seed)  # the new head is drawn while the model loads
    network = model_module.load_model(config, recipe, say)
    keywords = (
        config.early_stopping if isinstance(config.early_stopping, dict) else {"early_stopping_patience": PATIENCE}
    )
    stops = bool(config.early_stopping) and arguments.load_best_model_at_end
    trainer: Trainer = getattr(transformers, recipe.trainer)(
        network,
        arguments,
        data_collator=predict.collator(recipe),
        train_dataset=encoded["train"],
        eval_dataset=encoded.get("validation"),
        processing_class=recipe.tokenizer,
        preprocess_logits_for_metrics=recipe.reduce,
        callbacks=[transformers.EarlyStoppingCallback(**keywords)] if stops else [],
    )
    if "validation" in encoded:
        predict.attach_scores(trainer, recipe, plan.data.splits["validation"], encoded["validation"])
    _mend_loss_scale(trainer, encoded["train"])
    return trainer


def make_arguments(config: RunConfig, recipe: Recipe, path: Path, *, has_validation: bool) -> TrainingArguments:
    """TrainingArguments: common defaults, the recipe's, what this machine is good at, what the user said.

    Raises:
        ConfigError: Values that TrainingArguments refuses together.
    """
    import transformers

    defaults = {**DEFAULTS, **recipe.defaults}
    if config.lora:
        defaults["learning_rate"] = LORA_LEARNING_RATE
    machine, sentence = model_module.machine_arguments(config.training)
    if not {"bf16", "fp16"} & set(config.training):
        say(sentence)
    chosen = {**defaults, **machine, **config.training}
    if not has_validation:
        chosen["eval_strategy"] = "no"
    rhythm = chosen["eval_strategy"] if has_validation else "epoch"
    chosen.setdefault("save_strategy", rhythm)
    if rhythm == "steps" and "eval_steps" in chosen:
        chosen.setdefault("save_steps", chosen["eval_steps"])
    if has_validation and chosen["eval_strategy"] != "no":
        chosen.setdefault("load_best_model_at_end", chosen["save_strategy"] != "no")
        if "metric_for_best_model" not in chosen:
            chosen["metric_for_best_model"], chosen["greater_is_better"] = recipe.best_metric
    chosen |= {"output_dir": str(path), "remove_unused_columns": False}
    try:
        arguments: TrainingArguments = getattr(transformers, arguments_name(type(recipe)))(**chosen)
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"training: {' '.join(str(error).split())}") from error
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if arguments.world_size != processes:
        raise ConfigError(f"{processes} processes were started and {arguments.world_size} joined: start with torchrun")
    return arguments


def _mend_loss_scale(trainer: Trainer, encoded: Dataset) -> None:
    """Keep the loss right under gradient accumulation and several processes, by what the model's loss really does."""
    if not trainer.model_accepts_loss_kwargs:
        return
    batch = trainer.data_collator([encoded[place] for place in range(min(2, len(encoded)))])
    batch = {name: value.to(trainer.args.device) for name, value in batch.items()}
    if not model_module.loss_is_per_item(trainer.model, batch):
        trainer.model_accepts_loss_kwargs = False
        trainer.args.average_tokens_across_devices = False


def _train(job: Job) -> None:
    checkpoint = folder.last_checkpoint(job.path)
    if checkpoint:
        say(f"resuming from {checkpoint}")
    job.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


# --- after training ----------------------------------------------------------------------------------------------


def _evaluate_and_save(job: Job, start: float) -> Result:
    """Save first, then score what was saved."""
    trainer, recipe = job.trainer, job.recipe
    trainer.model = trainer.model_wrapped = model_module.save(
        trainer.model, recipe.tokenizer, job.path, write=_writes(job)
    )
    predictions = {split: _predict(job, split) for split in job.data.splits}
    scores = {split: found for split in job.data.splits if (found := _score(job, split, *predictions[split]))}
    if _writes(job):
        held = {split: pair for split, pair in predictions.items() if split != "train"}
        folder.write_predictions(job.path, [(split, rows, made) for split, (rows, made) in held.items()])
        about = {**job.about, "seconds": round(time.perf_counter() - start, 1), "steps": trainer.state.global_step}
        write_card(job.path, job.config, recipe, scores, about)
        folder.finish(job.path, scores, about)
    return _result(job, Predictor(recipe, trainer, job.config), scores)


def _predict(job: Job, split: str) -> tuple[Dataset, list[Row]]:
    """Rows and predictions of a split; of train, as many rows as validation has."""
    rows, encoded = job.data.splits[split], job.encoded[split]
    size = max(len(job.data.splits.get("validation", rows)), 100)
    if split == "train" and len(rows) > size:
        places = np.random.default_rng(job.trainer.args.seed).permutation(len(rows))[:size]
        rows, encoded = rows.select(sorted(places.tolist())), encoded.select(sorted(places.tolist()))
        say(f"train scores are of {size} rows drawn with the seed")
    return rows, predict.predict_rows(job.trainer, job.recipe, rows, encoded)


def _score(job: Job, split: str, rows: Dataset, predictions: list[Row]) -> dict[str, dict[str, Any]]:
    references = predict.golds(job.recipe, rows)
    unknown = sum(reference is None for reference in references)
    if unknown:
        say(f"{split}: {unknown} of {len(rows)} rows have no answer; they are predicted and not scored")
    seed = job.trainer.args.seed
    found = predict.scores(job.recipe, predictions, references, seed=seed, others=job.config.metrics)
    return predict.with_baseline(job.recipe, found, references, predict.golds(job.recipe, job.data.splits["train"]))


def _result(plan: Plan, predictor: Predictor, scores: dict[str, dict[str, dict[str, Any]]]) -> Result:
    metrics = {split: {name: entry["value"] for name, entry in found.items()} for split, found in scores.items()}
    return Result(metrics, plan.path, predictor.trainer, scores, predictor)


def _reload(plan: Plan) -> Result:
    """The result of a complete run, its trained model in the Trainer."""
    nan = float("nan")
    scores = {
        split: {
            name: {**entry, "value": nan if entry["value"] is None else entry["value"]} for name, entry in found.items()
        }
        for split, found in folder.read_json(plan.path / folder.METRICS).items()
    }
    return _result(plan, predict.load(plan.path), scores)


def versions() -> dict[str, str]:
    """Versions of what the run stands on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "datasets", "evaluate", "accelerate", "peft")}


def _writes(job: Job) -> bool:
    """Whether this process is the one that writes."""
    return bool(job.trainer.is_world_process_zero())
