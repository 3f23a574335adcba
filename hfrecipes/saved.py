"""A saved run, of this machine or of the Hub, made ready to predict; adapters merged into an ordinary model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import adapters, folder, hub, metrics
from .config import RunConfig, read_recipe_file, resolve, training_types
from .errors import ConfigError, ModelError, NotFoundError, OutputError
from .heads import bring_body_to, compute_in_float32
from .model import (
    ADAPTER,
    PADDING,
    TUNED,
    as_model_error,
    fit_length,
    is_adapter,
    is_quantized,
    load_tokenizer,
    machine_arguments,
    one_gpu,
    quiet,
    save,
)
from .portable import hub_name, model_path
from .predict import Predictor, collator
from .recipe import Recipe, arguments_name
from .registry import find, tasks

if TYPE_CHECKING:
    from transformers import PretrainedConfig, Trainer, TrainingArguments


def load(path: str | os.PathLike[str]) -> Predictor:
    """Load a run, or a model that a run pushed to the Hub, for prediction.

    Args:
        path: Folder of a run, or of the adapter in it, or Hub id; `me/model@v1` for a branch, tag or commit.

    Raises:
        NotFoundError: There is no such run.
        ModelError: The folder is no run of hfrecipes, or its model is damaged.

    Example:
        >>> hfrecipes.load("runs/quickstart").predict(["Where is my parcel?"])  # doctest: +SKIP
    """
    return _load(*_find(os.fspath(path)))


def merge(path: str | os.PathLike[str], destination: Path) -> None:
    """Leave an ordinary model directory, made of an adapter and the base that it was trained on.

    Args:
        path: Folder of a run, or of an adapter, or Hub id.
        destination: Folder that does not exist, or is empty.

    Raises:
        ModelError: There is no adapter, or it is of a method that cannot be merged.
        OutputError: The destination holds something.
    """
    folder.check_place(destination)
    if destination.exists() and any(destination.iterdir()):
        raise OutputError(f"{destination} is not empty: choose another folder")
    run, is_foreign = _find(os.fspath(path))
    place = run / ADAPTER if is_adapter(run / ADAPTER) else run
    if not is_adapter(place):
        raise ModelError(f"{path}: there is nothing to merge, its model is whole as it stands")
    predictor = _load(place, is_foreign)
    if adapters.is_adapted(predictor.trainer.model):
        raise ModelError(f"{path} was trained with {adapters.method_of(predictor.config.lora)}, which cannot be merged")
    files = save(predictor.trainer.model, predictor.recipe.tokenizer, destination)
    for name in (folder.RECIPE, folder.METRICS, folder.CARD):
        source = next((one / name for one in (run, place) if (one / name).exists()), None)
        if source is not None:
            (destination / name).write_bytes(source.read_bytes())
    if not folder.is_complete(destination):  # an adapter alone has no scores
        folder.write_json(destination / folder.METRICS, {})
    about = folder.read_json(run / folder.RUN)
    if about:
        folder.write_json(destination / folder.RUN, {**about, "files": files})


# --- where it is -------------------------------------------------------------------------------------------------


def _find(name: str) -> tuple[Path, bool]:
    """Folder of the run, and whether it came from the Hub, where anybody may have written it."""
    name = os.path.expanduser(name)
    if os.path.isdir(name):
        if not Path(name, folder.RECIPE).exists():
            raise ModelError(f"{name} has no {folder.RECIPE}: expected the folder that a run of hfrecipes left")
        parts = sorted(one.name for one in Path(name).iterdir() if (one / folder.RUN).exists())
        if parts and not Path(name, folder.RUN).exists():
            raise ModelError(f"{name} holds several runs: choose one of {', '.join(parts)}")
        if not (folder.is_complete(Path(name)) or is_adapter(name)):
            raise ModelError(f"the run in {name} is not complete: the command that started it resumes it")
        return Path(name), False
    repository, _, revision = name.partition("@")
    is_part = repository.count("/") == 2 and repository.endswith(f"/{ADAPTER}")
    repository = repository.removesuffix(f"/{ADAPTER}") if is_part else repository
    if hub_name(repository) is None or "/" not in repository:
        raise NotFoundError(f"there is no run {name}: give the folder of a run, or a Hub id such as me/model")
    return _from_hub(repository, revision, ADAPTER if is_part else ""), True


def _from_hub(name: str, revision: str, part: str) -> Path:
    """Folder of a model that a run pushed, or of the adapter in it, fetched where the cache lacks it."""
    from huggingface_hub import snapshot_download

    patterns = {"allow_patterns": f"{part}/*"} if part else {"ignore_patterns": ["checkpoint-*", f"{ADAPTER}/*"]}
    try:
        place = Path(snapshot_download(name, revision=revision or None, **patterns)) / part
    except Exception as error:
        raise NotFoundError(f"{name} is no folder here, and the Hub did not give it: {hub.reason(error)}") from error
    if not (place / folder.RECIPE).exists():
        raise ModelError(f"{name} has no {folder.RECIPE}: expected a model that a run of hfrecipes pushed")
    return place


def _settings(place: Path, is_foreign: bool) -> tuple[RunConfig, Recipe]:
    """Settings and task of a saved run, checked as those of a new one are.

    Raises:
        ModelError: They are not what a run leaves, or ask to run what others wrote.
    """
    try:
        settings = {key: value for key, value in read_recipe_file(place / folder.RECIPE).items() if key in _KNOWN}
        task = settings["task"]
        if is_foreign and task not in tasks():
            raise ModelError(
                f"this model was trained with a task of its author's own, {task}: fetch both, and load the folder"
            )
        kind = find(task)
        training = training_types(arguments_name(kind))
        config = resolve(settings, option_types=kind.option_types(), training=training)
        recipe = kind(**config.options)
    except ConfigError as error:
        raise ModelError(f"{place / folder.RECIPE} is not as a run leaves it: {error}") from error
    return (_harmless(config) if is_foreign else config), recipe


_KNOWN = set(RunConfig.__dataclass_fields__)


def _harmless(config: RunConfig) -> RunConfig:
    """Settings that others wrote, without what would have their code run, or files written at places they choose."""
    shipped = [name for name in config.metrics if name in metrics.names()]
    model = config.model
    if isinstance(model, dict):
        kept = ("path", "revision", "subfolder", "quantization_config", "dtype")
        model = {key: value for key, value in model.items() if key in kept}
    return replace(config, metrics=shipped, model=model)


# --- what runs it ------------------------------------------------------------------------------------------------


def _load(place: Path, is_foreign: bool) -> Predictor:
    if is_adapter(place / ADAPTER) and not (place / "config.json").exists():  # of a method that leaves nothing to merge
        place = place / ADAPTER
    run, recipe = _settings(place, is_foreign)
    name = model_path(run) or ""
    if is_foreign and is_adapter(place) and not (hub_name(name) or name.startswith("pkg://")):
        raise ModelError(f"this adapter names the base {name}, which is none that others can load")
    trusted = isinstance(run.model, dict) and bool(run.model.get("trust_remote_code"))
    config = replace(run, model={"path": str(place), "trust_remote_code": trusted})
    return Predictor(recipe, _trainer(config, recipe, place, run.model), config)


def _trainer(config: RunConfig, recipe: Recipe, place: Path, base: Any) -> Trainer:
    """A Trainer that only predicts, with the batch size and precision of training.

    Args:
        config: Settings of the run, with the folder as its model.
        recipe: The task.
        place: Folder.
        base: What the run started from, which an adapter is put on again.
    """
    import transformers

    recipe.tokenizer, model_config = load_tokenizer(config, recipe.padding_side)
    _settle(recipe, model_config, config)
    with as_model_error(str(place)), quiet():
        if is_adapter(place):
            model = adapters.load(base, recipe, place)
        else:
            model = _whole_model(config, recipe, base, model_config)
    model.config.pad_token_id = recipe.tokenizer.pad_token_id
    compute_in_float32(model)
    trainer: Trainer = getattr(transformers, recipe.trainer)(
        model,
        _arguments(config, recipe, place),
        data_collator=collator(recipe, model),
        processing_class=recipe.tokenizer,
        preprocess_logits_for_metrics=recipe.reduce,
        compute_loss_func=recipe.loss_function(),
    )
    return trainer


def _settle(recipe: Recipe, model_config: PretrainedConfig, config: RunConfig) -> None:
    """What training settled: length, labels, and what validation decided."""
    fit_length(recipe, model_config, adapters.virtual_tokens(config.lora))
    recipe.settle(model_config)
    if not recipe.labels:
        recipe.labels = [model_config.id2label[number] for number in sorted(model_config.id2label)]
    recipe.tuned = dict(getattr(model_config, TUNED, {}))
    recipe.pads_to_max_length = getattr(model_config, PADDING, "") == "max_length"


def _whole_model(config: RunConfig, recipe: Recipe, base: Any, model_config: PretrainedConfig) -> Any:
    import torch
    import transformers

    # What was too large for float32 in training stays in 16 bits.
    dtype = torch.bfloat16 if is_quantized(base) else torch.float32
    about = dict(config.model) if isinstance(config.model, Mapping) else {}
    model = getattr(transformers, recipe.auto_model).from_pretrained(about.pop("path"), dtype=dtype, **about)
    if isinstance(base, Mapping) and "dtype" in base:  # the weights of the body were saved in the precision of training
        bring_body_to(model, model_config.dtype)
    return model


def _arguments(config: RunConfig, recipe: Recipe, place: Path) -> TrainingArguments:
    import transformers

    size = config.training.get("per_device_eval_batch_size", recipe.defaults.get("per_device_eval_batch_size", 64))
    plain = config.training.get("bf16") is False or config.training.get("fp16") is False
    machine, _ = machine_arguments({"bf16": False} if plain else {})
    arguments: TrainingArguments = getattr(transformers, arguments_name(type(recipe)))(
        output_dir=str(place),
        per_device_eval_batch_size=size,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        report_to="none",
        label_names=["labels"],
        eval_do_concat_batches=False,
        seed=config.training.get("seed", 42),
        **{name: config.training[name] for name in ("bf16_full_eval", "fp16_full_eval") if name in config.training},
        **({"predict_with_generate": True} if recipe.trainer == "Seq2SeqTrainer" else {}),
        **machine,
    )
    return one_gpu(arguments)
