"""One run in its folder: trained and scored, taken up where it stopped, or as it is if it is complete."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from .. import _upstream, predictor
from ..errors import ModelError
from ..evaluation import scoring
from ..hub import checkpoints
from ..hub.card import front_matter
from ..hub.client import preflight
from ..hub.push import push_run
from ..log import is_main, log
from ..memory.shortage import as_memory_error
from ..results import Result
from ..run_folder import claim, contents, lock, progress, writing
from ..run_folder.contents import RunInfo
from ..run_folder.trouble import as_output_error
from ..training import interrupts
from ..training.history import log_last_loss
from ..training.plan import Plan
from ..training.rehearsal import rehearse
from ..training.trackers import Trackers
from ..training.trainer import Job, make_job, wait_for_all

if TYPE_CHECKING:
    from transformers import TrainerCallback

from .distilled import ask_teacher
from .finishing import finish_run, result_of, score_run, with_page


def checked_push(plan: Plan) -> Plan:
    """The plan with the full name of the repository, after checking that the push will be allowed."""
    push = plan.config.push
    if push is None or not is_main():
        return plan
    name = preflight(push, front_matter(plan.recipe, plan.info.origin, adapter=plan.config.adapter, push=push))
    return replace(plan, config=replace(plan.config, hub=replace(push, repo_id=name).as_dict()))


def push(plan: Plan) -> None:
    """Push a complete run, where its settings ask for it."""
    if plan.config.push is not None and is_main():
        log(f"pushed to {push_run(plan.path, plan.config, plan.config.push)}")


def carry_out(plan: Plan, callbacks: Sequence[TrainerCallback] = ()) -> Result:
    """The run, by itself in its folder; a complete one as it is."""
    if not is_main():
        if contents.deleted(plan.path):
            return _score_again(plan)
        return reload(plan) if contents.is_complete(plan.path) else _train_and_score(plan, callbacks)
    with as_output_error(plan.path), lock.hold(plan.path):
        # Another process may have had the folder since the plan was made.
        claim.claim(plan.path, plan.config, plan.info)
        deleted = contents.deleted(plan.path)
        if deleted:
            log(f"{plan.path} has no {', '.join(deleted)}: the saved model is scored again, and not trained")
            return with_page(plan, _score_again(plan))
        if contents.is_complete(plan.path):
            log(f"this run is complete: {plan.path}")
            contents.clear(plan.path)
            return with_page(plan, reload(plan), again=False)
        writing.clear_drafts(plan.path)
        return with_page(plan, _train_and_score(plan, callbacks))


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
        rehearse(job, partial(finish_run, start=start, draws=False))
    for callback in callbacks:
        job.trainer.add_callback(callback)
    if is_main():
        contents.write_start(plan.path, job.plan.config, job.plan.info)
        if checkpoint is not None:
            progress.name_best(checkpoint, plan.path)
    wait_for_all()
    job = ask_teacher(job, plan.path)
    with Trackers(job.trainer, plan.info.shared).open_until_scored() as trackers:
        _train(job, checkpoint)
        result = finish_run(job, start)
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
        # Batches that do not fit are computed in parts; what the optimizer needs cannot be.
        explained = as_memory_error("training")
        with interrupts.at_step_end(job.trainer, job.plan.path), _pushed_meanwhile(job), hidden, explained:
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
    job.trainer.model = loaded.model
    plan.recipe.learned = loaded.recipe.learned  # what the model returns depends on it
    written = RunInfo.read(plan.path) or plan.info
    return score_run(job, replace(written, limits=job.plan.info.limits), time.perf_counter())


def score_held_back(plan: Plan) -> Result:
    """Score the saved model of a complete run on all splits, one of which was held back when it was trained."""
    with as_output_error(plan.path), lock.hold(plan.path):
        return with_page(plan, _score_again(plan))


def reload(plan: Plan) -> Result:
    """The result of a complete run, its trained model in the Trainer."""
    scores = scoring.from_json(contents.read_scores(plan.path))
    # The folder has the settings of this run, which the user gave or trusts.
    return result_of(plan, predictor.load(plan.path, trust=True), scores)
