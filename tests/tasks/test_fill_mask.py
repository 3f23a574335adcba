"""Hidden words are drawn once for scores and anew for training; adapted models are where other tasks begin."""

from __future__ import annotations

import json
import math
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from conftest import GOOD, THINGS, make_tokenizer, opinions
from processes import TWO_PROCESSES, run_python

import hfrecipes
from hfrecipes.errors import ConfigError, ModelError
from hfrecipes.evaluation.scoring import score
from hfrecipes.tasks.fill_mask import FillMask

TEXTS = [row["text"] for row in opinions(60)]


def recipe_with_tokenizer(**options) -> FillMask:
    recipe = FillMask(**options)
    recipe.tokenizer = make_tokenizer()
    return recipe


def test_the_same_words_are_hidden_whenever_and_beside_whatever_a_text_is_read():
    recipe = recipe_with_tokenizer()
    together, again = recipe.encode({"text": TEXTS}), recipe.encode({"text": TEXTS[7:9]})
    for name in ("input_ids", "labels"):
        assert [list(one) for one in together[name][7:9]] == [list(one) for one in again[name]]


def test_labels_are_what_was_hidden_and_special_tokens_never_are():
    recipe = recipe_with_tokenizer(mlm_probability=0.5)
    features = recipe.encode({"text": TEXTS})
    plain = recipe.tokenizer(TEXTS)["input_ids"]
    for hidden, labels, ids in zip(features["input_ids"], features["labels"], plain, strict=True):
        chosen = np.flatnonzero(np.array(labels) != -100)
        assert len(chosen) >= 1
        assert not {0, len(ids) - 1} & set(chosen)
        assert [labels[place] for place in chosen] == [ids[place] for place in chosen]
        assert all(hidden[place] == ids[place] for place in set(range(len(ids))) - set(chosen))


