"""Out-of-fold probabilities of training rows: a logistic regression on what the base model makes of their texts.

The fine-tuned model does not serve: it has seen the labels, and has memorised the wrong ones too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.features import encode, without_references
from ..errors import HFRecipesError
from ..evaluation.inference import Inference, outputs
from ..log import log
from ..models.directory import as_model_error, quiet
from ..models.loading import add_token_embeddings
from ..recipe import Recipe

if TYPE_CHECKING:
    from datasets import Dataset

    from ..config.run_config import RunConfig

FOLDS = 5


def embeddings(recipe: Recipe, config: RunConfig, rows: Dataset, saved: str) -> tuple[np.ndarray, str]:
    """The mean of the last layer over the tokens of each row, (rows, size), and what computed it.

    Args:
        recipe: The task, with its tokenizer.
        config: Settings of the run, which name the base model.
        rows: Rows of the task.
        saved: Folder of the trained model, which is used where the base cannot be loaded.
    """
    try:
        model, what = _body(config.base.path, config.base.loading_keywords), "the base model"
    except HFRecipesError as error:
        log(f"the base model cannot be loaded ({error}): the fine-tuned one is used, which has seen the labels")
        model, what = _body(saved, {}), "the fine-tuned model, which has seen these labels and hides some errors"
    with quiet():
        add_token_embeddings(model, recipe.tokenizer)
    encoded = encode(recipe, without_references(rows, recipe))
    inference = Inference.of(_mean_of_tokens(model), recipe, config.training)
    return np.asarray(outputs(inference, encoded), dtype=np.float64), what


def _body(path: str, keywords: dict[str, Any]) -> Any:
    """The model without its head; of an encoder and a decoder the former."""
    import torch
    from transformers import AutoModel

    with as_model_error(path), quiet():
        model = AutoModel.from_pretrained(path, dtype=torch.float32, **keywords)
    return model.get_encoder() if model.config.is_encoder_decoder else model


def _mean_of_tokens(model: Any) -> Any:
    """The model with one vector for each row in place of logits."""
    import torch

    class MeanOfTokens(torch.nn.Module):
        """Averages the last layer over the tokens that are no padding."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.config, self.device = model, model.config, model.device

        def forward(self, **inputs: Any) -> dict[str, Any]:
            """`logits`, (rows, size)."""
            last = self.body(**inputs).last_hidden_state
            mask = inputs["attention_mask"].unsqueeze(-1).to(last.dtype)
            return {"logits": (last * mask).sum(1) / mask.sum(1).clamp(min=1)}

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    return MeanOfTokens()


def out_of_fold_shares(vectors: np.ndarray, labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Probability of each label for each row, by a regression that did not see the row, (rows, number).

    Args:
        vectors: (rows, size).
        labels: Label id of each row, each at least `FOLDS` times.
        number: Number of labels.
        seed: Of the folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    known = np.unique(labels)
    shares = np.zeros((len(vectors), number))
    shares[:, known] = cross_val_predict(regression, vectors, labels, cv=folds, method="predict_proba")
    return shares
