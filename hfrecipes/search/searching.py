"""A search from its settings to the last look: trials one by one, the choice by validation, test for the chosen one."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..comparing.selection import compare_models
from ..config.run_config import RunConfig
from ..config.search_space import SearchSettings
from ..errors import ConfigError, DataError, DivergedError, OutOfMemoryError, counted, require_packages
from ..evaluation import scoring
from ..flow.single import carry_out, reload, score_held_back
from ..hub.client import is_temporary
from ..log import log, once
from ..recipe import Metric, Recipe, deciding_metric, metric_named
from ..repeats import OUT_OF_FOLD
from ..results import Result
from ..run_folder import claim, contents
from ..run_folder.lock import LOCK
from ..run_folder.writing import write_json
from ..training.configuration import without_default_rate
from ..training.plan import Plan
from .outcome import FILE, Search, best_of, sentences_of
from .page import write_page
from .study import DEFAULT, Study, Trial
from .trials import Base, carried_out, checked_base, described, pruning

if TYPE_CHECKING:
    import optuna


def run_search(what: Any, settings: Mapping[str, Any], config: RunConfig, path: Path, *, trust: bool) -> Search:
    """The trials that have not been carried out yet, and the one that validation chooses.

    The same command continues a search that was interrupted, and joins one that is running in another process.

    Args:
        what: As for `run`.
        settings: As for `run_settings`.
        config: All settings, resolved.
        path: Folder of the search.
        trust: As for `run`.
    """
    require_packages("a search", "optuna")
    _check_processes()
    wanted = SearchSettings.of(config.search)
    with once():
        base = checked_base(what, settings, config, path, trust=trust)
        plan = base.plan({}, base.final_folder(0, config))
        _check_validation(plan)
        # A trial may have another model.
        together = replace(without_default_rate(plan.config), search=config.search, folds=_as_written(config))
        claim.claim(path, together, replace(plan.info, data={}))
        contents.write_start(path, together, replace(plan.info, data={}))
        return _Search(base, wanted, plan.recipe, together).result()


def _check_processes() -> None:
    """Refuse several processes of one training, each of which would take another trial.

    Raises:
        ConfigError: There are several.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("search: found several processes of one training; start the same command once for each GPU")


def _as_written(config: RunConfig) -> dict[str, Any] | None:
    """The folds as they are compared with those of the command that goes on."""
    folds = config.cross_validation
    if folds is None:
        return None
    return {name: value for name, value in asdict(folds).items() if value is not None}


def _check_validation(plan: Plan) -> None:
    """Refuse rows that give nothing to choose by.

    Raises:
        ConfigError: There is no validation split.
    """
    if "validation" not in plan.data.splits:
        raise ConfigError(
            "search: found no validation split to choose by: leave out splits.validation=null, or add one"
        )


def _is_of_the_connection(error: BaseException) -> bool:
    """Whether a model could not be fetched, which the same command can do later."""
    cause = error.__cause__
    while cause is not None:
        if is_temporary(cause) and not isinstance(cause, RuntimeError):
            return True
        cause = cause.__cause__
    return False


