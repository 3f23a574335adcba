"""After training: save the model, score it, and write what a run leaves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..config.run_config import named_sets, own_splits
from ..data.checks import input_keys, written_label
from ..data.prepare import log_all
from ..data.row_origin import line_of
from ..data.rows import values_to_slice_by
from ..errors import ModelError
from ..evaluation import scoring
from ..evaluation.breakdown import Breakdown, reports_of
from ..evaluation.comparison import OwnTest, sliced, with_changes, worst_part
from ..evaluation.evaluate import Predicted, Scored, log_samples, predict_splits, score_rows, score_splits
from ..evaluation.first_prediction import own_row
from ..evaluation.inference import Inference
from ..evaluation.scoring import Scores
from ..evaluation.slices import Slices
from ..evaluation.tables import split_of_changes
from ..hub.card import write_card
from ..log import log
from ..models import adapters, directory, hardware
from ..models.binding import model_inputs, pass_loss_features, remember
from ..predictor import Predictor
from ..privacy.training import spent_by
from ..recipe import Recipe, table_metrics
from ..reports.pictures import write_pictures
from ..reports.run_data import ReadRows, RunData
from ..reports.writing import write_page
from ..results import Result
from ..run_folder import contents, manifest
from ..run_folder.contents import RunInfo
from ..run_folder.writing import write_json
from ..training.history import history_of, scores_at_start
from ..training.memory_use import peak_of
from ..training.plan import Plan
from ..training.trainer import Job, Scorer
from .distances import add_distances
from .distilled import compared_with_teacher

if TYPE_CHECKING:
    from transformers import Trainer


def finish_run(job: Job, start: float, *, saves: bool = True, draws: bool = True) -> Result:
    """Save first, then score the saved model.

    Args:
        job: The run, trained.
        start: When it began, in seconds.
        saves: False where the model is only scored, as in the rehearsal of a large one.
        draws: False where no pictures are drawn, as in any rehearsal: none of them can cost a run.
    """
    plan, trainer = job.plan, job.trainer
    info = replace(plan.info, parameters=hardware.count_parameters(trainer.model))
    if saves:
        trainer.model, info = _save(job, info, write=trainer.is_world_process_zero())
        trainer.model_wrapped = trainer.model
        _upstream.forget_prepared_models(trainer.accelerator)  # the merged model is another one
        if plan.recipe.needs_distances:
            info = add_distances(job, info)
    return score_run(job, info, start, saves=saves, draws=draws)


def score_run(job: Job, info: RunInfo, start: float, *, saves: bool = False, draws: bool = True) -> Result:
    """Predict and score all splits, and write the results; the scores, which make the run complete, last.

    Args:
        job: The run, with the saved model in its Trainer.
        info: What is known of the run; seconds, steps and energy that it has already stay.
        start: When the run began, in seconds.
        saves: Whether what is tuned on validation is written into the config of the saved model.
        draws: Whether pictures are drawn for the card.
    """
    plan, trainer, recipe = job.plan, job.trainer, job.plan.recipe
    is_writer = trainer.is_world_process_zero()
    inference = Inference.of(trainer.model, recipe, plan.config.training)
    scorer = trainer.compute_metrics
    known = scorer.kept.of(trainer.model) if isinstance(scorer, Scorer) else None
    predicted = predict_splits(inference, plan.data, job.encoded, known)
    if saves and is_writer and recipe.calibration:
        remember(recipe, trainer.model)
        directory.save_config(trainer.model, recipe, plan.path)
    baseline = recipe.baseline(plan.data.splits["train"])
    has_lora = plan.config.adapter is not None
    scored = score_splits(
        inference, predicted, baseline, metrics=plan.config.metrics, lora=has_lora, in_train=plan.in_train
    )
    log_all(_before_training(trainer, recipe, scored.scores))
    scored = _with_changes(plan, predicted, scored, inference.settings.seed)
    slices, about_slices = _slices(plan, predicted, scored, baseline)
    loaded = Predictor(recipe, trainer.model, plan.config, plan.path, trainer)
    # Several processes would have to predict the same batches the same number of times.
    if plan.config.distill and draws and trainer.args.world_size > 1:
        log("not compared with its teacher, as several processes train: hfrecipes compare does it afterwards")
    elif draws:
        compared = compared_with_teacher(loaded, plan, predicted, scored.scores, info, _lines(plan, predicted))
        info = replace(info, distillation=compared or info.distillation)
    if is_writer:
        info = replace(
            info,
            limits=[*info.limits, *scored.sentences, *about_slices],
            seconds=info.seconds or round(time.perf_counter() - start, 1),
            steps=info.steps or trainer.state.global_step,
            memory=info.memory or peak_of(trainer),
            energy=info.energy or _energy(trainer),
            privacy=info.privacy or spent_by(trainer),
        )
        log_samples(next(reversed(own_splits(predicted).values())).predictions)
        # A run that is scored again keeps the history of its training.
        if trainer.state.global_step:
            history_of(trainer).write(plan.path)
        _write_results(plan, predicted, baseline, scored.scores, info, slices, draws=draws)
    return result_of(plan, loaded, scored.scores)


def _with_changes(plan: Plan, predicted: Mapping[str, Predicted], scored: Scored, seed: int) -> Scored:
    """The scores of the sets under `tests` beside those of the run's own test."""
    split = split_of_changes(scored.scores)
    if not (plan.config.tests and split):
        return scored
    run_test = OwnTest(split, scored.scores[split], list(_lines(plan, {split: predicted[split]})))
    scores, sentences = with_changes(plan.recipe, predicted, scored.scores, run_test, seed)
    for sentence in sentences:
        log(sentence)
    return Scored(scores, [*scored.sentences, *sentences])


