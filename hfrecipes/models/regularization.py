"""Against overfitting: dropout by name, frozen layers, smaller learning rates for the lower layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import ConfigError, nearest
from ..log import log
from .heads import modules_below_base

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from transformers import PretrainedConfig, PreTrainedModel, Trainer


# --- dropout -----------------------------------------------------------------------------------------------------


def dropout_settings(dropout: float | Mapping[str, float], model_config: PretrainedConfig) -> dict[str, float]:
    """Keywords of the model's config that set the dropout.

    Args:
        dropout: Probability for all dropouts of the model, or a probability for each name in its config.
        model_config: Config of the checkpoint.

    Raises:
        ConfigError: The model has no dropout of that name, or none at all.
    """
    known = _dropouts(model_config)
    wanted = dict(dropout) if isinstance(dropout, Mapping) else dict.fromkeys(known, dropout)
    problems = [] if wanted else ["found none to set"]
    for name in wanted:
        if name not in known:
            problems.append(f"no {name}{nearest(name, known)}")
    if problems:
        raise ConfigError(
            f"dropout: {'; '.join(problems)}; a model of type {model_config.model_type} has "
            f"{', '.join(known) or 'no dropout'}"
        )
    changes = []
    for name, value in wanted.items():
        if known[name] != value:
            changes.append(f"{name} {known[name]} → {value}")
    log(f"dropout: {', '.join(changes) or 'unchanged, the model has these values already'}")
    return wanted


def _dropouts(model_config: PretrainedConfig) -> dict[str, float | None]:
    """Dropout probabilities in a model's config, by name."""
    known = {}
    for name, value in model_config.to_dict().items():
        # Layerdrop leaves out whole layers, and bool is an int: `use_dropout` is not a probability.
        is_probability = value is None or type(value) in (int, float)
        if is_probability and "drop" in name and "layerdrop" not in name:
            known[name] = value
    return known


# --- frozen parts ------------------------------------------------------------------------------------------------


def freeze(model: PreTrainedModel, what: str | int, fresh: list[str], fresh_tokens: int = 0) -> None:
    """Freeze parts of the model; newly initialized modules are trained even inside these parts.

    Args:
        model: With its head.
        what: `embeddings`; a number n, for the embeddings and the n lowest layers of each stack; or `backbone`, for
            everything except the head.
        fresh: Modules that were not in the checkpoint.
        fresh_tokens: Number of tokens whose embeddings were not in the checkpoint.

    Raises:
        ConfigError: The model has fewer layers, or nothing would be left to train.
    """
    for weights in _weights_to_freeze(model, what):
        weights.requires_grad_(False)
    modules = modules_below_base(model)
    for name in fresh:
        if name in modules:  # a new parameter may be in no module that has its name
            modules[name].requires_grad_(True)
    log(f"frozen: {what if isinstance(what, str) else f'embeddings and {what} layers'}")
    if fresh_tokens:
        log(f"embeddings: {fresh_tokens} new ones are frozen and stay random; leave freeze out to train them")
    if not any(weights.requires_grad for weights in model.parameters()):
        raise ConfigError(f"freeze: {what} leaves nothing of this model to train; freeze fewer layers, or leave it out")


def _weights_to_freeze(model: PreTrainedModel, what: str | int) -> list[nn.Parameter]:
    """Parameters of the parts that `freeze` is asked for."""
    if what == "backbone":
        return list(model.base_model.parameters())
    frozen = embeddings(model)
    if not frozen:
        raise ConfigError(
            f"freeze: {what}, but a model of type {model.config.model_type} has no table of embeddings to freeze; "
            "use backbone, or leave it out"
        )
    if not isinstance(what, int):
        return frozen
    for layers in stacks(model):
        if what > len(layers):
            raise ConfigError(f"freeze: found {what}, expected {len(layers)} at most, the layers of this model")
        for layer in layers[:what]:
            frozen += layer
    return frozen


