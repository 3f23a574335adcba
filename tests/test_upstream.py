"""The private and fragile spots of the libraries are where `hfrecipes._upstream` looks for them.

One test for each function. When a library moves something, its test fails with the function's docstring, which says
what was relied on and what to do.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import inspect
import json
import logging
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import datasets
import pytest
import torch
import transformers
from conftest import make_tokenizer
from safetensors.torch import load_file

from hfrecipes import _upstream
from hfrecipes.errors import ConfigError

FUNCTIONS = [
    value
    for name, value in vars(_upstream).items()
    if inspect.isfunction(value) and value.__module__ == _upstream.__name__ and not name.startswith("_")
]


@contextlib.contextmanager
def relied_on(function: Callable) -> Iterator[None]:
    """Fail with the docstring of the function, whatever goes wrong inside."""
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        pytest.fail(f"{function.__name__} has moved ({reason}).\n{inspect.getdoc(function)}", pytrace=False)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_each_function_has_a_test_and_says_what_to_do_when_it_moves(function):
    assert f"test_{function.__name__}" in globals()
    text = inspect.getdoc(function)
    assert "Relies on: " in text
    assert "If it changes: " in text


def private_names(tree: ast.AST) -> set[str]:
    """Private attributes that a module reads or sets on anything but `self`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            names.add(node.attr)
        is_getattr = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr", "setattr")
        if is_getattr and isinstance(node.args[1], ast.Constant):
            names.add(str(node.args[1].value))
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def test_no_other_module_uses_private_names_of_a_library():
    package = Path(_upstream.__file__).parent
    elsewhere = set()
    for file in package.rglob("*.py"):
        if file != Path(_upstream.__file__):
            for name in private_names(ast.parse(file.read_text(encoding="utf-8"))):
                elsewhere.add((str(file.relative_to(package)), name))
    assert not elsewhere


