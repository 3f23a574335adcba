"""Merge, save and load adapters, and compare what was saved with what was trained."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import _upstream
from ...config.blocks import ModelSettings
from ...config.run_config import RunConfig
from ...errors import ModelError
from ...log import log
from ...recipe import Recipe
from ...run_folder import manifest
from ...run_folder.contents import CARD, RECIPE, write_recipe
from ...run_folder.writing import draft_folder
from ..directory import ADAPTER, CONFIG, as_model_error, check_folder, quiet, save_tokenizer, weight_files
from ..hardware import rounding_tolerance
from ..heads import compute_in_float32, compute_logits, convert_body, scale_of
from ..integrity import absent_weights, listed
from ..loading import add_token_embeddings, input_embeddings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
BASE = "base.json"  # size and hash of the weights in the folder of the base
# Logits that are all smaller than this are compared as if the largest were this large: their noise does not shrink.
FLOOR = 0.1


def is_adapted(model: Any) -> bool:
    """Whether the model has adapters in it."""
    return hasattr(model, "active_peft_config")


def merge(model: Any) -> PreTrainedModel:
    """The plain model with the adapters merged into its weights; the same model where there is nothing to merge."""
    if model.active_peft_config.is_prompt_learning:
        return model
    whole = model.get_base_model()
    # PEFT puts a head of several layers back into the model for LoRA only.
    for name, trained in _upstream.trained_copies(whole).items():
        parent, _, child = name.rpartition(".")
        setattr(whole.get_submodule(parent), child, trained)
    merged: PreTrainedModel = model.merge_and_unload()
    return merged


def save(model: Any, recipe: Recipe, config: RunConfig, path: Path) -> list[str]:
    """Save the adapter in the subfolder `adapter`, with everything that its base does not know.

    That is labels, lengths, thresholds chosen on validation, generation settings, and the settings of the training.

    Args:
        model: With adapters.
        recipe: The task.
        config: Settings of the run.
        path: Folder of the run.

    Returns:
        Names of the tokenizer's files.
    """
    with draft_folder(path / ADAPTER) as folder:
        return _save(model, recipe, config, folder)


def _save(model: Any, recipe: Recipe, config: RunConfig, folder: Path) -> list[str]:
    with quiet():
        model.save_pretrained(folder)
        model_config = copy.copy(model.config)
        # The adapter is later put onto the base in 16 bits.
        vars(model_config).pop("quantization_config", None)
        model_config.save_pretrained(folder / CONFIG)
        if model.can_generate():
            model.generation_config.save_pretrained(folder / CONFIG)
    names = save_tokenizer(recipe.tokenizer, folder)
    (folder / CARD).unlink(missing_ok=True)  # the empty template that PEFT leaves
    write_recipe(folder, config)
    if os.path.isdir(config.base.path):  # a base on the Hub is known by its commit
        base = Path(config.base.path)
        manifest.write(base, [file.name for file in weight_files(base)], folder / BASE)
    return names


def file_names(path: Path, tokenizer_files: Sequence[str]) -> list[str]:
    """Names of all files of an adapter, below its folder.

    Args:
        path: Folder of the adapter.
        tokenizer_files: Those of its tokenizer.
    """
    configs = [f"{CONFIG}/{file.name}" for file in (path / CONFIG).glob("*.json")]
    return [*ADAPTER_FILES, *tokenizer_files, *configs, BASE, RECIPE]


def load(base: ModelSettings, recipe: Recipe, path: Path) -> PreTrainedModel:
    """The model that an adapter was trained on, with the adapter merged into it.

    A base that was quantized in training is loaded in 16 bits: merging into 4 or 8 bits would cost accuracy.

    Args:
        base: What the training started from.
        recipe: The task, with its tokenizer.
        path: Folder of the adapter.

    Raises:
        ModelError: The base or the adapter cannot be loaded.
    """
    from peft import PeftModel

    check_base(base, path)
    model, absent = _base_model(base, recipe, path)
    with as_model_error(str(path), ADAPTER_FILES[1]), quiet():
        adapted = PeftModel.from_pretrained(model, path)
    _check_complete(adapted, absent, path)
    return merge(adapted)


def _base_model(base: ModelSettings, recipe: Recipe, path: Path) -> tuple[PreTrainedModel, set[str]]:
    """The base model with the labels of the training, and the names of its weights that the base does not have."""
    import torch
    import transformers
    from peft import PeftConfig

    name, shared = base.path, base.shared_keywords
    dtype = torch.bfloat16 if base.is_quantized else torch.float32
    with as_model_error(str(path)):
        # The commit of the training, even if the user named a branch: its author may have uploaded another base since.
        shared["revision"] = PeftConfig.from_pretrained(path).revision or shared.get("revision", "main")
        # Labels and the rest are those of the training, but the base still has its old number of embeddings.
        config = transformers.AutoConfig.from_pretrained(path / CONFIG, trust_remote_code=base.trust_remote_code)
    with as_model_error(name), quiet():
        start = transformers.AutoConfig.from_pretrained(name, **shared)
        config.get_text_config().vocab_size = start.get_text_config().vocab_size
        model, report = recipe.load_model(name, config=config, dtype=dtype, ignore_mismatched_sizes=True, **shared)
    add_token_embeddings(model, recipe.tokenizer)
    with as_model_error(str(path)):
        if model.can_generate():
            model.generation_config = transformers.GenerationConfig.from_pretrained(path / CONFIG)
    if "dtype" in base.keywords and not base.is_quantized:
        convert_body(model, config.dtype)
        compute_in_float32(model)
    return model, absent_weights(report)


def check_base(base: ModelSettings, path: Path) -> None:
    """Refuse a base in a folder whose weights are not those that the adapter was trained on.

    Args:
        base: What the training started from.
        path: Folder of the adapter.

    Raises:
        ModelError: They have changed.
    """
    check_folder(base.path)
    entries = manifest.read_entries(path / BASE)
    if entries is None or not os.path.isdir(base.path):
        return
    for name, difference in manifest.differences(Path(base.path), entries, "quick"):
        raise ModelError(
            f"{Path(base.path, name)} {difference}, and the adapter in {path} was trained on the old weights: put them "
            "back, or use the merged model of the run"
        )


def _check_complete(model: Any, absent: set[str], path: Path) -> None:
    """Refuse an adapter whose file has other weights than its settings ask for, or leaves a head random.

    Args:
        model: With the adapter.
        absent: Names of the weights that the base does not have.
        path: Folder of the adapter.

    Raises:
        ModelError: They do not fit.
    """
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    file = path / ADAPTER_FILES[1]
    expected = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    with safe_open(file, framework="pt") as weights:
        differing = sorted(expected.symmetric_difference(weights.keys()))
    tables = _embedding_names(model.get_base_model())
    # Whether tables of embeddings, and trained rows of them, are in the file follows rules of PEFT's own.
    differing = [name for name in differing if ".token_adapter." not in name and name not in tables]
    if differing:
        raise ModelError(
            f"{file} does not have the weights that {ADAPTER_FILES[0]} asks for ({listed(differing)}): put the files "
            "of one training there"
        )
    trained_whole = model.active_peft_config.modules_to_save or []
    values = model.get_base_model().state_dict(keep_vars=True)
    for name in sorted(absent):
        is_saved = any(f".{module}." in f".{name}" for module in trained_whole)
        # A bias that shares its weights is not in the file; it is zero again.
        if not is_saved and not (name in values and bool((values[name] == values[name].flatten()[0]).all())):
            raise ModelError(f"neither {file} nor the base model has the weights {name}: train the adapter again")


def _embedding_names(whole: PreTrainedModel) -> set[str]:
    """Names in an adapter's file of the tables of input and output embeddings of its base."""
    tables = {id(getattr(table, "weight", None)) for table in (input_embeddings(whole), whole.get_output_embeddings())}
    names = set()
    for name, weights in whole.named_parameters(remove_duplicate=False):
        if id(weights) in tables:
            names.add(f"base_model.model.{name}")
    return names


