"""Batches made in worker processes are those made in the process itself, however these are started."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import torch

import hfrecipes
from hfrecipes.registry import find, list_tasks
from hfrecipes.tasks import _seq2seq


def trainer_of(task: str, model: str, path: Path, **settings):
    kind = find(task)
    rows = [kind.samples[number % len(kind.samples)] for number in range(12)]
    about = {"dataset": {"train": rows}, "splits": {"validation": None}, "bf16": False}
    return hfrecipes.build(task, model=model, output_dir=path, **about, **settings)


def same(batch, other) -> bool:
    return batch.keys() == other.keys() and all(torch.equal(batch[name], other[name]) for name in batch)


class NoTensors(pickle.Pickler):
    def persistent_id(self, value):
        assert not isinstance(value, torch.Tensor), "weights would be copied into each worker"


@pytest.mark.parametrize(
    ("task", "lora"), [*((task, False) for task in list_tasks()), ("summarization", True)], ids=str
)
def test_the_collator_of_every_task_can_be_sent_to_a_worker_and_holds_no_weights(task, lora, model_for, tmp_path):
    trainer = trainer_of(task, model_for(find(task)), tmp_path, lora=lora)
    features = [trainer.train_dataset[number] for number in range(min(3, len(trainer.train_dataset)))]
    stream = io.BytesIO()
    NoTensors(stream).dump(trainer.data_collator)
    assert same(trainer.data_collator(features), pickle.loads(stream.getvalue())(features))


@pytest.mark.parametrize("family", ["MBart", "Bart", "T5"])
def test_labels_are_shifted_as_the_model_with_all_its_weights_does(family):
    import transformers

    tokens = {"vocab_size": 30, "pad_token_id": 1, "decoder_start_token_id": 3, "eos_token_id": 2}
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_layers": 1, "num_heads": 2, "d_kv": 8}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = getattr(transformers, f"{family}Config")(**tokens, **sizes, **heads)
    model = getattr(transformers, f"{family}ForConditionalGeneration")(config)
    labels = torch.tensor([[5, 6, 2, 7, -100], [5, 6, 8, 2, 9]])
    light = pickle.loads(pickle.dumps(_seq2seq._shifter(model)))
    shifted = light.prepare_decoder_input_ids_from_labels(labels=labels)
    assert torch.equal(shifted, model.prepare_decoder_input_ids_from_labels(labels=labels))


@pytest.mark.long
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_workers_that_start_anew_make_the_same_batches(start, tiny_bert, tmp_path):
    # The collator is a method of this task; another module has the name of its file.
    mine = "from hfrecipes.tasks.fill_mask import FillMask\n\nclass Mine(FillMask):\n    pass\n"
    (tmp_path / "queue.py").write_text(mine)
    task, batches = str(tmp_path / "queue.py"), []
    workers = {"dataloader_num_workers": 1, "dataloader_multiprocessing_context": start}
    for settings in ({}, workers):
        trainer = trainer_of(task, tiny_bert, tmp_path / "run", train_sampling_strategy="sequential", **settings)
        batches.append(next(iter(trainer.get_train_dataloader())))
    assert same(*batches)