@dataclass(frozen=True)
class _Search:
    """A search whose folder is claimed."""

    base: Base
    wanted: SearchSettings
    recipe: Recipe
    config: RunConfig
    """All settings, those of the default run and the block `search`."""

    @property
    def metric(self) -> tuple[str, Metric]:
        """Name of the score that trials are chosen by, and its direction."""
        name = deciding_metric(self.recipe, self.config.training)
        return name, metric_named(self.recipe, name) or self.recipe.metrics[name]

    @property
    def rows(self) -> str:
        """What trials are scored on."""
        return "validation" if self.config.folds is None else OUT_OF_FOLD.replace("_", "-")

    def result(self) -> Search:
        """Carry out all trials, and look at test."""
        from filelock import FileLock

        name, metric = self.metric
        seed = self.config.training["seed"]
        study = Study(self.base.path, self.wanted, seed, greater_is_better=metric.greater_is_better)
        number = counted(study.number_of_trials, "trial")
        log(
            f"search: {number} over {', '.join(self.wanted.space)}; {self.rows} {name} chooses, and test is looked at "
            "once, for the best one"
        )
        # A process that joins starts with the trials while another one trains with the default settings.
        default = self._default(timeout=0)
        while self._carry_out_next(study):
            pass
        with FileLock(self.base.path / f"{LOCK}-last-look"):
            trials = [default or self._default(timeout=-1), *study.trials]
            return self._last_look([trial for trial in trials if trial is not None], study.importance())

    def _default(self, timeout: float) -> Trial | None:
        """The run with the default settings; None while another process has it for longer than `timeout` seconds."""
        from filelock import FileLock, Timeout

        folder = self.base.folder(0)
        try:
            with FileLock(self.base.path / f"{LOCK}-{DEFAULT}", timeout=timeout):
                if not contents.is_complete(folder):
                    log(f"trial 0 (default settings): {folder}")
                scores, costs = carried_out(self.base, {}, 0)
        except Timeout:
            return None
        score = scores[self.metric[0]].value
        if not math.isfinite(score):
            log(f"trial 0: its {self.rows} {self.metric[0]} is {score}, so nothing can be compared with it")
            return Trial(0, {}, "failed", None, costs, f"{self.metric[0]} is {score}")
        trial = Trial(0, {}, "complete", score, costs)
        self._log_reached(trial)
        return trial

    def _carry_out_next(self, study: Study) -> bool:
        """Carry out one trial; False if all of them are over."""
        from optuna import TrialPruned

        with study.next_trial() as trial:
            if trial is None:
                return False
            number = trial.number + 1
            shown, folder = described(study.values_of(trial)), self.base.folder(number)
            log(f"trial {number} of {study.number_of_trials} ({shown}): {folder}")
            try:
                self._log_reached(self._carry_out(study, trial))
            except TrialPruned:
                contents.clear(folder)
                study.prune(trial)
                log(f"trial {number}: ended early, as others were better after as many epochs")
            except (ConfigError, DataError, DivergedError, OutOfMemoryError, RuntimeError, ValueError) as error:
                # Other settings may do better.
                if _is_of_the_connection(error):
                    raise
                contents.clear(folder)
                study.fail(trial, f"{type(error).__name__}: {error}")
                log(f"trial {number} failed: {error}")
        return True

    def _carry_out(self, study: Study, trial: optuna.Trial) -> Trial:
        """Carry out a trial that belongs to this process.

        Raises:
            TrialPruned: It was ended early.
            HFRecipesError: Nothing can be trained with its settings.
        """
        name, _ = self.metric
        # Optuna ends no trials early where there are two goals.
        callbacks = [] if self.wanted.cost is not None else [pruning(trial, name)]
        scores, costs = carried_out(self.base, study.values_of(trial), trial.number + 1, callbacks)
        if not math.isfinite(scores[name].value):
            raise DivergedError(f"its {self.rows} {name} is {scores[name].value}")
        return study.complete(trial, scores[name].value, costs)

    def _log_reached(self, trial: Trial) -> None:
        score = f"{self.rows} {self.metric[0]} {scoring.number(trial.score)}"
        log(f"trial {trial.number}: {score} in {trial.costs.seconds} s")

    def _last_look(self, trials: list[Trial], importance: dict[str, float]) -> Search:
        """Choose by validation, and score the chosen run and the default one on test."""
        from filelock import FileLock

        name, metric = self.metric
        best = best_of(trials, metric)
        # A process that joins now looks for the default run.
        with FileLock(self.base.path / f"{LOCK}-{DEFAULT}"):
            default = chosen = self._with_test(trials[0])
            if best.number:
                chosen = self._with_test(best)
        comparison = None
        if best.number:
            comparison = compare_models([default.path, chosen.path], [DEFAULT, best.name], timing=True, chosen=1)
        has_test = "test" in default.scores
        chosen_by = f"{self.rows} {name}"
        sentences = sentences_of(trials, best, chosen_by, name, metric, comparison, importance, has_test=has_test)
        sentences += self._seen(trials)
        search = Search(self.base.path, chosen, default, trials, chosen_by, metric, comparison, importance, sentences)
        search.cost = self.wanted.cost or search.cost
        write_json(self.base.path / FILE, search.as_json())
        write_page(search)
        return search

    def _with_test(self, trial: Trial) -> Result:
        """The run of a trial with scores of test, if there is one."""
        plan = self.base.plan(trial.values, self.base.final_folder(trial.number, self.config))
        if not contents.is_complete(plan.path):
            return carry_out(plan)
        if set(plan.data.splits) - set(contents.read_scores(plan.path)):
            return score_held_back(plan)
        return reload(plan)

    def _seen(self, trials: Sequence[Trial]) -> list[str]:
        """A sentence if test was looked at for others than the chosen run and the default one, by an earlier choice."""
        seen = []
        for trial in trials:
            path = self.base.final_folder(trial.number, self.config)
            if trial.number and contents.is_complete(path) and "test" in contents.read_scores(path):
                seen.append(trial.name)
        if len(seen) < 2:
            return []
        return [f"test was looked at for {', '.join(seen)}, as the search went on after it had chosen before"]
