"""The order of training rows follows from seed and epoch, and evaluation is over items, not over batches."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch
from conftest import opinions

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.training import order
from hfrecipes.training.order import GroupedByLength

ROWS = {"train": opinions(64), "validation": opinions(16, 1)}


def orders(quick, path, **settings) -> list[list[int]]:
    """The rows of the first three epochs."""
    about = {**quick, **settings}
    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=path, **about)
    batches = trainer.get_train_dataloader().batch_sampler
    return [list(chain(*order.batches_of(batches, trainer.args, epoch))) for epoch in range(3)]


@pytest.mark.parametrize("strategy", ["group_by_length", "random"])
def test_seeds_beside_each_other_share_no_order(strategy, quick, tmp_path):
    found = []
    for seed in (1, 2, 3):
        found += orders(quick, tmp_path / str(seed), seed=seed, train_sampling_strategy=strategy)
    assert len({tuple(rows) for rows in found}) == 9
    assert all(sorted(rows) == list(range(64)) for rows in found)


@pytest.mark.parametrize("strategy", ["group_by_length", "random"])
def test_the_seed_of_the_data_decides_the_order_alone(strategy, quick, tmp_path):
    about = {"train_sampling_strategy": strategy, "data_seed": 7}
    first = orders(quick, tmp_path / "a", seed=1, **about)
    assert first == orders(quick, tmp_path / "b", seed=2, **about)
    assert first != orders(quick, tmp_path / "c", seed=1, **{**about, "data_seed": 8})


@pytest.mark.parametrize("strategy", ["group_by_length", "random"])
def test_what_is_trained_on_is_the_order_that_is_told(strategy, quick, tmp_path):
    from transformers import TrainerCallback

    settings = {**quick, "train_sampling_strategy": strategy, "save_strategy": "no", "splits": {"validation": None}}
    rows = {"train": ROWS["train"]}
    trainer = hfrecipes.build("text-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
    seen, collate = [], trainer.data_collator
    texts = [tuple(row["input_ids"]) for row in trainer.train_dataset]

    class StartEpoch(TrainerCallback):
        def on_epoch_begin(self, args, state, control, **keywords):
            seen.append([])

    def look(features):
        seen[-1] += [tuple(row["input_ids"]) for row in features]
        return collate(features)

    trainer.data_collator = look
    trainer.add_callback(StartEpoch())
    trainer.train()
    batches = trainer.get_train_dataloader().batch_sampler
    for epoch, rows in enumerate(seen):
        told = list(chain(*order.batches_of(batches, trainer.args, epoch)))
        assert [texts[index] for index in told] == rows


def test_the_loss_of_validation_is_a_mean_over_words(quick, tmp_path):
    """Four sentences of 4 words in a batch, and one of 36: a mean of two means would weigh the long one as much."""
    short, long = (
        {"tokens": ["the", "film", "was", "great"] * times, "tags": ["O", "B-x", "O", "O"] * times} for times in (1, 9)
    )
    rows = {"train": [short, long] * 10, "validation": [short] * 4 + [long]}
    settings = {**quick, "per_device_eval_batch_size": 4, "train_sampling_strategy": "sequential"}
    trainer = hfrecipes.build("token-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
    total, words = 0.0, 0
    trainer.model.eval()
    for features in trainer.eval_dataset:
        batch = trainer.data_collator([features])
        labels = batch.pop("labels")
        with torch.no_grad():
            logits = trainer.model(**batch)["logits"]
        known = labels >= 0
        total += float(torch.nn.functional.cross_entropy(logits[known], labels[known], reduction="sum"))
        words += int(known.sum())
    for _ in range(2):
        assert trainer.evaluate()["eval_loss"] == pytest.approx(total / words, rel=1e-5)


@pytest.mark.parametrize("kind", ["reduce_lr_on_plateau", "greedy"])
def test_schedulers_that_follow_a_metric_know_which_way_is_better(kind, quick, tmp_path):
    settings = {**quick, "lr_scheduler_type": kind}
    for metric, mode in ((None, "max"), ("loss", "min"), ("eval_loss", "min"), ("brier", "min")):
        about = {} if metric is None else {"metric_for_best_model": metric}
        path = tmp_path / str(metric)
        trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=path, **settings, **about)
        trainer.create_optimizer_and_scheduler(8)
        assert trainer.lr_scheduler.mode == mode, metric
    given = {"lr_scheduler_kwargs": {"mode": "min", "patience": 3}}
    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "given", **settings, **given)
    trainer.create_optimizer_and_scheduler(8)
    assert (trainer.lr_scheduler.mode, trainer.lr_scheduler.patience) == ("min", 3)


def test_dropping_the_last_batch_is_refused_since_evaluation_would_lose_rows(quick, tmp_path):
    with pytest.raises(ConfigError, match="dataloader_drop_last: leave it out"):
        hfrecipes.run(
            "text-classification", dataset=ROWS, output_dir=tmp_path / "run", dataloader_drop_last=True, **quick
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", ["batch_eval_metrics", "prediction_loss_only"])
def test_settings_that_leave_no_predictions_to_score_are_refused(setting, quick, tmp_path):
    with pytest.raises(ConfigError, match=f"{setting}: leave it out, scores are over all predictions of a split"):
        hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **{**quick, setting: True})


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 250, 2000])
@pytest.mark.parametrize("size", [1, 16, 32])
def test_an_order_by_length_has_each_row_once_the_longest_first_and_little_padding(rows, size):
    lengths = np.clip(np.random.default_rng(rows).lognormal(3, 0.5, rows), 3, 120).astype(int)
    sampler = GroupedByLength(lengths.tolist(), size)
    padded, first = 0, []
    for seed in range(5):
        sampler.seed = seed
        order = list(sampler)
        assert order == list(sampler), "it depends on the seed alone"
        assert sorted(order) == list(range(len(sampler)))
        batches = [lengths[order[start : start + size]] for start in range(0, rows, size)]
        padded += sum(len(batch) * batch.max() for batch in batches)
        first.append(batches[0].max() >= np.percentile(lengths, 90) or rows < 2 * size)
    assert all(first)
    # An eighth of a small set is one batch, in which all lengths meet.
    assert padded <= 5 * lengths.sum() * (1.03 + 6 * size / rows)


def test_rows_of_one_length_meet_others_in_each_epoch():
    sampler, meetings = GroupedByLength([7] * 64, 8), set()
    for seed in range(4):
        sampler.seed = seed
        order = list(sampler)
        meetings.add(frozenset(order[:8]))
    assert len(meetings) == 4


def test_rows_of_different_lengths_meet_others_in_each_epoch():
    sampler, meetings = GroupedByLength(list(range(10, 74)), 8), set()
    for seed in range(4):
        sampler.seed = seed
        order = list(sampler)
        meetings |= {frozenset(order[start : start + 8]) for start in range(0, 64, 8)}
    assert len(meetings) > 20


def test_the_short_last_batch_has_rows_of_another_length_in_each_epoch():
    sampler, lasts = GroupedByLength(list(range(10, 75)), 8), set()
    for seed in range(12):
        sampler.seed = seed
        lasts.add(list(sampler)[-1] // 16)
    assert len(lasts) >= 3
