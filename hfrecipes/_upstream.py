"""Every private or fragile part of the underlying libraries that hfrecipes relies on.

Nothing here is promised by its library, so any release may change it. Each function names what it relies on, the
release in which that was seen, and what to do if it changes; `tests/test_upstream.py` has one test for each function,
which fails with its docstring. Other modules call these functions and touch no private name of a library themselves.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import logging
import warnings
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError

if TYPE_CHECKING:
    import optuna
    import torch
    from accelerate import Accelerator
    from datasets import Dataset
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedTokenizerBase, Trainer, TrainingArguments


# --- transformers: the Trainer -----------------------------------------------------------------------------------

_ARGUMENTS_CLASSES = {"Trainer": "TrainingArguments", "Seq2SeqTrainer": "Seq2SeqTrainingArguments"}


def arguments_class(trainer_name: str) -> type[TrainingArguments]:
    """The TrainingArguments class that goes with a Trainer class.

    Relies on: the names of the two Trainers of transformers and of their arguments, as transformers 5.23.0 has them.
    If it changes: correct `_ARGUMENTS_CLASSES`; if Seq2SeqTrainer is removed, also `trainer_name` in recipe.py.

    Raises:
        ConfigError: The Trainer is not one of the known ones.
    """
    import transformers

    if trainer_name not in _ARGUMENTS_CLASSES:
        known = " or ".join(_ARGUMENTS_CLASSES)
        raise ConfigError(f"no TrainingArguments are known for {trainer_name}: expected {known}")
    arguments: type[TrainingArguments] = getattr(transformers, _ARGUMENTS_CLASSES[trainer_name])
    return arguments


def use_one_gpu(arguments: TrainingArguments) -> None:
    """Make the Trainer use only one GPU when several are visible.

    Relies on: `TrainingArguments._n_gpu`, which `TrainingArguments.n_gpu` returns, as in transformers 5.23.0.
    If it changes: see what `n_gpu` returns now and set that. Without it, the Trainer wraps the model in DataParallel.
    """
    arguments._n_gpu = 1


def evaluated_rows(trainer: Trainer) -> Dataset:
    """The rows that the Trainer evaluates right now, for use inside `compute_metrics`.

    Relies on: `trainer.callback_handler.eval_dataloader`, set at the start of each evaluation loop, as in
        transformers 5.23.0. `compute_metrics` itself is only given outputs and labels.
    If it changes: override `Trainer.evaluate` and remember the dataset that it is called with.
    """
    return trainer.callback_handler.eval_dataloader.dataset


def restore_trained(trainer: Trainer, checkpoint: Path) -> None:
    """Bring the Trainer where it was after training, from a checkpoint that was saved at the end of it.

    Relies on: `Trainer._load_from_checkpoint` and `Trainer._load_best_model`, which `train` calls at its beginning and
    its end, as in transformers 5.23.0.
    If it changes: see how `Trainer.train` loads a checkpoint, and the best one after the last step.

    Args:
        trainer: With the model as it was before training.
        checkpoint: Folder of the checkpoint.
    """
    from transformers import TrainerState

    trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    trainer.state.is_world_process_zero = trainer.is_world_process_zero()
    trainer.state.is_local_process_zero = trainer.is_local_process_zero()
    trainer._load_from_checkpoint(str(checkpoint))
    if trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint is not None:
        trainer._load_best_model()


def keep_names_in_checkpoints(trainer: Trainer) -> None:
    """Have checkpoints store weights by the names and shapes that they have in training.

    Some models, such as mixtures of experts, are saved in another format than they compute in, which `from_pretrained`
    converts. The Trainer does not: from such a checkpoint it would load nothing of their experts.

    Relies on: `Trainer._save_checkpoint`, and the attribute `_weight_conversions` of a model, which says how
        `save_pretrained` converts its weights, as in transformers 5.23.0.
    If it changes: delete this function if `Trainer._load_best_model` converts weights by then. Without it, the best
        checkpoint of a mixture of experts, and a resumed run, have experts of another step.
    """
    save, model = trainer._save_checkpoint, trainer.accelerator.unwrap_model(trainer.model)

    def save_unconverted(*args: Any, **keywords: Any) -> None:
        kept = vars(model).get("_weight_conversions")
        model._weight_conversions = []
        try:
            save(*args, **keywords)
        finally:
            model._weight_conversions = kept

    trainer._save_checkpoint = save_unconverted


def loss_to_log(trainer: Trainer, kept: tuple[float, int] | None = None) -> tuple[float, int]:
    """Sum of the losses since the Trainer last logged their mean, and the step of that; `kept` restores both.

    Relies on: `Trainer._tr_loss` and `_globalstep_last_logged`, set before `on_train_begin`, as in transformers 5.23.0.
    If it changes: see `Trainer._maybe_log_save_evaluate`. Without it, the loss logged after a resume lacks some steps.
    """
    if kept is not None:
        trainer._tr_loss += kept[0]
        trainer._globalstep_last_logged = kept[1]
    return float(trainer._tr_loss), int(trainer._globalstep_last_logged)


def is_length_grouped(sampler: Any) -> bool:
    """Whether a sampler groups rows by length and draws their order from its attribute `generator`.

    Relies on: `transformers.trainer_pt_utils.LengthGroupedSampler` and its `generator`, as in transformers 5.23.0.
    If it changes: see what `Trainer._get_train_sampler` returns for `train_sampling_strategy="group_by_length"`, and
        how its order is seeded. Without it, a resumed run no longer finds the order of its rows again.
    """
    import transformers

    return isinstance(sampler, transformers.trainer_pt_utils.LengthGroupedSampler)


def count_weights_once(trainer: Trainer) -> None:
    """Keep the Trainer from counting the weights of its model for each batch.

    Relies on: `Trainer.floating_point_ops(inputs)`, six times the tokens times the weights outside of embeddings, as
        in transformers 5.23.0.
    If it changes: delete this function if the number is kept by then. Without it, each step takes milliseconds more.
    """
    model = trainer.model
    if not hasattr(model, "num_parameters"):
        return
    name, operations = getattr(model, "main_input_name", "input_ids"), 6 * model.num_parameters(exclude_embeddings=True)
    trainer.floating_point_ops = lambda inputs: operations * inputs[name].numel() if name in inputs else 0


_FALSE_ALARMS = {
    "transformers.trainer": "There were missing keys in the checkpoint model loaded",
    "transformers.trainer_utils": "mtime may not be reliable on this filesystem",
}


def silence_false_alarms() -> None:
    """Drop two warnings of the Trainer, to which shared weights, stored once, look like missing keys of a checkpoint,
    and two checkpoints within a second like a filesystem without times.

    Relies on: the names of the loggers and the first words of the messages, as in transformers 5.23.0.
    If it changes: copy the new words from `Trainer._issue_warnings_after_load` and `sort_checkpoints` into
        `_FALSE_ALARMS`. Until then users see a warning about weights that are not missing, or about a filesystem.
    """
    # A filter that is already there is not added again, so this may be called for every Trainer.
    for name in _FALSE_ALARMS:
        logging.getLogger(name).addFilter(_is_worth_logging)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_FALSE_ALARMS[record.name])


def is_about_missing_package(error: Exception) -> bool:
    """Whether the Trainer raised this error because an optional package, such as a tracker in `report_to`, is missing.

    Relies on: callbacks that raise RuntimeError("<name>Callback requires <package> to be installed. ..."), and
        ImportError elsewhere, as in transformers 5.23.0.
    If it changes: see what `transformers.integrations.WandbCallback()` raises without wandb. Until then users get a
        traceback instead of the name of the package.
    """
    return isinstance(error, ImportError) or (isinstance(error, RuntimeError) and "installed" in str(error))


def is_about_custom_code(error: Exception) -> bool:
    """Whether transformers refused to run the code that comes with a model.

    Relies on: `resolve_trust_remote_code`, which raises a ValueError that asks for `trust_remote_code=True`, as in
        transformers 5.23.0.
    If it changes: see what `AutoConfig.from_pretrained` raises for a folder whose config has an `auto_map`. Until then
        the error of transformers is shown, which does not say how to set it here.
    """
    return isinstance(error, ValueError) and "trust_remote_code=True" in str(error)


def emissions_of(trainer: Trainer) -> Any | None:
    """What codecarbon measured in a training; None where `report_to` did not name it.

    Relies on: `CodeCarbonCallback.tracker` of transformers 5.23.0, and `EmissionsTracker.final_emissions_data` of
        codecarbon, with `energy_consumed` in kWh and `emissions` in kg.
    If it changes: see how `CodeCarbonCallback.on_train_end` stops its tracker. Until then the card shows no energy.
    """
    for callback in trainer.callback_handler.callbacks:
        emissions = getattr(getattr(callback, "tracker", None), "final_emissions_data", None)
        if emissions is not None:
            return emissions
    return None


# --- transformers: models and tokenizers -------------------------------------------------------------------------


def default_generation_settings() -> dict[str, Any]:
    """Values that `generate` uses for settings that neither the model nor the user sets.

    Relies on: the static method `GenerationConfig._get_default_generation_params`, as in transformers 5.23.0. The
        attributes of a new GenerationConfig are None for most of them.
    If it changes: see where `generate` fills in values that are None. Without it, the log lists settings of the base
        model as left out that are the defaults of transformers anyway.
    """
    from transformers import GenerationConfig

    defaults: dict[str, Any] = GenerationConfig._get_default_generation_params()
    return defaults


def uses_flash_attention(model: Any) -> bool:
    """Whether a model computes attention with a flash kernel, which accepts half precision only.

    Relies on: `config._attn_implementation`, whose value contains "flash" for each of these kernels, as in
        transformers 5.23.0.
    If it changes: see what `from_pretrained(attn_implementation=...)` sets. Without it, flash attention is given
        float32 and refuses it, and packed texts are not put into one row, so that they see each other.
    """
    return "flash" in str(getattr(model.config, "_attn_implementation", ""))


def commit_of(name: str, revision: str | None = None, cache_dir: str | None = None) -> str | None:
    """Commit on the Hub of a model that was loaded just now; None for a folder.

    Args:
        name: Hub id or folder.
        revision: Branch, tag or commit that it was loaded from.
        cache_dir: Cache that it was loaded into.

    Relies on: `transformers.utils.hub.resolve_revision`, which finds the commit in the cache and returns it in the
        attribute `resolved`, as in transformers 5.23.0. Models no longer have it: `config._commit_hash` was removed.
    If it changes: read the commit from the folder `snapshots/<commit>` that `huggingface_hub.try_to_load_from_cache`
        names. Without it, an adapter may be loaded on a later version of its base.
    """
    from transformers.utils.hub import resolve_revision

    resolved = resolve_revision(name, revision, local_files_only=True, cache_dir=cache_dir)
    return getattr(resolved, "resolved", None)


def remember_padding_side(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make `save_pretrained` write the current padding side of the tokenizer.

    Relies on: `tokenizer.init_kwargs`, from which `save_pretrained` takes the side, and not from
        `tokenizer.padding_side`, as in transformers 5.23.0.
    If it changes: delete this function if the attribute is saved by itself. Otherwise a reloaded model pads on the
        other side and predicts differently.
    """
    tokenizer.init_kwargs["padding_side"] = tokenizer.padding_side