def stacks(model: nn.Module) -> list[list[list[nn.Parameter]]]:
    """Parameters of each layer of each stack of layers, such as encoder and decoder; the lowest layer first."""
    from torch import nn

    lists: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        # The experts of a layer are a list too, inside the list of layers.
        is_inner = any(name.startswith(f"{outer}.") for outer in lists)
        # MarkupLM has lists of tables among its embeddings.
        if isinstance(module, nn.ModuleList) and not is_inner and "embed" not in name:
            lists[name] = module
    all_stacks = []
    for module in lists.values():
        layers = [list(layer.parameters()) for layer in module.children()]
        # A list of dropouts, or of activations, has no weights.
        if any(layers):
            all_stacks.append(layers)
    return all_stacks


def embeddings(model: PreTrainedModel) -> list[nn.Parameter]:
    """Parameters of the embeddings below all layers: the tokens' table, and others, which are known by their names."""
    try:
        tables = {id(weights) for weights in model.get_input_embeddings().parameters()}
    except NotImplementedError:  # CANINE hashes characters into several tables
        tables = set()
    inside_layers: set[int] = set()
    for layers in stacks(model):
        for layer in layers:
            inside_layers.update(map(id, layer))
    kept = []
    for name, weights in model.named_parameters():
        # Positions are called wpe in GPT-2; T5 shares a table between encoder and decoder.
        has_name = any("embed" in part or part in ("wte", "wpe", "shared") for part in name.split("."))
        if id(weights) not in inside_layers and (has_name or id(weights) in tables):
            kept.append(weights)
    return kept


# --- smaller learning rates for lower layers ---------------------------------------------------------------------


def layerwise_optimizer(trainer: Trainer, decay: float) -> Optimizer:
    """The optimizer of the arguments, with a learning rate that shrinks from the head down to the embeddings.

    The rate of a layer is `learning_rate * decay ** n`, n layers below the head (Howard and Ruder 2018).

    Args:
        trainer: Its model is optimized, by its arguments.
        decay: Factor from each layer to the one below, above 0 and at most 1.

    Raises:
        ConfigError: The optimizer accepts no groups of parameters.
    """
    optimizer_class, keywords = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
    if {"params", "model", "optimizer_dict"} & set(keywords):
        raise ConfigError(f"layerwise_lr_decay: optim={trainer.args.optim} makes its own groups; use adamw_torch")
    members = _by_depth_and_decay(trainer)
    rate = trainer.args.learning_rate
    groups = []
    # The head first: the Trainer logs the rate of the first group.
    for depth, has_weight_decay in sorted(members):
        group = {
            "params": members[depth, has_weight_decay],
            "lr": rate * decay**depth,
            "weight_decay": trainer.args.weight_decay * has_weight_decay,
        }
        groups.append(group)
    optimizer: Optimizer = optimizer_class(groups, **keywords)
    log(f"learning rate: {rate:g} at the head, {groups[-1]['lr']:.2g} in the lowest trained part")
    return optimizer


def _by_depth_and_decay(trainer: Trainer) -> dict[tuple[int, bool], list[nn.Parameter]]:
    """Trained parameters by their depth below the head, and by whether they take weight decay."""
    depths = _depths(trainer.model)
    # Biases and norms take none, as in the optimizer that the Trainer makes itself.
    decayed = set(trainer.get_decay_parameter_names(trainer.model))
    members: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, weights in trainer.model.named_parameters():
        if weights.requires_grad:
            members.setdefault((depths.get(id(weights), 0), name in decayed), []).append(weights)
    return members


def _depths(model: PreTrainedModel) -> dict[int, int]:
    """Number of layers that each parameter is below the head, by its id; parameters of the head are not in it."""
    depths: dict[int, int] = {}
    for layers in stacks(model):
        for index, layer in enumerate(layers):
            for weights in layer:
                depths[id(weights)] = len(layers) - index
    # Embeddings are below all layers, also below those of the longer stack.
    lowest = max(depths.values(), default=0) + 1
    for weights in embeddings(model):
        depths[id(weights)] = lowest
    return depths
