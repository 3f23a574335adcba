"""Models that were exported to ONNX: they take the place of those of transformers where rows are predicted.

This module imports torch and transformers at its top, and so is itself imported inside functions.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutputWithPast, ModelOutput, Seq2SeqLMOutput

from .directory import ONNX, as_model_error
from .onnx_graph import ENCODER, TYPES, Graph
from .output_fields import with_fields

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Inputs and outputs with the keys and values that a decoder computed for earlier tokens; those of cross attention are
# outputs alone: they are computed again for each token, so that one graph does for the first token and the others.
_CACHED = re.compile(r"(?<!cross_attention_cache\.)layers\.(\d+)\.(keys|values)$")


def load_onnx(folder: Path, config: PretrainedConfig, settings: Path) -> Any:
    """The model that `export` wrote, which predicts or generates as the model of its run.

    Args:
        folder: With the graph, or the two graphs of an encoder and a decoder.
        config: Config of the model that was exported.
        settings: Folder with the settings of generation, where the model generates texts.

    Raises:
        MissingPackageError: ONNX Runtime is not installed.
        ModelError: It cannot read a file.
    """
    with as_model_error(str(folder)):
        graph = Graph(folder / ONNX)
        if (folder / ENCODER).exists():
            return OnnxSeq2SeqModel(graph, config, settings, Graph(folder / ENCODER))
        if reads_cache(graph):
            return OnnxCausalModel(graph, config, settings)
        return OnnxModel(graph, config)


class OnnxModel(torch.nn.Module):
    """A graph that gives logits or other scores.

    Args:
        graph: What it computes.
        config: Config of the model that was exported.
    """

    device = torch.device("cpu")

    def __init__(self, graph: Graph, config: PretrainedConfig) -> None:
        super().__init__()
        self.graph, self.config = graph, config

    def forward(self, **batch: Any) -> ModelOutput:
        """Outputs by name."""
        if TYPES in self.graph.shapes and TYPES not in batch:  # as for rows without a second text
            batch[TYPES] = torch.zeros_like(batch["input_ids"])
        return with_fields(ModelOutput, tuple(self.graph.outputs))(**self.graph(batch))


class _OnnxWriter(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A graph that `generate` calls for one token after the other.

    Args:
        graph: The decoder.
        config: Config of the model that was exported.
        settings: Folder with its settings of generation.
    """

    device = torch.device("cpu")
    dtype = torch.float32
    _supports_sdpa = True  # attention is inside the graph, and PreTrainedModel asks for it

    def __init__(self, graph: Graph, config: PretrainedConfig, settings: Path) -> None:
        super().__init__(config)
        self.graph = graph
        self.generation_config = GenerationConfig.from_pretrained(settings)


class OnnxCausalModel(_OnnxWriter):
    """A decoder that continues texts; the same graph reads a prompt and a single token after it."""

    main_input_name = "input_ids"

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: DynamicCache | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (batch, tokens, vocabulary) and the cache; without positions, they are counted from 0."""
        rows, tokens = input_ids.shape
        before = 0 if past_key_values is None else past_key_values.get_seq_length()
        if attention_mask is None:
            attention_mask = torch.ones(rows, before + tokens, dtype=torch.long)
        if position_ids is None:
            position_ids = torch.arange(before, before + tokens).expand(rows, -1)
        batch = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        outputs = self.graph(batch | _cached(self.graph, past_key_values, rows))
        return CausalLMOutputWithPast(logits=outputs["logits"], past_key_values=_cache_of(outputs))


class OnnxSeq2SeqModel(_OnnxWriter):
    """An encoder that reads a text, and a decoder that writes one token at a time.

    Args:
        graph: The decoder.
        config: Config of the model that was exported.
        settings: Folder with its settings of generation.
        encoder: Graph of the encoder.
    """

    main_input_name = "input_ids"

    def __init__(self, graph: Graph, config: PretrainedConfig, settings: Path, encoder: Graph) -> None:
        super().__init__(graph, config, settings)
        self.encoder = _Encoder(encoder)

    def get_encoder(self, modality: str | None = None) -> _Encoder:
        """The encoder, which `generate` calls once for a batch."""
        return self.encoder

    def forward(
        self,
        decoder_input_ids: torch.Tensor,
        encoder_outputs: BaseModelOutput,
        attention_mask: torch.Tensor,
        past_key_values: EncoderDecoderCache | None = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """Logits (batch, 1, vocabulary) of the token after one token, and the cache."""
        states = encoder_outputs.last_hidden_state
        batch = {
            "decoder_input_ids": decoder_input_ids,
            "encoder_outputs.last_hidden_state": states,
            "attention_mask": attention_mask,
        }
        before = None if past_key_values is None else past_key_values.self_attention_cache
        outputs = self.graph(batch | _cached(self.graph, before, len(states)))
        cache = EncoderDecoderCache(_cache_of(outputs), DynamicCache())
        return Seq2SeqLMOutput(logits=outputs["logits"], past_key_values=cache)


class _Encoder(torch.nn.Module):
    main_input_name = "input_ids"

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> BaseModelOutput:
        outputs = self.graph({"input_ids": input_ids, "attention_mask": attention_mask})
        return BaseModelOutput(last_hidden_state=outputs["last_hidden_state"])


# --- keys and values of earlier tokens ---------------------------------------------------------------------------


def reads_cache(graph: Graph) -> bool:
    """Whether a graph takes keys and values of earlier tokens, and so generates texts."""
    return any(map(_CACHED.search, graph.shapes))


def _cached(graph: Graph, cache: DynamicCache | None, rows: int) -> dict[str, torch.Tensor]:
    """Inputs of the graph with the keys and values of earlier tokens: none of them before the first one."""
    inputs = {}
    for name, shape in graph.shapes.items():
        match = _CACHED.search(name)
        if match is None:
            continue
        if cache is None or cache.get_seq_length() == 0:
            inputs[name] = torch.zeros(rows, int(shape[1]), 0, int(shape[3]))
        else:
            inputs[name] = getattr(cache.layers[int(match[1])], match[2])
    return inputs


def _cache_of(outputs: dict[str, torch.Tensor]) -> DynamicCache:
    """The cache after a call of a graph, from its outputs."""
    parts: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in outputs.items():
        match = _CACHED.search(name)
        if match:
            parts.setdefault(int(match[1]), {})[match[2]] = tensor
    return DynamicCache([(parts[layer]["keys"], parts[layer]["values"]) for layer in sorted(parts)])