def remember_input_names(tokenizer: PreTrainedTokenizerBase, names: list[str]) -> None:
    """Change what a tokenizer returns by default, here and after it is saved.

    Relies on: `tokenizer.init_kwargs`, which `save_pretrained` writes, and not `tokenizer.model_input_names`, as in
        transformers 5.23.0.
    If it changes: as for `remember_padding_side`. Otherwise a model without token types fails on pairs of texts in
        plain transformers.
    """
    tokenizer.model_input_names = names
    tokenizer.init_kwargs["model_input_names"] = names


def tokenizer_bookkeeping() -> frozenset[str]:
    """Attributes of a tokenizer that do not affect its tokens, or that change when it is used.

    Relies on: the names of these attributes in transformers 5.23.0. `_tokenizer` is the backend, whose content the
        caller reads through `backend_tokenizer`.
    If it changes: compare `vars(tokenizer)` before and after encoding a batch. An attribute that changes and is not
        listed here only costs time: rows are then encoded again in each run.
    """
    names = ("_tokenizer", "_commit_hash", "deprecation_warnings", "files_loaded", "name_or_path", "verbose")
    return frozenset(names)


def reads_token_types(auto_model: str, model_config: PretrainedConfig) -> bool:
    """Whether a model tells first and second texts apart by `token_type_ids`.

    Args:
        auto_model: Name of the class in transformers that loads it.
        model_config: Its config.

    Relies on: `_model_mapping` of the auto classes, from the class of a config to that of its model, and the argument
        `token_type_ids` of its forward, as in transformers 5.23.0; `type_vocab_size` is the number of types.
    If it changes: see how `from_pretrained` of an auto class finds the class of a model. Without it, a tokenizer that
        does not belong to the model gives it token types that it has no embeddings for.
    """
    import transformers

    if getattr(model_config, "type_vocab_size", None) == 1:
        return False
    known = getattr(transformers, auto_model)._model_mapping.get(type(model_config), None)
    # A model with code of its author is in no table, and a config may have several classes.
    classes = known if isinstance(known, tuple | list) else [known]
    return any(kind is None or "token_type_ids" in inspect.signature(kind.forward).parameters for kind in classes)


