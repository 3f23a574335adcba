"""How far a row is from the training rows of the nearest label, at the input of the last layer of the head.

The Mahalanobis distance with the mean of each label and one covariance for all of them: Lee et al. 2018, "A simple
unified framework for detecting out-of-distribution samples and adversarial attacks".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError, ModelError
from ..recipe import DISTANCE
from ..run_folder.writing import draft
from . import adapters
from .heads import last_layer
from .output_fields import with_fields

if TYPE_CHECKING:
    import torch

FILE = "distance.safetensors"  # beside the weights of the model
MOST_ROWS = 10_000  # of train, that means and covariance are computed from
INPUTS = "head_inputs"  # output of the model while they are collected
_LEAST = 1e-10  # of the largest variance: smaller ones are rounding errors
_AGREEMENT = 1e-3  # largest difference between logits and what the last layer makes of its inputs, as a share of them


# --- means and covariance ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distances:
    """What the distance of a row is computed from; the mean of a label with a single row is that row."""

    means: np.ndarray
    """Mean input of the last layer of each label that the rows have, (labels, hidden)."""
    whitening: np.ndarray
    """Matrix after which the rows of a label have a variance of about 1 in each direction, (hidden, hidden)."""
    shrinkage: float
    """Share of the covariance that is replaced by the same variance in each direction (Ledoit and Wolf 2004)."""


def fit(inputs: np.ndarray, labels: np.ndarray) -> Distances:
    """Means and covariance of training rows.

    Args:
        inputs: Input of the last layer for each row, (rows, hidden).
        labels: Id of the label of each row, (rows,).

    Example:
        >>> inputs = np.array([[0.0, 0.0], [0.0, 2.0], [5.0, 0.0], [5.0, 2.0]])
        >>> fit(inputs, np.array([0, 0, 1, 1])).means.tolist()
        [[0.0, 1.0], [5.0, 1.0]]
    """
    from sklearn.covariance import LedoitWolf

    inputs = inputs.astype(np.float64)
    names, label_of_row = np.unique(labels, return_inverse=True)
    means = np.stack([inputs[label_of_row == label].mean(0) for label in range(len(names))])
    # Without shrinkage, fewer rows than dimensions would have no variance in some of them, and infinite distances.
    covariance = LedoitWolf(assume_centered=True, store_precision=False).fit(inputs - means[label_of_row])
    variances, directions = np.linalg.eigh(covariance.covariance_)
    largest = variances[-1]
    # With one row for each label there is no variance at all: distances are then Euclidean.
    variances = np.maximum(variances, _LEAST * largest) if largest > 0 else np.ones_like(variances)
    whitening = directions / np.sqrt(variances)
    return Distances(means.astype(np.float32), whitening.astype(np.float32), float(covariance.shrinkage_))


def rows_to_fit(labels: np.ndarray, seed: int) -> np.ndarray:
    """Indices of at most `MOST_ROWS` rows, drawn with the seed; as many of each label as there are, or as fit.

    Drawn regardless of labels, a large train would leave rare labels without a row, and all their rows far away.

    Args:
        labels: Id of the label of each row, negative where it has none, (rows,).
        seed: Of the drawing.
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(labels >= 0))
    turns = np.empty(len(order), dtype=np.int64)  # the first row of each label, then the second one of each
    for label in np.unique(labels[order]):
        of_label = np.flatnonzero(labels[order] == label)
        turns[of_label] = np.arange(len(of_label))
    return np.sort(order[np.argsort(turns, kind="stable")[:MOST_ROWS]])


# --- the file ----------------------------------------------------------------------------------------------------


def write(folder: Path, distances: Distances) -> None:
    """Write means and whitening into a folder with a model."""
    from safetensors.numpy import save_file

    with draft(folder / FILE) as temporary:
        save_file({"means": distances.means, "whitening": np.ascontiguousarray(distances.whitening)}, temporary)


