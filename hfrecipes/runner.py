"""The one runner: feed a recipe to the Trainer, and leave a model with its honest scores."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import predictor, repeats, run_folder
from .config import RunConfig
from .data import checks
from .errors import ConfigError, ModelError
from .evaluation import scoring
from .evaluation.evaluate import _predict_all, _Predicted, _say_samples, _score_all
from .hub import checkpoints
from .hub.card import facts, write_card
from .hub.client import preflight
from .hub.push import push_run
from .hub.settings import keywords as settings_keywords
from .log import is_main, log
from .models import adapters, directory, hardware
from .models.directory import save_tuned
from .predictor import Predictor
from .results import Result, Results
from .training.plan import Plan, configure, default_folder, make_plan
from .training.rehearsal import rehearse
from .training.trainer import Job, make_job, wait_for_all

if TYPE_CHECKING:
    from transformers import Trainer


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
    folds: int | dict[str, Any] | None = None,
    seeds: list[int] | None = None,
    hub: str | dict[str, Any] | None = None,
    **bare_keys: Any,
) -> Result | Results:
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
        lora: Keywords of `LoraConfig`, or of the config of the PEFT method named under `peft_type`; True for defaults.
        folds: Number of folds for cross-validation, or `n_splits`, and `groups`, a column whose equals stay together.
        seeds: Seeds of several runs.
        hub: Hub repository to push to, or keywords of `create_repo` and `upload_folder`; see docs/hub.md.
        **bare_keys: Keys of `options` or `training`, without the block: `learning_rate=3e-5`.

    Returns:
        The run; with `folds` or `seeds` what all of them came to.

    Raises:
        HFRecipesError: A setting, the data, the model or the output folder cannot be used; nothing was written.

    Example:
        >>> result = hfrecipes.run("text-classification", model="<hub id>", dataset="texts.csv")  # doctest: +SKIP
        >>> result.metrics["test"]["accuracy"]  # doctest: +SKIP
    """
    settings = {name: value for name, value in locals().items() if name not in ("what", "bare_keys")}
    return _run(what, {**settings, **bare_keys})


def _run(what: str | Mapping[str, Any], settings: Mapping[str, Any]) -> Result | Results:
    config, _ = configure(what, settings)
    if repeats.are_wanted(config):
        return _run_each(what, settings, config)
    plan = make_plan(what, settings)
    if plan.config.hub and is_main():
        name = preflight(plan.config, facts(plan.config, plan.recipe, plan.about["origin"]))
        plan.config = replace(plan.config, hub={**settings_keywords(plan.config.hub), "repo_id": name})
    if run_folder.is_complete(plan.path):
        log(f"this run is complete: {plan.path}")
        result = _reload(plan)
    else:
        result = _carry_out(plan)
    if plan.config.hub and is_main():
        log(f"pushed to {push_run(plan.path, plan.config)}")
    return result


def _run_each(what: str | Mapping[str, Any], settings: Mapping[str, Any], config: RunConfig) -> Result | Results:
    """The runs that `folds` or `seeds` ask for, those that are complete left as they are, and what they come to."""
    path = Path(config.output_dir or default_folder(what, config))
    for name, own in repeats.parts(config).items():
        log(f"{name}: {path / name}")
        plan = make_plan(what, {**settings, **own, "output_dir": str(path / name)})
        together = repeats.whole(config, plan.config)
        if is_main():
            run_folder.claim(path, together, {})
            run_folder.write_recipe(path, together)
        if not run_folder.is_complete(plan.path):
            _carry_out(plan)
            gc.collect()  # a Trainer holds itself, and the next one needs the room
        wait_for_all()
    paths = [path / name for name in repeats.names(config)]
    if not all(map(run_folder.is_complete, paths)):
        waiting = ", ".join(part.name for part in paths if not run_folder.is_complete(part))
        log(f"{path.name}: {waiting} are still to be run")
        return _reload(plan)
    if is_main():
        _sum_up(path, paths, plan, config)
    wait_for_all()
    scores = run_folder.read_scores(path)
    return Results(scoring.plain(scores), path, scores, paths, plan.recipe.headline, run_folder.read_notes(path))


def _sum_up(path: Path, paths: list[Path], plan: Plan, config: RunConfig) -> None:
    scores = repeats.summary(paths)
    if config.folds is not None:
        run_folder.write_predictions(path, repeats.out_of_fold(paths))
        scores[repeats.OUT_OF_FOLD] = repeats.score_all(path, plan.recipe, config, plan.data.fold_groups)
    run_folder.write_scores(path, scores, plan.data.notes)


def _carry_out(plan: Plan) -> Result:
    """Train, score and save."""
    start = time.perf_counter()
    wants_checkpoints = settings_keywords(plan.config.hub).get("every") and is_main()
    if wants_checkpoints and checkpoints.fetch(plan.path, plan.config, plan.about["data"]):
        run_folder.begin(plan.path, plan.config, plan.about)
    job = make_job(plan)
    if run_folder.last_checkpoint(job.path) is None:
        rehearse(job, partial(_evaluate_and_save, start=start))
    if is_main():
        run_folder.begin(job.path, job.config, job.about)
    _train(job)
    return _evaluate_and_save(job, start)


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
    config, _ = configure(what, settings)
    if repeats.are_wanted(config):
        raise ConfigError("folds and seeds ask for several Trainers, and build makes one: use run, or leave them out")
    return make_job(make_plan(what, settings)).trainer


