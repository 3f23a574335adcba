"""Packed texts: each token once an epoch, in full rows, in an order that follows from seed and epoch alone."""

from __future__ import annotations

import pickle

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import make_pieces, opinions, save_llama
from diverging import rows_named_when_spoiled

import hfrecipes
from hfrecipes.data import packing
from hfrecipes.data.plain import in_memory

TEXTS = [row["text"] for row in opinions(60)]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_llama(make_pieces(TEXTS), tmp_path_factory.mktemp("models") / "llama")


def features_of(lengths) -> datasets.Dataset:
    """Features whose tokens are all different."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), pa.array(np.arange(starts[-1])))
    positions = pa.array([list(range(length)) for length in lengths])
    return in_memory(pa.table({"input_ids": tokens, "position_ids": positions, "length": pa.array(lengths)}))


def some_lengths(number: int = 300) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 50, number)


def read(rows, epoch: int) -> list[list[int]]:
    packing.start_epoch(rows, epoch)
    return [row.tolist() for row in rows[:]["input_ids"]]


def test_each_token_is_read_once_an_epoch_in_rows_that_are_nearly_full():
    lengths = some_lengths()
    rows = packing.pack(features_of(lengths), 64, seed=1)
    for epoch in range(3):
        packed = read(rows, epoch)
        assert sorted(token for row in packed for token in row) == list(range(lengths.sum()))
        assert max(map(len, packed)) <= 64
        assert np.mean(list(map(len, packed))) > 0.97 * 64
        assert list(map(len, packed)) == rows["length"][:], "the same in each epoch, so that steps can be counted"


def test_positions_start_again_with_each_text():
    rows = packing.pack(features_of([3, 2, 4]), 5, seed=1)
    assert [row.tolist() for row in rows[:]["position_ids"]] == [[0, 1, 2, 3], [0, 1, 2, 0, 1]]


def test_rows_are_drawn_anew_from_seed_and_epoch_alone():
    first, again, other = (packing.pack(features_of(some_lengths()), 64, seed=seed) for seed in (1, 1, 2))
    assert read(first, 0) != read(first, 1)
    assert read(again, 1) == read(first, 1)
    assert read(again, 0) == read(first, 0), "also when epochs are read in another order"
    assert read(other, 0) != read(first, 0)


def test_rows_can_be_read_by_a_worker_that_starts_anew():
    rows = packing.pack(features_of(some_lengths(30)), 64, seed=1)
    packing.start_epoch(rows, 2)
    expected = [row.tolist() for row in rows[:]["input_ids"]]
    assert [row.tolist() for row in pickle.loads(pickle.dumps(rows))[:]["input_ids"]] == expected


def test_tokens_in_memory_are_not_copied_for_a_fingerprint(monkeypatch):
    """`datasets` pickles what reads the rows, to hash it."""
    pickled: list[str] = []

    def state(rows):
        pickled.extend(vars(rows))
        return vars(rows)

    monkeypatch.setattr(packing.PackedRows, "__getstate__", state, raising=False)
    packing.pack(features_of(some_lengths()), 64, seed=1)
    assert "lengths" in pickled
    assert "features" not in pickled


def test_the_number_of_rows_is_known_without_packing_them():
    features = features_of(some_lengths())
    assert packing.count_rows(features, 64) == len(packing.pack(features, 64, seed=1))
    assert packing.count_rows(features.remove_columns("position_ids"), 64) == 300


# --- in runs ---------------------------------------------------------------------------------------------------------


def settings(llama: str, **more) -> dict:
    about = {
        "model": llama,
        "dataset": {"train": [{"text": text} for text in TEXTS]},
        "splits": {"validation": None},
        "across_documents": False,
        "max_length": 32,
        "per_device_train_batch_size": 2,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "bf16": False,
    }
    return {**about, **more}


def test_the_sentence_says_what_a_step_learns_from(llama, tmp_path, caplog):
    caplog.set_level("INFO")
    trainer = hfrecipes.build("text-generation", output_dir=tmp_path, gradient_accumulation_steps=2, **settings(llama))
    rows = len(trainer.train_dataset)
    assert f"packing: 60 examples of train in {rows} rows of max_length=32 tokens" in caplog.text
    assert "a step learns from 4 rows" in caplog.text
    assert rows < 60


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(llama, tmp_path):
    def trained(name: str, checkpoint: str | None = None) -> tuple[torch.Tensor, int]:
        about = settings(llama, save_strategy="steps", save_steps=1, save_total_limit=None, dropout=0.1)
        trainer = hfrecipes.build("text-generation", output_dir=tmp_path / name, **about)
        trainer.train(resume_from_checkpoint=checkpoint)
        return torch.cat([weights.detach().flatten() for weights in trainer.model.parameters()]), len(
            trainer.get_train_dataloader()
        )

    whole, steps = trained("whole")
    for step in (steps - 1, steps + 1):  # within the first epoch, and within the second
        resumed, _ = trained(f"from {step}", str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert torch.equal(whole, resumed), step


def test_a_loss_that_is_not_finite_names_the_texts_of_the_rows(llama, tmp_path):
    """Texts of one row alone hold a token that the model reads as something infinite from the second epoch on."""
    texts = [text.replace("zebra", "") for text in TEXTS]
    rare = next(token for token in "zqxjkvw" if sum(token in text for text in texts) == 0)
    texts[20] += f" {rare}"
    model = save_llama(make_pieces([*texts, *[rare] * 20]), tmp_path / "model")
    about = settings(model, dataset={"train": [{"text": text} for text in texts]}, save_strategy="no")
    trainer = hfrecipes.build("text-generation", output_dir=tmp_path / "run", **about)
    token = trainer.processing_class(texts[20], add_special_tokens=False)["input_ids"][-1]
    assert trainer.processing_class.decode(token).strip() == rare

    assert "20" in rows_named_when_spoiled(trainer, token)


def test_a_packed_chat_learns_from_one_row_a_step_unless_it_is_told_otherwise():
    from hfrecipes.training.configuration import configure

    names = ("per_device_train_batch_size", "gradient_accumulation_steps")
    for given, expected in (({}, (4, 2)), ({"packing": True}, (1, 1)), ({"packing": True, names[0]: 4}, (4, 1))):
        config, _ = configure("chat", given)
        assert tuple(config.training[name] for name in names) == expected
