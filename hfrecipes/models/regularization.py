"""Against overfitting: dropout by name, frozen parts, smaller steps for the lower layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..errors import ConfigError, nearest
from ..log import log

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from transformers import PretrainedConfig, PreTrainedModel, Trainer


# --- dropout -----------------------------------------------------------------------------------------------------


def dropout_settings(dropout: float | Mapping[str, float], model_config: PretrainedConfig) -> dict[str, float]:
    """Keywords of the model's config for the dropout that is asked for.

    Args:
        dropout: Probability for all of the model's dropouts, or by their names in its config.
        model_config: As the checkpoint has it.

    Raises:
        ConfigError: The model has no dropout of that name.
    """
    known = {
        name: value
        for name, value in model_config.to_dict().items()
        if "drop" in name and "layerdrop" not in name and (value is None or type(value) in (int, float))
    }
    wanted = dict(dropout) if isinstance(dropout, Mapping) else dict.fromkeys(known, dropout)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        named = "; ".join(f"no {name}{nearest(name, known)}" for name in unknown) or "found none to set"
        raise ConfigError(
            f"dropout: {named}; a model of type {model_config.model_type} has {', '.join(known) or 'no dropout'}"
        )
    changes = [f"{name} {known[name]} → {value}" for name, value in wanted.items() if known[name] != value]
    log(f"dropout: {', '.join(changes) or 'as the model has it'}")
    return wanted


# --- frozen parts ------------------------------------------------------------------------------------------------


def freeze(model: PreTrainedModel, what: str | int, fresh: list[str]) -> None:
    """Keep parts of the model as the checkpoint has them; what is new is trained wherever it stands.

    Args:
        model: With its head.
        what: `embeddings`; a number, for them and as many of the lower layers of each stack; or `backbone`, for all
            but the head.
        fresh: Modules that the checkpoint did not bring.

    Raises:
        ConfigError: There are fewer layers, or nothing would be left to train.
    """
    if what == "backbone":
        frozen = [one for _, one in model.base_model.named_parameters()]
    else:
        frozen = embeddings(model)
        if not frozen:
            raise ConfigError(
                f"freeze: {what}, but a model of type {model.config.model_type} has no table of embeddings to freeze; "
                "use backbone, or leave it out"
            )
        frozen += [one for block in _lower_blocks(model, int(what) if isinstance(what, int) else 0) for one in block]
    for weights in frozen:
        weights.requires_grad_(False)
    inner = {name.removeprefix(model.base_model_prefix + "."): module for name, module in model.named_modules()}
    for name in fresh:
        if name in inner:
            inner[name].requires_grad_(True)
    log(f"frozen: {what if isinstance(what, str) else f'embeddings and {what} layers'}")
    if not any(weights.requires_grad for weights in model.parameters()):
        raise ConfigError(f"freeze: {what} leaves nothing of this model to train; freeze fewer layers, or leave it out")


def _lower_blocks(model: nn.Module, number: int) -> Iterator[list[nn.Parameter]]:
    for blocks in stacks(model):
        if number > len(blocks):
            raise ConfigError(f"freeze: {number}, but the model has {len(blocks)} layers of weights of their own")
        yield from blocks[:number]


def stacks(model: nn.Module) -> list[list[list[nn.Parameter]]]:
    """Parameters of each layer of each stack of layers, as encoder and decoder are; the lowest layer first."""
    from torch import nn

    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        is_inner = any(name.startswith(f"{outer}.") for outer in found)
        # MarkupLM has lists of tables among its embeddings.
        if isinstance(module, nn.ModuleList) and not is_inner and "embed" not in name:
            found[name] = module
    lists = [[list(block.parameters()) for block in blocks.children()] for blocks in found.values()]
    return [blocks for blocks in lists if any(blocks)]


def embeddings(model: PreTrainedModel) -> list[nn.Parameter]:
    """Parameters of the embeddings below all layers: the table of the tokens, and by the names that others have."""
    try:
        tables = {id(weights) for weights in model.get_input_embeddings().parameters()}
    except NotImplementedError:  # CANINE has no one table
        tables = set()
    layers = {id(weights) for blocks in stacks(model) for block in blocks for weights in block}
    found = []
    for name, weights in model.named_parameters():
        is_named_so = any("embed" in part or part in ("wte", "wpe", "shared") for part in name.split("."))
        if id(weights) not in layers and (id(weights) in tables or is_named_so):
            found.append(weights)
    return found


# --- smaller steps below -----------------------------------------------------------------------------------------


def layerwise_optimizer(trainer: Trainer, decay: float) -> Optimizer:
    """The optimizer that the arguments ask for, with a learning rate that shrinks from the head down to the embeddings.

    A layer's rate is `learning_rate * decay ** n`, n layers below the head (Howard and Ruder 2018).

    Args:
        trainer: Whose model and arguments it is for.
        decay: Factor from one layer to the next one below, above 0, 1 at most.

    Raises:
        ConfigError: The optimizer takes no groups of parameters.
    """
    kind, keywords = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
    if {"params", "model", "optimizer_dict"} & set(keywords):
        raise ConfigError(f"layerwise_lr_decay: optim={trainer.args.optim} makes its own groups; use adamw_torch")
    depths = _depths(trainer.model)
    decayed = set(trainer.get_decay_parameter_names(trainer.model))
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, weights in trainer.model.named_parameters():
        if weights.requires_grad:
            groups.setdefault((depths.get(id(weights), 0), name in decayed), []).append(weights)
    rate = trainer.args.learning_rate
    made: Optimizer = kind(
        [
            {"params": members, "lr": rate * decay**depth, "weight_decay": trainer.args.weight_decay * has_decay}
            for (depth, has_decay), members in sorted(groups.items(), key=lambda group: group[0])
        ],
        **keywords,
    )
    lowest = rate * decay ** max(depth for depth, _ in groups)
    log(f"learning rate: {rate:g} at the head, {lowest:.2g} at the lowest part that is trained")
    return made


def _depths(model: PreTrainedModel) -> dict[int, int]:
    """How far each parameter is below the head, by its id; embeddings lie below all layers."""
    found: dict[int, int] = {}
    for blocks in stacks(model):
        for place, block in enumerate(blocks):
            found |= {id(weights): len(blocks) - place for weights in block}
    lowest = max(found.values(), default=0) + 1
    return {**found, **{id(weights): lowest for weights in embeddings(model)}}