def with_backend(tokenizer: PreTrainedTokenizerBase, backend: Any) -> PreTrainedTokenizerBase:
    """A copy of a fast tokenizer that tokenizes by another backend.

    Relies on: `_tokenizer`, the attribute behind `backend_tokenizer`, and `copy.copy`, which copies the attributes
        alone, as in transformers 5.23.0.
    If it changes: make a `PreTrainedTokenizerFast` with `tokenizer_object=backend`, and give it the special tokens, the
        languages and the `truncation_side` of the other one.
    """
    copied = copy.copy(tokenizer)
    copied._tokenizer = backend
    return copied


def without_added_tokens(tokenizer: PreTrainedTokenizerBase, left_out: Collection[str]) -> PreTrainedTokenizerBase:
    """A copy of a tokenizer in Python that does not look for some of its added tokens in texts.

    Relies on: `tokens_trie`, which finds the added tokens in a text, and its set `_tokens`, as in transformers 5.23.0.
    If it changes: see where `PythonBackend.tokenize` splits a text. Without it, special tokens that are written out in
        a text are read as such.
    """
    copied = copy.copy(tokenizer)
    trie = tokenizer.tokens_trie
    copied.tokens_trie = type(trie)(trie._tokens - set(left_out))
    return copied


# --- torch -------------------------------------------------------------------------------------------------------


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware.

    Relies on: `torch.cpu._is_avx512_bf16_supported` and `torch.cpu._is_amx_tile_supported`, as in torch 2.13.0.
    If it changes: read `torch.cpu.get_capabilities()`. Without it, training on such a CPU is about half as fast.
    """
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def set_forward(module: nn.Module, forward: Callable[..., Any]) -> None:
    """Replace the computation of one module, but not its class, its weights, or what is saved of it.

    Hooks would not do: the new forward runs the old one inside a context of autocast.

    Relies on: `Module.__call__`, which calls the `forward` that the instance has; `copy.deepcopy`, by which PEFT makes
        the trained copy of a head, and which binds a `functools.partial` in it to the copy; and `state_dict`, which
        leaves it out. Seen in torch 2.13.0 and peft 0.21.2.
    If it changes: give the module a subclass, by `module.__class__`, whose forward does the same.
    """
    module.forward = forward


def remove_display(trainer: Trainer) -> None:
    """Take away the callback that draws a bar, a table in a notebook, or the dicts of scores.

    Relies on: `transformers.trainer.DEFAULT_PROGRESS_CALLBACK`, or `PrinterCallback` where bars are off, as in
        transformers 5.23.0.
    If it changes: see the last `add_callback` of `Trainer.__init__`.
    """
    from transformers import PrinterCallback
    from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

    for kind in (PrinterCallback, DEFAULT_PROGRESS_CALLBACK):
        trainer.remove_callback(kind)


@contextlib.contextmanager
def without_bars_of_files() -> Iterator[None]:
    """Hide the bars that transformers draws for each file of weights that it writes or reads.

    Relies on: `transformers.utils.logging.set_tqdm_hook`, as in transformers 5.23.0.
    If it changes: see what makes the bar in `PreTrainedModel.save_pretrained`.
    """
    from transformers.utils import logging

    before = logging.set_tqdm_hook(_hidden_bar)
    try:
        yield
    finally:
        # Inside another such block there is nothing to undo, least of all late, when a failed Trainer is deleted.
        if before is not _hidden_bar:
            logging.set_tqdm_hook(before)


def _hidden_bar(make: Callable[..., Any], words: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    return make(*words, **{**keywords, "disable": True})


def copy_all(targets: list[torch.Tensor], sources: list[torch.Tensor]) -> None:
    """Copy tensors into others of the same shapes; on a GPU with few kernels for all of them.

    Relies on: `torch._foreach_copy_`, as in torch 2.13.0.
    If it changes: copy them one by one, which takes a millisecond more for the gradients of a small model.
    """
    import torch

    torch._foreach_copy_(targets, sources)


def live_bytes(compute: Callable[[], Any]) -> list[int]:
    """Bytes of all tensors that `compute` has made and that are still there, after each of its operations.

    Relies on: `torch.utils._python_dispatch.TorchDispatchMode`, which sees every operation, those of the backward pass
        too; `torch.utils._pytree.tree_leaves`; and `untyped_storage()` being one object for as long as the memory
        lasts, whoever holds it. Seen in torch 2.13.0.
    If it changes: see `torch.utils.flop_counter.FlopCounterMode`, which counts in the same way, and
        `torch.multiprocessing.reductions.StorageWeakRef`. Without it, `check` cannot estimate the memory of a training.
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.known: set[int] = set()
            self.live = 0
            self.curve: list[int] = [0]

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            before = set(map(id, _storages((args, kwargs))))
            made = func(*args, **(kwargs or {}))
            for storage in _storages(made):
                # What an operation returns of its arguments, such as a view, is no new memory.
                if id(storage) not in before and id(storage) not in self.known:
                    self.known.add(id(storage))
                    self.live += storage.nbytes()
                    weakref.finalize(storage, self.forget, id(storage), storage.nbytes())
            self.curve.append(self.live)
            return made

        def forget(self, key: int, size: int) -> None:
            self.known.discard(key)
            self.live -= size

    watch = Watch()
    with watch:
        compute()
    return watch.curve


