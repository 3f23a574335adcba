"""Before the first step, try on two rows whatever comes after the last one, so that nothing fails there for good."""

from __future__ import annotations

import contextlib
import copy
import errno
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import predictor, run_folder
from ..errors import HFRecipesError, ModelError
from ..log import is_main, log, logger
from ..models import adapters
from ..models.directory import quiet
from ..models.hardware import parameters
from ..models.heads import outputs
from ..models.loading import is_quantized
from .trainer import Job, assemble

if TYPE_CHECKING:
    from datasets import Dataset


ROWS = 2  # of each split
TOKENS = 4  # that are written for a row
LARGE = 500_000_000  # parameters: a larger model is neither copied, nor saved and loaded, to try it
NOISE = 0.05  # standard deviation of what is added to untrained adapters, which else change nothing


def rehearse(job: Job, finish: Callable[..., Any]) -> None:
    """Evaluate, save, load, score and write down two rows of each split in a temporary folder.

    Random numbers, recipe and model are left as they were, so that the run learns what it would have learnt.

    Args:
        job: A run that is ready to train.
        finish: What is done with a run once it is trained; called with it and with `saves`, False where its model is
            too large to be saved and loaded on trial.

    Raises:
        HFRecipesError: Something of it failed; nothing was trained.
    """
    trainer = job.trainer
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:  # they wrap a model for good
        return
    is_large = parameters(trainer.model)["total"] > LARGE or is_quantized(job.config.model)
    try:
        with _as_before(job), tempfile.TemporaryDirectory() as path:
            network = trainer.model if is_large else _copy_of(trainer.model)
            small = _small(job, network, Path(path))
            with _writing_little(network):
                if small.trainer.eval_dataset is not None:
                    small.trainer.evaluate()
                finish(small, saves=not is_large)
            trained = small.trainer.accelerator.unwrap_model(small.trainer.model, keep_fp32_wrapper=False)
            if is_main() and not is_large:
                _load(small, trained)
    except HFRecipesError:
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        log(f"not rehearsed: no room in {tempfile.gettempdir()}")
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ModelError(
            f"tried on {ROWS} rows before training, what comes after it failed ({reason}). Nothing was trained; "
            "please report it with the settings"
        ) from error


def _load(small: Job, trained: Any) -> None:
    """Load what was saved, and see that it gives the same logits, in float32, where nothing hides a difference."""
    if not (small.path / "config.json").exists():  # of adapters that cannot be merged, which were looked at already
        return
    run_folder.begin(small.path, small.config, small.about)
    batch = small.trainer.data_collator([small.trainer.train_dataset[0]])
    expected, model = outputs(trained, batch), predictor.load(small.path).trainer.model
    for name, values in outputs(model, batch).items():
        differ = float((values - expected[name]).abs().max())
        if not differ <= adapters.tolerance(model, expected[name], small.recipe):
            raise ModelError(
                f"a model of type {model.config.model_type} predicts otherwise once it was saved and loaded: {name} "
                f"differ by {differ:.2g}. Nothing was trained; please report model and settings"
            )


def _small(job: Job, network: Any, path: Path) -> Job:
    """The run with two rows of each split, and another model."""
    from transformers import PrinterCallback

    rows, references, encoded, numbers = {}, {}, {}, {}
    groups: dict[str, Sequence[Any] | None] = {}
    for split, features in job.encoded.items():
        chosen = _chosen(features, len(job.data.splits[split]))
        rows[split] = job.data.splits[split].select(chosen)
        references[split] = [job.references[split][index] for index in chosen]
        encoded[split] = _features_of(features, chosen)
        numbers[split] = [job.data.places[split][index] for index in chosen]
        if of_rows := job.data.groups.get(split):
            groups[split] = [of_rows[index] for index in chosen]
    small = replace(
        job,
        config=replace(job.config, metrics=[]),  # some fail on few rows; they were tried on more
        data=replace(job.data, splits=rows, places=numbers, groups=groups),
        references=references,
        encoded=encoded,
        path=path,
    )
    arguments = copy.copy(job.trainer.args)
    arguments.output_dir, arguments.report_to, arguments.disable_tqdm = str(path), [], True
    arguments.bf16_full_eval = arguments.fp16_full_eval = False  # they cast the model for good
    trainer = assemble(small, network, arguments, encoded)
    trainer.remove_callback(PrinterCallback)
    return replace(small, trainer=trainer)


def _chosen(features: Dataset, rows: int) -> list[int]:
    """Numbers of the first row and of the longest one, as far as rows can be told from features."""
    longest = int(np.argmax(features["length"]))
    if "row" in features.column_names:
        return sorted({features[0]["row"], features[longest]["row"]})
    return sorted({0, longest}) if len(features) == rows else list(range(min(ROWS, rows)))


def _features_of(features: Dataset, chosen: list[int]) -> Dataset:
    """The features of some rows, numbered anew; the first ones where features hold several rows."""
    if "row" not in features.column_names:
        return features.select([index for index in chosen if index < len(features)])
    numbers = np.asarray(features["row"])
    kept = np.flatnonzero(np.isin(numbers, chosen))
    few = features.select(kept).remove_columns("row")
    return few.add_column("row", np.searchsorted(chosen, numbers[kept]))


def _copy_of(model: Any) -> Any:
    """A copy of the model, whose adapters change what it predicts."""
    import torch

    network = copy.deepcopy(model)
    if adapters.is_adapted(network):
        with torch.no_grad():
            for weights in network.parameters():
                if weights.requires_grad:
                    weights += NOISE * torch.randn_like(weights)
    return network


@contextlib.contextmanager
def _writing_little(model: Any) -> Iterator[None]:
    """Have the model write a few tokens at most."""
    parts = [model, model.get_base_model()] if adapters.is_adapted(model) else [model]
    before = [(part, part.generation_config) for part in parts if getattr(part, "generation_config", None) is not None]
    for part, settings in before:
        part.generation_config = copy.deepcopy(settings)
        if settings.max_new_tokens:
            part.generation_config.max_new_tokens = min(settings.max_new_tokens, TOKENS)
        elif settings.max_length:
            part.generation_config.max_length = min(settings.max_length, TOKENS + 1)
    try:
        yield
    finally:
        for part, settings in before:
            part.generation_config = settings


@contextlib.contextmanager
def _as_before(job: Job) -> Iterator[None]:
    """Do something of which nothing is seen, and nothing is left."""
    import torch
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    recipe, bars, was_silent = dict(vars(job.recipe)), is_progress_bar_enabled(), logger.disabled
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
        vars(job.recipe).clear()
        vars(job.recipe).update(recipe)
        if bars:
            enable_progress_bar()
