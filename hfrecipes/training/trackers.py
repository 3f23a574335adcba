"""Trackers, such as tensorboard and wandb: they get the settings of a run, and its final scores.

The Trainer closes them after the last step, before anything is scored: they are kept open until then.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, HFRecipesError
from ..evaluation.scoring import Scores
from ..log import log

if TYPE_CHECKING:
    from transformers import Trainer

_INTEGRATIONS = "transformers.integrations"
_PREFIX = "hfrecipes_"


class Trackers:
    """The trackers of a Trainer.

    Args:
        trainer: About to train.
        settings: Those of the run, with secrets masked; the arguments of the Trainer come from the Trainer itself.
    """

    def __init__(self, trainer: Trainer, settings: Mapping[str, Any]) -> None:
        from transformers import TrainerCallback

        self.trainer, self.settings, self.is_open = trainer, _by_dotted_name(settings), False
        self.callbacks = []
        for callback in trainer.callback_handler.callbacks:
            # One without `on_log`, as codecarbon's, measures the training alone.
            follows = type(callback).on_log is not TrainerCallback.on_log
            if follows and type(callback).__module__.startswith(_INTEGRATIONS):
                self.callbacks.append(callback)

    @contextlib.contextmanager
    def open_until_scored(self) -> Iterator[Trackers]:
        """Keep them open in the block, whatever ends it."""
        self.open()
        try:
            yield self
        finally:
            self.close()

    def open(self) -> None:
        """Keep them open until `close`, or until Python ends: who trains by hand may never score."""
        for callback in self.callbacks:
            callback.on_train_begin = self._begin_of(callback.on_train_begin)
            callback.on_train_end = self._end
        if self.callbacks:
            atexit.register(self.close)

    def close(self) -> None:
        """Close them; a second call does nothing."""
        atexit.unregister(self.close)
        for callback in self.callbacks:
            del callback.on_train_begin, callback.on_train_end
            if self.is_open:
                self._close(callback)
        self.callbacks = []

    def _begin_of(self, begin: Any) -> Any:
        """The beginning of a tracker, at which it writes down the config of the model, with the settings in it."""

        def with_settings(*args: Any, **keywords: Any) -> None:
            with _in_config(keywords.get("model"), self.settings), _as_config_error():
                begin(*args, **keywords)

        return with_settings

    def _end(self, *_: Any, **__: Any) -> None:
        self.is_open = True

    def _close(self, callback: Any) -> None:
        trainer = self.trainer
        keywords = {"model": trainer.model, "processing_class": trainer.processing_class}
        callback.on_train_end(trainer.args, trainer.state, trainer.control, **keywords)

    def log_scores(self, scores: Mapping[str, Scores], headline: Sequence[str]) -> None:
        """Send the final scores of test, or else of validation; a tracker that fails does not end the run."""
        if not self.callbacks:
            return
        split = next((split for split in ("test", "validation") if split in scores), None)
        if split is None:
            return
        self.is_open = True
        values = final_values("test" if split == "test" else "eval", scores[split], headline)
        try:
            # After a resume whose training was over, this is the first that a tracker hears of the run.
            with _in_config(self.trainer.model, self.settings):
                self.trainer.log(values)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            log(f"warning: the final scores did not reach the trackers ({reason}); metrics.json has them")


def final_values(prefix: str, scores: Scores, headline: Sequence[str]) -> dict[str, float]:
    """Each score under a name that trackers sort into a group, with interval and baseline of the main ones.

    Example:
        >>> from hfrecipes.evaluation.scoring import Score
        >>> final_values("test", {"accuracy": Score(0.5, 0.4, 0.6, 0.1), "f1[a]": Score(0.2)}, ["accuracy"])
        {'test_accuracy': 0.5, 'test_accuracy_low': 0.4, 'test_accuracy_high': 0.6, 'test_accuracy_baseline': 0.1}
    """
    values: dict[str, float | None] = {}
    for name, score in scores.items():
        if "[" in name:  # of one label: a name from the data, which not every tracker takes
            continue
        values[f"{prefix}_{name}"] = score.value
        if name in headline:
            values[f"{prefix}_{name}_low"] = score.low
            values[f"{prefix}_{name}_high"] = score.high
            values[f"{prefix}_{name}_baseline"] = score.baseline
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}


def _by_dotted_name(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The given settings, without those of the training, by dotted name: trackers truncate or drop long blocks."""
    named = {}
    for name, value in settings.items():
        if name == "training" or not value:
            continue
        for inner, entry in value.items() if isinstance(value, Mapping) else [("", value)]:
            if entry is not None:
                named[f"{name}.{inner}".strip(".")] = entry
    return named


@contextlib.contextmanager
def _as_config_error() -> Iterator[None]:
    """Turn what a tracker cannot start with, such as a key that is missing, into a sentence."""
    try:
        yield
    except HFRecipesError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"report_to: a tracker could not start ({reason}): log in to it, or train without it, report_to=none"
        ) from error


@contextlib.contextmanager
def _in_config(model: Any, settings: Mapping[str, Any]) -> Iterator[None]:
    """Put the settings into the config of the model for a moment, which each tracker writes down."""
    config = getattr(model, "config", None)
    if config is None:
        yield
        return
    names = []
    for name, value in settings.items():
        names.append(_PREFIX + name)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        setattr(config, names[-1], text)
    try:
        yield
    finally:
        for name in names:
            delattr(config, name)
