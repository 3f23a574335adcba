"""Batches are bit for bit those of the collators of transformers, on both sides, padded to any size."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_tokenizer
from transformers import DataCollatorForSeq2Seq, DataCollatorForTokenClassification, DataCollatorWithPadding

from hfrecipes.collate import pad_rows, padder
from hfrecipes.registry import find
from hfrecipes.tasks import _seq2seq

NAMES = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask")
LENGTHS = [3, 7, 1, 5]


def tokenizer_with(side: str, mask: bool = True):
    tokenizer = copy.deepcopy(make_tokenizer())
    tokenizer.padding_side = side
    tokenizer.model_input_names = ["input_ids", "token_type_ids", *(["attention_mask"] if mask else [])]
    tokenizer._pad_token_type_id = 3  # as XLNet has it
    return tokenizer


def recipe_with(tokenizer, size: int) -> SimpleNamespace:
    return SimpleNamespace(tokenizer=tokenizer, pads_to_max_length=size > 0, max_length=size or 512)


def features(names, labels) -> list[dict]:
    generator = np.random.default_rng(0)
    rows = []
    for length, label in zip(LENGTHS, labels, strict=True):
        rows.append({name: generator.integers(0, 2 if name != "input_ids" else 9, length).tolist() for name in names})
        if label is not None:
            rows[-1]["labels"] = label
    return rows


def same(batch, expected) -> bool:
    return set(batch) == set(expected) and all(
        torch.equal(batch[name], expected[name]) and batch[name].dtype == expected[name].dtype for name in expected
    )


def keywords(size: int) -> dict:
    return {"padding": "max_length", "max_length": size} if size else {}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("size", [0, 12])
@pytest.mark.parametrize(
    ("names", "mask"), [(NAMES[:1], True), (NAMES[:2], True), (NAMES[:2], False), (NAMES[:3], True), (NAMES, True)]
)
@pytest.mark.parametrize(
    "labels", [[None] * 4, [0, 1, 2, 1], [0.5, 1.0, -2.0, 3.0], [[0.0, 1.0]] * 4, [[1, 2]] * 4], ids=str
)
def test_rows_with_a_label_each(side, size, names, mask, labels):
    tokenizer, rows = tokenizer_with(side, mask), features(names, labels)
    expected = DataCollatorWithPadding(tokenizer, **keywords(size))(copy.deepcopy(rows))
    assert same(padder(recipe_with(tokenizer, size))(rows), expected)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("size", [0, 12])
@pytest.mark.parametrize("known", [True, False])
def test_rows_with_a_label_for_each_token(side, size, known):
    labels = [[-100] + [1] * (length - 1) if known else None for length in LENGTHS]
    tokenizer, rows = tokenizer_with(side), features(NAMES[:2], labels)
    expected = DataCollatorForTokenClassification(tokenizer, **keywords(size))(copy.deepcopy(rows))
    assert same(padder(recipe_with(tokenizer, size), label_filler=-100)(rows), expected)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("known", [True, False])
def test_texts_to_read_and_texts_to_write(side, known, tiny_t5):
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_t5)
    labels = [[4] * (9 - length) if known else None for length in LENGTHS]
    tokenizer, rows = tokenizer_with(side), features(NAMES[:1], labels)
    expected = DataCollatorForSeq2Seq(tokenizer, model=model)(copy.deepcopy(rows))
    batch = _seq2seq.collator(recipe_with(tokenizer, 0), model)(rows)
    assert same(batch, {name: values for name, values in expected.items() if values is not None})


def test_inputs_alone_are_padded_to_max_length(tiny_t5):
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(tiny_t5)
    rows = features(NAMES[:1], [[4] * length for length in LENGTHS])
    batch = _seq2seq.collator(recipe_with(tokenizer_with("right"), 12), model)(rows)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (4, 12)
    assert batch["labels"].shape == batch["decoder_input_ids"].shape == (4, 7)


def test_a_tokenizer_with_inputs_of_its_own_pads_them_itself():
    tokenizer = tokenizer_with("right")
    tokenizer.model_input_names = [*tokenizer.model_input_names, "bbox"]
    assert isinstance(padder(recipe_with(tokenizer, 0)), DataCollatorWithPadding)
    assert isinstance(padder(recipe_with(tokenizer, 0), label_filler=-100), DataCollatorForTokenClassification)


def test_rows_may_be_arrays():
    rows = [[1, 2, 3], [], [4]]
    for side in ("right", "left"):
        expected = pad_rows(rows, -100, 5, side)
        assert torch.equal(pad_rows([np.array(row, dtype=np.int64) for row in rows], -100, 5, side), expected)
    assert pad_rows(rows, 0).tolist() == [[1, 2, 3], [0, 0, 0], [4, 0, 0]]


@pytest.mark.parametrize(
    "task", ["text-classification", "token-classification", "multiple-choice", "question-answering"]
)
def test_no_collator_goes_through_lists_of_single_rows(task, monkeypatch):
    """`tokenizer.pad` does, and takes as long as a tenth of a step on a GPU."""
    recipe = find(task)()
    recipe.tokenizer = make_tokenizer()
    monkeypatch.setattr(type(recipe.tokenizer), "pad", lambda *_, **__: pytest.fail("slow"))
    row = {"input_ids": [1, 2, 3]}
    if task == "multiple-choice":
        row = {"input_ids": [[1, 2], [3]], "sizes": 2}
    assert len(recipe.collator(None)([row, row])["input_ids"]) == 2
