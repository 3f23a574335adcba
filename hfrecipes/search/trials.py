"""Trials as runs: the settings of each, its run without test, and what ends it early."""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import repeats
from ..config.run_config import FIELDS, RunConfig
from ..config.search_space import Choices, Range, SearchSettings
from ..config.yaml12 import format_value
from ..errors import ConfigError
from ..evaluation import scoring
from ..evaluation.scoring import Scores
from ..flow.several import run_each
from ..flow.single import carry_out
from ..models.loading import load_tokenizer
from ..recipe import Recipe
from ..repeats import OUT_OF_FOLD
from ..run_folder import contents
from ..run_folder.contents import RunInfo
from ..training.configuration import configure
from ..training.plan import Plan, make_plan
from .study import Costs

if TYPE_CHECKING:
    import optuna
    from transformers import TrainerCallback


@dataclass(frozen=True)
class Base:
    """What all trials share."""

    what: Any
    """As for `run`."""
    settings: Mapping[str, Any]
    """Those of the run with the default settings."""
    trust: bool
    path: Path
    """Folder of the search."""

    def configured(self, values: Mapping[str, Any]) -> tuple[RunConfig, Recipe]:
        """Settings and task of a trial.

        Args:
            values: Setting, with dots into its block -> value.
        """
        # A value that stands for a whole block, such as a model, replaces what was given.
        replaced = {name: None for name in values if name in FIELDS}
        settings = {**self.settings, **replaced}
        return configure(self.what, settings, trust=self.trust, above=nested(values))

    def folder(self, number: int) -> Path:
        """Folder of a trial; 0 is the run with the default settings."""
        return self.path / f"trial-{number}"

    def final_folder(self, number: int, config: RunConfig) -> Path:
        """Folder of the run that is scored on test; after a search over folds, of one on all rows of train."""
        return self.folder(number) if config.folds is None else self.path / f"all-rows-{number}"

    def plan(self, values: Mapping[str, Any], folder: Path) -> Plan:
        """The run of a trial, with all of its rows; one of folds is planned by each fold itself."""
        config, recipe = self.configured(values)
        return make_plan(replace(config, folds=None), recipe, folder)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name as blocks.

    Example:
        >>> nested({"lora.r": 8, "lora.lora_alpha": 16, "seed": 1})
        {'lora': {'r': 8, 'lora_alpha': 16}, 'seed': 1}
    """
    blocks: dict[str, Any] = {}
    for name, value in values.items():
        *outer, last = name.split(".")
        block = blocks
        for key in outer:
            block = block.setdefault(key, {})
        block[last] = value
    return blocks


def described(values: Mapping[str, Any]) -> str:
    """Settings as they are written, with numbers of a few digits.

    Example:
        >>> described({"learning_rate": 0.000123456, "lora.r": 8})
        'learning_rate=0.000123, lora.r=8'
    """
    shown = []
    for name, value in values.items():
        text = f"{value:.3g}" if isinstance(value, float) else format_value(value)
        shown.append(f"{name}={text}")
    return ", ".join(shown)


def of_default(settings: Mapping[str, Any], config: RunConfig, wanted: SearchSettings) -> dict[str, Any]:
    """The settings of the run that the trials are compared with: as given; of several models the first one."""
    models = wanted.space.get("model")
    if not config.model and isinstance(models, Choices):
        return {**settings, "search": None, "model": models.values[0]}
    return {**settings, "search": None}


def checked_base(what: Any, settings: Mapping[str, Any], config: RunConfig, path: Path, *, trust: bool) -> Base:
    """What all trials share, after all values that can be tried are checked.

    Args:
        what: As for `run`.
        settings: As for `run_settings`.
        config: All settings, resolved.
        path: Folder of the search.
        trust: As for `run`.

    Raises:
        ConfigError: A setting does not exist, or cannot have such a value.
        ModelError: A model is not there.
    """
    wanted = SearchSettings.of(config.search)
    base = Base(what, of_default(settings, config, wanted), trust, path)
    check_values(base, wanted.space)
    return base


def check_values(base: Base, space: Mapping[str, Range | Choices]) -> None:
    """Configure a run with each value of a list, and with both ends of each range; load the tokenizer of each model.

    Raises:
        ConfigError: A setting does not exist, or cannot have such a value.
        ModelError: A model is not there.
    """
    problems: list[str] = []
    for name, values in space.items():
        for value in values.examples:
            try:
                config, recipe = base.configured({name: value})
                if name.partition(".")[0] == "model":
                    load_tokenizer(config, recipe)
            except ConfigError as error:
                problems.append(f"search.{name}: with {described({name: value})}: {error}")
                break
    if problems:
        raise ConfigError(problems)


def without_test(plan: Plan) -> Plan:
    """The plan of a run that does not see its test rows; they belong to what identifies it all the same."""
    return replace(plan, data=plan.data.without_tests())


def carried_out(
    base: Base, values: Mapping[str, Any], number: int, callbacks: Sequence[TrainerCallback] = ()
) -> tuple[Scores, Costs]:
    """Scores of validation, or of all folds, and the costs of the run of a trial; of a complete one as they are.

    Args:
        base: What all trials share.
        values: Setting -> value.
        number: 0 for the run with the default settings.
        callbacks: Added to the Trainer; folds have none.
    """
    folder = base.folder(number)
    config, recipe = base.configured(values)
    if config.folds is not None:
        run_each(config, folder)
        together = scoring.from_json(contents.read_scores(folder))
        return together[OUT_OF_FOLD], _costs([folder / name for name in repeats.names(config)])
    gc.collect()  # a Trainer refers to itself, and this one needs the memory of the last
    scores = carry_out(without_test(make_plan(config, recipe, folder)), callbacks).scores
    return scores["validation"], _costs([folder])


def _costs(folders: Sequence[Path]) -> Costs:
    """Costs of one run, or of all folds together."""
    infos = [RunInfo.read(folder) or RunInfo() for folder in folders]
    energies = [info.energy["kwh"] for info in infos if info.energy and "kwh" in info.energy]
    parameters = infos[0].parameters.get("total")
    return Costs(
        seconds=round(sum(info.seconds for info in infos), 1),
        parameters=None if parameters is None else int(parameters),
        kwh=sum(energies) if len(energies) == len(infos) else None,
    )


def pruning(trial: optuna.Trial, metric: str) -> TrainerCallback:
    """What tells the journal each score of validation, and ends a trial that does badly.

    Args:
        trial: In its journal.
        metric: The score that the search is about; where evaluation during training does not have it, as a score of
            texts that are written after training, no trial is ended.
    """
    import optuna
    from transformers import TrainerCallback

    class Pruning(TrainerCallback):  # type: ignore[misc]
        def on_evaluate(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            score = (keywords.get("metrics") or {}).get(f"eval_{metric}")
            if score is None or not math.isfinite(score):
                return
            # Trials with batches of other sizes have other numbers of steps in the same epoch.
            step = state.global_step if args.eval_strategy == "steps" else round(state.epoch)
            trial.report(score, step)
            if trial.should_prune():
                raise optuna.TrialPruned

    return Pruning()
