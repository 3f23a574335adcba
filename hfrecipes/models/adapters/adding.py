"""Add adapters to a model: which layers are adapted, which modules are trained in full, and what is refused."""

from __future__ import annotations

import copy
import re
import typing
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ... import _upstream
from ...config.blocks import VIRTUAL_TOKENS, AdapterSettings
from ...errors import ConfigError, counted, nearest
from ...log import log
from ...recipe import Recipe, writes_in_evaluation
from ..directory import quiet
from ..heads import heads as heads_of
from ..heads import modules_below_base
from ..loading import LoadedModel, input_embeddings
from .settings import refuse_prompt_learning, task_type
from .targets import Names, check_sizes, check_targets

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SHOWN = 4  # tokens that a sentence lists


def add(loaded: LoadedModel, recipe: Recipe, settings: AdapterSettings) -> PreTrainedModel:
    """Freeze the model except for adapters, its head, and the modules that were not in the checkpoint.

    PEFT's table of heads does not contain most architectures: a head that it does not know stays frozen and random,
    and is not saved. Heads from the checkpoint are trained as well.

    Args:
        loaded: The model with its head, and what of it is new.
        recipe: The task.
        settings: The method of PEFT, and keywords of its config.

    Raises:
        ConfigError: The settings contradict each other, or do not fit the model.
    """
    from peft import get_peft_config, get_peft_model

    model = loaded.model
    if settings.is_prompt_learning:
        refuse_prompt_learning(settings, recipe)
    given = copy.deepcopy(dict(settings.keywords))  # PEFT changes the lists in it
    wanted = _modules_called(model, given.pop("modules_to_save", None) or [])
    _refuse_shared_modules(model, wanted)
    trained_whole = without_shared(model, sorted({*loaded.fresh, *heads_of(model), *wanted}))
    trained_whole = _without_mistaken(loaded, trained_whole)
    keywords = _default_keywords(loaded, recipe, settings, trained_whole)
    check_sizes(model, given)
    names, wanted_targets = Names.of(model), copy.deepcopy(given)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*will be ignored")
            config = get_peft_config({**keywords, **given, "peft_type": settings.method})
        with quiet():
            adapted = get_peft_model(model, config)
        # Once more with the layers that PEFT filled in, as it is when the adapter is loaded.
        get_peft_config(config.to_dict())
    except (TypeError, ValueError, NotImplementedError, re.error, UserWarning) as error:
        raise ConfigError(f"lora: {' '.join(str(error).split())}{_layers_to_choose_from(model, given)}") from error
    check_targets(adapted, wanted_targets, names)
    _refuse_shared_targets(adapted)
    _refuse_what_cannot_be_loaded(adapted)
    if settings.is_prompt_learning:
        _try_virtual_tokens(adapted, recipe)
    return adapted


def _default_keywords(
    loaded: LoadedModel, recipe: Recipe, settings: AdapterSettings, trained_whole: list[str]
) -> dict[str, Any]:
    """Keywords of the method's config that the user need not give."""
    keywords: dict[str, Any] = {"task_type": task_type(recipe), "modules_to_save": trained_whole or None}
    # So that the adapter is later put onto the same base, whatever its author uploads in the meantime.
    keywords["revision"] = loaded.commit
    if settings.is_prompt_learning:
        keywords["num_virtual_tokens"] = VIRTUAL_TOKENS
    else:
        keywords |= _default_targets(loaded.model, settings.method, trained_whole)
    new_tokens = list(loaded.fresh_tokens)
    if not settings.keywords.get("trainable_token_indices"):
        new_tokens += _untrained_tokens(loaded.model, recipe.tokenizer)
    if new_tokens:
        keywords |= _new_token_keywords(new_tokens, settings)
    return keywords


# --- modules that are trained in full ----------------------------------------------------------------------------


def _modules_called(model: PreTrainedModel, wanted: list[str]) -> list[str]:
    """Full names, below the base model, of the modules that the user wants to train in full.

    Raises:
        ConfigError: There is no such module.
    """
    names = [name for name in modules_below_base(model) if name]  # the model itself has an empty name
    matching: list[str] = []
    for last in wanted:
        full_names = [name for name in names if f".{name}".endswith(f".{last}")]
        if not full_names:
            last_names = sorted({name.rpartition(".")[2] for name in names})
            hint = nearest(last, last_names) or f"; there are {', '.join(last_names[:10])}"
            raise ConfigError(f"lora.modules_to_save: this model has no module {last}{hint}")
        matching += full_names
    return matching