def _storages(values: Any) -> list[Any]:
    """The memory of all tensors in a structure of lists and dicts."""
    import torch

    leaves = torch.utils._pytree.tree_leaves(values)
    return [leaf.untyped_storage() for leaf in leaves if isinstance(leaf, torch.Tensor)]


# --- accelerate --------------------------------------------------------------------------------------------------


def without_autocast(accelerator: Accelerator, model: Any) -> Any:
    """The model as it was before accelerate prepared it; it then computes in the precision of its weights.

    The model itself is changed: give a `copy.copy` of it, which shares the weights, to keep the original.

    Relies on: accelerate replacing `model.forward` with one that runs under autocast, keeping the old one in
        `model._original_forward`, and `unwrap_model(keep_fp32_wrapper=False)` putting it back; accelerate 1.15.0.
    If it changes: see `Accelerator.prepare_model`. Without it, logits before and after saving differ by what half
        precision rounds, so that damaged files are not noticed.
    """
    return accelerator.unwrap_model(model, keep_fp32_wrapper=False)


def forget_prepared_models(accelerator: Accelerator) -> None:
    """Make accelerate prepare the Trainer's next model, which otherwise runs without autocast.

    `Accelerator.free_memory` would do it, and collect the garbage of the whole process, which takes longer than the
    predictions of a small model.

    Relies on: `Trainer.evaluation_loop` preparing a model only where `accelerator._models` is empty, as in
        transformers 5.23.0 and accelerate 1.15.0.
    If it changes: see the condition around `prepare_model` in `Trainer.evaluation_loop`.
    """
    accelerator._models.clear()


