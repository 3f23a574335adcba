"""The journal of a search: which values each trial has, and what came of it; several processes may share it."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import _upstream
from ..config.search_space import Choices, Range, SearchSettings
from ..config.yaml12 import format_value
from ..errors import OutputError
from ..run_folder.lock import LOCK, locked

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"
DEFAULT = "default"  # name of the run with the default settings
LEAST = 8  # complete trials below which the importance of settings says nothing
_WAIT = 0.5  # seconds between two looks at what other processes do


@dataclass(frozen=True)
class Costs:
    """What a run has cost; None for what is not known."""

    seconds: float | None = None
    """Of the training."""
    parameters: int | None = None
    """Of the model."""
    kwh: float | None = None
    """Of the training, where it was measured."""


@dataclass(frozen=True)
class Trial:
    """A trial that is over."""

    number: int
    """From 1 on; 0 is the run with the default settings."""
    values: Mapping[str, Any]
    """Setting -> value."""
    state: str
    """`complete`, `pruned`, or `failed`."""
    score: float | None = None
    """Validation score, of a pruned one the last; None where there is none."""
    costs: Costs = field(default_factory=Costs)
    error: str = ""
    """Why it failed."""

    @property
    def name(self) -> str:
        """`trial-3`, or `default`."""
        return f"trial-{self.number}" if self.number else DEFAULT


class Study:
    """The trials of a search, in the folder around them.

    Args:
        path: Folder of the search, which exists.
        settings: What is tried.
        seed: Of the values that are drawn.
        greater_is_better: Direction of the score.
    """

    def __init__(self, path: Path, settings: SearchSettings, seed: int, *, greater_is_better: bool) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.path, self.settings, self.seed = path, settings, seed
        directions: list[Literal["minimize", "maximize"]] = ["maximize" if greater_is_better else "minimize"]
        if settings.cost is not None:
            directions.append("minimize")
        self._all_values = _combinations(settings, seed)
        with self._alone():
            storage = _upstream.journal_storage(path / JOURNAL)
            self._study = optuna.create_study(
                storage=storage,
                study_name=_name(settings, directions),
                directions=directions,
                pruner=_pruner(settings.pruner),
                load_if_exists=True,
            )

    @contextlib.contextmanager
    def next_trial(self) -> Iterator[optuna.Trial | None]:
        """The next trial, which belongs to this process inside the block; None if all of them are over.

        A trial whose process has ended is taken up again, with the same values. While other processes have the last
        trials, this waits for them.
        """
        with contextlib.ExitStack() as stack:
            trial = self._taken(stack)
            while trial is None and self._running():
                time.sleep(_WAIT)
                trial = self._taken(stack)
            yield trial

    def _taken(self, stack: contextlib.ExitStack) -> optuna.Trial | None:
        """A trial of a process that has ended, or a new one; its lock is held until the stack is closed."""
        with self._alone():
            for frozen in self._running():
                # It may have ended, and its lock been given back, since the journal was read.
                if self._is_free(frozen.number, stack) and frozen.number in self._running_numbers():
                    self._seed_for(frozen.number)
                    return self._with_values(_upstream.trial_again(self._study, frozen))
            number = len(self._study.get_trials(deepcopy=False))
            if number >= self.number_of_trials or not self._is_free(number, stack):
                return None
            self._seed_for(number)
            if self._all_values is not None:
                self._study.enqueue_trial(self._all_values[number])
            return self._with_values(self._study.ask())

    @property
    def number_of_trials(self) -> int:
        """As many as were asked for; of lists alone no more than they have combinations."""
        return self.settings.trials if self._all_values is None else len(self._all_values)

    def _seed_for(self, number: int) -> None:
        """A seed for each trial, so that a search that was killed draws what it would have drawn."""
        self._study.sampler = _sampler(self.settings, self.seed + number)

    def _is_free(self, number: int, stack: contextlib.ExitStack) -> bool:
        """Whether no process has this trial; it belongs to this one then."""
        try:
            stack.enter_context(locked(self.path / f"{LOCK}-trial-{number}", lambda: f"trial {number} is running"))
        except OutputError:
            return False
        return True

    def _running(self) -> list[optuna.trial.FrozenTrial]:
        from optuna.trial import TrialState

        return self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _running_numbers(self) -> set[int]:
        return {frozen.number for frozen in self._running()}

    def _with_values(self, trial: optuna.Trial) -> optuna.Trial:
        """The trial with a value for each setting; those that it has stay."""
        for name, values in self.settings.space.items():
            _suggest(trial, name, values)
        return trial

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process takes a trial."""
        from filelock import FileLock

        with FileLock(self.path / f"{LOCK}-journal"):
            yield

    def values_of(self, trial: optuna.Trial | optuna.trial.FrozenTrial) -> dict[str, Any]:
        """Setting -> value of a trial."""
        values = {}
        for name, options in self.settings.space.items():
            value = trial.params.get(name)
            values[name] = _plain_choices(options)[value] if isinstance(options, Choices) else value
        return values

    def complete(self, trial: optuna.Trial, score: float, costs: Costs) -> Trial:
        """Write down what a trial has reached."""
        trial.set_user_attr("costs", asdict(costs))
        scores = [score]
        if self.settings.cost is not None:
            scores.append(float(asdict(costs)[self.settings.cost]))
        return self._trial(self._study.tell(trial, scores, skip_if_finished=True))

    def prune(self, trial: optuna.Trial) -> None:
        """Write down that a trial was ended early."""
        from optuna.trial import TrialState

        self._study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)

    def fail(self, trial: optuna.Trial, error: str) -> None:
        """Write down that the settings of a trial cannot be trained with."""
        from optuna.trial import TrialState

        trial.set_user_attr("error", error)
        self._study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)

    @property
    def trials(self) -> list[Trial]:
        """All trials that are over, in their order."""
        ended = []
        for frozen in self._study.get_trials(deepcopy=False):
            if frozen.state.is_finished():
                ended.append(self._trial(frozen))
        return ended

    def _trial(self, frozen: optuna.trial.FrozenTrial) -> Trial:
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(frozen.state.name, "failed")
        score = None
        if state == "complete":
            score = frozen.values[0]
        elif frozen.intermediate_values:
            score = frozen.intermediate_values[max(frozen.intermediate_values)]
        costs = Costs(**frozen.user_attrs.get("costs", {}))
        error = frozen.user_attrs.get("error", "")
        return Trial(frozen.number + 1, self.values_of(frozen), state, score, costs, error)

    def importance(self) -> dict[str, float]:
        """Share of each setting in how the score of the complete trials varies, the largest first (fANOVA).

        Empty where that says nothing: with fewer than `LEAST` complete trials, or with one setting.

        Hutter, Hoos and Leyton-Brown (2014).
        """
        import optuna

        complete = [trial for trial in self.trials if trial.state == "complete"]
        if len(complete) < LEAST or len(self.settings.space) < 2:
            return {}
        if len({trial.score for trial in complete}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.seed)
        return optuna.importance.get_param_importances(
            self._study, evaluator=evaluator, target=lambda trial: trial.values[0]
        )