def merge_trained(
    model: Any, batch: Mapping[str, Any], config: RunConfig, recipe: Recipe, path: Path
) -> tuple[PreTrainedModel, torch.Tensor]:
    """Merge the adapters of the trained model.

    Args:
        model: With adapters, already saved.
        batch: A batch of a few rows.
        config: Settings of the run.
        recipe: The task.
        path: Folder of the run.

    Returns:
        The merged model, and the logits that it must have for `batch` after it is saved and loaded.
    """
    trained = logits(model, batch)
    if not config.base.is_quantized:
        return merge(model), trained
    # Merging rounds to the few bits of the weights, so the adapter is put onto the base in 16 bits.
    whole = load(config.base, recipe, path / ADAPTER).to(model.device)
    compute_in_float32(whole)
    expected = logits(whole, batch)
    difference = float((expected - trained).abs().max())
    log(
        f"merged into the base in 16 bits: logits differ by {difference:.2g} from those of the quantized model, "
        f"the largest being {float(trained.abs().max()):.2g}; scores are of the merged model"
    )
    return whole, expected


# --- comparing ---------------------------------------------------------------------------------------------------


def logits(model: Any, batch: Mapping[str, Any]) -> torch.Tensor:
    """All logits of a batch as one flat tensor, without dropout, on the CPU."""
    import torch

    return torch.cat([values.flatten() for values in compute_logits(model, batch).values()])


