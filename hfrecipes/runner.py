"""The one runner: feed a recipe to the Trainer, and leave a model with its honest scores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks, folder, predict, scoring, writing
from . import hub as hub_module
from . import model as model_module
from .card import write_card
from .plan import Plan, make_plan
from .predict import Predictor
from .recipe import Row
from .say import say
from .training import Job, make_job

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer

SHOWN, WIDTH = 3, 200  # texts that are shown after training, and letters of each


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
        best = self.predictor.recipe.headline[0]
        shown = ", ".join(
            f"{split} {best} {values[best]:.3f}" for split, values in self.metrics.items() if best in values
        )
        return f"Result({shown}, path={str(self.path)!r})"


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
    is_main = os.environ.get("RANK", "0") == "0"
    if is_main:
        hub_module.preflight(plan.config.hub)
    if folder.is_complete(plan.path):
        say(f"this run is complete: {plan.path}")
        result = _reload(plan)
    else:
        job = make_job(plan)
        if is_main:
            folder.begin(job.path, job.config, job.about)
        _train(job)
        result = _evaluate_and_save(job, start)
    if plan.config.hub and is_main:
        say(f"pushed to {hub_module.push(plan.path, plan.config.hub)}")
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


def _train(job: Job) -> None:
    checkpoint = folder.last_checkpoint(job.path)
    if checkpoint:
        say(f"resuming from {checkpoint}")
    job.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


# --- after training ----------------------------------------------------------------------------------------------


def _evaluate_and_save(job: Job, start: float) -> Result:
    """Save first, then score what was saved."""
    trainer, recipe = job.trainer, job.recipe
    writes = trainer.is_world_process_zero()
    number = model_module.parameters(trainer.model)
    trainer.model = trainer.model_wrapped = _save(job, write=writes)
    trainer.accelerator.free_memory()  # else it takes the merged model for a prepared one, without autocast
    validation = {"validation": _predict_validation(job)} if "validation" in job.data.splits else {}
    if recipe.tuned and writes:
        model_module.save_tuned(trainer.model, recipe.tuned, job.path)
    predictions = {split: validation.get(split) or _predict(job, split) for split in job.data.splits}
    trivial = recipe.baseline(job.data.splits["train"])
    scores = {split: found for split in job.data.splits if (found := _score(job, split, *predictions[split], trivial))}
    if writes:
        held = {split: pair for split, pair in predictions.items() if split != "train"}
        folder.write_predictions(job.path, [(split, rows, made) for split, (rows, made) in held.items()])
        about = {
            **job.about,
            "parameters": number,
            "seconds": round(time.perf_counter() - start, 1),
            "steps": trainer.state.global_step,
        }
        _say_samples(next(reversed(predictions.values()))[1])
        write_card(job.path, job.config, recipe, scores, about)
        folder.finish(job.path, scores, about)
    return _result(job, Predictor(recipe, trainer, job.config), scores)


def _save(job: Job, *, write: bool) -> Any:
    """Leave the model in its folder; with an adapter, see that what was left predicts as what was trained."""
    trainer, recipe = job.trainer, job.recipe
    if not (write and model_module.is_adapted(trainer.model)):
        return model_module.save(trainer.model, recipe.tokenizer, job.path, write=write)
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(min(2, len(trainer.train_dataset)))])
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)  # in half precision all differ
    expected = model_module.logits(model, batch)
    saved = model_module.save(model, recipe.tokenizer, job.path)
    folder.write_recipe(job.path / model_module.ADAPTER, job.config)
    model_module.check_saved(expected, batch, job.config, recipe, job.path)
    return saved


def _predict_validation(job: Job) -> tuple[Dataset, list[Row]]:
    """Rows and predictions of the split that settles thresholds, which the other splits then keep to."""
    rows, encoded = job.data.splits["validation"], job.encoded["validation"]
    outputs = predict.model_outputs(job.trainer, job.recipe, encoded)
    predictions, sentences = predict.tuned(job.recipe, outputs, rows, encoded, job.golds["validation"])
    for sentence in sentences:
        say(sentence)
    return rows, writing.with_texts(job.trainer, job.recipe, rows, predictions)


def _predict(job: Job, split: str) -> tuple[Dataset, list[Row]]:
    """Rows and predictions of a split; of train, as many rows as validation has."""
    rows = job.data.splits[split]
    if split != "train":
        outputs = predict.model_outputs(job.trainer, job.recipe, job.encoded[split])
        predictions = job.recipe.decode(outputs, rows, job.encoded[split])
        return rows, writing.with_texts(job.trainer, job.recipe, rows, predictions)
    size = max(len(job.data.splits.get("validation", rows)), 100)
    if len(rows) > size:
        places = np.random.default_rng(job.trainer.args.seed).permutation(len(rows))[:size]
        rows = rows.select(sorted(places.tolist()))
        say(f"train scores are of {size} rows drawn with the seed")
    return rows, predict.predict_rows(job.trainer, job.recipe, rows, scored=True)


def _say_samples(predictions: list[Row]) -> None:
    """Some texts that the model went on writing."""
    texts = [one for one in predictions if scoring.TEXT in one and "prompt" in one]
    for one in texts[:SHOWN]:
        prompt, text = (" ".join(one[name].split()) for name in ("prompt", scoring.TEXT))
        say(f"sample: {prompt[-WIDTH:]} → {text[:WIDTH]}{'…' * (len(text) > WIDTH)}")


def _score(
    job: Job, split: str, rows: Dataset, predictions: list[Row], trivial: Callable[[Dataset], list[Row]]
) -> dict[str, dict[str, Any]]:
    references = job.golds[split] if len(rows) == len(job.golds[split]) else checks.golds(job.recipe, rows)
    unknown = sum(reference is None for reference in references)
    if unknown:
        say(f"{split}: {unknown} of {len(rows)} rows have no answer; they are predicted and not scored")
    seed = job.trainer.args.seed
    found = scoring.scores(job.recipe, predictions, references, seed=seed, others=job.config.metrics)
    return scoring.with_baseline(job.recipe, found, rows, predictions, references, trivial)


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
