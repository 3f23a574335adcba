"""The flow of a run: plan, train, save, score; alone or several times over folds or seeds."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from . import _upstream, candidates, predictor, repeats
from .comparing import selection
from .comparing.selection import Selection
from .config.run_config import RunConfig
from .data.checks import input_keys, written_label
from .data.row_origin import line_of
from .errors import ConfigError, ModelError, OutputError
from .evaluation import scoring
from .evaluation.breakdown import Breakdown, reports_of
from .evaluation.evaluate import Predicted, log_samples, predict_splits, score_splits
from .evaluation.first_prediction import own_row
from .evaluation.inference import Inference
from .evaluation.scoring import Scores
from .hub import checkpoints
from .hub.card import front_matter, write_card
from .hub.client import preflight
from .hub.push import push_run
from .log import is_main, log, once
from .models import adapters, directory, hardware
from .models.binding import model_inputs, pass_loss_features, remember
from .predictor import Predictor
from .recipe import Recipe, table_metrics
from .registry import find
from .reports.pictures import write_pictures
from .reports.run_data import ReadRows, RunData
from .reports.writing import write_page
from .results import Result, Results
from .run_folder import claim, contents, lock, manifest, progress, writing
from .run_folder.contents import RunInfo
from .run_folder.trouble import as_output_error
from .run_folder.writing import write_json
from .training import interrupts
from .training.history import history_of, log_last_loss
from .training.plan import Plan, configure, folder_of, make_plan, models_of
from .training.rehearsal import rehearse
from .training.trackers import Trackers
from .training.trainer import Job, make_job, wait_for_all

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback


def run(
    what: str | os.PathLike[str] | Mapping[str, Any],
    *,
    model: str | os.PathLike[str] | dict[str, Any] | list[Any] | None = None,
    dataset: Any = None,
    output_dir: str | os.PathLike[str] | None = None,
    splits: dict[str, str | None] | None = None,
    columns: dict[str, str | int | list[str | int]] | None = None,
    limit: int | dict[str, int] | None = None,
    metrics: list[str] | None = None,
    options: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    early_stopping: bool | dict[str, Any] | None = None,
    lora: bool | dict[str, Any] | None = None,
    folds: int | dict[str, Any] | None = None,
    seeds: list[int] | None = None,
    hub: str | dict[str, Any] | None = None,
    trust: bool = False,
    **bare_keys: Any,
) -> Result | Results | Selection:
    """Fine-tune, evaluate and save.

    The same call again resumes an interrupted run, and returns a complete one as it is.

    Args:
        what: Task name, recipe file (a path, or `<task>/<name>` of one that ships), or dict of settings.
        model: Hub id or folder, or keywords of `from_pretrained` with the name under `path`; a list of them trains each
            one, and validation chooses.
        dataset: Hub id, file, folder, glob, URL, split -> any of these, keywords of `load_dataset`, or rows: a
            DataFrame, a list of dicts, a `Dataset`, a `DatasetDict`.
        output_dir: Folder that the run writes; `runs/<task>-<dataset>-<model>` where not given, with the
            column of labels if that is given, and a number where a run of other settings has that name.
        splits: Split of the dataset that serves as `train`, `validation`, `test`; None for none.
        columns: Column of the dataset for each column of the task; a position in a file without header; for labels also
            a list of columns of 0 and 1, for choices a list of columns with one each.
        limit: Rows kept of each split, drawn with the seed.
        metrics: Further `evaluate` metrics: shipped name, Hub id, or path to a .py file.
        options: The task's own options.
        training: Keywords of `TrainingArguments`.
        early_stopping: Keywords of `EarlyStoppingCallback`; False for none.
        lora: Keywords of `LoraConfig`, or of the config of the PEFT method named under `peft_type`; True for defaults.
        folds: Number of folds for cross-validation, or `n_splits`, and `groups`, a column whose equal
            values stay together.
        seeds: Seeds of several runs.
        hub: Hub repository to push to, or keywords of `create_repo` and `upload_folder`; see docs/hub.md.
        trust: Whether code that only a recipe file names may be run: a task or a metric in a .py file, code of a model.
        **bare_keys: Keys of `options` or `training`, without the block: `learning_rate=3e-5`.

    Returns:
        The run; with `folds` or `seeds` all of them, summarized; with a list of models the choice, compared.

    Raises:
        HFRecipesError: A setting, the data, the model or the output folder cannot be used; nothing was written.

    Example:
        >>> result = hfrecipes.run("text-classification", model="<hub id>", dataset="texts.csv")  # doctest: +SKIP
        >>> result.metrics["test"]["accuracy"]  # doctest: +SKIP
    """
    given = {
        "model": model,
        "dataset": dataset,
        "output_dir": output_dir,
        "splits": splits,
        "columns": columns,
        "limit": limit,
        "metrics": metrics,
        "options": options,
        "training": training,
        "early_stopping": early_stopping,
        "lora": lora,
        "folds": folds,
        "seeds": seeds,
        "hub": hub,
    }
    # None is the default of these arguments; among the others it takes back what a recipe file says.
    given = {name: value for name, value in given.items() if value is not None}
    return run_settings(what, {**given, **bare_keys}, trust=trust)


def run_settings(
    what: Any, settings: Mapping[str, Any], *, trust: bool = False, callbacks: Sequence[TrainerCallback] = ()
) -> Result | Results | Selection:
    """As `run`, with all settings in one mapping; None takes back what a recipe file says.

    Args:
        what: As for `run`.
        settings: As the keywords of `run`.
        trust: As for `run`.
        callbacks: Added to the Trainer of a single run.
    """
    models = models_of(what, settings)
    if models is not None:
        return _run_models(what, settings, models, trust=trust)
    config, recipe = configure(what, settings, trust=trust)
    path = folder_of(what, config)
    if repeats.are_wanted(config):
        return _run_each(config, path)
    plan = _checked_push(make_plan(config, recipe, path))
    result = _carry_out(plan, callbacks)
    _push(plan)
    return result


def build(what: str | os.PathLike[str] | Mapping[str, Any], *, trust: bool = False, **settings: Any) -> Trainer:
    """Everything up to training: a plain `transformers.Trainer` with data, model, scores and early stopping in place.

    Args:
        what: As for `run`.
        trust: As for `run`.
        **settings: As for `run`.

    Raises:
        HFRecipesError: As for `run`.

    Example:
        >>> trainer = hfrecipes.build("text-classification/quickstart", num_train_epochs=1)  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
        >>> result = hfrecipes.finish(trainer)  # doctest: +SKIP
    """
    if models_of(what, settings) is not None:
        raise ConfigError("a list of models asks for several Trainers, and build makes one: use run, or name one model")
    config, recipe = configure(what, settings, trust=trust)
    if repeats.are_wanted(config):
        raise ConfigError("folds and seeds ask for several Trainers, and build makes one: use run, or leave them out")
    job = make_job(make_plan(config, recipe, folder_of(what, config)))
    job.trainer.hfrecipes_job = job
    job.trainer.hfrecipes_trackers = Trackers(job.trainer, job.plan.info.shared)
    job.trainer.hfrecipes_trackers.open()
    return job.trainer


def finish(trainer: Trainer) -> Result:
    """Save and score a model that was trained by hand, and write what `run` writes.

    The recipe file gets the settings that `build` was called with: what was changed in the Trainer itself is not in it.

    Args:
        trainer: From `build`, after `trainer.train()`.

    Returns:
        As `run`.

    Raises:
        ConfigError: The Trainer is not from `build`, or has not been trained.
        OutputError: Its folder holds a complete run, or another one.

    Example:
        >>> trainer = hfrecipes.build("text-classification/quickstart", num_train_epochs=1)  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
        >>> hfrecipes.finish(trainer).metrics["test"]["accuracy"]  # doctest: +SKIP
    """
    job: Job | None = getattr(trainer, "hfrecipes_job", None)
    if job is None:
        raise ConfigError(f"found {type(trainer).__name__}, expected the Trainer that hfrecipes.build made")
    if not trainer.state.global_step:
        raise ConfigError("this Trainer has not been trained: call trainer.train() first, then finish")
    job = replace(job, plan=_checked_push(job.plan))
    plan, seconds = job.plan, sum(entry.get("train_runtime", 0.0) for entry in trainer.state.log_history)
    with contextlib.ExitStack() as stack:
        if is_main():
            stack.enter_context(as_output_error(plan.path))
            stack.enter_context(lock.hold(plan.path))
            _start_by_hand(plan)
        wait_for_all()
        result = _finish(job, time.perf_counter() - seconds)
        if is_main():
            _write_page(plan, result)
        trainer.hfrecipes_trackers.log_scores(result.scores, result.headline)
        trainer.hfrecipes_trackers.close()
    _push(plan)
    return result


def _start_by_hand(plan: Plan) -> None:
    """Turn the folder into that of a run; it was free when the Trainer was built.

    Raises:
        OutputError: It holds a complete run, or another one.
    """
    if contents.is_complete(plan.path):
        raise OutputError(f"{plan.path} holds a complete run: move or delete it, then call finish again")
    if (plan.path / contents.RUN).exists():
        claim.claim(plan.path, plan.config, plan.info)
    contents.write_start(plan.path, plan.config, plan.info)


# --- several runs ------------------------------------------------------------------------------------------------


def _run_each(config: RunConfig, path: Path) -> Result | Results:
    """The runs that `folds` or `seeds` ask for, without those that are complete, and their summary."""
    is_new = False
    for name, of_part in repeats.parts(config).items():
        log(f"{name}: {path / name}")
        recipe = find(config.task)(**config.options)
        plan = make_plan(of_part, recipe, path / name)
        if is_main():
            together = repeats.whole(config, plan.config)
            whole = replace(plan.info, data={})
            claim.claim(path, together, whole)
            contents.write_start(path, together, whole)
        is_new |= _carry_out_unless_complete(plan)
    paths = [path / name for name in repeats.names(config)]
    waiting = [part.name for part in paths if not contents.is_complete(part)]
    if waiting:
        log(f"{path.name}: {', '.join(waiting)} have not been run yet")
        return _reload(plan)
    if is_main():
        _summarize(path, paths, plan, config, is_new=is_new)
    wait_for_all()
    scores = scoring.from_json(contents.read_scores(path))
    return Results(path, scores, paths, contents.read_notes(path), tuple(table_metrics(plan.recipe)))


def _carry_out_unless_complete(plan: Plan) -> bool:
    """One of several runs; False if it was complete."""
    is_new = not contents.is_complete(plan.path) or bool(contents.deleted(plan.path))
    if is_new:
        _carry_out(plan)
        gc.collect()  # a Trainer refers to itself, and the next one needs its memory
    elif is_main():
        with lock.hold(plan.path), as_output_error(plan.path):
            contents.clear(plan.path)  # it may have been killed after its last score
    wait_for_all()
    return is_new


def _summarize(path: Path, paths: list[Path], plan: Plan, config: RunConfig, *, is_new: bool) -> None:
    """Write the scores over all runs, and their report unless no run is new and it is there."""
    reports: dict[str, Breakdown] = {}
    scores = repeats.summary([scoring.from_json(contents.read_scores(part)) for part in paths])
    if config.folds is not None:
        contents.write_predictions(path, repeats.out_of_fold(paths))
        together, report = repeats.score_out_of_fold(path, plan.recipe, config, plan.data.fold_groups)
        scores[repeats.OUT_OF_FOLD] = together
        if report is not None:
            reports = {repeats.OUT_OF_FOLD: report}
            write_json(path / contents.REPORT, {repeats.OUT_OF_FOLD: report.as_dict()})
    contents.write_scores(path, scoring.to_json(scores), plan.data.notes)
    if is_new or not (path / contents.REPORT_PAGE).exists():
        info = RunInfo.read(path) or plan.info
        with _not_costing_the_run(contents.REPORT_PAGE):
            write_page(replace(_as_reported(plan, plan.recipe, scores, info, reports), path=path, runs=paths))


def _run_models(what: Any, settings: Mapping[str, Any], models: list[Any], *, trust: bool) -> Selection:
    """A run for each model of a list, without those that are complete, and the one that validation chooses.

    All of them are planned before the first one is trained: a model that is not there is found at once.
    """
    candidates.check(models)
    with once():
        configured = [configure(what, settings, trust=trust, index=index) for index in range(len(models))]
        candidates.check_settings(configured[0][0])
        path = folder_of(what, candidates.with_models(configured[0][0], models))
        folders = candidates.folders(path, models)
        plans = []
        for folder, (config, recipe) in zip(folders, configured, strict=True):
            plans.append(make_plan(config, recipe, folder))
            candidates.check_there(plans[-1])
        candidates.check_validation(plans[0])
    log(candidates.described(models))
    if is_main():
        candidates.write_start(path, plans, models)
    for plan in plans:
        log(f"{plan.path.name}: {plan.path}")
        _carry_out_unless_complete(plan)
    comparison = selection.compare_models(folders, candidates.names(models), timing=is_main())
    if is_main():
        write_json(path / candidates.COMPARISON, comparison.as_json())
    wait_for_all()
    return Selection(path, comparison, _reload(plans[comparison.best]), folders)


# --- one run -----------------------------------------------------------------------------------------------------


def _checked_push(plan: Plan) -> Plan:
    """The plan with the full name of the repository, after checking that the push will be allowed."""
    push = plan.config.push
    if push is None or not is_main():
        return plan
    name = preflight(push, front_matter(plan.recipe, plan.info.origin, adapter=plan.config.adapter, push=push))
    return replace(plan, config=replace(plan.config, hub=replace(push, repo_id=name).as_dict()))


def _push(plan: Plan) -> None:
    if plan.config.push is not None and is_main():
        log(f"pushed to {push_run(plan.path, plan.config, plan.config.push)}")


def _carry_out(plan: Plan, callbacks: Sequence[TrainerCallback] = ()) -> Result:
    """The run, by itself in its folder; a complete one as it is."""
    if not is_main():
        if contents.deleted(plan.path):
            return _score_again(plan)
        return _reload(plan) if contents.is_complete(plan.path) else _train_and_score(plan, callbacks)
    with as_output_error(plan.path), lock.hold(plan.path):
        # Another process may have had the folder since the plan was made.
        claim.claim(plan.path, plan.config, plan.info)
        deleted = contents.deleted(plan.path)
        if deleted:
            log(f"{plan.path} has no {', '.join(deleted)}: the saved model is scored again, and not trained")
            return _write_page(plan, _score_again(plan))
        if contents.is_complete(plan.path):
            log(f"this run is complete: {plan.path}")
            contents.clear(plan.path)
            return _write_page(plan, _reload(plan), again=False)
        writing.clear_drafts(plan.path)
        return _write_page(plan, _train_and_score(plan, callbacks))


def _train_and_score(plan: Plan, callbacks: Sequence[TrainerCallback]) -> Result:
    """Train, score and save."""
    start = time.perf_counter()
    push = plan.config.push
    if (
        push is not None
        and push.every
        and is_main()
        and checkpoints.download(plan.path, plan.config, push, plan.info.data)
    ):
        contents.write_start(plan.path, plan.config, plan.info)
    job = make_job(plan)
    checkpoint = progress.last_checkpoint(plan.path)
    # A run that was interrupted has been rehearsed before.
    if checkpoint is None:
        rehearse(job, partial(_finish, start=start))
    for callback in callbacks:
        job.trainer.add_callback(callback)
    if is_main():
        contents.write_start(plan.path, job.plan.config, job.plan.info)
        if checkpoint is not None:
            progress.name_best(checkpoint, plan.path)
    wait_for_all()
    with Trackers(job.trainer, plan.info.shared).open_until_scored() as trackers:
        _train(job, checkpoint)
        result = _finish(job, start)
        trackers.log_scores(result.scores, result.headline)
    return result


def _train(job: Job, checkpoint: Path | None) -> None:
    """Train, from the newest checkpoint on; where training was over when that was saved, load what it has learnt."""
    if checkpoint is not None and progress.is_at_end(checkpoint):
        log(f"training was over at {checkpoint}: going on with what follows it")
        _upstream.restore_trained(job.trainer, checkpoint)
        log_last_loss(job.trainer)
        return
    if checkpoint is not None:
        log(f"resuming from {checkpoint}")
    elif progress.has_checkpoints(job.plan.path):
        # Of weights alone, or damaged; the Trainer would write over them silently.
        log(f"starting from the beginning: no checkpoint in {job.plan.path} has all that a resume needs")
    resumed = None if checkpoint is None else str(checkpoint)
    try:
        # The callback that hides the bars is not called at the end of a training that fails.
        hidden = _upstream.without_bars_of_files()
        with interrupts.at_step_end(job.trainer, job.plan.path), _pushed_meanwhile(job), hidden:
            job.trainer.train(resume_from_checkpoint=resumed)
    except UnpicklingError as error:
        # The Trainer reads pickles of numbers alone; anything else in them could run code.
        raise ModelError(
            f"{checkpoint} holds more than numbers in its pickles, and could run code: delete it, then give the same "
            "command again"
        ) from error


@contextlib.contextmanager
def _pushed_meanwhile(job: Job) -> Iterator[None]:
    """Push checkpoints to the Hub while the training continues, where the settings ask for it."""
    plan = job.plan
    push = plan.config.push
    if push is None or not push.every:
        yield
        return
    pushed = checkpoints.Checkpoints(plan.path, plan.config, push, plan.info.data)
    job.trainer.add_callback(checkpoints.push_callback(pushed, job.trainer))
    try:
        yield
    except Exception:
        pushed.finish()
        raise
    pushed.finish()


def _score_again(plan: Plan) -> Result:
    """Score the saved model, and write the results anew; what the run recorded of its training stays."""
    job = make_job(plan)
    loaded = predictor.load(plan.path, trust=True)
    job.trainer.model = loaded.trainer.model
    written = RunInfo.read(plan.path) or plan.info
    return _score(job, replace(written, limits=job.plan.info.limits), time.perf_counter())


def _reload(plan: Plan) -> Result:
    """The result of a complete run, its trained model in the Trainer."""
    scores = scoring.from_json(contents.read_scores(plan.path))
    # The folder has the settings of this run, which the user gave or trusts.
    return _result(plan, predictor.load(plan.path, trust=True), scores)


def _result(plan: Plan, loaded: Predictor, scores: dict[str, Scores]) -> Result:
    example = own_row(loaded.recipe, plan.data.splits, loaded.reads)
    return Result(plan.path, scores, loaded, plan.data.notes, tuple(table_metrics(plan.recipe)), example)


# --- after training ----------------------------------------------------------------------------------------------


def _finish(job: Job, start: float, *, saves: bool = True) -> Result:
    """Save first, then score the saved model.

    Args:
        job: The run, trained.
        start: When it began, in seconds.
        saves: False where the model is only scored, as in the rehearsal of a large one.
    """
    plan, trainer = job.plan, job.trainer
    info = replace(plan.info, parameters=hardware.count_parameters(trainer.model))
    if saves:
        trainer.model, info = _save(job, info, write=trainer.is_world_process_zero())
        trainer.model_wrapped = trainer.model
        _upstream.forget_prepared_models(trainer.accelerator)  # the merged model is another one
    return _score(job, info, start, saves=saves)


def _score(job: Job, info: RunInfo, start: float, *, saves: bool = False) -> Result:
    """Predict and score all splits, and write the results; the scores, which make the run complete, last.

    Args:
        job: The run, with the saved model in its Trainer.
        info: What is known of the run; seconds, steps and energy that it has already stay.
        start: When the run began, in seconds.
        saves: Whether what is tuned on validation is written into the config of the saved model.
    """
    plan, trainer, recipe = job.plan, job.trainer, job.plan.recipe
    is_writer = trainer.is_world_process_zero()
    inference = Inference.of(trainer.model, recipe, plan.config.training)
    predicted = predict_splits(inference, plan.data, job.encoded)
    if saves and is_writer and recipe.calibration:
        remember(recipe, trainer.model)
        directory.save_config(trainer.model, plan.path)
    baseline = recipe.baseline(plan.data.splits["train"])
    has_lora = plan.config.adapter is not None
    scored = score_splits(
        inference, predicted, baseline, metrics=plan.config.metrics, lora=has_lora, in_train=plan.in_train
    )
    if is_writer:
        info = replace(
            info,
            limits=[*info.limits, *scored.sentences],
            seconds=info.seconds or round(time.perf_counter() - start, 1),
            steps=info.steps or trainer.state.global_step,
            energy=info.energy or _energy(trainer),
        )
        log_samples(next(reversed(predicted.values())).predictions)
        # A run that is scored again keeps the history of its training.
        if trainer.state.global_step:
            history_of(trainer).write(plan.path)
        _write_results(plan, predicted, baseline, scored.scores, info)
    return _result(plan, Predictor(recipe, trainer, plan.config, plan.path), scored.scores)


def _write_results(
    plan: Plan,
    predicted: Mapping[str, Predicted],
    baseline: Mapping[str, Any],
    scores: Mapping[str, Scores],
    info: RunInfo,
) -> None:
    # A folder that was deleted while the model was saved holds the model alone; one that is missing is not made again.
    if plan.path.exists() and not (plan.path / contents.RECIPE).exists():
        contents.write_recipe(plan.path, plan.config)
    contents.write_predictions(plan.path, _lines(plan, predicted))
    reports = reports_of(plan.recipe, predicted)
    if reports:
        write_json(plan.path / contents.REPORT, {split: report.as_dict() for split, report in reports.items()})
    contents.write_training_data(plan.path, baseline, input_keys(plan.data.splits["train"], plan.recipe))
    _list_files(plan.path, info)
    pictures: dict[str, str] = {}
    with _not_costing_the_run(contents.PICTURES):
        pictures = write_pictures(_as_reported(plan, plan.recipe, scores, info, reports))
    write_card(plan.path, plan.config, plan.recipe, scores, info, reports, pictures)
    contents.mark_complete(plan.path, scoring.to_json(scores), info, plan.data.notes)


def _as_reported(
    plan: Plan, recipe: Recipe, scores: Mapping[str, Scores], info: RunInfo, reports: Mapping[str, Breakdown]
) -> RunData:
    """What report.html and the pictures of the card are made of."""
    return RunData(
        plan.path,
        plan.config,
        recipe,
        scores,
        info,
        reports,
        plan.data.notes,
        read_data=lambda: ReadRows(plan.data.splits, plan.recipe.label_counts),
    )


@contextlib.contextmanager
def _not_costing_the_run(name: str) -> Iterator[None]:
    """Print why something that is only looked at cannot be made, and go on: the model and its scores are there."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        log(f"{name} is not written: {error}")


