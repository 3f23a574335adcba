"""Whether a model in a folder is whole: its files are what was saved, they fit together, and no weight is NaN."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, nearest
from ..log import log
from ..run_folder import manifest
from ..run_folder.contents import BESIDE_MODEL
from ..run_folder.manifest import MANIFEST

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# What `from_pretrained` reads where it is there: a file of these names that was added later changes predictions.
_READ = (
    WEIGHTS,
    INDEX,
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_SIZE = re.compile(
    "(hidden|vocab|embedding|intermediate)_size|d_model|d_ff|d_kv|n_embd|dim|hidden_dim"
    "|(num_)?((encoder|decoder|hidden)_)?(layers|attention_heads)|num_heads|n_(layers?|heads?)"
)
_LAYERS = re.compile("layers?$")
_TENSORS_PER_LAYER = 0.1  # at least: ALBERT has two tensors for each of its layers, other models ten and more
_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function")
_SHOWN = 3  # names in a sentence
_COPY = "copy the file of the model again"
_LARGEST_JSON = 64 << 20  # bytes of a file that describes a model: of a few kilobytes, with an index of weights more
_READ_IN_CHECK = 8 << 30  # bytes of weights that are looked through without a training, in a second or two
# What converts weights that were pickled, which may hold code, without running any.
CONVERT = (
    "import glob, torch, safetensors.torch as s; w = {}; "
    "[w.update(torch.load(f, 'cpu', weights_only=True)) for f in glob.glob('pytorch_model*.bin')]; "
    "s.save_file({k: v.clone().contiguous() for k, v in w.items()}, 'model.safetensors', {'format': 'pt'})"
)


# --- a saved model is what was saved -----------------------------------------------------------------------------


def check_unchanged(folder: Path) -> bool:
    """Compare a saved model with its manifest; large weights by a part of each tensor.

    Args:
        folder: Of a run, of its adapter, or of a checkpoint.

    Returns:
        Whether there is a manifest to compare with.

    Raises:
        ModelError: A file that decides predictions is not what was saved.
    """
    entries = manifest.read(folder)
    if entries is None:
        if (folder / MANIFEST).exists():
            log(f"{folder / MANIFEST} is damaged, so the files are not compared with what was saved")
        return False
    for name, difference in manifest.differences(folder, entries, "quick"):
        if name not in BESIDE_MODEL:
            raise _changed(folder, name, difference)
    for name in _READ:
        if name not in entries and (folder / name).exists():
            raise _changed(folder, name, "was added after the model was saved, and would change it")
    return True


def _changed(folder: Path, name: str, difference: str) -> ModelError:
    return ModelError(
        f"{folder / name} {difference}: put the right file back, or train again; if the change was meant, delete "
        f"{folder / MANIFEST}"
    )


# --- the files of a model fit together ---------------------------------------------------------------------------


def check_files(folder: Path) -> None:
    """Refuse a folder whose config or weights are damaged, before anything is loaded.

    Raises:
        ModelError: With the file and what is wrong with it.
    """
    config = _object(folder / "config.json")
    _check_config(folder / "config.json", config)
    tensors = sum(map(_number_of_tensors, _weight_files(folder)))
    for key, value in config.items():
        if _LAYERS.search(key) and isinstance(value, int) and tensors < value * _TENSORS_PER_LAYER:
            raise ModelError(
                f"{folder / 'config.json'}: {key} is {value}, and the weights are {tensors} tensors: one of them "
                "is of another model; copy both from the same one"
            )


def check_adapter_files(folder: Path, config: str) -> None:
    """Refuse an adapter whose files are damaged, before its base is loaded.

    Args:
        folder: Folder of the adapter.
        config: Name of the folder in it with the config of the whole model.

    Raises:
        ModelError: With the file and what is wrong with it.
    """
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING

    settings = _object(folder / "adapter_config.json")
    method = settings.get("peft_type")
    if method not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise ModelError(f"{folder / 'adapter_config.json'}: there is no method (peft_type) {method!r:.40}: {_COPY}")
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise ModelError(f"{weights} is missing: copy it there, or use the merged model of the run")
    _number_of_tensors(weights)
    if (folder / config).is_dir():  # PEFT alone saves none
        _check_config(folder / config / "config.json", _object(folder / config / "config.json"))


def _object(file: Path) -> dict[str, Any]:
    """Content of a JSON file."""
    if file.is_file() and file.stat().st_size > _LARGEST_JSON:
        raise ModelError(
            f"{file} has {file.stat().st_size:,} bytes, which is too large for a file of this name: copy it again"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if file.is_file() and manifest.is_pointer(file):
            raise _pointer(file) from error
        reason = " ".join(str(error).split())[:100]
        raise ModelError(f"{file} is damaged ({reason}): {_COPY}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} is damaged: found {content!r:.40}, expected a JSON object: {_COPY}")
    return content


def _check_config(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse values that transformers takes at first, and that end in errors without a name later."""
    import torch
    from transformers.activations import ACT2FN

    for key, value in config.items():
        is_wrong = isinstance(value, str | float) or (isinstance(value, int) and value < 1)
        if _SIZE.fullmatch(key) and is_wrong:
            raise ModelError(f"{file}: {key} is {value!r:.40}, expected a whole number above 0: {_COPY}")
    if not isinstance(config.get("model_type", ""), str):
        raise ModelError(
            f"{file}: model_type is {config['model_type']!r:.40}, expected the name of an architecture: {_COPY}"
        )
    for key in ("id2label", "label2id"):
        if not isinstance(config.get(key) or {}, dict):
            raise ModelError(f"{file}: {key} is {config[key]!r:.40}, expected a block of labels: {_COPY}")
    for key in config.get("id2label") or {}:
        if not key.isdigit():
            raise ModelError(f"{file}: id2label has the key {key!r:.40}, expected the number of a label: {_COPY}")
    for key in ("dtype", "torch_dtype"):
        value = config.get(key) or "auto"
        if value != "auto" and not isinstance(getattr(torch, str(value), None), torch.dtype):
            raise ModelError(f"{file}: {key} is {value!r:.40}, expected float32, bfloat16 or float16: {_COPY}")
    for key in _ACTIVATIONS:
        value = config.get(key)
        if value is not None and str(value) not in ACT2FN:
            raise ModelError(f"{file}: there is no {key} {value!r:.40}{nearest(str(value), ACT2FN)}: {_COPY}")


