"""All settings of one run, as one value."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from .blocks import AdapterSettings, CurveSettings, FoldSettings, ModelSettings, PrivacySettings, PushSettings
from .distillation import DistillSettings

SPLITS = ("train", "validation", "test")
TEST_SET = "tests."  # a set that `tests` names stands beside the splits, as tests.hospital
_Entry = TypeVar("_Entry")


@dataclass(kw_only=True)
class RunConfig:
    """All settings of one run. Each block is the keyword arguments of one public Hugging Face call."""

    task: str
    """Task name, as on the Hub, or path to a .py file that defines a Recipe."""
    model: str | dict[str, Any] | None = None
    """Hub id or folder, or keywords of `from_pretrained` with the name under `path`."""
    dataset: Any = None
    """Hub id, file, folder, glob, URL, split -> file, rows from Python, or keywords of `load_dataset`."""
    output_dir: str | None = None
    """Folder that the run writes; `runs/<task>-<dataset>-<model>` if not given."""
    splits: dict[str, str | float | None] = field(default_factory=dict)
    """Split of the dataset to use as train, validation and test, or a share of train to draw, such as 0.2;
    null for none."""
    columns: dict[str, str | int | list[str | int]] = field(default_factory=dict)
    """Column of the dataset for each column of the task; a position (from 0) in a file without header; for labels also
    a list of columns of 0 and 1."""
    tests: dict[str, Any] = field(default_factory=dict)
    """Name -> further rows to test on, each anything that `dataset` takes: scored after training and compared with the
    run's own test."""
    by: str | None = None
    """Column of the dataset, which the model need not read: the rows of each of its values are scored alone too."""
    limit: int | dict[str, int] | None = None
    """Number of rows to keep of each split, drawn with the seed."""
    metrics: list[str] = field(default_factory=list)
    """Additional `evaluate` metrics to report: shipped name, Hub id, or path to a .py file."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the task."""
    training: dict[str, Any] = field(default_factory=dict)
    """Keywords of `TrainingArguments`."""
    early_stopping: bool | dict[str, Any] = True
    """Keywords of `EarlyStoppingCallback`; false for none."""
    lora: bool | dict[str, Any] = False
    """Keywords of `LoraConfig`, or of the config of the PEFT method named under `peft_type`; true for defaults."""
    privacy: dict[str, Any] | None = None
    """Private training (DP-SGD): `epsilon`, what all steps may spend, or `noise_multiplier`; and `delta`,
    `max_grad_norm` (length of the gradient of a row). `canaries`: number of secrets to plant in train."""
    folds: int | dict[str, Any] | None = None
    """Number of folds for cross-validation, or `n_splits`, `groups` (a column: rows with equal cells stay in one fold),
    and `fold` to run only one of them."""
    seeds: list[int] = field(default_factory=list)
    """Seeds of several runs, to report mean and standard deviation of their scores."""
    curve: int | dict[str, Any] | None = None
    """Number of parts of train, each with more rows than the one before, for a learning curve, or `steps`, and `step`
    to run only one of them."""
    distill: str | dict[str, Any] | None = None
    """Folder of a finished run to learn from besides the labels, or `run`, `temperature` and `weight`."""
    search: dict[str, Any] = field(default_factory=dict)
    """Settings to search over: setting -> `loguniform(low, high)`, `uniform(low, high)`, `int(low, high)` or a list of
    values; and `trials`, their number, `pruner` (median, halving, none), and `cost` (seconds, parameters)."""
    hub: str | dict[str, Any] | None = None
    """Hub repository to push to, or keywords of `create_repo` and `upload_folder` with its name under `repo_id`, and
    `tag`, `model` (merged, adapter, both), `every` (save: checkpoints too), `card` (keywords of `ModelCardData`)."""

    @cached_property
    def base(self) -> ModelSettings:
        """The model that the run starts from.

        Raises:
            ConfigError: None is given.
        """
        return ModelSettings.of(self.model)

    @cached_property
    def adapter(self) -> AdapterSettings | None:
        """The adapters that are trained; None for none."""
        return AdapterSettings.of(self.lora)

    @cached_property
    def private(self) -> PrivacySettings | None:
        """What a private training promises; None for one that is not private."""
        return PrivacySettings.of_training(self.privacy)

    @cached_property
    def canaries(self) -> int:
        """Number of secrets that are planted in train."""
        settings = PrivacySettings.of(self.privacy)
        return 0 if settings is None else settings.canaries

    @cached_property
    def push(self) -> PushSettings | None:
        """Where the run is pushed to; None for nowhere."""
        return PushSettings.of(self.hub)

    @cached_property
    def cross_validation(self) -> FoldSettings | None:
        """The folds of train; None for none."""
        return FoldSettings.of(self.folds)

    @cached_property
    def learning_curve(self) -> CurveSettings | None:
        """The parts of train that a learning curve is made of; None for none."""
        return CurveSettings.of(self.curve)

    @cached_property
    def distillation(self) -> DistillSettings | None:
        """The run that this one learns from; None for none."""
        return DistillSettings.of(self.distill)


def is_named_set(split: str) -> bool:
    """Whether this is one of the sets under `tests`, and no split of the dataset."""
    return split.startswith(TEST_SET)


def own_splits(by_split: Mapping[str, _Entry]) -> dict[str, _Entry]:
    """What belongs to the splits of the dataset, without that of the sets under `tests`."""
    return {split: entry for split, entry in by_split.items() if not is_named_set(split)}


def named_sets(by_split: Mapping[str, _Entry]) -> dict[str, _Entry]:
    """What belongs to the sets under `tests`."""
    return {split: entry for split, entry in by_split.items() if is_named_set(split)}


FIELDS: dict[str, Any] = typing.get_type_hints(RunConfig)
# Options that a keyword of TrainingArguments has the name of, and that are therefore written with their block.
WRITTEN_WITH_BLOCK = {"label_names"}
