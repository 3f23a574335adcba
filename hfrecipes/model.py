"""Tokenizer and model in, with or without LoRA; an ordinary model directory out."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import RunConfig, local_path
from .errors import ConfigError, ModelError
from .recipe import Recipe
from .say import say

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Position ids of these start behind the padding id, so they read that many tokens less than they have positions.
_SHIFTED_POSITIONS = frozenset(
    [
        "roberta",
        "xlm-roberta",
        "xlm-roberta-xl",
        "camembert",
        "mpnet",
        "longformer",
        "data2vec-text",
        "xmod",
        "roberta-prelayernorm",
        "esm",
    ]
)
_SHARED_KEYWORDS = ("revision", "subfolder", "trust_remote_code", "code_revision", "cache_dir", "local_files_only")
TUNED = "hfrecipes_tuned"  # key in config.json of what validation decided, as thresholds
HEADS = ("classifier", "score", "qa_outputs")  # as transformers calls those of all architectures
ADAPTER = "adapter"  # folder in that of a run
CONFIG = "config"  # folder in that: beside the adapter itself, it would be taken for a whole model's
TOLERANCE = 1e-3  # of the largest logit: merging in float32 changes less
_WEIGHTS = ("*.safetensors", "*.bin", "*.safetensors.index.json")


def name_and_keywords(config: RunConfig) -> tuple[str, dict[str, Any]]:
    """The model's name or folder, and the keywords of `from_pretrained` that came with it.

    Raises:
        ConfigError: No model is given.
    """
    given = {"path": config.model} if isinstance(config.model, str) else dict(config.model or {})
    if not given:
        raise ConfigError("no model: add model=<hub id or folder>")
    return local_path(given.pop("path")), given


def load_tokenizer(config: RunConfig) -> tuple[PreTrainedTokenizerBase, PretrainedConfig]:
    """Tokenizer and config of the run's model.

    Raises:
        ModelError: The folder holds no model, or the Hub could not give one.
    """
    from transformers import AutoConfig, AutoTokenizer

    path, keywords = name_and_keywords(config)
    shared = {key: value for key, value in keywords.items() if key in _SHARED_KEYWORDS}
    check_folder(path)
    with as_model_error(path):
        model_config = AutoConfig.from_pretrained(os.path.join(path, CONFIG) if is_adapter(path) else path, **shared)
        tokenizer = AutoTokenizer.from_pretrained(path, **shared)
    tokenizer.padding_side = "right"  # what is read off at a token's place must not depend on the rows beside it
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer, model_config


def check_folder(path: str) -> None:
    """Refuse a local folder that is no model directory, before anything else is tried.

    Raises:
        ModelError: It lacks its config or its weights.
    """
    if not os.path.isdir(path):
        if path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise ModelError(f"there is no model folder {path}: give a folder or a Hub id")
        return
    folder = Path(path)
    if is_adapter(folder):
        return
    if not (folder / "config.json").exists():
        raise ModelError(f"{path} has no config.json: expected a model directory as save_pretrained leaves it")
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        raise ModelError(f"{path} has no weights: expected model.safetensors beside its config.json")


@contextlib.contextmanager
def as_model_error(path: str) -> Iterator[None]:
    """Turn whatever loading raises into a ModelError that names the model."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        if os.path.isdir(path):
            raise ModelError(f"the model in {path} cannot be loaded: {reason}") from error
        raise ModelError(f"model {path!r} is no folder here, and the Hub did not give it: {reason}") from error


