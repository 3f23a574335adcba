"""What to write in place of a setting that does not exist: names of other tools, and of older releases.

A hint is an edit that works as it is, so that nobody is sent from one error to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..errors import nearest
from .trainer_keywords import FIXED
from .yaml12 import format_value


class Hint(NamedTuple):
    """What to write in place of a setting."""

    edit: str
    """`key=value` words, `{value}` for the value that was given; empty where nothing replaces the setting."""
    why: str = ""
    """What else there is to know."""


_TOKEN = Hint("", "the token is read from the variable HF_TOKEN, and never written down")
_LABELS = Hint("", "labels, their names and their number come from the data")
_NAMES_OF_IDS = Hint("", "options.label_names=[…] gives ids their names, in the order of the ids")
_REMOVED = Hint("", "transformers has removed it")
_RESUMED = Hint("", "the same command again resumes the run")
_PADDING = Hint("", "a batch is padded to its longest row, which is faster")
_CACHED = Hint("", "encoded rows are cached, and encoded again when something changes")
_SEPARATOR = Hint("", "the separator is found from the content of the file")
_MODEL_TOKENIZER = Hint("model={value}", "the tokenizer comes with the model")
_SHARE = Hint("", "splits.test=0.2 and splits.validation=0.1 draw shares of train; the rest is trained on")

# Edits that keep the value, and the names that stand for them.
_RENAMED = {
    "model={value}": "model_name_or_path model_name model_id model_path base_model checkpoint pretrained"
    " pretrained_model pretrained_model_name_or_path",
    "dataset={value}": "dataset_name dataset_path dataset_id data data_path data_files data_dir",
    "dataset.train={value}": "train_file train_data train_dataset train_path",
    "dataset.validation={value}": "validation_file valid_file dev_file eval_file validation_data eval_dataset",
    "dataset.test={value}": "test_file test_data test_dataset test_path predict_file",
    "output_dir={value}": "output out out_dir save_dir output_path output_folder",
    "limit.train={value}": "max_train_samples num_train_samples",
    "limit.validation={value}": "max_eval_samples max_val_samples max_validation_samples",
    "limit.test={value}": "max_predict_samples max_test_samples",
    "limit={value}": "max_samples max_rows num_samples",
    "eval_strategy={value}": "evaluation_strategy",
    "use_cpu={value}": "no_cuda",
    "per_device_train_batch_size={value}": "per_gpu_train_batch_size train_batch_size batch_size",
    "per_device_eval_batch_size={value}": "per_gpu_eval_batch_size eval_batch_size valid_batch_size",
    "gradient_accumulation_steps={value}": "gradient_accumulation grad_accum accumulate_grad_batches",
    "max_length={value}": "max_seq_length max_seq_len max_len seq_length model_max_length cutoff_len"
    " max_input_length max_source_length",
    "max_target_length={value}": "max_output_length val_max_target_length",
    "learning_rate={value}": "lr",
    "num_train_epochs={value}": "epochs num_epochs n_epochs max_epochs",
    "lr_scheduler_type={value}": "lr_scheduler scheduler lr_schedule",
    "optim={value}": "optimizer",
    "max_grad_norm={value}": "gradient_clip_val clip_grad grad_clip max_norm",
    "label_smoothing_factor={value}": "label_smoothing",
    "dataloader_num_workers={value}": "num_workers",
    "seed={value}": "random_state random_seed",
    "folds={value}": "n_splits cv k_folds n_folds num_folds",
    "curve={value}": "learning_curve",
    "lora={value}": "use_lora peft use_peft",
    "lora.r={value}": "lora_r lora_rank rank",
    "lora.lora_alpha={value}": "lora_alpha",
    "lora.lora_dropout={value}": "lora_dropout",
    "lora.target_modules={value}": "lora_target_modules lora_target target_modules",
    "lora.modules_to_save={value}": "modules_to_save",
    "early_stopping.early_stopping_patience={value}": "early_stopping_patience patience",
    "early_stopping.early_stopping_threshold={value}": "early_stopping_threshold",
    "splits.train={value}": "train_split train_split_name dataset_train_split",
    "splits.validation={value}": "eval_split valid_split validation_split_name validation_split"
    " validation_size val_size eval_size dev_size",
    "splits.test={value}": "test_split test_split_name dataset_test_split test_size",
    "model.trust_remote_code={value}": "trust_remote_code",
    "model.revision={value}": "model_revision revision",
    "model.attn_implementation={value}": "attn_implementation",
    "model.cache_dir={value}": "cache_dir",
    "dataset.name={value}": "dataset_config_name dataset_config dataset_subset subset",
    "dataset.encoding={value}": "encoding file_encoding charset",
    "dataset.header={value}": "header has_header",
    "hub={value}": "push_to_hub_model_id hub_model_id repo_id",
    "hub={value}/<name>": "push_to_hub_organization",
    "hub=<user>/<name> hub.revision={value}": "hub_revision",
    "hub=<user>/<name> hub.private={value}": "hub_private_repo",
    "activation_checkpointing={value}": "use_gradient_checkpointing",
}

# Names whose value changes too, or that nothing replaces.
_OTHERS = {
    "overwrite_output_dir": Hint("", "no run is ever overwritten; choose another output_dir, or delete the folder"),
    "tokenizer": _MODEL_TOKENIZER,
    "tokenizer_name": _MODEL_TOKENIZER,
    "logging_dir": Hint("report_to=tensorboard", "with the folder in the variable TENSORBOARD_LOGGING_DIR"),
    "wandb_project": Hint("report_to=wandb", "with {value} in the variable WANDB_PROJECT"),
    "use_wandb": Hint("report_to=wandb"),
    "save_safetensors": Hint("", "weights are always saved as safetensors"),
    "include_inputs_for_metrics": Hint("", "metrics are computed from predictions and references"),
    "use_ipex": _REMOVED,
    "jit_mode_eval": _REMOVED,
    "fp16_backend": Hint("fp16=true"),
    "fp16_opt_level": Hint("fp16=true"),
    "half_precision_backend": Hint("fp16=true"),
    "adafactor": Hint("optim=adafactor"),
    "push_to_hub": Hint("hub=<user>/<name>"),
    "hub_strategy": Hint("hub=<user>/<name> hub.every=save"),
    "hub_always_push": Hint("hub=<user>/<name> hub.every=save"),
    "push_to_hub_token": _TOKEN,
    "hub_token": _TOKEN,
    "use_auth_token": _TOKEN,
    "token": _TOKEN,
    "trust": Hint("", "--trust on the command line, or trust=True in Python, lets a file name code that is run"),
    "resume_from_checkpoint": _RESUMED,
    "resume": _RESUMED,
    "num_labels": _LABELS,
    "num_classes": _LABELS,
    "id2label": _NAMES_OF_IDS,
    "label2id": _NAMES_OF_IDS,
    "pad_to_max_length": _PADDING,
    "padding": _PADDING,
    "overwrite_cache": _CACHED,
    "preprocessing_num_workers": _CACHED,
    "dataset_num_proc": _CACHED,
    "truncation": Hint("", "rows are truncated to max_length, and the log says how many are"),
    "use_fast_tokenizer": Hint("", "the fast tokenizer is used where there is one"),
    "ignore_pad_token_for_loss": Hint("", "padding is never part of the loss"),
    "do_lower_case": Hint("", "the tokenizer of the model knows whether it lowers cases"),
    "device_map": Hint("", "the Trainer puts the model on the GPU"),
    "sep": _SEPARATOR,
    "delimiter": _SEPARATOR,
    "train_size": _SHARE,
    "validation_split_percentage": _SHARE,
    "stratify": Hint("", "labels keep their proportions in every split that is drawn"),
    "shuffle": Hint("", "rows are shuffled; train_sampling_strategy=sequential keeps their order"),
    "load_in_8bit": Hint("model.quantization_config='{load_in_8bit: true}' lora=true"),
    "load_in_4bit": Hint("model.quantization_config='{load_in_4bit: true}' lora=true"),
}


def _torch_dtype(value: Any) -> Hint:
    kind = "fp16" if str(value).removeprefix("torch.") in ("float16", "half", "fp16") else "bf16"
    return Hint(f"{kind}=true", "mixed precision; model.dtype={value} is for the weights themselves")


def _warmup_ratio(value: Any) -> Hint:
    # From 1 on, warmup_steps counts steps, and 1.0 would be one of them.
    share = 0.9999 if isinstance(value, int | float) and value >= 1 else value
    return Hint(f"warmup_steps={format_value(share)}", "below 1 it is a share of all steps, from 1 on their number")


def _group_by_length(value: Any) -> Hint:
    if value is False:
        return Hint("train_sampling_strategy=random")
    return Hint("train_sampling_strategy=group_by_length", "it is the default")


def _device(value: Any) -> Hint:
    if value == "cpu":
        return Hint("use_cpu=true")
    return Hint("", "a GPU is used where there is one; the variable CUDA_VISIBLE_DEVICES says which")


def _only_replies(value: Any) -> Hint:
    return Hint("train_on=all") if value is False else Hint("train_on=assistant", "it is the default")


def _task_name(value: Any) -> Hint:
    if value in _GLUE:
        return Hint(f"dataset.path=nyu-mll/glue dataset.name={value}")
    return Hint("", "the task is the first word after the command, or the first argument in Python")


def _mixed_precision(value: Any) -> Hint:
    return Hint(f"{value}=true" if value in ("bf16", "fp16") else "bf16=false")


_GLUE = ("ax", "cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli")
_BY_VALUE: dict[str, Callable[[Any], Hint]] = {
    "torch_dtype": _torch_dtype,
    "dtype": _torch_dtype,
    "warmup_ratio": _warmup_ratio,
    "group_by_length": _group_by_length,
    "device": _device,
    "mixed_precision": _mixed_precision,
    "assistant_only_loss": _only_replies,
    "completion_only_loss": _only_replies,
    "train_on_inputs": lambda value: _only_replies(not value),
    "task_name": _task_name,
}


def _by_name() -> dict[str, Hint]:
    named = dict(_OTHERS)
    for edit, names in _RENAMED.items():
        named |= dict.fromkeys(names.split(), Hint(edit))
    return named


_BY_NAME = _by_name()
NAMES = frozenset([*_BY_NAME, *_BY_VALUE])
"""Names that are never settings, although some of them are keywords of TrainingArguments."""


def hint_for(key: str, value: Any, known: Collection[str] | None = None) -> Hint | None:
    """What to write in place of a setting; None where no other tool is known to have it.

    Args:
        key: Name that was given.
        value: Its value.
        known: Names of all settings of the task, so that no hint names one that the task does not have; None where the
            task is not known.

    Example:
        >>> hint_for("epochs", 3)
        Hint(edit='num_train_epochs=3', why='')
    """
    if key in _BY_VALUE:
        hint = _BY_VALUE[key](value)
    elif key in _BY_NAME:
        hint = _BY_NAME[key]
    else:
        return None
    # `use_wandb=false` asks for nothing that has to be said.
    if value is False and hint.edit and "{value}" not in hint.edit and key in _OTHERS:
        return Hint("", "it is off")
    setting = hint.edit.partition("=")[0].partition(".")[0]
    if setting and known is not None and setting not in known:
        return None
    # Hints about tokens have no {value}: a secret on the screen may become part of a log.
    shown = format_value(value)
    return Hint(hint.edit.replace("{value}", shown), hint.why.replace("{value}", shown))


# --- columns -----------------------------------------------------------------------------------------------------

_COLUMN_WORDS = ("_column_name", "_column", "_col", "_field", "_key", "_name")


def column_hint(key: str, value: Any, columns: Mapping[str, Collection[str]]) -> Hint | None:
    """`columns.text=review` for `text=review`, `text_column=review` and the like; None for anything else.

    Args:
        key: Name that was given.
        value: Its value.
        columns: Columns of the task, each with other names for it.

    Example:
        >>> column_hint("label_column", "stars", {"label": ["target"]}).edit
        'columns.label=stars'
    """
    stem = key
    for word in _COLUMN_WORDS:
        if key.endswith(word):
            stem = key.removesuffix(word)
            break
    for name, others in columns.items():
        if stem == name or stem in others:
            return Hint(f"columns.{name}={format_value(value)}")
    if stem == key:
        return None
    return Hint(f"columns.<name>={format_value(value)}", f"the task has the columns {', '.join(columns)}")


def sentence(
    key: str, value: Any, *, known: Collection[str], columns: Mapping[str, Collection[str]], shown: str | None = None
) -> str:
    """What is wrong with a setting that does not exist, and what to write.

    Args:
        key: Name that was given.
        value: Its value.
        known: Names of all settings of the task.
        columns: Columns of the task, each with other names for it.
        shown: The name with its block, `training.lr`; the name alone where not given.
    """
    shown = shown or key
    hint = hint_for(key, value, known) or column_hint(key, value, columns)
    if hint is None:
        # A suggestion that would be refused in turn helps nobody.
        return f"unknown setting {shown}{nearest(key, set(known) - NAMES - FIXED.keys())}"
    if not hint.edit:
        return f"{shown} is not a setting; leave it out: {hint.why}"
    return f"{shown} is not a setting; write {hint.edit}" + (f" ({hint.why})" if hint.why else "")