def _name(settings: SearchSettings, directions: Sequence[str]) -> str:
    """A name that other spaces do not have, whose trials may be in the journal of a folder without any work."""
    wanted = {name: repr(values) for name, values in settings.space.items()}
    text = json.dumps([wanted, settings.pruner, settings.cost, list(directions)], sort_keys=True)
    return f"search-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _combinations(settings: SearchSettings, seed: int) -> list[dict[str, Any]] | None:
    """All combinations of lists, in random order, if they are no more than the trials; else None."""
    options = list(settings.space.values())
    listed = [list(_plain_choices(values)) for values in options if isinstance(values, Choices)]
    if len(listed) < len(options) or math.prod(map(len, listed)) > settings.trials:
        return None
    combinations = [dict(zip(settings.space, values, strict=True)) for values in itertools.product(*listed)]
    random.Random(seed).shuffle(combinations)
    return combinations


def _pruner(name: str) -> optuna.pruners.BasePruner:
    import optuna

    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5)
    return optuna.pruners.SuccessiveHalvingPruner() if name == "halving" else optuna.pruners.NopPruner()


def _sampler(settings: SearchSettings, seed: int) -> optuna.samplers.BaseSampler:
    """What draws the values: a model of all trials so far (TPE), or NSGA-II for two goals."""
    import optuna

    if settings.cost is not None:
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(4, settings.trials // 3))
    return optuna.samplers.TPESampler(seed=seed)


def _suggest(trial: optuna.Trial, name: str, values: Range | Choices) -> None:
    if isinstance(values, Choices):
        trial.suggest_categorical(name, list(_plain_choices(values)))
    elif values.is_integer:
        trial.suggest_int(name, int(values.low), int(values.high))
    else:
        trial.suggest_float(name, values.low, values.high, log=values.is_log)


def _plain_choices(choices: Choices) -> dict[Any, Any]:
    """The name of each choice in the journal -> the choice: what is no plain value is written as a text."""
    are_plain = all(isinstance(value, str | int | float) for value in choices.values)
    # As keys of a dict, 1 and true are the same.
    if are_plain and len(set(choices.values)) == len(choices.values):
        return {value: value for value in choices.values}
    return {format_value(value): value for value in choices.values}