def longest_input(tokenizer: PreTrainedTokenizerBase, model_config: PretrainedConfig) -> int | None:
    """Tokens that the model reads at most, special ones included; None where it has no limit."""
    limits = [tokenizer.model_max_length] if tokenizer.model_max_length < 1e9 else []
    positions = getattr(model_config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        shift = (model_config.pad_token_id or 0) + 1 if model_config.model_type in _SHIFTED_POSITIONS else 0
        limits.append(positions - shift)
    return min(limits, default=None)


def fit_length(recipe: Recipe, model_config: PretrainedConfig) -> None:
    """Bring the recipe's `max_length` down to what the model reads."""
    limit = longest_input(recipe.tokenizer, model_config)
    if limit and recipe.max_length > limit:
        say(f"max_length: {limit}, the most that the model reads ({recipe.max_length} was wanted)")
        recipe.max_length = limit


def checkpoint_labels(labels: list[str], model_config: PretrainedConfig) -> list[str]:
    """The labels in the order of the checkpoint's own head where it knows the same ones: the head keeps its sense."""
    own = getattr(model_config, "id2label", None) or {}
    return [own[place] for place in sorted(own)] if set(own.values()) == set(labels) else labels


def load_model(config: RunConfig, recipe: Recipe) -> PreTrainedModel:
    """The model with the task's head, in float32, and with LoRA where asked for.

    Raises:
        ModelError: It could not be loaded.
    """
    import torch
    import transformers

    path, keywords = name_and_keywords(config)
    auto = getattr(transformers, recipe.auto_model)
    settings = {"dtype": torch.float32, "ignore_mismatched_sizes": True, **recipe.model_settings(), **keywords}
    with as_model_error(path), quiet():
        model, report = auto.from_pretrained(path, output_loading_info=True, **settings)
    _check_found(model, report, path)
    model.config.pad_token_id = recipe.tokenizer.pad_token_id
    _settle_generation(model, recipe)
    _fit_vocabulary(model, recipe.tokenizer)
    fresh = fresh_modules(model, report)
    if fresh:
        say(f"new, trained from scratch: {', '.join(fresh)}")
    if config.lora:
        model = add_lora(model, fresh, recipe, config.lora if isinstance(config.lora, dict) else {})
    number = parameters(model)
    share = number["trained"] / number["total"]
    say(f"model: {path}, {number['total']:,} parameters, {number['trained']:,} of them trained ({share:.1%})")
    return model


def _check_found(model: PreTrainedModel, report: Mapping[str, Any], path: str) -> None:
    """Refuse a model of which transformers found nothing under the names that it looks for.

    Some classes, as that of Llama for question answering, name the body otherwise than the checkpoint does: it would be
    drawn at random, without an error.

    Raises:
        ModelError: The embeddings are not from the checkpoint.
    """
    embeddings = id(model.get_input_embeddings().weight)
    own = {name for name, weights in model.named_parameters() if id(weights) == embeddings}
    if own & set(report["missing_keys"]):
        raise ModelError(
            f"{type(model).__name__} does not find the weights of {path} under the names that it looks for, and would "
            "start from nothing: use a model of another type for this task"
        )


def _settle_generation(model: PreTrainedModel, recipe: Recipe) -> None:
    """Have the model generate as the recipe says, here and wherever it is loaded; refused now, not on saving.

    Raises:
        ConfigError: The settings contradict each other.
    """
    settings = recipe.generation()
    if not settings:
        return
    try:
        model.generation_config.update(**settings)
        model.generation_config.validate(strict=True)
    except ValueError as error:
        raise ConfigError(f"generation: {' '.join(str(error).split())[:300]}") from error


def _fit_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give tokens that were added to the tokenizer alone an embedding."""
    known = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > known:
        say(
            f"embeddings: {len(tokenizer) - known} drawn for tokens that the model lacks; they are trained from scratch"
        )
        with quiet():
            model.resize_token_embeddings(len(tokenizer))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Mute the load report and the bars of loading and saving; `load_model` says what is new in one line."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def fresh_modules(model: PreTrainedModel, report: dict[str, Any]) -> list[str]:
    """Modules that the checkpoint did not bring, by their name below the model."""
    missing = [*report["missing_keys"], *(entry[0] for entry in report.get("mismatched_keys", ()))]
    prefix = model.base_model_prefix + "."
    return sorted({key.removeprefix(prefix).split(".")[0] for key in missing})


def without_tied(model: PreTrainedModel, names: list[str]) -> list[str]:
    """The modules, or the parts of them, that share no weights with others.

    A copy of a shared weight, as of a language model's embeddings, would be trained and then lost as saving ties it.
    """
    every = [id(weights) for _, weights in model.named_parameters(remove_duplicate=False)]
    shared = {one for one, times in Counter(every).items() if times > 1}
    inner = {name.removeprefix(model.base_model_prefix + "."): module for name, module in model.named_modules()}
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


def add_lora(model: PreTrainedModel, fresh: list[str], recipe: Recipe, keywords: dict[str, Any]) -> PreTrainedModel:
    """Freeze the model but for low-rank adapters and the modules that the checkpoint did not bring.

    PEFT's own list of heads misses most architectures: what it leaves out stays frozen and random, and is not saved.
    Heads are trained also where the checkpoint has them.

    Raises:
        ConfigError: A keyword is not one of `LoraConfig`.
    """
    from peft import LoraConfig, get_peft_model
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN_TARGETS

    heads = [name for name, _ in model.named_children() if name in HEADS]
    saved = without_tied(model, sorted({*fresh, *heads})) or None
    settings: dict[str, Any] = {"task_type": recipe.lora, "modules_to_save": saved}
    if model.config.model_type not in KNOWN_TARGETS:
        settings |= {"target_modules": "all-linear", "exclude_modules": saved}
    try:
        return get_peft_model(model, LoraConfig(**{**settings, **keywords}))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"lora: {' '.join(str(error).split())}") from error


def loss_is_per_item(model: torch.nn.Module, batch: dict[str, Any]) -> bool:
    """Whether the model divides its loss by the `num_items_in_batch` that it is given.

    The Trainer believes so of every model whose forward takes `**kwargs`. BERT's classification head takes them and
    averages all the same, and then accumulating over k steps makes the gradient k times as large. So ask the model:
    told of twice as many items, an honest loss halves.
    """
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            one = float(model(**batch, num_items_in_batch=torch.tensor(1.0))["loss"])
            two = float(model(**batch, num_items_in_batch=torch.tensor(2.0))["loss"])
    except TypeError:
        return False
    finally:
        model.train(was_training)
    return abs(one - 2 * two) < 0.1 * abs(one)


def save(model: Any, tokenizer: PreTrainedTokenizerBase, path: Path, *, write: bool = True) -> Any:
    """Leave an ordinary model directory; with LoRA the merged model, and the adapter in `adapter/`.

    Args:
        model: Plain or PEFT model.
        tokenizer: To lie beside it.
        path: Folder.
        write: Whether this process is the one that writes.

    Returns:
        The model as saved, adapters merged into it.
    """
    if is_adapted(model):
        if write:
            _save_adapter(model, tokenizer, path / ADAPTER)
        model = model.merge_and_unload()
    if write:
        with quiet():
            model.save_pretrained(path)
        tokenizer.save_pretrained(path)
    return model


def is_adapted(model: Any) -> bool:
    """Whether adapters were put into the model."""
    return hasattr(model, "merge_and_unload")


def _save_adapter(model: Any, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Leave the adapter with all that its base alone does not know: labels, what validation decided, generation."""
    for settings in model.peft_config.values():  # the base as it was, whatever its author pushes later
        settings.revision = settings.revision or getattr(model.config, "_commit_hash", None)
    with quiet():
        model.save_pretrained(path)
        model.config.save_pretrained(path / CONFIG)
        if model.can_generate():
            model.generation_config.save_pretrained(path / CONFIG)
    tokenizer.save_pretrained(path)


def is_adapter(path: str | Path) -> bool:
    """Whether the folder holds an adapter, and not a whole model."""
    return Path(path, "adapter_config.json").exists()


def load_adapter(base: str | dict[str, Any], recipe: Recipe, path: Path) -> PreTrainedModel:
    """The model that an adapter was trained on, with the adapter merged into it.

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
    shared = {key: value for key, value in keywords.items() if key in _SHARED_KEYWORDS}
    with as_model_error(name), quiet():
        shared.setdefault("revision", PeftConfig.from_pretrained(path).revision or "main")
        config = transformers.AutoConfig.from_pretrained(path / CONFIG)
        config.vocab_size = transformers.AutoConfig.from_pretrained(name, **shared).vocab_size
        auto = getattr(transformers, recipe.auto_model)
        model = auto.from_pretrained(name, config=config, dtype=torch.float32, ignore_mismatched_sizes=True, **shared)
        _fit_vocabulary(model, recipe.tokenizer)
        model = PeftModel.from_pretrained(model, path).merge_and_unload()
        if model.can_generate():
            model.generation_config = transformers.GenerationConfig.from_pretrained(path / CONFIG)
    loaded: PreTrainedModel = model
    return loaded


def logits(model: Any, batch: Mapping[str, Any]) -> torch.Tensor:
    """All logits that the model gives for a batch without dropout, one behind another, on the CPU."""
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            found = model(**{name: one.to(model.device) for name, one in batch.items() if name != "labels"})
    finally:
        model.train(was_training)
    parts = [found[name] for name in ("logits", "start_logits", "end_logits") if found.get(name) is not None]
    return torch.cat([part.float().flatten().cpu() for part in parts])


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
    import torch
    import transformers

    def merged() -> Any:
        return getattr(transformers, recipe.auto_model).from_pretrained(path, dtype=torch.float32)

    def adapted() -> Any:
        return load_adapter(config.model or "", recipe, path / ADAPTER)

    limit, worst = TOLERANCE * max(1.0, float(expected.abs().max())), 0.0
    for name, load in (("merged model", merged), ("adapter", adapted)):
        with quiet():
            found = logits(load(), batch)
        differ = float((found - expected).abs().max()) if len(found) == len(expected) else float("inf")
        if not differ <= limit:
            raise ModelError(
                f"the {name} saved in {path} predicts otherwise than the model that was trained: logits differ by "
                f"{differ:.2g}, expected {limit:.2g} at most. Do not use it, and please report model and settings"
            )
        worst = max(worst, differ)
    say(f"reloaded: merged model and adapter predict as the trained model does (logits differ by {worst:.1g} at most)")


def parameters(model: torch.nn.Module) -> dict[str, int]:
    """Number of all weights, and of those that are trained."""
    sizes = [(weights.numel(), weights.requires_grad) for weights in model.parameters()]
    return {"total": sum(size for size, _ in sizes), "trained": sum(size for size, trained in sizes if trained)}


def save_tuned(model: Any, tuned: dict[str, float], path: Path) -> None:
    """Write what validation decided into the config.json of the model, so that it goes where the model goes."""
    setattr(model.config, TUNED, tuned)
    with quiet():
        for place in (path, path / ADAPTER / CONFIG):
            if place.exists():
                model.config.save_pretrained(place)


def machine_arguments(training: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """TrainingArguments that this machine decides, precision first, and a sentence on what was chosen.

    Args:
        training: What the user decided.
    """
    import torch

    by_user = {"bf16", "fp16"} & set(training)
    if torch.cuda.is_available() and not training.get("use_cpu"):
        kind = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
        return ({}, "") if by_user else ({kind: True}, f"precision: {kind} on the GPU (weights stay float32)")
    arguments: dict[str, Any] = {"dataloader_pin_memory": False}
    if torch.backends.mps.is_available() and not training.get("use_cpu"):
        return arguments, "precision: float32 on the Apple GPU"
    arguments["use_cpu"] = True  # without it, several processes on CPUs each take themselves for the only one
    if by_user:
        return arguments, ""
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        return {
            **arguments,
            "bf16": True,
        }, "precision: bf16 on the CPU, which has it in hardware (weights stay float32)"
    return arguments, "precision: float32 on the CPU"