def _write_page(plan: Plan, result: Result, *, again: bool = True) -> Result:
    """Write the part of report.html that takes a second at most.

    Args:
        plan: The run, complete.
        result: What it returns.
        again: Whether one that is there is replaced.
    """
    if again or not (plan.path / contents.REPORT_PAGE).exists():
        info = RunInfo.read(plan.path) or plan.info
        recipe = result.predictor.recipe
        with _not_costing_the_run(contents.REPORT_PAGE):
            write_page(_as_reported(plan, recipe, result.scores, info, result.reports))
    return result


def _save(job: Job, info: RunInfo, *, write: bool) -> tuple[Any, RunInfo]:
    """Save the model; with adapters, check that the saved model predicts the same as the trained one.

    Returns:
        The model as saved, adapters merged into it, and the information with the names of its files.
    """
    plan, trainer, recipe = job.plan, job.trainer, job.plan.recipe
    if not adapters.is_adapted(trainer.model):
        if write:
            info = replace(info, files=directory.save(trainer.model, recipe.tokenizer, plan.path))
        return trainer.model, info
    first_rows = range(min(2, len(trainer.train_dataset)))
    batch = trainer.data_collator([trainer.train_dataset[row] for row in first_rows])
    batch = model_inputs(recipe, batch)
    # Compared in float32: in half precision all of them differ.
    model = _upstream.without_autocast(trainer.accelerator, trainer.model)
    if write:
        info = replace(info, tokenizer=adapters.save(model, recipe, plan.config, plan.path))
    trainer.accelerator.wait_for_everyone()
    saved, expected = adapters.merge_trained(model, batch, plan.config, recipe, plan.path)
    saved = pass_loss_features(recipe, saved)
    if write:
        if not adapters.is_adapted(saved):
            info = replace(info, files=directory.save(saved, recipe.tokenizer, plan.path))
        _check_saved(job, expected, batch)
    return saved, info


