"""LoRA and the other methods of PEFT: a small part is trained, and what was saved is seen to predict the same."""

from __future__ import annotations

import copy
import typing
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import RunConfig, misfit
from ..errors import ConfigError, ModelError, nearest
from ..log import log
from ..recipe import Recipe
from ..run_folder import CARD, write_recipe
from .directory import ADAPTER, CONFIG, SHARED_KEYWORDS, as_model_error, name_and_keywords, quiet, save_tokenizer
from .hardware import rounding
from .heads import bring_body_to, compute_in_float32, outputs, scale_of
from .heads import heads as heads_of
from .loading import LoadedModel, fit_vocabulary, is_quantized

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


FLOOR = 0.1  # logits that are all smaller are judged as if one were as large
VIRTUAL_TOKENS = 20  # put before each text where a method trains those, unless told otherwise
# Methods that train tokens put before the text, and so leave no weights to merge; which tasks PEFT has them for.
PROMPTS = ("PROMPT_TUNING", "PREFIX_TUNING")
_PROMPTED = ("SEQ_CLS", "CAUSAL_LM", "SEQ_2_SEQ_LM")
_UNFIT = {
    "ADALORA": "its ranks follow a schedule that the Trainer does not drive",
    "BEFT": "it cannot be merged into layers without biases",
    "LILY": "it cannot be merged",
    "MULTITASK_PROMPT_TUNING": "it wants the number of a task with each row",
    "P_TUNING": "its checkpoints lack the network that makes its tokens, so that a resume would learn otherwise",
    "POLY": "it wants the number of a task with each row",
    "SHADOW": "its forward is not that of the model",
    "TRAINABLE_TOKENS": "it trains single tokens and no layer",
    "XLORA": "it mixes adapters that were trained before",
}
# Keywords of the configs that are not the user's to give.
_OWN = {"task_type", "inference_mode", "base_model_name_or_path", "auto_mapping", "peft_version", "runtime_config"}
_OWN |= {"megatron_config", "megatron_core", "layer_replication", "prefix_projection", "token_dim", "num_layers"}
_OWN |= {"num_attention_heads", "num_transformer_submodules"}


# --- settings ----------------------------------------------------------------------------------------------------


def method_of(lora: bool | Mapping[str, Any]) -> str:
    """Name of the PEFT method that the settings ask for."""
    return str(lora.get("peft_type", "LORA")).upper() if isinstance(lora, Mapping) else "LORA"