def _train(job: Job) -> None:
    checkpoint = run_folder.last_checkpoint(job.path)
    if checkpoint:
        log(f"resuming from {checkpoint}")
    with _pushed_on_the_way(job):
        job.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


@contextlib.contextmanager
def _pushed_on_the_way(job: Job) -> Iterator[None]:
    """Checkpoints travel to the Hub while the training goes on, where that is asked for."""
    if not settings_keywords(job.config.hub).get("every"):
        yield
        return
    pushed = checkpoints.Checkpoints(job.path, job.config, job.about)
    job.trainer.add_callback(checkpoints.callback(pushed, job.trainer))
    try:
        yield
    except Exception:
        pushed.finish()
        raise
    pushed.finish()


# --- after training ----------------------------------------------------------------------------------------------


def _evaluate_and_save(job: Job, start: float, *, saves: bool = True) -> Result:
    """Save first, then score what was saved; without `saves`, as a rehearsal does with a large model, score alone."""
    trainer, recipe = job.trainer, job.recipe
    writes = trainer.is_world_process_zero()
    number = hardware.parameters(trainer.model)
    files: dict[str, list[str]] = {}
    if saves:
        trainer.model, files = _save(job, write=writes)
        trainer.model_wrapped = trainer.model
        trainer.accelerator.free_memory()  # else it takes the merged model for a prepared one, without autocast
    predicted = _predict_all(job)
    if recipe.tuned and writes:
        save_tuned(trainer.model, recipe.tuned, job.path)
    scores, sentences = _score_all(job, predicted)
    if writes:
        run_folder.write_predictions(job.path, _lines(job, predicted))
        about = {
            **job.about,
            **files,
            "limits": [*job.about["limits"], *sentences],
            "parameters": number,
            "seconds": round(time.perf_counter() - start, 1),
            "steps": trainer.state.global_step,
            "energy": _energy(trainer),
        }
        _say_samples(next(reversed(predicted.values())).predictions)
        write_card(job.path, job.config, recipe, scores, about)
        run_folder.finish(job.path, scores, about, job.data.notes)
    return _result(job, Predictor(recipe, trainer, job.config), scores)


def _save(job: Job, *, write: bool) -> tuple[Any, dict[str, list[str]]]:
    """Leave the model in its folder; with adapters, see that what was left predicts as what was trained.

    Returns:
        The model as saved, adapters merged into it, and the names of its `files`, and of those of its `tokenizer`.
    """
    trainer, recipe, path = job.trainer, job.recipe, job.path
    names: dict[str, list[str]] = {"files": [], "tokenizer": []}
    if not adapters.is_adapted(trainer.model):
        if write:
            names["files"] = directory.save(trainer.model, recipe.tokenizer, path)
        return trainer.model, names
    batch = trainer.data_collator([trainer.train_dataset[place] for place in range(min(2, len(trainer.train_dataset)))])
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)  # in half precision all differ
    if write:
        names["tokenizer"] = adapters.save(model, recipe, job.config, path)
    trainer.accelerator.wait_for_everyone()
    saved, expected = adapters.merge_trained(model, batch, job.config, recipe, path)
    if write:
        if not adapters.is_adapted(saved):
            names["files"] = directory.save(saved, recipe.tokenizer, path)
        _check_saved(job, expected, batch)
    return saved, names


def _check_saved(job: Job, expected: Any, batch: Any) -> None:
    """Compare what was saved with what was trained; a run that is over keeps what it has, whatever comes of it."""
    try:
        adapters.check_saved(expected, batch, job.config, job.recipe, job.path)
    except ModelError as error:
        if job.trainer.state.global_step == 0:  # nothing is lost yet
            raise
        log(f"warning: {error}. Everything is kept; compare:  hfrecipes evaluate {job.path} dataset=…  and  …/adapter")


def _lines(job: Job, predicted: dict[str, _Predicted]) -> Iterator[dict[str, Any]]:
    """Each validation and test row with its number in the data, its label spelled as predictions are, and its own."""
    for split, one in predicted.items():
        if split == "train":
            continue
        references = checks.references(job.recipe, one.rows)  # anew: the checkpoint may have another order of labels
        columns = job.data.places[split], one.rows, one.predictions, references
        for number, row, prediction, reference in zip(*columns, strict=True):
            label = checks.written_label(job.recipe, reference, prediction)
            yield {"split": split, "row": number, **row, **label, "prediction": prediction}


def _energy(trainer: Trainer) -> dict[str, float] | None:
    """What the training took, where `report_to=codecarbon` had it measured."""
    trackers = [getattr(one, "tracker", None) for one in trainer.callback_handler.callbacks]
    found = [data for one in trackers if (data := getattr(one, "final_emissions_data", None)) is not None]
    if not found:
        return None
    return {"kwh": float(f"{found[0].energy_consumed:.3g}"), "co2eq_kg": float(f"{found[0].emissions:.3g}")}


def _result(plan: Plan, predictor: Predictor, scores: dict[str, dict[str, dict[str, Any]]]) -> Result:
    return Result(scoring.plain(scores), plan.path, predictor.trainer, scores, predictor, plan.data.notes)


def _reload(plan: Plan) -> Result:
    """The result of a complete run, its trained model in the Trainer."""
    return _result(plan, predictor.load(plan.path), run_folder.read_scores(plan.path))
