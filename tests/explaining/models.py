"""Models that are made for tests of explanations: one that reads a single token, and saved runs of tiny ones."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from transformers.modeling_outputs import SequenceClassifierOutput


class ReadsOneToken(torch.nn.Module):
    """Two logits from the embedding of one token of each row, by a function that is not linear."""

    def __init__(self, vocabulary: int, index: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(vocabulary, 8)
        self.head = torch.nn.Linear(8, 2)
        self.index = index
        self.config = SimpleNamespace(model_type="reads-one-token")
        self.device = torch.device("cpu")

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.table

    def forward(self, input_ids, attention_mask):
        chosen = self.table(input_ids)[:, self.index]
        return SequenceClassifierOutput(logits=self.head(torch.tanh(3 * chosen)))