def test_it_imports_nothing_of_the_package_but_errors():
    for node in ast.walk(ast.parse(Path(_upstream.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level or str(node.module).startswith("hfrecipes")):
            assert node.module == "errors"


def test_a_failing_check_shows_what_to_do():
    message = r"cpu_has_bf16 has moved \(ValueError: gone\)(.|\n)*If it changes: "
    with pytest.raises(pytest.fail.Exception, match=message), relied_on(_upstream.cpu_has_bf16):
        raise ValueError("gone")


# --- small things to look at -------------------------------------------------------------------------------------


def tiny_classifier() -> transformers.PreTrainedModel:
    config = transformers.BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    return transformers.AutoModelForSequenceClassification.from_config(config)


def tiny_trainer(path: Path, model=None, **settings) -> transformers.Trainer:
    """A Trainer of sixteen rows of different lengths."""
    rows = []
    for index in range(16):
        rows.append({"input_ids": [1] * (index + 1), "labels": index % 2})
    arguments = transformers.TrainingArguments(
        output_dir=str(path),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        per_device_train_batch_size=2,
        remove_unused_columns=False,
        **settings,
    )
    return transformers.Trainer(
        model or tiny_classifier(),
        arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        eval_dataset=datasets.Dataset.from_list(rows[:2]),
        processing_class=make_tokenizer(),
    )


def train_sampler(trainer: transformers.Trainer):
    return trainer.get_train_dataloader().batch_sampler.sampler


BATCH = {"input_ids": torch.tensor([[1, 2, 3]])}


# --- transformers: the Trainer -----------------------------------------------------------------------------------


def test_arguments_class():
    with relied_on(_upstream.arguments_class):
        for name in ("Trainer", "Seq2SeqTrainer"):
            arguments = _upstream.arguments_class(name)
            assert hasattr(transformers, name)
            assert issubclass(arguments, transformers.TrainingArguments)
        assert hasattr(arguments, "predict_with_generate"), "what the Seq2SeqTrainer reads"
    with pytest.raises(
        ConfigError, match=r"no TrainingArguments are known for MyTrainer: expected Trainer or Seq2SeqTrainer"
    ):
        _upstream.arguments_class("MyTrainer")


def test_use_one_gpu(tmp_path):
    with relied_on(_upstream.use_one_gpu):
        arguments = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
        assert arguments.n_gpu == 0
        _upstream.use_one_gpu(arguments)
        assert arguments.n_gpu == 1


def test_evaluated_rows(tmp_path):
    with relied_on(_upstream.evaluated_rows):
        trainer = tiny_trainer(tmp_path)
        seen = []
        trainer.compute_metrics = lambda result: seen.append(_upstream.evaluated_rows(trainer)) or {}
        trainer.evaluate()
        other = trainer.train_dataset.select([3])
        trainer.evaluate(other)
        assert _upstream.are_same_rows(seen[0], trainer.eval_dataset)
        assert _upstream.are_same_rows(seen[1], other)


def test_restore_trained(tmp_path):
    with relied_on(_upstream.restore_trained):
        tiny_trainer(tmp_path, max_steps=2, save_steps=1, save_strategy="steps", learning_rate=1e-2).train()
        last = tmp_path / "checkpoint-2"
        restored = tiny_trainer(tmp_path)
        _upstream.restore_trained(restored, last)
        assert restored.state.global_step == 2
        assert has_weights(restored.model, last)
        # Of two checkpoints it is the best one that is loaded, where the arguments ask for it.
        state = last / "trainer_state.json"
        best = json.loads(state.read_text()) | {"best_model_checkpoint": str(tmp_path / "checkpoint-1")}
        state.write_text(json.dumps(best))
        restored.args.load_best_model_at_end = True
        _upstream.restore_trained(restored, last)
        assert has_weights(restored.model, tmp_path / "checkpoint-1")
        assert not has_weights(restored.model, last)


def has_weights(model: torch.nn.Module, checkpoint: Path) -> bool:
    saved = load_file(checkpoint / "model.safetensors")
    return all(torch.equal(weights, saved[name]) for name, weights in model.state_dict().items() if name in saved)


def test_loss_to_log(tmp_path):
    """The loss that is logged at the third step of three is the mean of all of them, two of which a resume has kept."""

    class Keep(transformers.TrainerCallback):
        def __init__(self, trainer, given):
            self.trainer, self.given, self.kept = trainer, given, None

        def on_train_begin(self, args, state, control, **_):
            if self.given is not None:
                _upstream.loss_to_log(self.trainer, self.given)

        def on_step_end(self, args, state, control, **_):
            if state.global_step == 2:
                self.kept = _upstream.loss_to_log(self.trainer)

    def train(folder, given=None, checkpoint=None):
        model = tiny_classifier()
        trainer = tiny_trainer(folder, model, max_steps=3, save_steps=2, logging_steps=3)
        keeper = Keep(trainer, given)
        trainer.add_callback(keeper)
        trainer.train(resume_from_checkpoint=checkpoint)
        return trainer.state.log_history[0]["loss"], keeper.kept

    with relied_on(_upstream.loss_to_log):
        whole, kept = train(tmp_path / "whole")
        assert kept[1] == 0
        checkpoint = str(tmp_path / "whole" / "checkpoint-2")
        assert train(tmp_path / "again", kept, checkpoint)[0] == whole
        assert train(tmp_path / "without", None, checkpoint)[0] != whole


def test_is_length_grouped(tmp_path):
    with relied_on(_upstream.is_length_grouped):
        sampler = train_sampler(tiny_trainer(tmp_path, train_sampling_strategy="group_by_length"))
        assert _upstream.is_length_grouped(sampler)
        orders = []
        for seed in (1, 1, 2, 3, 4):
            sampler.generator = torch.Generator().manual_seed(seed)
            orders.append(tuple(sampler))
        assert orders[0] == orders[1]
        assert len(set(orders)) > 1
        assert not _upstream.is_length_grouped(train_sampler(tiny_trainer(tmp_path)))


def test_count_weights_once(tmp_path):
    with relied_on(_upstream.count_weights_once):
        trainer = tiny_trainer(tmp_path)
        batch = {"input_ids": torch.ones(3, 5)}
        expected = trainer.floating_point_ops(batch)
        _upstream.count_weights_once(trainer)
        assert trainer.floating_point_ops(batch) == expected > 0
        assert trainer.floating_point_ops({}) == 0
        assert "self.floating_point_ops(inputs)" in inspect.getsource(transformers.Trainer._run_epoch)


def test_keep_names_in_checkpoints(tmp_path):
    with relied_on(_upstream.keep_names_in_checkpoints):
        size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        config = transformers.MixtralConfig(vocab_size=9, num_key_value_heads=1, num_local_experts=2, **size)
        model = transformers.MixtralForCausalLM(config)
        arguments = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
        trainer = transformers.Trainer(model, arguments)
        trainer.create_optimizer_and_scheduler(1)
        _upstream.keep_names_in_checkpoints(trainer)
        trainer._save_checkpoint(model, None)
        assert load_file(tmp_path / "checkpoint-0" / "model.safetensors").keys() == model.state_dict().keys()
        model.save_pretrained(tmp_path / "model")
        published = load_file(tmp_path / "model" / "model.safetensors")
        assert "model.layers.0.block_sparse_moe.experts.1.w1.weight" in published


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (transformers.trainer, "There were missing keys in the checkpoint model loaded"),
        (transformers.trainer_utils, "mtime may not be reliable on this filesystem"),
    ],
)
def test_silence_false_alarms(monkeypatch, module, message):
    logger = module.logger
    monkeypatch.setattr(logger, "filters", [])

    def is_logged(message: str) -> bool:
        return bool(logger.filter(logger.makeRecord(logger.name, logging.WARNING, "", 0, message, (), None)))

    with relied_on(_upstream.silence_false_alarms):
        assert f'"{message}' in inspect.getsource(module)
        assert is_logged(f"{message}: ['lm_head.weight'].")
        for _ in range(2):
            _upstream.silence_false_alarms()
        assert len(logger.filters) == 1
        assert not is_logged(f"{message}: ['lm_head.weight'].")
        assert is_logged("something else")