def _weight_files(folder: Path) -> list[Path]:
    """The files with weights that transformers loads, all of which must be there.

    Raises:
        ModelError: There are none, or one of them is missing.
    """
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if (folder / INDEX).exists():
        shards = _object(folder / INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise ModelError(f"{folder / INDEX} is damaged: it has no weight_map; {_COPY}")
        names = sorted(set(map(str, shards.values())))
        files = [folder / name for name in names]
        for file in files:
            if not file.is_file():
                raise ModelError(f"{file} is missing, one of {len(files)} files of weights: copy it there")
        return files
    others = sorted(folder.glob("*.safetensors"))
    if others:  # `variant` names another file
        return others
    pickles = sorted(folder.glob("pytorch_model*.bin"))
    if pickles:
        raise ModelError(
            f"{pickles[0]} holds pickled weights, which can hide code: convert them to {WEIGHTS} in {folder}:  "
            f'python -c "{CONVERT}"'
        )
    raise ModelError(f"{folder} has no weights: expected {WEIGHTS} next to its config.json")


def _number_of_tensors(file: Path) -> int:
    from safetensors import SafetensorError, safe_open

    try:
        # Reads the header alone, and compares the size of the file with what it says.
        with safe_open(file, framework="np") as weights:
            return len(weights.keys())
    except (OSError, SafetensorError) as error:
        if manifest.is_pointer(file):
            raise _pointer(file) from error
        reason = " ".join(str(error).split())[:100]
        raise ModelError(f"{file} is cut short or damaged ({reason}): copy the file again") from error


def _pointer(file: Path) -> ModelError:
    return ModelError(f"{file} {manifest.IS_POINTER}")


# --- the tokenizer -----------------------------------------------------------------------------------------------


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, path: str) -> None:
    """Refuse a tokenizer that transformers made up because its files are missing, or that cannot read.

    Args:
        tokenizer: As it was loaded.
        path: Folder of the model, or Hub id.

    Raises:
        ModelError: It cannot be used.
    """
    files = type(tokenizer).vocab_files_names.values()
    names = sorted({"tokenizer.json", *files})
    # Some read bytes or characters, and have no vocabulary.
    if Path(path).is_dir() and files and not any(Path(path, name).exists() for name in names):
        raise ModelError(f"{path} has no tokenizer ({' or '.join(names)}): save that of the model there too")
    limit = tokenizer.model_max_length
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise ModelError(f"{path}/tokenizer_config.json: model_max_length is {limit!r:.40}, expected a number: {_COPY}")
    if not tokenizer.is_fast:
        return
    try:
        tokenizer.backend_tokenizer.encode("a \N{GRINNING FACE}")
    except Exception as error:  # bare, as the library raises it
        raise ModelError(
            f"the tokenizer in {path} cannot read characters that it does not know ({error}): copy its files again"
        ) from error


