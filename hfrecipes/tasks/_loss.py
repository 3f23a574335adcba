"""A loss that is right however a batch is cut into parts."""

from __future__ import annotations

from typing import Any


def token_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Cross entropy summed over the tokens with a label, divided by their number in the whole batch.

    Most heads average over the tokens of each part of a batch, and so give tokens in a part of few more weight: what is
    learnt would depend on `gradient_accumulation_steps` and on the number of processes.

    Args:
        outputs: With `logits`, (rows, tokens, labels).
        labels: (rows, tokens), below 0 where nothing is to be learnt.
        num_items_in_batch: Labels in the whole batch, of which this may be a part; counted here where None.
    """
    import torch

    known = labels >= 0
    logits = outputs["logits"][known].float()
    total = torch.nn.functional.cross_entropy(logits, labels[known], reduction="sum")
    # In evaluation the Trainer counts the whole of this batch, marks below 0 included.
    counted = known.sum().clamp(min=1)
    return total / (num_items_in_batch if num_items_in_batch is not None and torch.is_grad_enabled() else counted)
