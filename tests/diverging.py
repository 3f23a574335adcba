"""A training that diverges at a token, and the rows that its error names."""

from __future__ import annotations

import pytest
from transformers import Trainer, TrainerCallback

from hfrecipes.errors import DivergedError


def rows_named_when_spoiled(trainer: Trainer, token: int) -> list[str]:
    """Train until the loss is not finite, as the embedding of a token is from the second epoch on."""

    class Spoil(TrainerCallback):
        def on_epoch_begin(self, args, state, control, model=None, **keywords):
            if state.epoch:
                model.get_input_embeddings().weight.data[token] = float("inf")

    trainer.add_callback(Spoil())
    with pytest.raises(DivergedError) as raised:
        trainer.train()
    named = str(raised.value).partition("rows ")[2].partition(" of train")[0]
    return named.rstrip(", …").split(", ")