def check_token_ids(tokenizer: PreTrainedTokenizerBase, rows: int, path: str, *, may_be_added: bool) -> None:
    """Refuse a tokenizer with more tokens than the model has embeddings: it belongs to another model.

    Args:
        tokenizer: Of the folder.
        rows: Number of embeddings.
        path: Folder of the model, or Hub id.
        may_be_added: Whether tokens that were added to the tokenizer get embeddings of their own.

    Raises:
        ModelError: It does not fit.
    """
    added = tokenizer.get_added_vocab() if may_be_added else {}
    ids = [number for token, number in tokenizer.get_vocab().items() if token not in added]
    if ids and max(ids) >= rows:
        raise ModelError(
            f"the tokenizer in {path} has tokens up to number {max(ids):,}, and the model embeddings for {rows:,}: one "
            "of them is of another model; use both of the same one"
        )


# --- the weights -------------------------------------------------------------------------------------------------


def check_finite(model: PreTrainedModel, path: str) -> None:
    """Refuse weights that are NaN or infinite: every prediction would be NaN.

    Raises:
        ModelError: There are some.
    """
    for name, weights in model.named_parameters():
        _check_finite(name, weights.detach(), path)


def check_finite_files(folder: Path) -> None:
    """As `check_finite`, for the files of a model that is not loaded: 500 MB take a tenth of a second.

    Raises:
        ModelError: There are some.
    """
    from safetensors import safe_open

    files = _weight_files(folder)
    if sum(file.stat().st_size for file in files) > _READ_IN_CHECK:
        log(f"{folder}: weights of this size are checked for NaN only when the run starts")
        return
    for file in files:
        # The file is mapped into memory, and one tensor read after the other.
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118, it is no dict
                _check_finite(name, tensors.get_tensor(name), str(file))


def _check_finite(name: str, weights: Any, path: str) -> None:
    import torch

    if weights.is_meta or not weights.is_floating_point() or not weights.numel() or weights.itemsize == 1:
        return
    # The two ends of all values are NaN where one of them is; a mask of all values would take ten times as long.
    if not all(torch.isfinite(end) for end in torch.aminmax(weights)):
        raise ModelError(f"{path}: the weights {name} are NaN or infinite: use a model from before that happened")


def check_complete(report: Mapping[str, Any], path: str) -> None:
    """Refuse a saved model if some of its weights would be initialized at random, or would not be used.

    Args:
        report: What `from_pretrained(output_loading_info=True)` returns.
        path: Folder of the model.

    Raises:
        ModelError: Weights are missing, of another shape, or belong to another model.
    """
    for key, what in (
        ("mismatched_keys", "have other shapes than the config of the model says"),
        ("missing_keys", "are missing"),
        ("unexpected_keys", "belong to another model"),
    ):
        # Entries on shapes begin with the name.
        names = sorted(entry if isinstance(entry, str) else entry[0] for entry in report[key])
        if names:
            raise ModelError(f"{path}: weights in {WEIGHTS} {what} ({listed(names)}): put the right file back")


def listed(names: list[str]) -> str:
    """The first few names, and how many follow."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def absent_weights(report: Mapping[str, Any]) -> set[str]:
    """Names of the weights that the checkpoint does not have, or has in other shapes."""
    return {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}


def check_body(model: PreTrainedModel, report: Mapping[str, Any], heads: Mapping[str, Any], path: str) -> None:
    """Refuse a base model whose body comes from the checkpoint in part: its config is that of another model.

    A head, or a pooler, that the checkpoint does not have is new and trained.

    Args:
        model: As it was loaded.
        report: What `from_pretrained(output_loading_info=True)` returns.
        heads: The modules on top of the body, by name.
        path: Folder of the model, or Hub id.

    Raises:
        ModelError: A part of the body would be random.
    """
    absent = absent_weights(report)
    for prefix, module in _parts_of_body(model, heads).items():
        names = {f"{prefix}.{name}" for name, _ in module.named_parameters()}
        lost = sorted(names & absent)
        if lost and (names - absent or _is_stack(module)):
            raise ModelError(
                f"{path}: the weights {listed(lost)} are missing, or have other shapes than config.json or the "
                "keywords under model say, and would be random: use the config and the weights of the same model"
            )


def _parts_of_body(model: PreTrainedModel, heads: Mapping[str, Any]) -> dict[str, Any]:
    """The embeddings, stacks of layers and other modules of the body, by their full names."""
    body = getattr(model, model.base_model_prefix, None)
    prefix = f"{model.base_model_prefix}." if body is not None else ""
    output = model.get_output_embeddings()
    parts = {}
    for name, module in (model if body is None else body).named_children():
        if name not in heads and module is not output:
            parts[f"{prefix}{name}"] = module
    return parts


def _is_stack(module: Any) -> bool:
    from torch import nn

    return any(isinstance(part, nn.ModuleList) for part in module.modules())
