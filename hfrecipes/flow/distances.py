"""After training: where the training rows are, which distances of other rows are measured from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import counted
from ..evaluation.inference import Inference, outputs
from ..evaluation.kept import KeptOutputs
from ..log import log
from ..models import directory, distances
from ..models.binding import remember
from ..recipe import DISTANCE
from ..run_folder.contents import RunInfo
from ..training.trainer import Job, Scorer


def add_distances(job: Job, info: RunInfo) -> RunInfo:
    """Measure the training rows with the saved model, which then returns distances too; write what they need.

    Args:
        job: The run, with the saved model in its Trainer.
        info: What is known of the run.

    Returns:
        The information, with the file among those of the model.
    """
    trainer, recipe = job.trainer, job.plan.recipe
    measured, rows = _measured(job)
    recipe.learned = {**recipe.learned, DISTANCE: {"rows": rows, "shrinkage": measured.shrinkage}}
    distances.attach(trainer.model, measured)
    log(
        f"out_of_scope_by=distance: the means of {counted(len(measured.means), 'label')} and one covariance are those "
        f"of {counted(rows, 'row')} of train (shrinkage {measured.shrinkage:.2f})"
    )
    # Outputs of evaluations during training have no distances.
    if isinstance(trainer.compute_metrics, Scorer):
        trainer.compute_metrics.kept = KeptOutputs()
    return _write(job, measured, info) if trainer.is_world_process_zero() else info


def _measured(job: Job) -> tuple[distances.Distances, int]:
    """Means and covariance, and the number of rows that they are of."""
    trainer, plan = job.trainer, job.plan
    features = job.encoded["train"]
    labels = np.asarray(features["labels"][:])
    chosen = distances.rows_to_fit(labels, plan.config.training["seed"])
    inference = Inference.of(trainer.model, plan.recipe, plan.config.training)
    plan.recipe.learned = {**plan.recipe.learned, DISTANCE: {}}  # so that evaluation keeps what is beside the logits
    stop = distances.collect_inputs(trainer.model)
    try:
        logits, inputs = outputs(inference, features.select(chosen))
    finally:
        stop()
    distances.check_inputs(trainer.model, logits, inputs)
    return distances.fit(inputs, labels[chosen]), len(chosen)


def _write(job: Job, measured: distances.Distances, info: RunInfo) -> RunInfo:
    """Write the file beside the model and beside its adapter, and what the recipe has learnt into their configs."""
    model, path = job.trainer.model, job.plan.path
    remember(job.plan.recipe, model)
    directory.save_config(model, job.plan.recipe, path)
    if info.files:
        distances.write(path, measured)
        info = replace(info, files=sorted([*info.files, distances.FILE]))
    if info.tokenizer:
        distances.write(path / directory.ADAPTER, measured)
        info = replace(info, tokenizer=[*info.tokenizer, distances.FILE])
    return info