def problems(lora: bool | Mapping[str, Any], recipe: type[Recipe]) -> list[str]:
    """Sentences on a method that does not fit the task, and on keywords that its config does not take."""
    if not isinstance(lora, Mapping):
        return []
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    method, configs = method_of(lora), {str(one.value): config for one, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    fit = [
        name
        for name in configs
        if name in PROMPTS or (name not in _UNFIT and hasattr(PEFT_TYPE_TO_TUNER_MAPPING[name], "merge_and_unload"))
    ]
    if method not in fit:
        known = f"; {_UNFIT[method]}" if method in _UNFIT else nearest(method, fit)
        return [f"lora.peft_type: {method} is none of {', '.join(fit)}{known}"]
    if method in PROMPTS and recipe.lora not in _PROMPTED:
        return [f"lora.peft_type: {method} does not fit {recipe.task}; LORA, IA3 and all that is merged does"]
    kinds = typing.get_type_hints(configs[method])
    found = []
    for key, value in lora.items():
        if key not in kinds:
            found.append(f"unknown setting lora.{key}{nearest(f'lora.{key}', [f'lora.{name}' for name in kinds])}")
        elif key in _OWN:
            found.append(f"lora.{key}: leave it out, it is filled in or does not go with what is saved")
        elif "Literal" not in str(kinds[key]) and key != "peft_type":
            found += misfit(f"lora.{key}", value, kinds[key])
    return found


def virtual_tokens(lora: bool | Mapping[str, Any]) -> int:
    """Tokens of the model's room that the method takes."""
    if not isinstance(lora, Mapping) or not _of_prompts(lora):
        return 0
    return int(lora.get("num_virtual_tokens", VIRTUAL_TOKENS))


def _of_prompts(lora: bool | Mapping[str, Any]) -> bool:
    return method_of(lora) in PROMPTS


# --- in ----------------------------------------------------------------------------------------------------------


def add(loaded: LoadedModel, recipe: Recipe, lora: bool | Mapping[str, Any]) -> PreTrainedModel:
    """Freeze the model but for adapters and the modules that the checkpoint did not bring.

    PEFT's own list of heads misses most architectures: what it leaves out stays frozen and random, and is not saved.
    Heads are trained also where the checkpoint has them.

    Args:
        loaded: The model with its head, and what of it is new.
        recipe: The task.
        lora: As `RunConfig.lora`.

    Raises:
        ConfigError: The values do not fit each other, or the model.
    """
    from peft import get_peft_config, get_peft_model

    model, fresh, fresh_tokens = loaded
    given = copy.deepcopy(dict(lora)) if isinstance(lora, Mapping) else {}  # PEFT writes into its lists
    heads = list(heads_of(model))
    more = _modules(model, given.pop("modules_to_save", None) or [])
    kept = without_tied(model, sorted({*fresh, *heads, *more}))
    settings: dict[str, Any] = {"peft_type": method_of(lora), "task_type": recipe.lora, "modules_to_save": kept or None}
    if _of_prompts(lora):
        settings["num_virtual_tokens"] = VIRTUAL_TOKENS
    else:
        settings |= _targets(model, method_of(lora), kept)
    if fresh_tokens:
        settings |= _trained_tokens(fresh_tokens, given, method_of(lora))
    try:
        config = get_peft_config({**settings, **given, "peft_type": method_of(lora)})
        with quiet():
            adapted = get_peft_model(model, config)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ConfigError(f"lora: {' '.join(str(error).split())}{_of_layers(model, given)}") from error
    _check_targets(adapted)
    if _of_prompts(lora):
        _try_out(adapted, recipe)
    return adapted


def _trained_tokens(fresh: list[int], given: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Settings that have the embeddings of new tokens trained, where the method can."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

    if "trainable_token_indices" in given:
        return {}
    if "trainable_token_indices" not in typing.get_type_hints(PEFT_TYPE_TO_CONFIG_MAPPING[method]):
        log(f"embeddings: those of new tokens stay as they were drawn, as {method} trains no tokens; LORA does")
        return {}
    log(f"embeddings: those of {len(fresh)} new tokens are trained beside the adapters")
    return {"trainable_token_indices": fresh}


def _modules(model: PreTrainedModel, given: list[str]) -> list[str]:
    """Full names of the modules that the user wants trained, below the base model.

    Raises:
        ConfigError: There is no such module.
    """
    found, inner = [], _inner(model)
    for wanted in given:
        own = [name for name in inner if name == wanted or name.endswith(f".{wanted}")]
        if not own:
            names = sorted({name.rpartition(".")[2] for name in inner if name})
            raise ConfigError(f"lora.modules_to_save: this model has no module {wanted}{nearest(wanted, names)}")
        found += own
    return found


def _inner(model: PreTrainedModel) -> dict[str, torch.nn.Module]:
    """Modules by their names below the base model."""
    return {name.removeprefix(model.base_model_prefix + "."): module for name, module in model.named_modules()}


def _of_layers(model: PreTrainedModel, given: Mapping[str, Any]) -> str:
    """Which layers there are to adapt, where the user named some."""
    import torch

    if "target_modules" not in given:
        return ""
    linear = {name.rpartition(".")[2] for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)}
    if not linear:
        return ""
    return f" The linear layers of this model are {', '.join(sorted(linear))}: lora.target_modules='[{min(linear)}]'"


def without_tied(model: PreTrainedModel, names: list[str]) -> list[str]:
    """The modules, or the parts of them, that share no weights with others.

    A copy of a shared weight, as of a language model's embeddings, would be trained and then lost as saving ties it.
    """
    shared = _shared(model)
    inner = _inner(model)
    found = []
    for name in names:
        module = inner.get(name)
        if module is None:  # a bare parameter, which stays as it was drawn
            continue
        if any(id(weights) in shared for weights in module.parameters()):
            found += without_tied(model, [f"{name}.{child}" for child, _ in module.named_children()])
        elif any(True for _ in module.parameters()):
            found.append(name)
    return found


def _targets(model: PreTrainedModel, method: str, kept: list[str]) -> dict[str, Any]:
    """The layers to adapt where PEFT's table for the method lacks the model: all linear ones but those of its head."""
    import torch
    from peft import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as OF_IA3

    known = getattr(PEFT_TYPE_TO_TUNER_MAPPING[method], "target_module_mapping", OF_IA3)
    if model.config.model_type in known:
        return {}
    head = model.get_output_embeddings()
    found = [
        name
        for name, module in model.named_modules()
        if ("Norm" in type(module).__name__ if method == "LN_TUNING" else isinstance(module, torch.nn.Linear))
        and module is not head
        and not any(f".{one}." in f".{name}." for one in kept)
    ]
    return {"target_modules": found, **({"feedforward_modules": []} if method == "IA3" else {})}


def _check_targets(adapted: Any) -> None:
    """Refuse adapters in shared weights, which merging would part, and what cannot be saved or loaded.

    Raises:
        ConfigError: One of the two.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = {name: one for name, one in adapted.named_modules() if isinstance(one, BaseTunerLayer)}
    shared = _shared(adapted)
    for name, layer in layers.items():
        if any(id(weights) in shared for weights in layer.get_base_layer().parameters()):
            raise ConfigError(
                f"lora.target_modules: {name.removeprefix('base_model.model.')} shares its weights with another layer, "
                "which merging would part: leave it out"
            )
    try:
        set_peft_model_state_dict(adapted, get_peft_model_state_dict(adapted, save_embedding_layers=False))
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ConfigError(f"lora: PEFT cannot save what these settings train, and load it again ({reason})") from error


def _shared(model: Any) -> set[int]:
    """Weights that stand in more than one place."""
    every = [id(weights) for _, weights in model.named_parameters(remove_duplicate=False)]
    return {one for one, times in Counter(every).items() if times > 1}


def _try_out(model: Any, recipe: Recipe) -> None:
    """See that the model takes tokens put before a text, which some heads refuse only in training.

    Raises:
        ConfigError: It does not.
    """
    import torch

    batch = dict(recipe.tokenizer(["a"], return_tensors="pt").to(model.device))
    if recipe.lora == "SEQ_2_SEQ_LM":
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


# --- out ---------------------------------------------------------------------------------------------------------


def is_adapted(model: Any) -> bool:
    """Whether adapters were put into the model."""
    return hasattr(model, "active_peft_config")


def merge(model: Any) -> PreTrainedModel:
    """The plain model, with what the adapters learnt in its weights; as it is where there is nothing to merge."""
    from peft.utils import ModulesToSaveWrapper

    if model.active_peft_config.is_prompt_learning:
        return model
    whole = model.get_base_model()
    for name, module in list(whole.named_modules()):  # heads of several layers, which PEFT itself merges for LoRA alone
        if isinstance(module, ModulesToSaveWrapper):
            parent, _, child = name.rpartition(".")
            setattr(whole.get_submodule(parent), child, module.modules_to_save[module.active_adapters[0]])
    merged: PreTrainedModel = model.merge_and_unload()
    return merged


def save(model: Any, recipe: Recipe, config: RunConfig, path: Path) -> list[str]:
    """Leave the adapter in `adapter/`, with all that its base alone does not know.

    That is labels, lengths, what validation decided, generation settings, and how it was trained.

    Args:
        model: With adapters.
        recipe: The task.
        config: Settings of the run.
        path: Folder of the run.

    Returns:
        Names of the tokenizer's files.
    """
    for settings in model.peft_config.values():  # the base as it was, whatever its author pushes later
        settings.revision = settings.revision or getattr(model.config, "_commit_hash", None)
    with quiet():
        model.save_pretrained(path / ADAPTER)
        own = copy.copy(model.config)
        vars(own).pop("quantization_config", None)  # merging goes through the base in 16 bits
        own.save_pretrained(path / ADAPTER / CONFIG)
        if model.can_generate():
            model.generation_config.save_pretrained(path / ADAPTER / CONFIG)
    names = save_tokenizer(recipe.tokenizer, path / ADAPTER)
    (path / ADAPTER / CARD).unlink(missing_ok=True)  # PEFT's, with nothing in it
    write_recipe(path / ADAPTER, config)
    return names


def load(base: str | dict[str, Any], recipe: Recipe, path: Path) -> PreTrainedModel:
    """The model that an adapter was trained on, with the adapter merged into it.

    A base that was quantized is loaded in 16 bits: merging into 4 or 8 would cost accuracy.

    Args:
        base: As `RunConfig.model`.
        recipe: The task, with its tokenizer.
        path: Folder of the adapter.

    Raises:
        ModelError: The base or the adapter cannot be loaded.
    """
    import torch
    import transformers
    from peft import PeftConfig, PeftModel

    name, keywords = name_and_keywords(RunConfig(task=recipe.task, model=base))
    shared = {key: value for key, value in keywords.items() if key in SHARED_KEYWORDS}
    dtype = torch.bfloat16 if is_quantized(base) else torch.float32
    with as_model_error(name), quiet():
        shared.setdefault("revision", PeftConfig.from_pretrained(path).revision or "main")
        config = transformers.AutoConfig.from_pretrained(path / CONFIG)
        config.vocab_size = transformers.AutoConfig.from_pretrained(name, **shared).vocab_size
        auto = getattr(transformers, recipe.auto_model)
        model = auto.from_pretrained(name, config=config, dtype=dtype, ignore_mismatched_sizes=True, **shared)
        fit_vocabulary(model, recipe.tokenizer)
        if model.can_generate():
            model.generation_config = transformers.GenerationConfig.from_pretrained(path / CONFIG)
        if not is_quantized(base) and "dtype" in keywords:
            bring_body_to(model, config.dtype)
            compute_in_float32(model)
        return merge(PeftModel.from_pretrained(model, path))


def merge_trained(
    model: Any, batch: Mapping[str, Any], config: RunConfig, recipe: Recipe, path: Path
) -> tuple[PreTrainedModel, torch.Tensor]:
    """The trained model with its adapters merged, and the logits that it must still have for `batch` once it is saved.

    Args:
        model: With adapters, which were saved.
        batch: Of a few rows.
        config: Settings of the run.
        recipe: The task.
        path: Folder of the run.
    """
    trained = logits(model, batch)
    if not is_quantized(config.model):
        return merge(model), trained
    whole = load(config.model or "", recipe, path / ADAPTER).to(model.device)
    compute_in_float32(whole)
    expected = logits(whole, batch)
    differ = float((expected - trained).abs().max())
    log(
        f"merged into the base in 16 bits: logits differ by {differ:.2g} from those of the quantized model, "
        f"the largest being {float(trained.abs().max()):.2g}; scores are of the merged one"
    )
    return whole, expected


def logits(model: Any, batch: Mapping[str, Any]) -> torch.Tensor:
    """All logits that the model gives for a batch without dropout, one behind another, on the CPU."""
    import torch

    return torch.cat([part.flatten() for part in outputs(model, batch).values()])


def tolerance(model: Any, expected: torch.Tensor, recipe: Recipe) -> float:
    """How far logits of the same weights may differ, in the precision that the model computes in."""
    largest = scale_of(expected, recipe.number_scale)
    return rounding(model) * (largest if recipe.number_scale is not None else max(FLOOR, largest))


def check_saved(
    expected: torch.Tensor, batch: Mapping[str, Any], config: RunConfig, recipe: Recipe, path: Path
) -> None:
    """Load what was saved, the merged model and the adapter on a fresh base, and see that both predict as they did.

    Args:
        expected: What `logits` gave for the model before it was saved.
        batch: For which they were.
        config: Settings of the run.
        recipe: The task.
        path: Folder of the run.

    Raises:
        ModelError: Logits differ by more than rounding does.
    """
    import transformers

    def merged() -> Any:
        return getattr(transformers, recipe.auto_model).from_pretrained(path, dtype="auto")

    def adapted() -> Any:
        return load(config.model or "", recipe, path / ADAPTER)

    worst = 0.0
    ways = {"adapter": adapted} if _of_prompts(config.lora) else {"merged model": merged, "adapter": adapted}
    for name, load_again in ways.items():
        with quiet():
            again = load_again()
            found, limit = logits(again, batch), tolerance(again, expected, recipe)
        differ = float((found - expected).abs().max()) if len(found) == len(expected) else float("inf")
        if not differ <= limit:
            raise ModelError(
                f"the {name} saved in {path} predicts otherwise than the model that was trained: logits differ by "
                f"{differ:.2g}, expected {limit:.2g} at most. Do not use it, and please report model and settings"
            )
        worst = max(worst, differ)
    what = f"{' and '.join(ways)} predict{'s' * (len(ways) == 1)}"
    log(f"reloaded: {what} as the trained model does (logits differ by {worst:.1g} at most)")