def tolerance(model: Any, expected: torch.Tensor, recipe: Recipe) -> float:
    """How much logits of the same weights may differ, in the precision that the model computes in.

    Args:
        model: Whose logits are compared.
        expected: Logits before saving.
        recipe: The task, with the scale of the numbers that it learns.
    """
    largest = scale_of(expected, recipe.number_scale)
    if recipe.number_scale is None:
        largest = max(FLOOR, largest)
    return rounding_tolerance(model) * largest


def check_saved(
    expected: torch.Tensor, batch: Mapping[str, Any], config: RunConfig, recipe: Recipe, path: Path
) -> None:
    """Load what was saved, the merged model and the adapter, and compare the predictions of both with those before.

    Args:
        expected: Logits for the batch before saving.
        batch: A batch of a few rows.
        config: Settings of the run.
        recipe: The task.
        path: Folder of the run.

    Raises:
        ModelError: Logits differ by more than rounding explains.
    """
    kinds = ["merged model", "adapter"]
    if config.adapter is not None and config.adapter.is_prompt_learning:
        kinds.remove("merged model")  # there is nothing to merge
    worst = 0.0
    for kind in kinds:
        with quiet():
            model = _load_saved(kind, config, recipe, path)
            saved, limit = logits(model, batch), tolerance(model, expected, recipe)
        # Another number of logits means another head.
        difference = float((saved - expected).abs().max()) if len(saved) == len(expected) else float("inf")
        if not difference <= limit:  # also where it is NaN
            raise ModelError(
                f"the {kind} saved in {path} predicts differently from the trained model: logits differ by "
                f"{difference:.2g}, expected at most {limit:.2g}. Do not use it, and please report model and settings"
            )
        worst = max(worst, difference)
    log(f"reloaded {' and '.join(kinds)}: same predictions as the trained model (logits differ by at most {worst:.1g})")


def _load_saved(kind: str, config: RunConfig, recipe: Recipe, path: Path) -> Any:
    """The model as users will load it: the `merged model` with transformers alone, the `adapter` onto a new base."""
    if kind == "adapter":
        return load(config.base, recipe, path / ADAPTER)
    return recipe.load_model(path, dtype="auto", trust_remote_code=config.base.trust_remote_code)[0]