def test_of_the_hidden_tokens_most_are_masked_some_replaced_some_kept():
    recipe = recipe_with_tokenizer(mlm_probability=0.15)
    ids = np.arange(5, 60).repeat(400)
    hidden, labels = recipe._hide(ids, range(len(ids)), np.random.default_rng(0))
    chosen = labels != -100
    assert chosen.mean() == pytest.approx(0.15, abs=0.01)
    assert (hidden[chosen] == recipe.tokenizer.mask_token_id).mean() == pytest.approx(0.8, abs=0.02)
    assert (hidden[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.02)


def test_whole_words_are_hidden_together():
    recipe = recipe_with_tokenizer(whole_word_mask=True, mlm_probability=0.3)
    text = "xyz abc film ghi"  # all but one in pieces
    tokens = recipe.tokenizer(text)
    hidden = set()
    for seed in range(30):
        _, labels = recipe._hide(
            np.array(tokens["input_ids"]), recipe._words(recipe.tokenizer([text]), 0), np.random.default_rng(seed)
        )
        chosen = labels != -100
        words = [word for word in tokens.word_ids() if word is not None]
        for word in set(words):
            pieces = chosen[1:-1][np.array(words) == word]
            assert pieces.all() or not pieces.any()
        hidden |= {word for word, one in zip(words, chosen[1:-1], strict=True) if one}
    assert hidden == {0, 1, 2, 3}


@pytest.mark.parametrize("whole_word_mask", [False, True])
def test_training_packs_every_token_into_full_blocks(whole_word_mask):
    recipe = recipe_with_tokenizer(max_length=32, whole_word_mask=whole_word_mask)
    features = recipe.encode_for_training({"text": TEXTS})
    ids = recipe.tokenizer(TEXTS, add_special_tokens=False)["input_ids"]
    packed = [one for block in features["input_ids"] for one in block[1:-1]]
    assert packed == [one for text in ids for one in (*text, recipe.tokenizer.sep_token_id)]
    assert set(features["length"][:-1]) == {32}
    if whole_word_mask:
        assert [len(words) for words in features["words"]] == features["length"]


def test_training_hides_other_words_in_each_epoch_and_with_each_seed():
    recipe = recipe_with_tokenizer(max_length=32)
    block = {"input_ids": recipe.encode_for_training({"text": TEXTS})["input_ids"][0]}
    collate = recipe.collator(None)
    first = collate([block])["labels"]
    assert torch.equal(first, collate([block])["labels"])
    for name in ("epoch", "seed"):
        setattr(recipe, name, 1)
        assert not torch.equal(first, collate([block])["labels"])
        setattr(recipe, name, 0)


def test_blank_lines_are_no_documents_and_whole_files_are_one(tmp_path):
    (tmp_path / "train.txt").write_text("\n\nthe film was great\n  \nthe book was fine\n\n" * 10)
    found = hfrecipes.check("fill-mask", dataset={"train": str(tmp_path / "train.txt"), "validation": TEXTS_AS_ROWS})
    assert found["rows"]["train"] == 20
    for place in range(3):
        (tmp_path / f"train-{place}.txt").write_text(f"file {place}\n\nthe film was great\n")
    found = hfrecipes.check(
        "fill-mask", dataset={"train": str(tmp_path / "train-1.txt"), "validation": TEXTS_AS_ROWS}, document="file"
    )
    assert found["rows"]["train"] == 1


TEXTS_AS_ROWS = [{"text": text} for text in TEXTS[:10]]


def test_scores_are_those_of_the_models_own_loss_on_the_hidden_tokens(tiny_bert):
    from transformers import AutoModelForMaskedLM

    recipe = recipe_with_tokenizer()
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_pretrained(tiny_bert).eval()
    encoded = datasets.Dataset.from_dict(recipe.encode({"text": TEXTS[:8]}))
    batch = recipe.collator(None)([{name: row[name] for name in ("input_ids", "labels")} for row in encoded])
    with torch.no_grad():
        made = model(**batch)
    outputs = [part.numpy() for part in recipe.preprocess_logits(made.logits, batch["labels"])]
    predictions = recipe.decode(outputs, TEXTS_AS_ROWS[:8], encoded)
    found = score(recipe, predictions, [True] * 8)
    assert found["perplexity"] == pytest.approx(math.exp(float(made.loss)), rel=1e-4)
    chosen = batch["labels"] != -100
    hits = (made.logits.argmax(-1)[chosen] == batch["labels"][chosen]).float().mean()
    assert found["accuracy"] == pytest.approx(float(hits))


def test_what_evaluation_keeps_does_not_grow_with_the_vocabulary():
    recipe = recipe_with_tokenizer()
    labels = torch.full((2, 10), -100)
    labels[:, 3] = 7
    for size in (100, 5000):
        kept = recipe.preprocess_logits(torch.randn(2, 10, size), labels)
        assert sum(part.numel() for part in kept) == 2 * (3 + 10)


def test_the_trivial_prediction_is_the_frequency_of_tokens():
    recipe = recipe_with_tokenizer()
    rows = datasets.Dataset.from_list(TEXTS_AS_ROWS)
    found = score(recipe, recipe.baseline_predictions(rows, recipe.baseline(rows)), [True] * len(rows))
    assert 1 < found["perplexity"] < len(recipe.tokenizer)


def test_the_task_takes_no_further_metrics():
    with pytest.raises(ConfigError, match="fill-mask has perplexity and accuracy"):
        hfrecipes.check("fill-mask", dataset=TEXTS_AS_ROWS * 4, metrics=["accuracy"])


@pytest.fixture(scope="module")
def adapted(tiny_bert, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adapted") / "run"
    rows = {"train": [{"text": row["text"]} for row in opinions(300)], "test": TEXTS_AS_ROWS}
    hfrecipes.run("fill-mask", model=tiny_bert, dataset=rows, output_dir=folder, learning_rate=1e-2, bf16=False)
    return folder


def test_a_run_learns_and_fills_the_gaps_of_a_text(adapted):
    model = hfrecipes.load(adapted)
    scores = model.evaluate(TEXTS_AS_ROWS).scores
    rows = datasets.Dataset.from_list(TEXTS_AS_ROWS)
    trivial = model.recipe.baseline_predictions(rows, model.recipe.baseline(rows))
    assert scores["perplexity"].value < score(model.recipe, trivial, [True] * 10)["perplexity"]
    (first, second) = model.predict("the [MASK] was [MASK]")["fills"]
    assert len(first) == len(second) == 5
    assert {guess["token_str"] for guess in first} & {*THINGS, *GOOD, "the", "was"}
    assert first[0]["score"] >= first[-1]["score"] > 0


def test_a_text_with_gaps_is_filled_as_the_pipeline_fills_it(adapted):
    from transformers import pipeline

    text = "the [MASK] was great and the [MASK] was awful, but nobody who saw the film or the book was bored"
    model, pipe = hfrecipes.load(adapted), pipeline("fill-mask", str(adapted))
    found = model.predict(text)
    assert found["masked"] == 0, "a text that has gaps itself gets no others"
    for ours, theirs in zip(found["fills"], pipe(text), strict=True):
        assert [one["token_str"] for one in ours] == [one["token_str"] for one in theirs]
        assert [one["score"] for one in ours] == pytest.approx([one["score"] for one in theirs], rel=1e-3)


def test_scores_of_texts_with_gaps_alone_are_no_number(adapted):
    assert math.isnan(hfrecipes.load(adapted).evaluate([{"text": "the [MASK] was great"}] * 3).metrics["perplexity"])


def test_a_tokenizer_without_a_mask_token_is_refused():
    recipe = recipe_with_tokenizer()
    recipe.tokenizer.mask_token = None
    with pytest.raises(ModelError, match="no mask token: use an encoder such as BERT"):
        recipe.adapt_to_model(None)


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1])
def test_a_share_of_hidden_words_that_teaches_nothing_is_refused(share):
    with pytest.raises(ConfigError, match=r"mlm_probability: .* expected a share between 0 and 1"):
        FillMask(mlm_probability=share)


