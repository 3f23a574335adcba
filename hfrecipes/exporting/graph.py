"""The graph of a model in ONNX: traced by the exporter of transformers, and quantized by ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..models.directory import ONNX, quiet

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_LARGEST = 3 << 29  # bytes of weights in one file: the format allows 2 GB, the graph included
WEIGHTS = f"{ONNX}.data"  # beside the graph where they are larger than that


def traced(model: Any, inputs: Mapping[str, Any]) -> Any:
    """The graph of a model, for batches of any size and length.

    Args:
        model: A model of transformers in float32, on the CPU.
        inputs: A batch with two rows or more: sizes of 1 would be taken for constants.

    Raises:
        ModelError: The exporter cannot trace it.
    """
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    try:
        with _silent(), _without_cache(model.config):
            exported = OnnxExporter().export(model, dict(inputs), config=OnnxConfig(dynamic=True))
    # The exporter, PyTorch and ONNX raise errors of all kinds.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{type(model).__name__} cannot be exported: the exporter of transformers stops with "
            f"{type(error).__name__} ({reason}): use the run itself, or a model of another type"
        ) from error
    return exported.program


def quantized(graph: Any) -> Any:
    """The same with weights in 8 bits, one scale for each output of a layer; inputs of layers are rounded as they come.

    Weights have 7 bits of their range: on CPUs without instructions for 8-bit products (VNNI), sums of two products
    would overflow.

    Raises:
        ModelError: ONNX Runtime cannot quantize it.
    """
    from onnxruntime.quantization import QuantType
    from transformers.exporters.configs import ExportFormat
    from transformers.exporters.quantizers import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer

    settings = OnnxRuntimeDynamicConfig(per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    try:
        with _silent():
            return OnnxRuntimeQuantizer(settings).quantize(graph, {}, ExportFormat.ONNX)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"int8: ONNX Runtime cannot quantize this model ({reason}): leave it out") from error


def write(graph: Any, folder: Path) -> None:
    """Write the graph into a folder, with its weights unless they are too large for one file."""
    import onnx_ir

    for name in (ONNX, WEIGHTS):
        (folder / name).unlink(missing_ok=True)
    values = (value.const_value for value in graph.graph.initializers.values())
    size = sum(value.nbytes for value in values if value is not None)
    onnx_ir.save(graph, folder / ONNX, external_data=WEIGHTS if size > _LARGEST else None)


def size_of(folder: Path) -> int:
    """Bytes of a graph with its weights."""
    return sum((folder / name).stat().st_size for name in (ONNX, WEIGHTS) if (folder / name).exists())


@contextlib.contextmanager
def _without_cache(config: Any) -> Iterator[None]:
    """Keep decoders that classify from giving keys and values of all layers, which only generation reads."""
    kept = getattr(config, "use_cache", None)
    config.use_cache = False
    try:
        yield
    finally:
        config.use_cache = kept


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Hide what the libraries print of each of their steps, and of operators that no model here has."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "root")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with quiet(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