@contextlib.contextmanager
def generating_in(context: Callable[[], contextlib.AbstractContextManager[Any]], trainer: Trainer) -> Iterator[None]:
    """What the Trainer generates in evaluation is computed inside a context, and its loss outside.

    Relies on: `Seq2SeqTrainer.prediction_step` calling `self.model.generate`, as in transformers 5.23.0; accelerate
        opens autocast for one forward at a time.
    If it changes: see `Seq2SeqTrainer.prediction_step`. Without it, evaluation in half precision takes longer, and
        encoders compute in float32 there, unlike after training.
    """
    model, before = trainer.model, vars(trainer.model).get("generate")
    generate = model.generate

    def generate_in_context(*args: Any, **keywords: Any) -> Any:
        with context():
            return generate(*args, **keywords)

    model.generate = generate_in_context
    try:
        yield
    finally:
        del model.generate
        if before is not None:
            model.generate = before


def adds_epoch_to_seed(sampler: Any) -> bool:
    """Whether a sampler draws each epoch from the sum of its attribute `initial_seed` and the epoch.

    Relies on: `accelerate.data_loader.SeedableRandomSampler`, by its attribute `initial_seed`, as in accelerate 1.15.0.
    If it changes: see how the sampler of `trainer.get_train_dataloader()` is seeded. Without it, runs with the seeds 1
        and 2 share the order of all epochs but one.
    """
    return hasattr(sampler, "initial_seed")