def _before_training(trainer: Trainer, recipe: Recipe, scores: Mapping[str, Scores]) -> list[str]:
    """A sentence on what the model could do before the first step, where that was evaluated."""
    before, after = scores_at_start(trainer), scores.get("validation", {})
    parts = []
    for name in table_metrics(recipe):
        if name in before and name in after:
            parts.append(f"{name} {before[name]:.3f}, and {after[name].value:.3f} after it")
    return [f"validation before training: {'; '.join(parts)}"] if parts else []


def _slices(
    plan: Plan, predicted: Mapping[str, Predicted], scored: Scored, baseline: Mapping[str, Any]
) -> tuple[Slices, list[str]]:
    """Scores of the rows of each value of the column `by`, of test (else validation) and the sets under `tests`."""
    if plan.config.by is None:
        return Slices("", {}), []
    seed, metrics = plan.config.training["seed"], plan.config.metrics
    score = partial(score_rows, plan.recipe, baseline=baseline, seed=seed, metrics=metrics)
    slices, sentences = {}, []
    for split in filter(None, [split_of_changes(scored.scores), *named_sets(scored.scores)]):
        cells = values_to_slice_by(plan.data, split)
        if cells is not None:
            slices[split], notes = sliced(plan.recipe, cells, predicted[split], score)
            notes += worst_part(plan.recipe, plan.config.by, split, slices[split], scored.scores[split])
            sentences += [note for note in notes if note not in sentences]
    for sentence in sentences:
        log(sentence)
    return Slices(plan.config.by, slices), sentences


def _write_results(
    plan: Plan,
    predicted: Mapping[str, Predicted],
    baseline: Mapping[str, Any],
    scores: Mapping[str, Scores],
    info: RunInfo,
    slices: Slices,
    *,
    draws: bool,
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
    with not_costing_the_run(contents.PICTURES):
        if draws:
            pictures = write_pictures(as_reported(plan, plan.recipe, scores, info, reports))
    write_card(plan.path, plan.config, plan.recipe, scores, info, reports, pictures)
    contents.mark_complete(plan.path, scoring.to_json(scores), info, plan.data.notes, slices.as_json())


def as_reported(
    plan: Plan, recipe: Recipe, scores: Mapping[str, Scores], info: RunInfo, reports: Mapping[str, Breakdown]
) -> RunData:
    """What report.html and the pictures of the card are made of; of sets under `tests`, it has the scores alone."""
    return RunData(
        plan.path,
        plan.config,
        recipe,
        scores,
        info,
        own_splits(reports),
        plan.data.notes,
        read_data=lambda: ReadRows(own_splits(plan.data.splits), plan.recipe.label_counts),
    )


@contextlib.contextmanager
def not_costing_the_run(name: str) -> Iterator[None]:
    """Print why something that is only looked at cannot be made, and go on: the model and its scores are there."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        log(f"{name} is not written: {error}")


def with_page(plan: Plan, result: Result, *, again: bool = True) -> Result:
    """Write the part of report.html that takes a second at most.

    Args:
        plan: The run, complete.
        result: What it returns.
        again: Whether one that is there is replaced.
    """
    if again or not (plan.path / contents.REPORT_PAGE).exists():
        info = RunInfo.read(plan.path) or plan.info
        recipe = result.predictor.recipe
        with not_costing_the_run(contents.REPORT_PAGE):
            write_page(as_reported(plan, recipe, result.scores, info, result.reports))
    return result


def _save(job: Job, info: RunInfo, *, write: bool) -> tuple[Any, RunInfo]:
    """Save the model; with adapters, check that the saved model predicts the same as the trained one.

    Returns:
        The model as saved, adapters merged into it, and the information with the names of its files.
    """
    plan, trainer, recipe = job.plan, job.trainer, job.plan.recipe
    if not adapters.is_adapted(trainer.model):
        if write:
            info = replace(info, files=directory.save(trainer.model, recipe, plan.path))
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
            info = replace(info, files=directory.save(saved, recipe, plan.path))
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
    """Each row but those of train with its number and ids, its prediction, and its label in the same form."""
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


def result_of(plan: Plan, loaded: Predictor, scores: dict[str, Scores]) -> Result:
    """What the run returns."""
    example = own_row(loaded.recipe, plan.data.splits, loaded.reads)
    return Result(plan.path, scores, loaded, plan.data.notes, tuple(table_metrics(plan.recipe)), example)