def _list_files(path: Path, info: RunInfo) -> None:
    """Write size and hash of the files of the model, of its adapter, and of those beside them that evaluation reads."""
    if info.files:
        manifest.write(path, [*info.files, *contents.BESIDE_MODEL])
    adapter = path / directory.ADAPTER
    if info.tokenizer:
        manifest.write(adapter, adapters.file_names(adapter, info.tokenizer))


def _check_saved(job: Job, expected: Any, batch: Any) -> None:
    """Compare the saved with the trained model; after training, all files are kept whatever the comparison shows."""
    plan = job.plan
    try:
        adapters.check_saved(expected, batch, plan.config, plan.recipe, plan.path)
    except ModelError as error:
        if job.trainer.state.global_step == 0:  # in a rehearsal nothing is lost yet
            raise
        log(f"warning: {error}. Everything is kept; compare:  hfrecipes evaluate {plan.path} dataset=…  and  …/adapter")


def _lines(plan: Plan, predicted: Mapping[str, Predicted]) -> Iterator[dict[str, Any]]:
    """Each validation and test row with its number and ids, its prediction, and its label in the same form."""
    for split, entry in predicted.items():
        if split == "train":
            continue
        columns = (plan.data.row_numbers[split], entry.rows, entry.predictions, entry.references)
        for number, row, prediction, reference in zip(*columns, strict=True):
            label = written_label(plan.recipe, reference, prediction)
            origin = line_of(plan.data.origins, split, number)
            yield {"split": split, "row": number, **origin, **row, **label, "prediction": prediction}


def _energy(trainer: Trainer) -> dict[str, float] | None:
    """Energy of the training, where `report_to=codecarbon` measured it."""
    measured = _upstream.emissions_of(trainer)
    if measured is None:
        return None
    return {"kwh": float(f"{measured.energy_consumed:.3g}"), "co2eq_kg": float(f"{measured.emissions:.3g}")}
