"""Ways to train a job: as the public examples do, two quicker ones with the Trainer, a loop by hand, hfrecipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .jobs import IGNORED, Job, load_model, load_tokenizer, tokens_in

WAYS = ("padded", "dynamic", "grouped", "loop", "ours")
FIRST = 20  # steps that are left out: kernels are chosen and memory is taken in them
DECAY, CLIP, SEED = 0.01, 1.0, 42


@dataclass(frozen=True)
class Trained:
    """What a training gave."""

    model: Any
    rows: int
    """Features of an epoch: rows, or windows and blocks of them."""
    tokens: int
    """Tokens of an epoch without padding."""
    rows_per_second: float
    """In the steps after the first ones."""

    @property
    def tokens_per_second(self) -> float:
        """In the steps after the first ones, as many in each row as on average."""
        return self.rows_per_second * self.tokens / self.rows

    @property
    def flops(self) -> float:
        """Floating-point operations per second that real tokens need, in all layers but the embeddings."""
        return 6 * weights_outside_embeddings(self.model) * self.tokens_per_second


class Clock:
    """Measures the time between the first steps of a training and its end, and the share of the rows in it."""

    def __init__(self, first: int = FIRST) -> None:
        self.first = first
        self.marks: list[tuple[float, float]] = []

    def tick(self, step: int, epoch: float, *, is_last: bool) -> None:
        """At the end of each step, with the number of epochs until there."""
        if step == self.first or (is_last and step > self.first):
            synchronize()
            self.marks.append((time.perf_counter(), epoch))

    def rows_per_second(self, rows: int) -> float:
        """Speed for an epoch of so many rows.

        Raises:
            ValueError: The training ended within its first steps.
        """
        if len(self.marks) < 2:
            raise ValueError(f"the training ended within its first {self.first} steps: give it more rows")
        (start, before), (end, after) = self.marks[0], self.marks[-1]
        return (after - before) * rows / (end - start)


def synchronize() -> None:
    """Wait until the GPU has done what it was given, where there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def weights_outside_embeddings(model: Any) -> int:
    """Number of weights that each token is multiplied with."""
    import torch

    embeddings = set()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            embeddings.update(map(id, module.parameters()))
    return sum(weights.numel() for weights in model.parameters() if id(weights) not in embeddings)


def best_precision() -> str | None:
    """What hfrecipes would take on this machine, and so what a loop by hand takes too."""
    from hfrecipes.models.precision import mixed_precision

    return mixed_precision({})


def train(way: str, job: Job, scratch: str, *, first: int = FIRST, max_steps: int = -1) -> Trained:
    """Train a job in one of the ways.

    Args:
        way: One of `WAYS`.
        job: What is trained.
        scratch: Folder for what a Trainer writes.
        first: Steps that are not measured.
        max_steps: Steps after which training ends; -1 for whole epochs.
    """
    if way == "ours":
        return _ours(job, scratch, first, max_steps)
    if way == "loop":
        return _loop(job, first, max_steps)
    return _trainer(way, job, scratch, first, max_steps)


# --- the Trainer -----------------------------------------------------------------------------------------------------


def _trainer(way: str, job: Job, scratch: str, first: int, max_steps: int) -> Trained:
    import transformers
    from datasets import Dataset

    transformers.set_seed(SEED)
    tokenizer, model = load_tokenizer(job), load_model(job)
    encoded = job.kind.encode(tokenizer, job, job.rows["train"], way == "padded")
    features = Dataset.from_dict(encoded)
    settings: dict[str, Any] = {}
    if way == "grouped":
        features = features.add_column("length", [len(ids) for ids in features["input_ids"]])
        settings = {"train_sampling_strategy": "group_by_length", best_precision() or "bf16": bool(best_precision())}
    arguments = transformers.TrainingArguments(
        output_dir=scratch,
        per_device_train_batch_size=job.batch,
        num_train_epochs=job.epochs,
        max_steps=max_steps,
        learning_rate=job.learning_rate,
        warmup_steps=job.warmup,
        weight_decay=DECAY,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **settings,
    )
    clock = Clock(first)
    trainer = transformers.Trainer(
        model,
        arguments,
        train_dataset=features,
        data_collator=collator(job, tokenizer, model, padded=way == "padded"),
        processing_class=tokenizer,
        callbacks=[callback(clock)],
    )
    trainer.train()
    return Trained(model, len(features), tokens_in(job, encoded), clock.rows_per_second(len(features)))


def collator(job: Job, tokenizer: Any, model: Any, *, padded: bool) -> Any:
    """What makes batches of encoded rows in the Trainer of a public example."""
    import transformers

    name = "DefaultDataCollator" if padded and not job.kind.has_targets else job.kind.collator
    kind = getattr(transformers, name)
    if name == "DefaultDataCollator":
        return kind()
    return kind(tokenizer, model=model) if job.kind.has_targets else kind(tokenizer)