def _without_mistaken(loaded: LoadedModel, names: list[str]) -> list[str]:
    """The modules whose names PEFT does not find at the end of others, such as proj at that of q_proj.

    It would train those in full too, where it has put adapters; a head of such a name gets an adapter instead.

    Raises:
        ConfigError: A new module has such a name: its random weights would not be saved.
    """
    kept = []
    layers = [name for name, module in loaded.model.named_modules() if _can_be_adapted(module, "LORA")]
    for name in names:
        mistaken = []
        for other in layers:
            is_same = f".{other}".endswith(f".{name}")
            if other.endswith(name) and not is_same and not _is_inside(other, names):
                mistaken.append(other)
        if not mistaken:
            kept.append(name)
        elif name in loaded.fresh:
            raise ConfigError(
                f"lora: {name} is new, and PEFT would take it for {mistaken[0]} too: train once with lora=false, and "
                "then with lora=true from that run"
            )
        else:
            log(
                f"{name}: not trained in full, as PEFT would take it for {mistaken[0]} too; it gets an adapter, unless "
                "lora.target_modules leaves it out"
            )
    return kept


def without_shared(model: PreTrainedModel, names: list[str]) -> list[str]:
    """The modules, or those of their parts, that share no weights with other modules.

    A copy of a shared weight, such as the embeddings of a language model, would be trained and then lost, because
    saving ties it to the original again.
    """
    shared = _shared_weights(model)
    modules = modules_below_base(model)
    kept = []
    for name in names:
        module = modules.get(name)
        if module is None:  # a bare parameter; PEFT can only train modules in full
            continue
        weights = {id(parameter) for parameter in module.parameters()}
        if weights & shared:
            # Parts of the module, such as the transform before a tied decoder, may still be trained.
            for child, _ in module.named_children():
                kept += without_shared(model, [f"{name}.{child}"])
        elif weights:
            kept.append(name)
    return kept


def _refuse_shared_modules(model: PreTrainedModel, wanted: list[str]) -> None:
    """Refuse to train modules in full that share their weights, since nothing of them would be trained.

    Raises:
        ConfigError: There is one.
    """
    for name in wanted:
        if not without_shared(model, [name]):
            raise ConfigError(
                f"lora.modules_to_save: {name} shares its weights with another module, so a trained copy of them "
                "would be lost: leave it out, or set lora=false to train the whole model; "
                "lora.trainable_token_indices trains the embeddings of single tokens"
            )


def _shared_weights(model: Any) -> set[int]:
    """Ids of the parameters that are in the model under more than one name."""
    seen: set[int] = set()
    shared: set[int] = set()
    for _, weights in model.named_parameters(remove_duplicate=False):
        if id(weights) in seen:
            shared.add(id(weights))
        seen.add(id(weights))
    return shared


def _untrained_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Added tokens whose embeddings look untrained: the model may never have seen them.

    Embedding tables of some models, such as Qwen, have more rows than their tokenizer has tokens. The spare rows are as
    they were initialized, and trained embeddings have larger norms. Added tokens that look trained are printed.
    """
    import torch

    table = input_embeddings(model)
    if table is None or table.weight.shape[0] <= len(tokenizer):
        return []
    added = {number: token for token, number in tokenizer.get_added_vocab().items()}
    added.pop(tokenizer.pad_token_id, None)  # of which most models keep a row of zeros
    numbers = sorted(added)
    with torch.no_grad():
        unused = torch.linalg.vector_norm(table.weight[len(tokenizer) :].float(), dim=1).max()
        lengths = torch.linalg.vector_norm(table.weight[numbers].float(), dim=1)
    # Norms of rows with the same initialization differ by 1 / sqrt(2 * width); there may be few unused ones.
    longest = float(unused) * (1 + 3 / (2 * table.weight.shape[1]) ** 0.5)
    untrained = [number for number, length in zip(numbers, lengths, strict=True) if length <= longest]
    if untrained:
        log(f"embeddings of added tokens such as {added[untrained[-1]]} look untrained")
    # The tokenizer itself puts these around texts, which is what they were trained for.
    around = [getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "sep", "cls", "mask", "unk")]
    left = [number for number in numbers if number not in {*untrained, *around}]
    if left:
        shown = ",".join(map(str, left[:_SHOWN])) + (",…" if len(left) > _SHOWN else "")
        log(
            f"embeddings of {counted(len(left), 'added token')}, such as {added[left[-1]]}, look trained and stay as "
            f"they are; lora.trainable_token_indices=[{shown}] trains them"
        )
    return untrained


def _new_token_keywords(new_tokens: list[int], settings: AdapterSettings) -> dict[str, Any]:
    """Keywords that train the embeddings of new tokens, for methods that support it."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

    given = settings.keywords.get("trainable_token_indices")
    if given:
        left_out = set(new_tokens) - set(given) if isinstance(given, list) else set()
        if left_out:
            log(
                f"embeddings of {counted(len(left_out), 'new token')} are not trained: "
                "they are not in lora.trainable_token_indices"
            )
        return {}
    method = settings.method
    if "trainable_token_indices" not in typing.get_type_hints(PEFT_TYPE_TO_CONFIG_MAPPING[method]):
        log(f"embeddings: those of new tokens stay random, because {method} does not train tokens; LORA does")
        return {}
    log(f"embeddings: those of {counted(len(new_tokens), 'new token')} are trained along with the adapters")
    return {"trainable_token_indices": new_tokens}


