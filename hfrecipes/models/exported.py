"""A model that was exported to ONNX: it takes the place of one of transformers where rows are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import require_packages
from .directory import ONNX, as_model_error

if TYPE_CHECKING:
    from transformers import PretrainedConfig

TYPES = "token_type_ids"


class OnnxModel:
    """A graph that ONNX Runtime computes on the CPU, with the part of a model that prediction uses.

    Args:
        file: The graph.
        config: Config of the model that was exported.
        passed: Features that go past the model to the loss, and are returned with the outputs.

    Raises:
        MissingPackageError: ONNX Runtime is not installed.
        ModelError: It cannot read the file.
    """

    training = False

    def __init__(self, file: Path, config: PretrainedConfig, passed: Sequence[str] = ()) -> None:
        import torch

        self.session = _session(file)
        self.config, self.passed = config, passed
        self.device = torch.device("cpu")
        self.inputs = [entry.name for entry in self.session.get_inputs()]
        self.outputs = [entry.name for entry in self.session.get_outputs()]

    def forward(self, **batch: Any) -> dict[str, Any]:
        """Outputs by name, as tensors.

        Args:
            batch: Tensors by name; what the graph does not read is ignored.
        """
        import torch

        if TYPES in self.inputs and TYPES not in batch:  # as for rows without a second text
            batch[TYPES] = torch.zeros_like(batch["input_ids"])
        # Without a copy, as both are in the memory of the CPU.
        arrays = self.session.run(self.outputs, {name: batch[name].numpy() for name in self.inputs})
        outputs = {name: torch.from_numpy(array) for name, array in zip(self.outputs, arrays, strict=True)}
        return outputs | {name: batch[name] for name in self.passed if name in batch}

    __call__ = forward

    def modules(self) -> tuple[Any, ...]:
        """Modules of PyTorch: none."""
        return ()


def load_onnx(folder: Path, config: PretrainedConfig, passed: Sequence[str]) -> OnnxModel:
    """The model in a folder that `export` wrote; arguments as for `OnnxModel`."""
    with as_model_error(str(folder)):
        return OnnxModel(folder / ONNX, config, passed)


def _session(file: Path) -> Any:
    import torch

    require_packages("a model in ONNX", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # By default it takes every core of the machine, also those that this process may not use.
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