def callback(clock: Clock) -> Any:
    """The clock as a callback of a Trainer."""
    import transformers

    class Tick(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.tick(state.global_step, state.epoch, is_last=state.global_step >= state.max_steps)

    return Tick()


# --- a loop by hand --------------------------------------------------------------------------------------------------


def _loop(job: Job, first: int, max_steps: int) -> Trained:
    """Plain PyTorch: batches of similar length, mixed precision, fused AdamW, a linear schedule, clipped gradients."""
    import torch
    import transformers

    transformers.set_seed(SEED)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer, model = load_tokenizer(job), load_model(job).to(device)
    features = job.kind.encode(tokenizer, job, job.rows["train"], False)
    lengths = np.array([len(ids) for ids in features["input_ids"]])
    per_epoch = -(-len(lengths) // job.batch)
    steps = max_steps if max_steps > 0 else int(np.ceil(per_epoch * job.epochs))
    pad = _padder(features, tokenizer.pad_token_id, pin=device.type == "cuda")
    optimizer = torch.optim.AdamW(_groups(model), lr=job.learning_rate, fused=True)
    warmup = max(1, int(np.ceil(steps * job.warmup)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup), 1.0)
    )
    clock, weights = Clock(first), list(model.parameters())
    model.train()
    for step, rows in enumerate(_batches(lengths, job.batch, steps), start=1):
        batch = {name: values.to(device, non_blocking=True) for name, values in pad(rows).items()}
        with _autocast(device):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        clock.tick(step, step / per_epoch, is_last=step == steps)
    return Trained(model, len(lengths), tokens_in(job, features), clock.rows_per_second(len(lengths)))


def _autocast(device: Any) -> Any:
    from hfrecipes.models.precision import autocast

    return autocast(best_precision(), device)


def _groups(model: Any) -> list[dict[str, Any]]:
    """Weights with and without decay, which biases and norms do not get."""
    decayed, others = [], []
    for weights in model.parameters():
        (decayed if weights.ndim > 1 else others).append(weights)
    return [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]


def _batches(lengths: Any, size: int, steps: int) -> Iterator[Any]:
    """Rows of each step: those of an epoch by length, cut into batches, the batches in random order."""
    generator, done = np.random.default_rng(SEED), 0
    while done < steps:
        shuffled = generator.permutation(len(lengths))
        ordered = shuffled[np.argsort(lengths[shuffled], kind="stable")]
        batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        for number in generator.permutation(len(batches))[: steps - done]:
            yield batches[number]
        done += len(batches)


def _padder(features: dict[str, Sequence[Any]], padding: int, *, pin: bool) -> Callable[[Any], dict[str, Any]]:
    """Function that makes the tensors of a batch from indices of rows."""
    import torch

    fillers = {"input_ids": padding, "labels": IGNORED}
    columns = {}
    for name, values in features.items():
        is_list = isinstance(values[0], list)
        columns[name] = [np.asarray(row) for row in values] if is_list else np.asarray(values)

    def pad(rows: Any) -> dict[str, Any]:
        batch = {}
        for name, column in columns.items():
            if isinstance(column, list):
                parts = [column[row] for row in rows]
                array = np.full((len(rows), max(map(len, parts))), fillers.get(name, 0), dtype=np.int64)
                for row, part in zip(array, parts, strict=True):
                    row[: len(part)] = part
            else:
                array = column[rows]
            tensor = torch.from_numpy(array)
            batch[name] = tensor.pin_memory() if pin else tensor
        return batch

    return pad


# --- hfrecipes -------------------------------------------------------------------------------------------------------


def settings_of(job: Job) -> dict[str, Any]:
    """The settings of hfrecipes for a job."""
    return {
        "model": job.model,
        "per_device_train_batch_size": job.batch,
        "num_train_epochs": job.epochs,
        "learning_rate": job.learning_rate,
        "warmup_steps": job.warmup,
        "weight_decay": DECAY,
        "max_length": job.longest,
        **job.ours,
    }


def _ours(job: Job, scratch: str, first: int, max_steps: int) -> Trained:
    """The Trainer that `hfrecipes.build` makes, without validation; its first steps are not measured."""
    trainer = build(job, scratch, max_steps)
    clock = Clock(first)
    trainer.add_callback(callback(clock))
    trainer.train()
    features = trainer.train_dataset
    return Trained(trainer.model, len(features), _tokens_of_ours(job, features), clock.rows_per_second(len(features)))


def build(job: Job, scratch: str, max_steps: int = -1) -> Any:
    """The Trainer of hfrecipes for the training rows alone."""
    from datasets import Dataset, DatasetDict

    import hfrecipes

    rows = DatasetDict({"train": Dataset.from_list(job.rows["train"])})
    settings = {**settings_of(job), "max_steps": max_steps, "disable_tqdm": True, "output_dir": f"{scratch}/ours"}
    return hfrecipes.build(
        job.task, dataset=rows, splits={"validation": None, "test": None}, save_strategy="no", **settings
    )


def _tokens_of_ours(job: Job, features: Any) -> int:
    """Number of tokens without padding in the features of a Trainer of hfrecipes."""
    return tokens_in(
        job, {name: features[name][:] for name in ("input_ids", "labels") if name in features.column_names}
    )