# --- layers that are adapted -------------------------------------------------------------------------------------


def _default_targets(model: PreTrainedModel, method: str, trained_whole: list[str]) -> dict[str, Any]:
    """Layers to adapt: those of PEFT's table, or all linear layers except those of the head for other models."""
    known = _upstream.known_targets(method)
    if model.config.model_type in known:
        # Said here, as PEFT leaves those of some mixtures of experts out. With IA3, other layers follow from them.
        return {} if method == "IA3" else {"target_modules": known[model.config.model_type]}
    head = model.get_output_embeddings()
    names = []
    for name, module in model.named_modules():
        # An adapter inside a module that is trained in full would be saved twice.
        if _can_be_adapted(module, method) and module is not head and not _is_inside(name, trained_whole):
            names.append(name)
    if method == "IA3":  # it has to be said that none of these is a feed-forward layer, which it scales differently
        return {"target_modules": names, "feedforward_modules": []}
    return {"target_modules": names}


def _is_inside(name: str, modules: Sequence[str]) -> bool:
    """Whether a module is one of these, or a part of one."""
    return any(f".{module}." in f".{name}." for module in modules)


def _can_be_adapted(module: Any, method: str) -> bool:
    """Whether the module is of the kind that the method adapts: norms for LN_TUNING, else linear layers."""
    import torch

    if method == "LN_TUNING":
        return "Norm" in type(module).__name__
    return isinstance(module, torch.nn.Linear)


def _layers_to_choose_from(model: PreTrainedModel, given: Mapping[str, Any]) -> str:
    """The second half of an error, for users who gave `target_modules`: the names of the linear layers."""
    if "target_modules" not in given:
        return ""
    names = set()
    for name, module in model.named_modules():
        if _can_be_adapted(module, "LORA"):
            names.add(name.rpartition(".")[2])
    if not names:
        return ""
    return f" The linear layers of this model are {', '.join(sorted(names))}: lora.target_modules='[{min(names)}]'"


# --- what is refused ---------------------------------------------------------------------------------------------


def _refuse_shared_targets(adapted: Any) -> None:
    """Refuse adapters in weights that two layers share: merging would make them differ.

    Raises:
        ConfigError: There is such an adapter.
    """
    from peft.tuners.trainable_tokens import TrainableTokensLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    shared = _shared_weights(adapted)
    for name, layer in adapted.named_modules():
        # PEFT itself keeps rows of a table that are trained equal in all layers that share it.
        if not isinstance(layer, BaseTunerLayer) or isinstance(layer, TrainableTokensLayer):
            continue
        if any(id(weights) in shared for weights in layer.get_base_layer().parameters()):
            raise ConfigError(
                f"lora.target_modules: {name.removeprefix('base_model.model.')} shares its weights with another layer, "
                "and merging would make the two differ: leave it out"
            )


def _refuse_what_cannot_be_loaded(adapted: Any) -> None:
    """Refuse settings whose adapters PEFT cannot save and load again, before anything is trained.

    Raises:
        ConfigError: It cannot.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    try:
        set_peft_model_state_dict(adapted, get_peft_model_state_dict(adapted, save_embedding_layers=False))
    except Exception as error:  # whatever PEFT raises here, it would raise after the training too
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ConfigError(
            f"lora: PEFT cannot save and load what these settings train ({reason}): use lora=true, or fewer keys"
        ) from error


def _try_virtual_tokens(model: Any, recipe: Recipe) -> None:
    """Run the model once with virtual tokens, which some heads only refuse during training.

    Raises:
        ConfigError: The model does not accept them.
    """
    import torch

    batch = dict(recipe.tokenizer(["a"], return_tensors="pt").to(model.device))
    if writes_in_evaluation(recipe):
        batch["decoder_input_ids"] = batch["input_ids"][:, :1]
    try:
        with torch.no_grad():
            model(**batch)
    except Exception as error:
        method = model.active_peft_config.peft_type.value
        raise ConfigError(
            f"lora.peft_type: {method} does not fit a model of type {model.config.model_type} in {recipe.task} "
            f"({' '.join(str(error).split())[:200]}): use LORA or IA3"
        ) from error
