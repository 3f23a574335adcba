"""A run that learns from another one: asked before training, and compared with after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..comparing.compare import Loaded
from ..comparing.runs import Run
from ..config.run_config import own_splits
from ..data.prepare import log_all
from ..distilling import kept, teacher
from ..distilling.batches import TeacherCollator, with_column
from ..distilling.contract import distillable
from ..distilling.quality import quality_against_cost
from ..errors import HFRecipesError, counted
from ..log import is_main, log
from ..memory.shortage import as_memory_error
from ..run_folder.contents import RunInfo
from ..training.plan import Plan
from ..training.trainer import Job, wait_for_all

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from ..evaluation.evaluate import Predicted
    from ..evaluation.scoring import Scores
    from ..predictor import Predictor


def ask_teacher(job: Job, folder: Path | None = None) -> Job:
    """Give the Trainer what the teacher says of its rows, where the settings name one.

    Args:
        job: A run that is ready to train.
        folder: Folder of the run, where it is kept; None for a run that has none yet.

    Returns:
        The run, with what its scores are to be read with.
    """
    settings, recipe, trainer = job.plan.config.distillation, job.plan.recipe, job.trainer
    if settings is None:
        return job
    runs = teacher.runs_of(settings.run)
    with as_memory_error("predicting with the teacher"):
        soft_labels = _soft_labels(job.plan, runs, folder)
    targets = distillable(recipe).soft_targets(soft_labels, job.encoded["train"])
    trainer.train_dataset = with_column(trainer.train_dataset, targets)
    trainer.data_collator = TeacherCollator(trainer.data_collator)
    known = _known_to_teacher(job.plan, runs)
    log_all(known)
    info = replace(job.plan.info, limits=[*job.plan.info.limits, *known])
    return replace(job, plan=replace(job.plan, info=info))


def _known_to_teacher(plan: Plan, runs: Sequence[Path]) -> list[str]:
    """Sentences on rows to score that the teacher was trained on, such as those that this run's folds hold out."""
    sentences = []
    for split, rows in own_splits(plan.data.splits).items():
        if split == "train":
            continue
        known = int(teacher.trained_on(runs, rows).any(axis=0).sum())
        if known:
            sentences.append(
                f"distill: the teacher was trained on {known} of {counted(len(rows), 'row')} of {split}, so the scores "
                "of this run are optimistic there: train the teacher without them"
            )
    return sentences


def _soft_labels(plan: Plan, runs: list[Path], folder: Path | None) -> list[np.ndarray]:
    """What the teacher says of each training row: as it was kept, or asked now."""
    rows, labels = plan.data.splits["train"], plan.recipe.labels
    key = kept.key_of(runs, rows, labels)
    known = kept.read(folder, key)
    wait_for_all()  # before one process writes what another one reads
    if known is None:
        log(f"distill: predicting {counted(len(rows), 'row')} of train with the teacher, once")
        known = [values.astype("float32") for values in teacher.soft_labels(runs, rows, labels)]
    kept.remember(key, known)
    if folder is not None and is_main():
        kept.write(folder, key, known)
    wait_for_all()
    return known


def compared_with_teacher(
    student: Predictor,
    plan: Plan,
    predicted: Mapping[str, Predicted],
    scores: Mapping[str, Scores],
    info: RunInfo,
    lines: Iterable[dict[str, Any]],
) -> dict[str, Any] | None:
    """Quality against cost of the run and its teacher on test, else validation; None where that is not asked for.

    Args:
        student: The saved model.
        plan: The run.
        predicted: Rows with their predictions, by split.
        scores: Split -> metric -> score.
        info: Facts about the run, with the files of the saved model.
        lines: Rows of all splits with their predictions, as predictions.jsonl has them.
    """
    config = plan.config
    split = next((name for name in ("test", "validation") if name in own_splits(scores)), None)
    # One of several runs is only a part of what is reported; a trial of a search must not see test.
    is_part = config.folds is not None or config.curve is not None or set(plan.info.data) > set(plan.data.splits)
    if config.distillation is None or split is None or is_part:
        return None
    of_split = [line for line in lines if line["split"] == split]
    scored: dict[str, Scores] = {split: scores[split]}
    run = Run(str(plan.path), plan.path, plan.path, config, plan.recipe, [info], scored, split, of_split)
    log(f"distill: comparing this run with its teacher on {counted(len(of_split), 'row')} of {split}")
    try:
        runs = teacher.runs_of(config.distillation.run)
        return quality_against_cost(Loaded(run, plan.recipe, student), runs, predicted[split])
    except KeyError as error:
        log(f"not compared with its teacher: its predictions have no {error.args[0]}, which options here ask for")
    # The model is trained and saved: whatever goes wrong here must not cost its scores.
    except (HFRecipesError, RuntimeError, MemoryError, ValueError, TypeError, AttributeError, OSError) as error:
        log(f"not compared with its teacher: {' '.join(str(error).split())[:300]}")
    return None