def test_remove_display(tmp_path):
    def displays(trainer: transformers.Trainer) -> list[str]:
        names = [type(callback).__name__ for callback in trainer.callback_handler.callbacks]
        return [name for name in names if "Progress" in name or "Printer" in name]

    for is_quiet in (True, False):
        trainer = tiny_trainer(tmp_path)
        if not is_quiet:
            trainer.remove_callback(transformers.PrinterCallback)
            trainer.add_callback(transformers.trainer.DEFAULT_PROGRESS_CALLBACK)
        with relied_on(_upstream.remove_display):
            assert len(displays(trainer)) == 1
            _upstream.remove_display(trainer)
            assert not displays(trainer)


def test_without_bars_of_files(tmp_path, capfd):
    transformers.utils.logging.set_tqdm_hook(None)  # of a training by hand that failed
    with relied_on(_upstream.without_bars_of_files):
        tiny_classifier().save_pretrained(tmp_path / "shown")
        assert "%" in capfd.readouterr().err
        with _upstream.without_bars_of_files():
            tiny_classifier().save_pretrained(tmp_path / "hidden")
        assert capfd.readouterr().err == ""


def test_is_about_missing_package(monkeypatch):
    with relied_on(_upstream.is_about_missing_package):
        monkeypatch.setattr(transformers.integrations.integration_utils, "is_wandb_available", lambda: False)
        error = None
        try:
            transformers.integrations.WandbCallback()
        except Exception as caught:
            error = caught
        assert _upstream.is_about_missing_package(error)
        assert _upstream.is_about_missing_package(ImportError("no module named apex"))
        assert not _upstream.is_about_missing_package(RuntimeError("CUDA out of memory"))


def test_is_about_custom_code(tmp_path):
    with relied_on(_upstream.is_about_custom_code):
        (tmp_path / "config.json").write_text('{"model_type": "odd", "auto_map": {"AutoConfig": "odd.OddConfig"}}')
        error = None
        try:
            transformers.AutoConfig.from_pretrained(tmp_path, trust_remote_code=False)
        except Exception as caught:
            error = caught
        assert _upstream.is_about_custom_code(error)
        assert not _upstream.is_about_custom_code(ValueError("Unrecognized model"))


