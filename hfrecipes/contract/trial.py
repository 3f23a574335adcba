"""A task on its sample rows and a tiny model; runs that several checks use are made once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..recipe import Recipe, Row, input_columns, option_types
from ..registry import find, is_task_file
from ..results import Result
from ..runner import build, run
from .tiny_models import tiny_model

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
TOLERANCE = 1e-4  # between numbers of predictions before saving and after loading
# Generated texts are long by default, and each token takes time.
_SHORT = {"max_target_length": 32, "max_new_tokens": 8}
# A run of a few steps.
_RUN: dict[str, Any] = {
    "learning_rate": 1e-2,
    "num_train_epochs": 1,
    "per_device_train_batch_size": 8,
    "bf16": False,
    "disable_tqdm": True,
    "logging_strategy": "no",
}
# Plain gradient descent: Adam would turn tiny differences between gradients into large ones.
_TRAINING: dict[str, Any] = {
    "learning_rate": 0.05,
    "warmup_steps": 0,
    "optim": "sgd",
    "bf16": False,
    "save_total_limit": 99,
    "splits": {"validation": None},
    "disable_tqdm": True,
    "logging_strategy": "no",
}
# Saved after each step, so that a training can go on from anywhere in an epoch.
_EPOCHS: dict[str, Any] = {
    "num_train_epochs": 2,
    "save_strategy": "steps",
    "save_steps": 1,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    # Where texts are joined into blocks, long ones would leave one batch an epoch.
    "max_length": 32,
}
# How often the words of each row are repeated, for rows of many lengths.
_TIMES = (1, 6, 1, 3, 8, 1, 2, 5)


class Trial:
    """The runs of a task that the checks look at.

    A run that failed fails in the same way, with the same error, for each check that asks for it.

    Args:
        task: Name of the task, or path of its file.
        folder: Folder for models and runs.
    """

    def __init__(self, task: str, folder: Path) -> None:
        # A run remembers the path of its task, and is loaded in other folders than this one.
        self.task = str(Path(task).resolve()) if is_task_file(task) else task
        self.kind: type[Recipe] = find(self.task)
        self.folder = folder
        self._results: dict[str, Any] = {}
        self._errors: dict[str, Exception] = {}

    @cached_property
    def model(self) -> str:
        """Folder of the tiny model."""
        return tiny_model(self.kind, self.folder / "model")

    def rows(self, number: int) -> list[Row]:
        """The sample rows, repeated."""
        samples = self.kind.samples
        return [dict(samples[index % len(samples)]) for index in range(number)]

    @cached_property
    def splits(self) -> dict[str, list[Row]]:
        """The rows of a run by split."""
        return {"train": self.rows(40), "validation": self.rows(8), "test": self.rows(12)}

    def inputs(self, rows: list[Row]) -> list[Row]:
        """The rows without their references, as at prediction time."""
        names = input_columns(self.kind)
        inputs = []
        for row in rows:
            inputs.append({name: row[name] for name in names if name in row})
        return inputs

    # --- runs ----------------------------------------------------------------------------------------------------

    def run(self, *, lora: bool) -> Result:
        """A complete run of a few steps: trained, saved, scored."""
        name = "lora" if lora else "full"
        return self._once(name, lambda: self._run(self.folder / name, lora))

    def _run(self, path: Path, lora: bool) -> Result:
        settings = {**_RUN, **self._short_texts(), "lora": lora}
        return cast(Result, run(self.task, model=self.model, dataset=self.splits, output_dir=path, **settings))

    def weights(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Weights before and after two steps of eight rows of many lengths each.

        Args:
            batch_size: Number of rows whose gradient is computed at once.
        """
        settings: dict[str, Any] = {
            "max_steps": 2,
            "save_strategy": "no",
            "per_device_train_batch_size": batch_size,
            "gradient_accumulation_steps": 8 // batch_size,
            "train_sampling_strategy": "sequential",
            "max_grad_norm": 0.0,
        }
        name = f"batches-of-{batch_size}"
        return self._once(name, lambda: self._train(name, self._rows_of_many_lengths(), **settings))

    def epochs(self) -> tuple[Tensor, dict[float, Path]]:
        """Weights after two epochs, and the checkpoint of each step, by the number of epochs at that step."""
        return self._once("epochs", self._train_epochs)

    def _train_epochs(self) -> tuple[Tensor, dict[float, Path]]:
        _, weights = self._train("epochs", self.rows(32), **_EPOCHS)
        checkpoints = {}
        for state in (self.folder / "epochs").glob("checkpoint-*/trainer_state.json"):
            checkpoints[float(json.loads(state.read_text())["epoch"])] = state.parent
        return weights, checkpoints

    def resume(self, checkpoint: Path) -> Tensor:
        """Weights after those two epochs, for a run that resumes from a checkpoint."""
        _, weights = self._train(f"after-{checkpoint.name}", self.rows(32), checkpoint=checkpoint, **_EPOCHS)
        return weights

    def _train(
        self, name: str, rows: list[Row], *, checkpoint: Path | None = None, **settings: Any
    ) -> tuple[Tensor, Tensor]:
        """Weights of the model before and after training."""
        import torch

        settings = {"max_length": 128, **_TRAINING, **self._short_texts(), **settings}
        trainer = build(self.task, model=self.model, dataset={"train": rows}, output_dir=self.folder / name, **settings)

        def weights() -> Tensor:
            return torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])

        start = weights()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return start, weights()

    def _short_texts(self) -> dict[str, int]:
        """The options that limit the length of generated texts, as far as the task has them."""
        settings = dict(_SHORT)
        for name in _SHORT:
            if name not in option_types(self.kind):
                del settings[name]
        return settings

    def _rows_of_many_lengths(self) -> list[Row]:
        """Rows whose texts differ in length; what is aligned with other cells, such as a list of words, stays."""
        rows = self.rows(6 * len(_TIMES))
        columns = self.kind.columns
        texts = [name for name in input_columns(self.kind) if columns[name].kind == "string"]
        for index, row in enumerate(rows):
            for name in texts:
                if isinstance(row.get(name), str):
                    row[name] = " ".join([row[name]] * _TIMES[index % len(_TIMES)])
        return rows

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returns or raises; it is called once for each name."""
        if name in self._errors:
            raise self._errors[name]
        if name not in self._results:
            try:
                self._results[name] = make()
            except Exception as error:
                self._errors[name] = error
                raise
        result: T = self._results[name]
        return result


def are_close(value: Any, other: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether two predictions are the same, except for the last digits of their numbers.

    Example:
        >>> are_close({"label": "a", "scores": [0.5]}, {"label": "a", "scores": [0.500001]})
        True
    """
    if isinstance(value, dict):
        if not isinstance(other, dict) or value.keys() != other.keys():
            return False
        return all(are_close(value[key], other[key], tolerance) for key in value)
    if isinstance(value, list):
        if not isinstance(other, list) or len(value) != len(other):
            return False
        return all(are_close(*pair, tolerance) for pair in zip(value, other, strict=True))
    if isinstance(value, float) and isinstance(other, int | float):
        both_unknown = math.isnan(value) and math.isnan(other)
        return both_unknown or abs(value - other) <= tolerance
    return bool(value == other)