def read(folder: Path) -> Distances:
    """What `write` wrote, without the shrinkage.

    Raises:
        ModelError: The file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = folder / FILE
    try:
        tensors = load_file(file)
        distances = Distances(tensors["means"], tensors["whitening"], 0.0)
        hidden = distances.means.shape[-1]
        if distances.whitening.shape != (hidden, hidden) or not all(
            np.isfinite(part).all() for part in tensors.values()
        ):
            raise ValueError("its tensors are not those of a run")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ModelError(
            f"{file} cannot be read ({reason}), and this run predicts distances with it: put the file back from a "
            "copy, or train again"
        ) from error
    return distances


# --- in a model --------------------------------------------------------------------------------------------------


def check_head(model: Any, labels: int) -> None:
    """Refuse a model that distances cannot be measured in, before it is trained.

    Args:
        model: To be trained, with adapters or without.
        labels: Number of its outputs.

    Raises:
        ConfigError: The model has no last layer of its own.
    """
    if _last_layer(model, labels) is None:
        raise ConfigError(
            f"out_of_scope_by=distance: a model of type {model.config.model_type} has no linear layer that returns its "
            "logits, at the input of which distances are measured: use out_of_scope_by=probability, or another model"
        )


def attach(model: Any, distances: Distances) -> None:
    """Make a model return `distance`, (batch, 1), beside its logits.

    Raises:
        ModelError: They were measured in a model of another size.
    """
    layer, hidden = _last_layer(model, model.config.num_labels), distances.means.shape[1]
    if layer is None or layer.in_features != hidden:
        raise ModelError(f"{FILE} has means of {hidden} values, and is of another model: put the right file back")
    _return_beside(model, DISTANCE, _Nearest(distances))


def collect_inputs(model: Any) -> Callable[[], None]:
    """Make a model return `head_inputs`, (batch, hidden), beside its logits, until what is returned is called."""
    return _return_beside(model, INPUTS, lambda inputs: inputs)


def check_inputs(model: Any, logits: np.ndarray, inputs: np.ndarray) -> None:
    """Refuse a head that does more after its last layer, which may have changed the distances too.

    Args:
        model: Whose inputs were collected.
        logits: (rows, labels).
        inputs: (rows, hidden).

    Raises:
        ModelError: The layer gives other logits than the model.
    """
    layer = _last_layer(model, logits.shape[1])
    expected = inputs @ layer.weight.detach().float().cpu().numpy().T
    if layer.bias is not None:
        expected = expected + layer.bias.detach().float().cpu().numpy()
    if not np.abs(expected - logits).max() <= _AGREEMENT * max(1.0, float(np.abs(logits).max())):
        raise ModelError(
            f"out_of_scope_by=distance: the logits of a model of type {model.config.model_type} are not what its last "
            "layer returns: use out_of_scope_by=probability, or another model"
        )


def _last_layer(model: Any, labels: int) -> Any:
    whole = model.get_base_model() if adapters.is_adapted(model) else model
    return last_layer(whole, labels)[1]


def _return_beside(model: Any, name: str, compute: Callable[[Any], Any]) -> Callable[[], None]:
    """Make a model return what is computed of the input of its last layer; a function takes that back."""
    labels = model.config.num_labels
    beside = _Beside(name, labels, compute)
    hooks = [
        model.register_forward_pre_hook(beside.begin, with_kwargs=True),
        _last_layer(model, labels).register_forward_hook(beside.append),
        model.register_forward_hook(beside.split),
    ]

    def take_back() -> None:
        for hook in hooks:
            hook.remove()

    return take_back


class _Beside:
    """Hooks that carry columns from the last layer of a model to its outputs.

    The columns travel behind the logits: where a decoder picks the token that a text is classified by, it picks theirs
    too, and a recording of the model, which runs no hook around it, has them.

    Args:
        name: Of the output.
        width: Number of logits.
        compute: Gives the columns for the input of the layer.
    """

    def __init__(self, name: str, width: int, compute: Callable[[Any], Any]) -> None:
        self.name, self.width, self.compute = name, width, compute
        self.is_on = True

    def begin(self, model: Any, args: tuple[Any, ...], batch: dict[str, Any]) -> None:
        """Pre-hook of the model: with labels, it computes a loss of all columns."""
        self.is_on = batch.get("labels") is None

    def append(self, layer: Any, args: tuple[Any, ...], logits: Any) -> Any:
        """Hook of the layer: the columns behind its own."""
        import torch

        if not self.is_on:
            return logits
        with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
            columns = self.compute(args[0])
        return torch.cat([logits, columns.to(logits.dtype)], dim=-1)

    def split(self, model: Any, args: tuple[Any, ...], outputs: Any) -> Any:
        """Hook of the model: logits as without the columns, which become an output of their own."""
        if not self.is_on:
            return outputs
        both = outputs["logits"]
        fields = {**outputs, "logits": both[..., : self.width], self.name: both[..., self.width :]}
        # The exporter to ONNX traces a model that returns a plain dict.
        return fields if type(outputs) is dict else with_fields(outputs.__class__, (self.name,))(**fields)


class _Nearest:
    """The distance to the nearest mean.

    Args:
        distances: Means and covariance.
    """

    def __init__(self, distances: Distances) -> None:
        import torch

        means, whitening = distances.means.astype(np.float64), distances.whitening.astype(np.float64)
        center = means.mean(0)
        self.tensors = tuple(map(torch.from_numpy, (center, whitening, (means - center) @ whitening)))

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Distances (…, 1) of inputs (…, hidden)."""
        import torch

        # In float32, large distances of rows that are close to each other would lose digits to rounding, more of them
        # on a GPU that computes in TF32. Apple's GPUs have nothing else.
        precision = torch.float32 if inputs.device.type == "mps" else torch.float64
        if self.tensors[0].device != inputs.device:
            self.tensors = tuple(tensor.to(inputs.device, precision) for tensor in self.tensors)
        center, whitening, means = self.tensors
        rows = (inputs.to(precision) - center) @ whitening
        squares = rows.square().sum(-1, keepdim=True) - 2 * rows @ means.T + means.square().sum(-1)
        return squares.amin(-1, keepdim=True).clamp(min=0).sqrt()
