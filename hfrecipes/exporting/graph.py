"""The graph of a model in ONNX: traced by the exporter of transformers, and quantized by ONNX Runtime."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..models.directory import ONNX, quiet
from ..models.onnx_graph import ENCODER

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_LARGEST = 3 << 29  # bytes of weights in one file: the format allows 2 GB, the graph included
_FILES = "*.onnx*"  # graphs, and weights beside them
# The ids of prompts and their padding; which ones makes no difference to a graph.
_PROMPTS = {"input_ids": [[1, 2, 3, 4], [5, 6, 7, 8]], "attention_mask": [[0, 1, 1, 1], [1, 1, 1, 1]]}


def traced(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The graph of a model, for batches of any size and length, by the name of its file.

    Args:
        model: A model of transformers in float32, on the CPU.
        inputs: A batch with two rows or more: sizes of 1 would be taken for constants.

    Raises:
        ModelError: The exporter cannot trace it.
    """
    with _as_model_error(model), _silent(), _without_cache(model.config):
        return {ONNX: _program(model, inputs)}


def traced_writer(model: Any) -> dict[str, Any]:
    """The graph of a model that generates, with keys and values of earlier tokens as inputs and outputs.

    A decoder alone reads a prompt and the tokens after it by the same graph. Where an encoder reads the prompt, it
    has a graph of its own, and the decoder gets one token at a time.

    Args:
        model: A model of transformers in float32, on the CPU.

    Raises:
        ModelError: The exporter cannot trace it, or it remembers something else than keys and values of all tokens.
    """
    import torch

    prompts = {name: torch.tensor(values) for name, values in _PROMPTS.items()}
    with _as_model_error(model), _silent():
        graphs = {ONNX: _program(model, _inputs_of_decoder(model, prompts))}
        if model.config.is_encoder_decoder:
            graphs[ENCODER] = _program(model.get_encoder(), prompts)
    return graphs


def _program(model: Any, inputs: Mapping[str, Any]) -> Any:
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    return OnnxExporter().export(model, dict(inputs), config=OnnxConfig(dynamic=True)).program


def _inputs_of_decoder(model: Any, prompts: Mapping[str, Any]) -> dict[str, Any]:
    """What `generate` gives to a decoder after the first tokens."""
    from transformers import DynamicCache, EncoderDecoderCache
    from transformers.cache_utils import DynamicLayer
    from transformers.exporters.utils import decompose_for_generation

    settings = copy.deepcopy(model.generation_config)
    settings.update(num_beams=1, do_sample=False, num_return_sequences=1, early_stopping=False)
    stages = decompose_for_generation(model, dict(prompts), settings, multi_token_decode=True)
    inputs = dict(stages["decode"][1])
    cache = inputs["past_key_values"]
    if isinstance(cache, EncoderDecoderCache):
        cache = cache.self_attention_cache
        # Without keys and values of the encoder's states the graph computes them itself, also for the first token.
        inputs["past_key_values"] = EncoderDecoderCache(cache, DynamicCache(config=model.config))
    # A window over the last tokens, for one, would be as long for ever as it was here.
    others = {type(layer).__name__ for layer in cache.layers if type(layer) is not DynamicLayer}
    if others:
        raise ValueError(f"its layers remember tokens by {' and '.join(sorted(others))}")
    return inputs


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


def write(graphs: Mapping[str, Any], folder: Path) -> None:
    """Write graphs by the names of their files, with their weights unless these are too large for one file."""
    import onnx_ir

    for name, graph in graphs.items():
        values = (value.const_value for value in graph.graph.initializers.values())
        size = sum(value.nbytes for value in values if value is not None)
        onnx_ir.save(graph, folder / name, external_data=f"{name}.data" if size > _LARGEST else None)


def move(source: Path, folder: Path) -> None:
    """Put the graphs of one folder in the place of those in another one."""
    for file in folder.glob(_FILES):
        file.unlink()
    for file in source.glob(_FILES):
        os.replace(file, folder / file.name)
    source.rmdir()


def size_of(folder: Path) -> int:
    """Bytes of the graphs in a folder, with their weights."""
    return sum(file.stat().st_size for file in folder.glob(_FILES))


@contextlib.contextmanager
def _as_model_error(model: Any) -> Iterator[None]:
    """Errors of the exporter, PyTorch and ONNX, which are of all kinds, as a sentence."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{type(model).__name__} cannot be exported: the exporter of transformers stops with "
            f"{type(error).__name__} ({reason}): use the run itself, or a model of another type"
        ) from error


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