def test_emissions_of(tmp_path):
    with relied_on(_upstream.emissions_of):
        trainer = tiny_trainer(tmp_path)
        assert _upstream.emissions_of(trainer) is None
        callback = transformers.integrations.CodeCarbonCallback
        assert "self.tracker = self._codecarbon.EmissionsTracker" in inspect.getsource(callback)
        measured = types.SimpleNamespace(energy_consumed=1.0, emissions=2.0)
        trainer.callback_handler.callbacks[0].tracker = types.SimpleNamespace(final_emissions_data=measured)
        assert _upstream.emissions_of(trainer) is measured


# --- transformers: models and tokenizers -------------------------------------------------------------------------


def test_default_generation_settings():
    with relied_on(_upstream.default_generation_settings):
        defaults = _upstream.default_generation_settings()
        assert defaults["num_beams"] == 1
        assert defaults["do_sample"] is False
        assert defaults["top_k"] == 50
        assert set(defaults) <= set(vars(transformers.GenerationConfig()))


def test_uses_flash_attention():
    with relied_on(_upstream.uses_flash_attention):
        model = tiny_classifier()
        assert model.config._attn_implementation in ("sdpa", "eager"), "a loaded model has one"
        assert not _upstream.uses_flash_attention(model)
        config = transformers.BertConfig(attn_implementation="flash_attention_2")
        assert _upstream.uses_flash_attention(types.SimpleNamespace(config=config))