# --- datasets ----------------------------------------------------------------------------------------------------


def fingerprint(rows: Dataset) -> str:
    """Hash of the rows and of all that was done to them, which `Dataset.map` uses as the key of its cache.

    Relies on: `Dataset._fingerprint`, as in datasets 5.2.0.
    If it changes: see what `Dataset.map` hands to `datasets.fingerprint.Hasher`.
    """
    text: str = rows._fingerprint
    return text


def arrow_tables(rows: Dataset, size: int) -> Iterator[Any]:
    """Tables of arrow, each of so many rows.

    Relies on: `_indices` of a `Dataset` of datasets 5.2, None where its rows are those of its table in their order.

    If it changes: use `with_format("arrow").iter(size)` alone, which copies all that the rows know of themselves; for
    one text that takes as long as the tokenizer.
    """
    if rows._indices is not None:
        yield from rows.with_format("arrow").iter(size)
        return
    for start in range(0, len(rows), size):
        yield rows.data.table.slice(start, size)


def are_same_rows(first: Any, second: Any) -> bool:
    """Whether both are the same rows, unchanged; False where one of them is not a `datasets.Dataset`.

    Relies on: `Dataset._fingerprint`, which is equal for equal rows with equal history, as in datasets 5.2.0.
    If it changes: as for `fingerprint`. Without it, a Trainer that is asked to evaluate other rows than its validation
        split is given scores against the wrong labels.
    """
    known = getattr(first, "_fingerprint", None)
    return known is not None and known == getattr(second, "_fingerprint", None)


def is_file_format(name: str) -> bool:
    """Whether `load_dataset(name, data_files=...)` reads files of this format, such as csv or json.

    Relies on: `datasets.packaged_modules._PACKAGED_DATASETS_MODULES`, a dict by format, as in datasets 5.2.0.
    If it changes: see where `load_dataset` looks for "csv". Without it, `dataset=csv` is looked for on the Hub.
    """
    import datasets

    return name in datasets.packaged_modules._PACKAGED_DATASETS_MODULES


# --- peft --------------------------------------------------------------------------------------------------------


def known_targets(method: str) -> Mapping[str, Any]:
    """The layers that a method of PEFT adapts by default, by type of model.

    Args:
        method: Name of the method in upper case.

    Relies on: the attribute `target_module_mapping` of the tuner classes; IA3 has none, and uses a separate table.
        Seen in peft 0.21.2.
    If it changes: see where PEFT raises "Please specify `target_modules`" and which table it reads before that.
    """
    from peft import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as TARGETS_OF_IA3

    targets: Mapping[str, Any] = getattr(PEFT_TYPE_TO_TUNER_MAPPING[method], "target_module_mapping", TARGETS_OF_IA3)
    return targets


