"""Before training, try everything that happens after it on two rows, so that no trained model is lost to an error."""

from __future__ import annotations

import contextlib
import copy
import errno
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _upstream, predictor
from ..config.run_config import RunConfig
from ..errors import HFRecipesError, ModelError
from ..evaluation.generation import generating_with
from ..log import is_main, log, logger
from ..models import adapters
from ..models.directory import quiet
from ..models.hardware import count_parameters
from ..models.heads import compute_logits
from ..run_folder import contents
from .trainer import Job, assemble

if TYPE_CHECKING:
    from datasets import Dataset


ROWS = 2  # of each split
TOKENS = 4  # that are written for a row
LARGE = 500_000_000  # parameters: a larger model is not copied, saved and loaded in the rehearsal
NOISE = 0.05  # standard deviation of noise for untrained adapters, which otherwise change nothing


def rehearse(job: Job, finish: Callable[..., Any]) -> None:
    """Evaluate, save, load, score and write down two rows of each split in a temporary folder.

    Random numbers, recipe and model are left as they were, so that the run learns what it would have learnt.

    Args:
        job: A run that is ready to train.
        finish: What is done with a run after training; called with the run and with `saves`, False where its model is
            too large to be saved and loaded for a trial.

    Raises:
        HFRecipesError: A part of it failed; nothing was trained.
    """
    trainer = job.trainer
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:  # they wrap the model permanently
        return
    is_large = count_parameters(trainer.model)["total"] > LARGE or job.plan.config.base.is_quantized
    try:
        with _as_before(job), tempfile.TemporaryDirectory() as path:
            model = trainer.model if is_large else _copy_of(trainer.model)
            small = _small(job, model, Path(path))
            with generating_with(model, _write_little):
                if small.trainer.eval_dataset is not None:
                    small.trainer.evaluate()
                finish(small, saves=not is_large)
            trained = _upstream.without_autocast(small.trainer.accelerator, small.trainer.model)
            if is_main() and not is_large:
                _load(small, trained)
    except HFRecipesError:
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        log(f"rehearsal skipped: no space left in {tempfile.gettempdir()}")
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ModelError(
            f"tried on {ROWS} rows before training, the steps after training failed ({reason}). Nothing was trained; "
            "please report it with the settings"
        ) from error


def _load(small: Job, trained: Any) -> None:
    """Load the saved model, and check that its logits are the same, in float32, where rounding hides nothing."""
    plan = small.plan
    # Adapters that cannot be merged leave no whole model; they were compared when they were saved.
    if not (plan.path / "config.json").exists():
        return
    contents.write_start(plan.path, plan.config, plan.info)
    batch = small.trainer.data_collator([small.trainer.train_dataset[0]])
    # What the settings name is code that the user named, or trusts.
    loaded = predictor.load(plan.path, trust=True)
    expected, model = compute_logits(trained, batch), loaded.model
    for name, values in compute_logits(model, batch).items():
        difference = float((values - expected[name]).abs().max())
        if not difference <= adapters.tolerance(model, expected[name], plan.recipe):
            raise ModelError(
                f"a model of type {model.config.model_type} predicts differently after it is saved and loaded: {name} "
                f"differ by {difference:.2g}. Nothing was trained; please report model and settings"
            )


def _small(job: Job, model: Any, path: Path) -> Job:
    """The run with two rows of each split, and another model."""
    from transformers import PrinterCallback

    plan = job.plan
    splits, references, encoded, row_numbers, groups = {}, {}, {}, {}, {}
    for split, features in job.encoded.items():
        rows = plan.data.splits[split]
        chosen = _chosen(features, len(rows))
        splits[split] = rows.select(chosen)
        references[split] = [plan.data.references[split][row] for row in chosen]
        encoded[split] = _features_of(features, chosen)
        row_numbers[split] = [plan.data.row_numbers[split][row] for row in chosen]
        if split in plan.data.groups:
            groups[split] = [plan.data.groups[split][row] for row in chosen]
    small = replace(
        plan,
        config=_cautious(plan.config),
        data=replace(plan.data, splits=splits, row_numbers=row_numbers, groups=groups, references=references),
        in_train=(),
        path=path,
    )
    arguments = copy.copy(job.trainer.args)
    arguments.output_dir, arguments.report_to, arguments.disable_tqdm = str(path), [], True
    arguments.bf16_full_eval = arguments.fp16_full_eval = False
    trainer = assemble(small, model, arguments, encoded)
    trainer.remove_callback(PrinterCallback)
    return Job(small, encoded, trainer)


def _cautious(config: RunConfig) -> RunConfig:
    """The settings without metrics that the user named, which may fail on few rows and were tried on more, and without
    what would convert the model permanently.
    """
    training = {name: value for name, value in config.training.items() if not name.endswith("_full_eval")}
    return replace(config, metrics=[], training=training)


def _chosen(features: Dataset, rows: int) -> list[int]:
    """Indices of the first row and of the longest one, as far as rows can be told from features."""
    longest = int(np.argmax(features["length"][:]))
    if "row" in features.column_names:
        return sorted({features[0]["row"], features[longest]["row"]})
    return sorted({0, longest}) if len(features) == rows else list(range(min(ROWS, rows)))


def _features_of(features: Dataset, chosen: list[int]) -> Dataset:
    """The features of some rows, numbered from 0; the first ones where features hold several rows."""
    if "row" not in features.column_names:
        return features.select([index for index in chosen if index < len(features)])
    numbers = np.asarray(features["row"][:])
    kept = np.flatnonzero(np.isin(numbers, chosen))
    few = features.select(kept).remove_columns("row")
    return few.add_column("row", np.searchsorted(chosen, numbers[kept]))


def _copy_of(model: Any) -> Any:
    """A copy of the model; its adapters get noise, since untrained ones change nothing that it predicts."""
    import torch

    copied = copy.deepcopy(model)
    if adapters.is_adapted(copied):
        with torch.no_grad():
            for weights in copied.parameters():
                if weights.requires_grad:
                    weights += NOISE * torch.randn_like(weights)
    return copied


def _write_little(settings: Any) -> None:
    """Limit generation settings to a few tokens."""
    if settings.max_new_tokens:
        settings.max_new_tokens = min(settings.max_new_tokens, TOKENS)
    elif settings.max_length:
        settings.max_length = min(settings.max_length, TOKENS + 1)


@contextlib.contextmanager
def _as_before(job: Job) -> Iterator[None]:
    """Run a block that prints nothing, and restore all state after it."""
    import torch
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    recipe, bars, was_silent = dict(vars(job.plan.recipe)), is_progress_bar_enabled(), logger.disabled
    states = random.getstate(), np.random.get_state()
    stance = "force_eager" if job.trainer.args.torch_compile else "default"  # to compile takes minutes
    logger.disabled = True
    disable_progress_bar()
    try:
        with contextlib.ExitStack() as stack:
            muted = (quiet(), np.errstate(all="ignore"), warnings.catch_warnings())
            for context in (torch.random.fork_rng(), torch.compiler.set_stance(stance), *muted):
                stack.enter_context(context)
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        logger.disabled = was_silent
        vars(job.plan.recipe).clear()
        vars(job.plan.recipe).update(recipe)
        if bars:
            enable_progress_bar()
