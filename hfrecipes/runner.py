"""Run a recipe, or build its Trainer and finish by hand."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import repeats
from .comparing.selection import Selection
from .curve.learning_curve import LearningCurve
from .errors import ConfigError, OutputError
from .log import is_main
from .results import Result, Results
from .run_folder import claim, contents, lock
from .run_folder.trouble import as_output_error
from .training.configuration import configure, models_of
from .training.folder_names import folder_of
from .training.plan import Plan, make_plan
from .training.trackers import Trackers
from .training.trainer import Job, make_job, wait_for_all

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

    from .search.outcome import Search


from .flow.distilled import ask_teacher
from .flow.finishing import finish_run, with_page
from .flow.several import run_each, run_models
from .flow.single import carry_out, checked_push, push
from .search.by_trainer import make_searchable


def run(
    what: str | os.PathLike[str] | Mapping[str, Any],
    *,
    model: str | os.PathLike[str] | dict[str, Any] | list[Any] | None = None,
    dataset: Any = None,
    output_dir: str | os.PathLike[str] | None = None,
    splits: dict[str, str | None] | None = None,
    columns: dict[str, str | int | list[str | int]] | None = None,
    tests: dict[str, Any] | None = None,
    by: str | None = None,
    limit: int | dict[str, int] | None = None,
    metrics: list[str] | None = None,
    options: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    early_stopping: bool | dict[str, Any] | None = None,
    lora: bool | dict[str, Any] | None = None,
    privacy: dict[str, Any] | None = None,
    folds: int | dict[str, Any] | None = None,
    seeds: list[int] | None = None,
    curve: int | dict[str, Any] | None = None,
    distill: str | dict[str, Any] | None = None,
    search: dict[str, Any] | None = None,
    hub: str | dict[str, Any] | None = None,
    trust: bool = False,
    **bare_keys: Any,
) -> Result | Results | LearningCurve | Selection | Search:
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
        tests: Name -> further rows to test on, each anything that `dataset` takes; no choice depends on them, and each
            is compared with the run's own test.
        by: Column of the dataset, which the model need not read: the rows of each of its values are scored alone too.
        limit: Rows kept of each split, drawn with the seed.
        metrics: Further `evaluate` metrics: shipped name, Hub id, or path to a .py file.
        options: The task's own options.
        training: Keywords of `TrainingArguments`.
        early_stopping: Keywords of `EarlyStoppingCallback`; False for none.
        lora: Keywords of `LoraConfig`, or of the config of the PEFT method named under `peft_type`; True for defaults.
        privacy: `epsilon`, or `noise_multiplier`, of a private training, and `canaries`, the number of secrets to
            plant in train; see docs/privacy.md.
        folds: Number of folds for cross-validation, or `n_splits`, and `groups`, a column whose equal
            values stay together.
        seeds: Seeds of several runs.
        curve: Number of growing parts of train for a learning curve.
        distill: Folder of a finished run whose probabilities are learnt besides the labels, or `run`, `temperature`,
            and `weight`; see docs/distillation.md.
        search: Setting -> values that are tried, as `"loguniform(1e-5, 5e-4)"` or a list; further keys are in
            docs/search.md.
        hub: Hub repository to push to, or keywords of `create_repo` and `upload_folder`; see docs/hub.md.
        trust: Whether code that only a recipe file names may be run: a task or a metric in a .py file, code of a model.
        **bare_keys: Keys of `options` or `training`, without the block: `learning_rate=3e-5`.

    Returns:
        The run; with `folds` or `seeds` all of them, summarized; with `curve` the scores by rows, and what more rows
        would bring; with a list of models, or a search, the choice, compared.

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
        "tests": tests,
        "by": by,
        "limit": limit,
        "metrics": metrics,
        "options": options,
        "training": training,
        "early_stopping": early_stopping,
        "lora": lora,
        "privacy": privacy,
        "folds": folds,
        "seeds": seeds,
        "curve": curve,
        "distill": distill,
        "search": search,
        "hub": hub,
    }
    # None is the default of these arguments; among the others it takes back what a recipe file says.
    given = {name: value for name, value in given.items() if value is not None}
    return run_settings(what, {**given, **bare_keys}, trust=trust)


def run_settings(
    what: Any, settings: Mapping[str, Any], *, trust: bool = False, callbacks: Sequence[TrainerCallback] = ()
) -> Result | Results | LearningCurve | Selection | Search:
    """As `run`, with all settings in one mapping; None takes back what a recipe file says.

    Args:
        what: As for `run`.
        settings: As the keywords of `run`.
        trust: As for `run`.
        callbacks: Added to the Trainer of a single run.
    """
    models = models_of(what, settings)
    if models is not None:
        return run_models(what, settings, models, trust=trust)
    config, recipe = configure(what, settings, trust=trust)
    path = folder_of(what, config)
    if config.search:
        from .search.searching import run_search

        return run_search(what, settings, config, path, trust=trust)
    if repeats.are_wanted(config):
        return run_each(config, path)
    plan = checked_push(make_plan(config, recipe, path))
    result = carry_out(plan, callbacks)
    push(plan)
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
        raise ConfigError(
            "folds, seeds and curve ask for several Trainers, and build makes one: use run, or leave them out"
        )
    if config.search:
        raise ConfigError("a search asks for several Trainers, and build makes one: use run, or leave search out")
    job = make_job(make_plan(config, recipe, folder_of(what, config)))
    job = ask_teacher(job)
    make_searchable(job)
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
    job = replace(job, plan=checked_push(job.plan))
    plan, seconds = job.plan, sum(entry.get("train_runtime", 0.0) for entry in trainer.state.log_history)
    with contextlib.ExitStack() as stack:
        if is_main():
            stack.enter_context(as_output_error(plan.path))
            stack.enter_context(lock.hold(plan.path))
            _start_by_hand(plan)
        wait_for_all()
        result = finish_run(job, time.perf_counter() - seconds)
        if is_main():
            with_page(plan, result)
        trainer.hfrecipes_trackers.log_scores(result.scores, result.headline)
        trainer.hfrecipes_trackers.close()
    push(plan)
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
