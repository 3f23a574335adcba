"""Texts are packed without losing their ends, scored token by token, and gone on with as the saved model would."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import make_pieces, make_tokenizer, opinions, save_llama

import hfrecipes
from hfrecipes.data import packing
from hfrecipes.data.plain import in_memory
from hfrecipes.errors import ConfigError, DataError, ModelError
from hfrecipes.evaluation.generation import add_texts
from hfrecipes.evaluation.inference import predict_rows
from hfrecipes.models import precision
from hfrecipes.recipe import file_formats
from hfrecipes.tasks.text_generation import TextGeneration

TEXTS = [row["text"] for row in opinions(60)]
CHINESE = ["床前有光，窗外有雨。", "小船很小，湖也很小。"]


def recipe_with_tokenizer(**options) -> TextGeneration:
    recipe = TextGeneration(**options)
    recipe.tokenizer = make_pieces(TEXTS + CHINESE)
    return recipe


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(make_pieces(TEXTS + CHINESE), tmp_path_factory.mktemp("models") / "llama")


# --- blocks ----------------------------------------------------------------------------------------------------------


def test_blocks_are_full_and_texts_stand_in_them_with_an_end_between():
    recipe = recipe_with_tokenizer(max_length=16)
    features = recipe.encode_for_training({"text": TEXTS[:9]})
    assert set(features["length"][:-1]) == {16}
    end = recipe.tokenizer.eos_token_id
    # Blocks share a token, from which the next one goes on, so that each token is learnt in one of them.
    stream = [*features["input_ids"][0][:1], *(token for ids in features["input_ids"] for token in ids[1:])]
    assert stream[1:] == [token for labels in features["labels"] for token in labels if token >= 0]
    plain = [[*recipe.tokenizer(text, add_special_tokens=False)["input_ids"], end] for text in TEXTS[:9]]
    assert stream == [end, *(token for ids in plain for token in ids)]


@pytest.mark.parametrize("across", [True, False])
def test_the_end_of_every_text_is_learnt_though_it_also_fills_batches(across, llama):
    recipe = recipe_with_tokenizer(max_length=64, across_documents=across)
    assert recipe.tokenizer.pad_token_id == recipe.tokenizer.eos_token_id
    features = recipe.encode_for_training({"text": TEXTS[:9]})
    rows = [dict(zip(features, values, strict=True)) for values in zip(*features.values(), strict=True)]
    model = load(llama)
    batch = recipe.collator(model)([{name: row[name] for name in row if name != "length"} for row in rows])
    assert int((batch["labels"] == recipe.tokenizer.eos_token_id).sum()) == 9
    assert ("attention_mask" in batch) == across


def load(path: str):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path).eval()


def family(name: str, vocabulary: int):
    """A tiny model of a family, drawn at random."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    about = {
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
        "mamba": {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4},
        "rwkv": {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16, "context_length": 128},
    }.get(name)
    about = about or {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "head_dim": 8,
    }
    torch.manual_seed(0)
    config = CONFIG_MAPPING[name](
        vocab_size=vocabulary, initializer_range=0.3, bos_token_id=0, eos_token_id=0, pad_token_id=0, **about
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    model.config.use_cache = False  # as the Trainer has it
    return model


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2", "mistral", "gemma"])
def test_a_packed_text_has_the_logits_that_it_has_alone(name):
    recipe = recipe_with_tokenizer(max_length=96, across_documents=False)
    model = family(name, len(recipe.tokenizer))
    rows = rows_in_training(recipe, TEXTS[:12])
    assert len(rows) < 8, "texts share rows"
    batch = recipe.collator(model)(rows)
    with torch.no_grad():
        packed = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
        for row, ids, places in zip(packed, batch["input_ids"], batch["position_ids"], strict=True):
            starts = [place for place in range(len(places)) if places[place] == 0]
            for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
                alone = model(input_ids=ids[start:stop][None]).logits[0]
                assert torch.allclose(row[start:stop], alone, atol=1e-4)


def check_model(recipe: TextGeneration, model) -> None:
    recipe.adapt_to_model(model.config, model)


def rows_in_training(recipe: TextGeneration, texts: list[str]) -> list[dict]:
    """Rows of several texts, as they are trained on."""
    features = recipe.encode_for_training({"text": texts})
    rows = packing.pack(in_memory(pa.table(features)).remove_columns("row"), recipe.max_length, seed=1)
    return [rows[index] for index in range(len(rows))]


def test_a_model_that_would_read_packed_texts_together_is_refused():
    recipe = recipe_with_tokenizer(across_documents=False, max_length=8)
    with pytest.raises(ConfigError, match="type mamba lets texts that are packed into one row see each other"):
        check_model(recipe, family("mamba", len(recipe.tokenizer)))
    check_model(recipe, family("llama", len(recipe.tokenizer)))
    check_model(recipe_with_tokenizer(), family("mamba", len(recipe.tokenizer)))


def test_a_model_that_sees_what_it_is_to_guess_is_refused(tiny_bert, tmp_path):
    rows = [{"text": text} for text in TEXTS]
    with pytest.raises(ModelError, match="type bert sees the tokens that it should predict"):
        hfrecipes.run("text-generation", model=tiny_bert, dataset=rows, output_dir=tmp_path / "run")
    assert not list(tmp_path.glob("run/*"))


def test_keeping_keys_and_values_would_undo_packing_and_is_refused(llama, tmp_path):
    about = {"model": llama, "dataset": [{"text": text} for text in TEXTS], "output_dir": tmp_path / "run"}
    with pytest.raises(ConfigError, match="packed into one row see each other"):
        hfrecipes.build("text-generation", across_documents=False, use_cache=True, **about)


def test_a_model_is_checked_in_float32_unless_its_attention_takes_half_precision_only(llama, tmp_path):
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    seen = []

    def noted(*args, **keywords):
        seen.append(torch.is_autocast_enabled("cpu"))
        return sdpa_attention_forward(*args, **keywords)

    AttentionInterface.register("noted", noted)
    AttentionMaskInterface.register("noted", sdpa_mask)
    about = {"dataset": [{"text": text} for text in TEXTS], "output_dir": tmp_path / "run", "bf16": True}
    model = {"path": llama, "attn_implementation": "noted"}
    trainer = hfrecipes.build("text-generation", model=model, across_documents=False, **about)
    assert set(seen) == {False}
    trainer.model.config._attn_implementation = "flash_attention_2"
    with precision.for_checks(trainer.model, "bf16"):
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma"])
def test_a_model_of_half_precision_weights_is_judged_as_one_of_float32(name):
    recipe = recipe_with_tokenizer(across_documents=False, max_length=8)
    check_model(recipe, family(name, len(recipe.tokenizer)).to(torch.bfloat16))
    with pytest.raises(ConfigError, match="type mamba lets texts that are packed into one row see each other"):
        check_model(recipe, family("mamba", len(recipe.tokenizer)).to(torch.bfloat16))


def test_an_encoder_is_refused_in_half_precision_too(tiny_bert, tmp_path):
    about = {"dataset": [{"text": text} for text in TEXTS], "output_dir": tmp_path / "run", "bf16": True}
    with pytest.raises(ModelError, match="type bert sees the tokens that it should predict"):
        hfrecipes.build("text-generation", model=tiny_bert, **about)


def test_flash_attention_gets_one_row_in_which_it_finds_the_borders():
    recipe = recipe_with_tokenizer(max_length=16, across_documents=False)
    model = family("llama", len(recipe.tokenizer))
    model.config._attn_implementation = "flash_attention_2"
    rows = rows_in_training(recipe, TEXTS[:6])
    batch = recipe.collator(model)(rows)
    assert len(rows) > 1
    assert {tensor.shape for tensor in batch.values()} == {(1, sum(row["length"] for row in rows))}


# --- scores ----------------------------------------------------------------------------------------------------------


def test_each_token_of_a_long_text_is_scored_once():
    recipe = recipe_with_tokenizer(max_length=16)
    text = " ".join(TEXTS[:8])
    features = recipe.encode({"text": [text, "a"]})
    labels = [[token for token in labels if token >= 0] for labels in features["labels"]]
    ids = recipe.tokenizer(text, add_special_tokens=False)["input_ids"]
    own = [one for row, one in zip(features["row"], labels, strict=True) if row == 0]
    assert [token for one in own for token in one] == [*ids, recipe.tokenizer.eos_token_id]
    assert len(own) > 3


@pytest.fixture(scope="module")
def run(llama, tmp_path_factory: pytest.TempPathFactory) -> hfrecipes.Result:
    path = tmp_path_factory.mktemp("runs")
    rows = {"train": [{"text": text} for text in TEXTS], "test": [{"text": text} for text in [*TEXTS[:7], *CHINESE]]}
    return hfrecipes.run(
        "text-generation",
        model=llama,
        dataset=rows,
        output_dir=path / "run",
        max_length=48,
        learning_rate=1e-2,
        num_train_epochs=3,
        bf16=False,
        max_new_tokens=10,
    )


def test_perplexity_is_what_the_model_s_own_loss_gives(run):
    model, tokenizer = load(run.path), run.predictor.recipe.tokenizer
    losses, tokens, size = 0.0, 0, 0
    for text in [*TEXTS[:7], *CHINESE]:
        ids = [tokenizer.eos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        assert len(ids) <= 48
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss
        losses, tokens, size = losses + float(loss) * (len(ids) - 1), tokens + len(ids) - 1, size + len(text.encode())
    found = run.metrics["test"]
    assert found["loss"] == pytest.approx(losses / tokens, rel=1e-4)
    assert found["perplexity"] == pytest.approx(math.exp(losses / tokens), rel=1e-4)
    assert found["byte_perplexity"] == pytest.approx(math.exp(losses / size), rel=1e-4)


def test_generation_prints_no_warning_of_transformers(run, caplog):
    with caplog.at_level("WARNING"):
        assert run.predict(TEXTS[0])["generated_text"] is not None
    assert "max_new_tokens" not in caplog.text
    saved = json.loads((run.path / "generation_config.json").read_text())
    assert saved["max_new_tokens"] == 10
    assert "max_length" not in saved


def test_what_evaluation_keeps_does_not_grow_with_the_vocabulary():
    recipe = TextGeneration()
    for vocabulary in (10, 1000):
        kept = recipe.preprocess_logits(torch.zeros(3, 5, vocabulary), torch.ones(3, 5, dtype=torch.long))
        assert kept.shape == (3, 3)


def test_the_trivial_guess_is_by_the_frequency_of_tokens(run):
    recipe = run.predictor.recipe
    train = datasets.Dataset.from_list([{"text": "film film"}, {"text": "film"}])
    baseline = json.loads(json.dumps(recipe.baseline(train)))
    (guess,) = recipe.baseline_predictions(datasets.Dataset.from_list([{"text": "film"}]), baseline)
    ids = [recipe.tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("film film", "film")]
    counts = np.ones(len(recipe.tokenizer))
    for token in [*ids[0], *ids[1], *[recipe.tokenizer.eos_token_id] * 2]:
        counts[token] += 1
    expected = -np.log(counts / counts.sum())[[*ids[1], recipe.tokenizer.eos_token_id]]
    assert guess["loss"] == pytest.approx(expected.mean())


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_text_is_gone_on_with_as_the_pipeline_does(run):
    from transformers import pipeline

    ours = run.predict("the film")
    write = pipeline("text-generation", str(run.path))
    # Its tokenizer puts nothing before a text, and what stood there in training was the end of another one.
    theirs = write(f"{write.tokenizer.eos_token}the film", return_full_text=False)[0]["generated_text"]
    assert ours["generated_text"] == theirs
    assert ours["prompt"] == "the film"
    assert ours["generated_tokens"] <= 10


def test_texts_of_any_length_are_gone_on_with_in_one_call(run):
    texts = ["the", " ".join(TEXTS), "the film", "小船"]
    together = run.predict(texts)
    assert [one["generated_text"] for one in together] == [run.predict(text)["generated_text"] for text in texts]


def save_rwkv(folder: Path) -> str:
    """A tiny RWKV, which reads padding."""
    tokenizer = make_pieces(TEXTS + CHINESE)
    family("rwkv", len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_model_that_reads_padding_writes_a_text_as_if_it_were_alone(bf16, tmp_path, caplog):
    model = save_rwkv(tmp_path / "model")
    about = {"dataset": [{"text": text} for text in TEXTS], "max_steps": 1, "max_new_tokens": 8, "generated_rows": 0}
    result = hfrecipes.run("text-generation", model=model, output_dir=tmp_path / "run", bf16=bf16, **about)
    texts = ["the", " ".join(TEXTS[:3]), "the film"]
    with caplog.at_level("INFO", "hfrecipes"):
        together = result.predict(texts)
        again = result.predict(texts)
    assert caplog.text.count("the output of this model depends on padding, so texts are generated one at a time") == 1
    assert together == again
    assert [one["generated_text"] for one in together] == [result.predict(text)["generated_text"] for text in texts]


@pytest.mark.parametrize("name", ["llama", "gpt2", "mamba"])
def test_a_model_that_does_not_read_padding_writes_many_texts_at_once(name, tmp_path, caplog):
    tokenizer = make_pieces(TEXTS + CHINESE)
    family(name, len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    about = {"dataset": [{"text": text} for text in TEXTS], "max_steps": 1, "max_new_tokens": 4, "bf16": True}
    result = hfrecipes.run("text-generation", model=str(tmp_path / "model"), output_dir=tmp_path / "run", **about)
    sizes = []
    result.trainer.model.register_forward_pre_hook(
        lambda module, args, keywords: sizes.append(len(keywords["input_ids"])), with_kwargs=True
    )
    with caplog.at_level("INFO", "hfrecipes"):
        result.predict(["the", "the film was", "the film"])
    assert max(sizes) == 3
    assert "reads padding" not in caplog.text


def test_more_texts_than_prompts_are_an_error_with_both_numbers(run):
    inference = hfrecipes.load(run.path).inference
    inference.model.generation_config.update(do_sample=True, num_return_sequences=3)
    with pytest.raises(ModelError, match=r"wrote 6 texts for 2 prompts, expected one for each: leave num_return_seq"):
        hfrecipes.evaluation.generation.generate(inference, [[5, 6], [7, 8]])


def test_a_text_is_streamed_in_the_precision_that_rows_are_predicted_in(run):
    predictor = hfrecipes.load(run.path)
    training = {**predictor.config.training, "bf16": True, "use_cpu": True}
    predictor.config = dataclasses.replace(predictor.config, training=training)
    kinds = []
    layer = predictor.trainer.model.model.layers[0].mlp.gate_proj
    layer.register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    before = predictor.stream({"text": "the film"}, lambda piece: None)
    predicted = predictor.predict({"text": "the film"})["generated_text"]
    after = predictor.stream({"text": "the film"}, lambda piece: None)
    assert set(kinds) == {torch.bfloat16}
    assert before == predicted == after


def test_some_rows_of_each_split_are_gone_on_with_after_training(run):
    lines = [json.loads(line) for line in (run.path / "predictions.jsonl").read_text().splitlines()]
    test = [line for line in lines if line["split"] == "test"]
    written = [line for line in test if "generated_text" in line["prediction"]]
    assert [line["row"] for line in written] == [0, 2, 5, 8]
    for line in written:
        assert line["text"].startswith(line["prediction"]["prompt"])
        assert len(line["prediction"]["prompt"]) < len(line["text"])


def test_what_is_drawn_for_scores_is_the_same_each_time(llama, tmp_path):
    rows = [{"text": text} for text in TEXTS[:30]]
    about = {"model": llama, "dataset": rows, "max_steps": 1, "temperature": 1.5, "max_new_tokens": 8, "bf16": False}
    result = hfrecipes.run("text-generation", output_dir=tmp_path / "run", seed=7, **about)
    predictor = hfrecipes.load(result.path)

    def predict_as_scored() -> list[dict]:
        some, inference = datasets.Dataset.from_list(rows[:5]), predictor.inference
        return add_texts(inference, some, predict_rows(inference, some), scored=True)

    torch.rand(3)
    again = predict_as_scored()
    torch.rand(1)
    once_more = predict_as_scored()
    assert again == once_more
    assert "generated_text" in again[0]
    assert predictor.trainer.args.seed == 7
    free = [predictor.predict("the film")["generated_text"] for _ in range(6)]
    assert len(set(free)) > 1
    saved = json.loads((result.path / "generation_config.json").read_text())
    assert (saved["do_sample"], saved["temperature"], saved["max_new_tokens"]) == (True, 1.5, 8)


def test_a_tokenizer_that_ends_texts_with_sep_will_do(tmp_path):
    model = save_llama(make_tokenizer(), tmp_path / "model")
    rows = [{"text": text} for text in TEXTS[:30]]
    result = hfrecipes.run("text-generation", model=model, dataset=rows, output_dir=tmp_path / "run", max_steps=1)
    recipe = result.predictor.recipe
    ids = recipe.encode({"text": ["the film"]})["input_ids"][0]
    assert recipe.tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "the", "film", "[SEP]"]
    assert json.loads((result.path / "generation_config.json").read_text())["eos_token_id"] == 3


BOOK = "Once there was a crane that could not\ncount beyond four.\n\nIt asked the frogs, and they laughed.\n\n"


@pytest.mark.parametrize("task", ["text-generation", "fill-mask"])
def test_lines_that_run_on_are_named_with_the_options_that_join_them(task, tmp_path, caplog):
    (tmp_path / "book.txt").write_text(BOOK * 20)
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check(task, dataset="book.txt")
    assert "text: 33% of the lines run on into the next one" in caplog.text
    assert "options.document=paragraph reads the lines between blank lines as one text" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO", "hfrecipes"):
        assert hfrecipes.check(task, dataset="book.txt", document="paragraph")["rows"]["train"] == 36
    assert "run on" not in caplog.text


@pytest.mark.parametrize(
    "lines",
    [
        ["The kettle hums.", "the cat looks up."],
        ["so tired today", "why is it raining again"],
        ["Rain on the roof", "And nobody has to go"],
        ["静夜思", "床前明月光"],
    ],
)
def test_lines_that_are_texts_get_no_such_hint(lines, tmp_path, caplog):
    (tmp_path / "lines.txt").write_text("\n".join(lines * 20), encoding="utf-8")
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("text-generation", dataset="lines.txt")
    assert "run on" not in caplog.text


def test_a_book_as_one_text_is_trained_on_without_validation(tmp_path, caplog):
    (tmp_path / "book.txt").write_text(BOOK * 20)
    with pytest.raises(DataError, match=r"1 training row, too few .*splits.validation=null"):
        hfrecipes.check("text-generation", dataset="book.txt", document="file")
    with caplog.at_level("INFO", "hfrecipes"):
        report = hfrecipes.check("text-generation", dataset="book.txt", document="file", splits={"validation": None})
    assert report["rows"] == {"train": 1}
    assert "no validation and no test split: the only scores are those of the rows that are trained on" in caplog.text
    assert "chose the checkpoint" not in caplog.text


def test_a_tokenizer_without_an_end_is_named():
    recipe = recipe_with_tokenizer()
    recipe.tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no token that ends a text: set eos_token"):
        recipe.encode({"text": ["the film"]})


def test_whole_files_are_documents(llama, tmp_path: Path):
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        for place in range(3):
            (tmp_path / split / f"{place}.txt").write_text("\n\n".join(TEXTS[place : place + 5]))
    found = hfrecipes.check(
        "text-generation",
        dataset={"train": str(tmp_path / "train/*.txt"), "validation": str(tmp_path / "validation/*.txt")},
        document="file",
    )
    assert found["rows"] == {"train": 3, "validation": 3}


def test_paragraphs_are_documents(tmp_path: Path):
    file = tmp_path / "play.txt"
    file.write_text("\n\n\n".join(f"Speaker {place}:\r\nI say so." for place in range(30)) + "\n\n")
    recipe = TextGeneration(document="paragraph")
    rows = hfrecipes.data.files.read_file(str(file), formats=file_formats(recipe))
    assert rows["text"][:2] == ["Speaker 0:\nI say so.", "Speaker 1:\nI say so."]
    assert hfrecipes.check("text-generation", dataset=str(file), document="paragraph")["rows"]["train"] == 27


def test_no_text_is_written_where_none_is_asked_for(llama, tmp_path):
    rows = [{"text": text} for text in TEXTS[:30]]
    about = {"model": llama, "dataset": rows, "max_steps": 1, "max_length": 64, "bf16": False}
    result = hfrecipes.run("text-generation", output_dir=tmp_path / "run", generated_rows=0, **about)
    lines = [json.loads(line) for line in (result.path / "predictions.jsonl").read_text().splitlines()]
    assert lines
    assert not any("generated_text" in line["prediction"] for line in lines)
    assert (result.path / "metrics.json").exists()
    assert "generated_text" in hfrecipes.load(result.path).predict("the film"), "a text to predict still gets one"


@pytest.mark.parametrize("setting", [{"max_new_tokens": 0}, {"generated_rows": -1}, {"temperature": -0.1}])
def test_settings_that_write_nothing_are_refused(setting):
    with pytest.raises(ConfigError, match="or more"):
        TextGeneration(**setting)


# --- learning --------------------------------------------------------------------------------------------------------


def test_a_small_model_learns_to_count_and_to_stop_full_and_with_lora(tmp_path):
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    up = random.Random(0).sample([" ".join(words[start : start + 4]) for start in (0, 4, 8)] * 80, 240)
    down = [" ".join(reversed(text.split())) for text in up]
    model = save_llama(make_pieces(up + down), tmp_path / "model", size=64, layers=2)
    about = {"per_device_train_batch_size": 2, "bf16": False, "max_new_tokens": 12, "max_length": 64}
    for name, texts, more in (
        ("full", up, {"learning_rate": 5e-3, "num_train_epochs": 8}),
        (
            "lora",
            down,
            {"learning_rate": 1e-2, "num_train_epochs": 20, "lora": {"r": 16, "target_modules": "all-linear"}},
        ),
    ):
        rows = [{"text": text} for text in texts]
        result = hfrecipes.run(
            "text-generation", model=model, dataset=rows, output_dir=tmp_path / name, **about, **more
        )
        for text in sorted(set(texts)):
            first, rest = text.split(" ", 1)
            made = hfrecipes.load(result.path).predict(first)
            assert made["generated_text"].strip() == rest
            assert not made["at_limit"]
        model = str(result.path)
