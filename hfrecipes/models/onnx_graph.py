"""A graph in ONNX, as ONNX Runtime computes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import require_packages

TYPES = "token_type_ids"
ENCODER = "encoder.onnx"  # beside the graph of the decoder, in models that have both


class Graph:
    """A graph that ONNX Runtime computes on the CPU.

    Args:
        file: The graph.

    Raises:
        MissingPackageError: ONNX Runtime is not installed.
    """

    def __init__(self, file: Path) -> None:
        self.session = _session(file)
        self.shapes = {entry.name: entry.shape for entry in self.session.get_inputs()}
        self.outputs = [entry.name for entry in self.session.get_outputs()]

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs."""
        return list(self.shapes)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name, as tensors.

        Args:
            batch: Tensors by name; what the graph does not read is ignored.
        """
        import torch

        # Without a copy, as both are in the memory of the CPU.
        arrays = self.session.run(self.outputs, {name: batch[name].numpy() for name in self.shapes})
        return {name: torch.from_numpy(array) for name, array in zip(self.outputs, arrays, strict=True)}


def is_onnx(model: Any) -> bool:
    """Whether a model is one that `load_onnx` gave."""
    return isinstance(getattr(model, "graph", None), Graph)


def _session(file: Path) -> Any:
    import torch

    require_packages("a model in ONNX", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # By default it takes every core of the machine, also those that this process may not use.
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