def test_commit_of(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--me--tiny"
    tiny_classifier().config.save_pretrained(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    with relied_on(_upstream.commit_of):
        transformers.AutoConfig.from_pretrained("me/tiny", cache_dir=str(tmp_path))
        for revision in (None, "main", commit):
            assert _upstream.commit_of("me/tiny", revision, str(tmp_path)) == commit
        assert _upstream.commit_of(str(repository / "snapshots" / commit)) is None
        assert _upstream.commit_of("me/other", "main", str(tmp_path)) is None


def test_remember_padding_side(tmp_path):
    with relied_on(_upstream.remember_padding_side):
        tokenizer = make_tokenizer()
        tokenizer.padding_side = "left"
        tokenizer.save_pretrained(tmp_path / "forgotten")
        _upstream.remember_padding_side(tokenizer)
        tokenizer.save_pretrained(tmp_path / "remembered")
        read = transformers.AutoTokenizer.from_pretrained
        assert read(tmp_path / "remembered").padding_side == "left"
        assert read(tmp_path / "forgotten").padding_side == "right", "the function is needed"


def test_tokenizer_bookkeeping():
    with relied_on(_upstream.tokenizer_bookkeeping):
        tokenizer = make_tokenizer()
        before = {name: repr(value) for name, value in vars(tokenizer).items()}
        tokenizer(["a b", "c"], padding=True, truncation=True, max_length=3)
        changed = {name for name, value in vars(tokenizer).items() if before.get(name) != repr(value)}
        assert changed <= _upstream.tokenizer_bookkeeping()
        assert _upstream.tokenizer_bookkeeping() - {"_commit_hash"} <= set(before), "these attributes still exist"


# --- torch -------------------------------------------------------------------------------------------------------


def test_remember_input_names(tmp_path):
    with relied_on(_upstream.remember_input_names):
        tokenizer = make_tokenizer()
        _upstream.remember_input_names(tokenizer, ["input_ids", "attention_mask"])
        assert set(tokenizer("a", "b")) == {"input_ids", "attention_mask"}
        tokenizer.save_pretrained(tmp_path)
        again = transformers.AutoTokenizer.from_pretrained(tmp_path)
        assert set(again("a", "b")) == {"input_ids", "attention_mask"}


def test_reads_token_types():
    with relied_on(_upstream.reads_token_types):
        classifier = "AutoModelForSequenceClassification"
        assert _upstream.reads_token_types(classifier, transformers.BertConfig())
        assert not _upstream.reads_token_types(classifier, transformers.RobertaConfig(type_vocab_size=1))
        assert not _upstream.reads_token_types(classifier, transformers.DistilBertConfig())


def test_with_backend():
    with relied_on(_upstream.with_backend):
        tokenizer, other = make_tokenizer(), make_tokenizer()
        other.add_tokens(["<place>"])
        copied = _upstream.with_backend(tokenizer, other.backend_tokenizer)
        assert copied("<place>", add_special_tokens=False)["input_ids"] == [len(tokenizer)]
        assert len(tokenizer("<place>", add_special_tokens=False)["input_ids"]) > 1
        assert copied.pad_token_id == tokenizer.pad_token_id


def test_without_added_tokens():
    with relied_on(_upstream.without_added_tokens):
        tokenizer = transformers.ByT5Tokenizer()
        copied = _upstream.without_added_tokens(tokenizer, {"</s>"})
        assert copied.tokenize("a</s>b") == ["a", "<", "/", "s", ">", "b"]
        assert tokenizer.tokenize("a</s>b") == ["a", "</s>", "b"]


def test_cpu_has_bf16(monkeypatch):
    with relied_on(_upstream.cpu_has_bf16):
        flags = torch.cpu.get_capabilities()
        expected = bool(flags.get("avx512_bf16") or flags.get("amx_tile"))
        assert _upstream.cpu_has_bf16() is expected


def plus_one(layer: torch.nn.Module, forward: Callable, inputs: torch.Tensor) -> torch.Tensor:
    return forward(inputs) + 1 + 0 * layer.weight.sum()


def test_copy_all():
    with relied_on(_upstream.copy_all):
        targets, sources = [torch.zeros(2), torch.zeros(3, 1)], [torch.ones(2), torch.full((3, 1), 2.0)]
        _upstream.copy_all(targets, sources)
        assert all(map(torch.equal, targets, sources))


def test_set_forward():
    with relied_on(_upstream.set_forward):
        layer, inputs = torch.nn.Linear(2, 2), torch.ones(1, 2)
        before, names = layer(inputs), list(layer.state_dict())
        _upstream.set_forward(layer, partial(plus_one, layer, layer.forward))
        assert torch.equal(layer(inputs), before + 1)
        assert list(layer.state_dict()) == names
        copied = copy.deepcopy(layer)
        with torch.no_grad():
            copied.weight.zero_()
            copied.bias.zero_()
        assert torch.equal(copied(inputs), torch.ones(1, 2)), "the copy computes with its weights"
        assert torch.equal(layer(inputs), before + 1), "and the original with those of the original"


def test_live_bytes():
    with relied_on(_upstream.live_bytes):
        weights = torch.zeros(1000, requires_grad=True)

        def compute():
            # Two results of 4,000 bytes are kept for the backward pass, and no view counts; the gradient stays.
            weights.view(10, 100).exp().sin().sum().backward()

        curve = _upstream.live_bytes(compute)
        assert 8_000 <= max(curve) <= 20_100
        assert 4_000 <= curve[-1] < 4_100


# --- accelerate --------------------------------------------------------------------------------------------------


def test_without_autocast(tmp_path):
    with relied_on(_upstream.without_autocast):
        trainer = tiny_trainer(tmp_path, bf16=True)
        model = trainer.model.eval()
        with torch.no_grad():
            plain = model(**BATCH)["logits"]
            prepared = trainer.accelerator.prepare_model(model)
            assert not torch.equal(prepared(**BATCH)["logits"], plain)
            other = _upstream.without_autocast(trainer.accelerator, copy.copy(prepared))
            assert torch.equal(other(**BATCH)["logits"], plain)
            assert not torch.equal(prepared(**BATCH)["logits"], plain), "the original is still prepared"
            whole = _upstream.without_autocast(trainer.accelerator, prepared)
            assert torch.equal(whole(**BATCH)["logits"], plain)


def test_generating_in(tmp_path):
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = transformers.T5Config(vocab_size=32, decoder_start_token_id=0, **sizes)
    model = transformers.T5ForConditionalGeneration(config)
    settings = {"use_cpu": True, "bf16": True, "predict_with_generate": True, "report_to": "none"}
    arguments = transformers.Seq2SeqTrainingArguments(output_dir=str(tmp_path), **settings)
    trainer = transformers.Seq2SeqTrainer(model, arguments, processing_class=make_tokenizer())
    in_autocast, forward = [], model.forward

    @functools.wraps(forward)
    def forward_noting(*args, **keywords):
        in_autocast.append(torch.is_autocast_enabled("cpu"))
        return forward(*args, **keywords)

    model.forward = forward_noting
    batch = {**BATCH, "labels": torch.tensor([[4, 5]])}
    with relied_on(_upstream.generating_in):
        trainer.prediction_step(model, dict(batch), False, max_new_tokens=3)
        assert not any(in_autocast), "accelerate opens it inside of its own forward, which is not there yet"
        in_autocast.clear()
        context = partial(torch.autocast, "cpu", dtype=torch.bfloat16)
        with _upstream.generating_in(context, trainer):
            trainer.prediction_step(model, dict(batch), False, max_new_tokens=3)
        assert in_autocast == [True, True, True, False], "three tokens in it, and then the loss outside"
        assert "generate" not in vars(model)
        model.generate = own = model.generate
        with _upstream.generating_in(context, trainer):
            assert model.generate is not own
        assert model.generate is own, "what was set on the model by others stays"


def test_forget_prepared_models(tmp_path):
    with relied_on(_upstream.forget_prepared_models):
        trainer = tiny_trainer(tmp_path, bf16=True)
        trainer.evaluate()
        for forget in (False, True):
            trainer.model = trainer.model_wrapped = tiny_classifier()
            if forget:
                _upstream.forget_prepared_models(trainer.accelerator)
            trainer.evaluate()
            assert hasattr(trainer.model, "_original_forward") is forget


def test_adds_epoch_to_seed(tmp_path):
    with relied_on(_upstream.adds_epoch_to_seed):
        sampler = train_sampler(tiny_trainer(tmp_path))
        assert _upstream.adds_epoch_to_seed(sampler)
        orders = []
        for seed, epoch in ((7, 1), (8, 0), (7, 0)):
            sampler.initial_seed = seed
            sampler.set_epoch(epoch)
            orders.append(list(sampler))
        assert orders[0] == orders[1] != orders[2]
        assert not _upstream.adds_epoch_to_seed(torch.utils.data.SequentialSampler([1]))


# --- datasets ----------------------------------------------------------------------------------------------------


def test_fingerprint(tmp_path):
    with relied_on(_upstream.fingerprint):
        rows = datasets.Dataset.from_dict({"text": ["a", "b"]})
        assert _upstream.fingerprint(rows) == _upstream.fingerprint(rows)
        assert _upstream.fingerprint(rows) != _upstream.fingerprint(rows.select([0]))


def test_arrow_tables():
    with relied_on(_upstream.arrow_tables):
        rows = datasets.Dataset.from_dict({"text": list("abcde")})
        for order in (range(5), [3, 0, 4], [1]):
            tables = list(_upstream.arrow_tables(rows.select(order), 2))
            assert all(len(table) <= 2 for table in tables)
            texts = [text for table in tables for text in table["text"].to_pylist()]
            assert texts == ["abcde"[index] for index in order]


def test_are_same_rows():
    with relied_on(_upstream.are_same_rows):
        rows = datasets.Dataset.from_dict({"text": ["a", "b"]})
        assert _upstream.are_same_rows(rows, rows)
        assert not _upstream.are_same_rows(rows, rows.select([0]))
        assert not _upstream.are_same_rows(rows, None)
        assert not _upstream.are_same_rows([], [])


def test_is_file_format():
    with relied_on(_upstream.is_file_format):
        for name in ("csv", "json", "parquet", "text", "arrow", "conll"):
            assert _upstream.is_file_format(name)
        assert not _upstream.is_file_format("me/texts")


# --- peft --------------------------------------------------------------------------------------------------------


def test_known_targets():
    with relied_on(_upstream.known_targets):
        for method in ("LORA", "IA3", "VERA"):
            assert "bert" in _upstream.known_targets(method)
            assert "mpnet" not in _upstream.known_targets(method)


def test_trained_copies():
    from peft import LoraConfig, get_peft_model

    with relied_on(_upstream.trained_copies):
        model = tiny_classifier()
        original = model.classifier
        adapted = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", modules_to_save=["classifier"]))
        copies = _upstream.trained_copies(adapted.get_base_model())
        assert list(copies) == ["classifier"]
        assert copies["classifier"] is not original
        assert copies["classifier"].weight.requires_grad


def test_silence_renamed_checkpointing():
    from peft import LoraConfig, get_peft_model

    def warned(silence: bool) -> bool:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if silence:
                _upstream.silence_renamed_checkpointing()
            get_peft_model(tiny_classifier(), LoraConfig(task_type="SEQ_CLS"))
        return any("checkpointing" in str(warning.message) for warning in caught)

    with relied_on(_upstream.silence_renamed_checkpointing):
        assert warned(silence=False), "without this warning the function is no longer needed"
        assert not warned(silence=True)


# --- sacrebleu and bitsandbytes ----------------------------------------------------------------------------------


def sacrebleu_metrics() -> list:
    metrics = pytest.importorskip("sacrebleu.metrics")
    return [metrics.BLEU(force=True), metrics.CHRF()]


TEXTS, REFERENCES = ["the film was great", "a bad book"], [["the film was good", "a very bad book"]]


def test_corpus_counts():
    for metric in sacrebleu_metrics():
        with relied_on(_upstream.corpus_counts):
            rows = _upstream.corpus_counts(metric, TEXTS, REFERENCES)
            assert len(rows) == len(TEXTS)
            (alone,) = _upstream.corpus_counts(metric, TEXTS[:1], [REFERENCES[0][:1]])
            assert list(alone) == list(rows[0]), "the counts of a row do not depend on the others"


def test_score_of_counts():
    for metric in sacrebleu_metrics():
        with relied_on(_upstream.score_of_counts):
            rows = _upstream.corpus_counts(metric, TEXTS, REFERENCES)
            sums = [sum(column) for column in zip(*rows, strict=True)]
            expected = metric.corpus_score(TEXTS, REFERENCES).score
            assert _upstream.score_of_counts(metric, sums) == pytest.approx(expected)


def test_number_of_weights():
    with relied_on(_upstream.number_of_weights):
        weights = torch.nn.Parameter(torch.zeros(4, 2))
        assert _upstream.number_of_weights(weights) == 8
    bitsandbytes = pytest.importorskip("bitsandbytes")
    with relied_on(_upstream.number_of_weights):
        packed = bitsandbytes.nn.Params4bit(torch.randn(64, 64), requires_grad=False).to("cpu")
        assert packed.numel() < _upstream.number_of_weights(packed) == 64 * 64


# --- Optuna ------------------------------------------------------------------------------------------------------


def test_journal_storage(tmp_path):
    import optuna

    with relied_on(_upstream.journal_storage):
        file = tmp_path / "journal.log"
        study = optuna.create_study(storage=_upstream.journal_storage(file), study_name="s")
        study.tell(study.ask(), 1.0)
        with open(file, "a") as journal:
            journal.write('{"op_code": 4, "tri')
        again = optuna.create_study(storage=_upstream.journal_storage(file), study_name="s", load_if_exists=True)
        again.tell(again.ask(), 2.0)
        last = optuna.load_study(storage=_upstream.journal_storage(file), study_name="s")
        assert [trial.value for trial in last.trials] == [1.0, 2.0]


def test_trial_again():
    import optuna

    with relied_on(_upstream.trial_again):
        study = optuna.create_study()
        first = study.ask()
        value = first.suggest_float("x", 0.0, 1.0)
        again = _upstream.trial_again(study, study.trials[0])
        assert again.suggest_float("x", 0.0, 1.0) == value
        again.report(3.0, 1)
        study.tell(again, value)
        assert study.trials[0].intermediate_values == {1: 3.0}