def trained_copies(model: nn.Module) -> dict[str, nn.Module]:
    """The trained copies of whole modules, by the name of the module that PEFT replaced with a wrapper.

    Args:
        model: The model below the adapters, from `get_base_model()`.

    Relies on: `peft.utils.ModulesToSaveWrapper` with `modules_to_save` and `active_adapters`, as in peft 0.21.2.
    If it changes: see what `modules_to_save` of a PEFT config turns a module into. Without it, a merged model has
        wrappers in it, and does not load with transformers alone.
    """
    from peft.utils import ModulesToSaveWrapper

    copies = {}
    for name, module in model.named_modules():
        if isinstance(module, ModulesToSaveWrapper):
            copies[name] = module.modules_to_save[module.active_adapters[0]]
    return copies


def silence_renamed_checkpointing() -> None:
    """Mute a FutureWarning that users cannot act on, inside `warnings.catch_warnings()`.

    Relies on: PEFT 0.21.2 reading `model.is_gradient_checkpointing`, the old name of `is_activation_checkpointing`,
        about which transformers 5.23.0 warns in these words.
    If it changes: delete this function once PEFT reads the new name; correct the words if only these have changed.
    """
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


# --- sacrebleu and bitsandbytes ----------------------------------------------------------------------------------


def corpus_counts(metric: Any, texts: Sequence[str], references: Sequence[Sequence[str | None]]) -> list[list[float]]:
    """The counts of each row that BLEU or chrF add up over a corpus, (rows, counts).

    Args:
        metric: `BLEU` or `CHRF` of sacrebleu.
        texts: Generated texts, one for each row.
        references: Streams of references; each stream has a reference, or None, for each row.

    Relies on: `sacrebleu.metrics.base.Metric._extract_corpus_statistics`, as in sacrebleu 2.6.0.
    If it changes: see what `Metric.corpus_score` does first; the bootstrap of sacrebleu needs the same counts.
    """
    counts: list[list[float]] = metric._extract_corpus_statistics(texts, references)
    return counts


def score_of_counts(metric: Any, counts: Iterable[float]) -> float:
    """BLEU or chrF of a corpus, 0 to 100, from the sums of `corpus_counts` over its rows.

    Relies on: `sacrebleu.metrics.base.Metric._compute_score_from_stats`, as in sacrebleu 2.6.0.
    If it changes: see what `Metric.corpus_score` does last.
    """
    return float(metric._compute_score_from_stats(list(counts)).score)


def number_of_weights(weights: torch.nn.Parameter) -> int:
    """Number of weights in a parameter, also where bitsandbytes packs two of them into a byte.

    Relies on: `quant_state.shape` of the 4-bit parameters of bitsandbytes 0.46, the shape before packing.
    If it changes: see how `PreTrainedModel.num_parameters` counts weights in 4 bits. Without it, the share of trained
        weights is printed too large.
    """
    packed = getattr(weights, "quant_state", None)
    return int(weights.numel() if packed is None else packed.shape.numel())


# --- Optuna ------------------------------------------------------------------------------------------------------


def journal_storage(file: Path) -> optuna.storages.JournalStorage:
    """The journal of a search; half a line at its end, which a full disk or a power cut leaves, is cut off.

    Relies on: `optuna.storages.journal` of Optuna 5.0: a line of JSON for each entry, read until a damaged line, and
        an error if others follow it; `JournalFileOpenLock`, which is given back 30 seconds after its process died.
    If it changes: write half a line at the end of a journal, and see that a search continues from the trials before.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    lock = JournalFileOpenLock(str(file))
    backend = JournalFileBackend(str(file), lock_obj=lock)
    lock.acquire()
    try:
        written = file.read_bytes()
        if not written.endswith(b"\n"):
            with open(file, "r+b") as journal:
                journal.truncate(written.rfind(b"\n") + 1)
    finally:
        lock.release()
    return JournalStorage(backend)


def trial_again(study: optuna.Study, frozen: optuna.trial.FrozenTrial) -> optuna.Trial:
    """Reopen a trial that the journal lists as running although its process has ended.

    Relies on: `FrozenTrial._trial_id`, which `optuna.Trial(study, trial_id)` takes, as in Optuna 5.0.
    If it changes: see how `Study.ask` makes a `Trial`. Without it, a trial that was killed is lost.
    """
    import optuna

    return optuna.Trial(study, frozen._trial_id)