def test_predictions_say_nothing_of_other_rows(adapted, caplog):
    model = hfrecipes.load(adapted)
    with caplog.at_level("INFO", "hfrecipes"):
        model.predict("the [MASK] was great")
    assert "validation rows" not in caplog.text


def test_another_task_starts_from_the_adapted_model(adapted, tmp_path):
    rows = {"train": opinions(40), "test": opinions(8, seed=1)}
    result = hfrecipes.run(
        "text-classification",
        model=str(adapted),
        dataset=rows,
        output_dir=tmp_path / "run",
        bf16=False,
        learning_rate=1e-2,
    )
    assert set(result.metrics) == {"train", "validation", "test"}


@pytest.mark.long
def test_two_processes_fill_rows_with_gaps_of_different_numbers(tiny_bert, tmp_path):
    """Each process has a batch of its own, and what they give is gathered in one shape."""
    texts = ["the film was [MASK]", "the [MASK] book [MASK] was [MASK]", "the meal was great", "[MASK] [MASK] lamp"]
    for split, rows in {"train": [row["text"] for row in opinions(32)], "test": texts}.items():
        (tmp_path / f"{split}.txt").write_text("\n".join(rows))
    settings = [f"model={tiny_bert}", f"dataset={tmp_path}", "bf16=false", "max_steps=1", "max_length=32"]
    sizes = ["per_device_train_batch_size=4", "per_device_eval_batch_size=1"]
    filled = {}
    for launcher in ((), TWO_PROCESSES):
        folder = tmp_path / f"run-{len(filled)}"
        words = [*launcher, "-m", "hfrecipes", "run", "fill-mask", *settings, *sizes, f"output_dir={folder}"]
        run_python(*words, cwd=tmp_path)
        lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
        filled[folder] = [len(line["prediction"]["fills"]) for line in lines if line["split"] == "test"]
    assert list(filled.values()) == [[1, 3, 0, 2]] * 2
