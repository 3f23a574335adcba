"""Ways to train a job: as the public examples do, two quicker ones with the Trainer, a loop by hand, hfrecipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .jobs import IGNORED, Job, load_model, load_tokenizer, tokens_in

WAYS = ("padded", "dynamic", "grouped", "loop", "ours")
FIRST = 20  # steps that are left out: kernels are chosen and memory is taken in them
DECAY, CLIP = 0.01, 1.0


class Clock:
    """Measures a training from the end of its first steps to its last one, without what happens between epochs."""

    def __init__(self, first: int = FIRST) -> None:
        self.first = first
        self.seconds = self.cpu_seconds = self.epochs = 0.0
        self._begin: tuple[float, float, float] | None = None

    def tick(self, step: int, epoch: float, *, is_last: bool) -> None:
        """At the end of each step, with the number of epochs until there."""
        if step == self.first:
            self.start(epoch)
        elif is_last:
            self.stop(epoch)

    def start(self, epoch: float) -> None:
        """Measure from now on."""
        synchronize()
        self._begin = (time.perf_counter(), time.process_time(), epoch)

    def stop(self, epoch: float) -> None:
        """Add what was measured, if anything was."""
        if self._begin is None:
            return
        synchronize()
        wall, cpu, before = self._begin
        self.seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu
        self.epochs += epoch - before
        self._begin = None


@dataclass(frozen=True)
class Trained:
    """What a training gave."""

    model: Any
    rows: int
    """Features of an epoch: rows, or windows and blocks of them."""
    tokens: int
    """Tokens of an epoch without padding."""
    clock: Clock

    @property
    def rows_per_second(self) -> float:
        """In the steps after the first ones.

        Raises:
            ValueError: The training ended within its first steps.
        """
        if not self.clock.epochs:
            raise ValueError(f"the training ended within its first {self.clock.first} steps: give it more rows")
        return self.clock.epochs * self.rows / self.clock.seconds

    @property
    def rows_per_cpu_second(self) -> float:
        """The same for the seconds of all threads."""
        return self.rows_per_second * self.clock.seconds / self.clock.cpu_seconds

    @property
    def tokens_per_second(self) -> float:
        """In the steps after the first ones, as many in each row as on average."""
        return self.rows_per_second * self.tokens / self.rows

    @property
    def flops(self) -> float:
        """Floating-point operations per second that real tokens need, in all layers but the embeddings."""
        return 6 * weights_outside_embeddings(self.model) * self.tokens_per_second

    def figures(self) -> dict[str, float]:
        """All of it, rounded."""
        return {
            "rows_per_second": round(self.rows_per_second, 1),
            "rows_per_cpu_second": round(self.rows_per_cpu_second, 2),
            "tokens_per_second": round(self.tokens_per_second),
            "tflops": round(self.flops / 1e12, 4),
            "cpu_tflops": round(self.flops / 1e12 * self.clock.seconds / self.clock.cpu_seconds, 4),
        }


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


def quiet() -> None:
    """Print figures and no bars of loaded weights between them."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def best_precision() -> str | None:
    """What hfrecipes would take on this machine, and so what a loop by hand takes too."""
    from hfrecipes.models.precision import mixed_precision

    return mixed_precision({})


def train(way: str, job: Job, scratch: Path, *, first: int = FIRST) -> Trained:
    """Train a job in one of the ways.

    Args:
        way: One of `WAYS`.
        job: What is trained.
        scratch: Folder for what a Trainer writes.
        first: Steps that are not measured.
    """
    by_name = {"ours": _ours, "loop": _loop}
    return by_name.get(way, partial(_trainer, way=way))(job, scratch, Clock(first))[0]


def train_and_save(way: str, job: Job, scratch: Path, *, first: int = FIRST) -> tuple[Trained, Path]:
    """Train, predict the test split, and save the model: what a script does in all.

    hfrecipes does more: it also evaluates after each epoch, keeps checkpoints, and scores all splits with intervals.

    Returns:
        What was trained, and the folder of the model.
    """
    folder = scratch / "model"
    if way == "ours":
        return _run(job, folder, Clock(first)), folder
    by_name = {"loop": _loop}
    trained, predict = by_name.get(way, partial(_trainer, way=way))(job, scratch, Clock(first))
    predict()
    trained.model.save_pretrained(folder)
    load_tokenizer(job).save_pretrained(folder)
    return trained, folder


# --- the Trainer -----------------------------------------------------------------------------------------------------


def _trainer(job: Job, scratch: Path, clock: Clock, *, way: str) -> tuple[Trained, Callable[[], Any]]:
    """The plain Trainer, and what predicts the test split."""
    import torch
    import transformers
    from datasets import Dataset

    transformers.set_seed(job.seed)
    tokenizer, model = load_tokenizer(job), load_model(job)
    encoded = job.kind.encode(tokenizer, job, job.rows["train"], way == "padded")
    features = Dataset.from_dict(encoded)
    settings: dict[str, Any] = {}
    if way == "grouped":
        features = features.add_column("length", [len(ids) for ids in features["input_ids"]])
        settings = {"train_sampling_strategy": "group_by_length", best_precision() or "bf16": bool(best_precision())}
    arguments = transformers.TrainingArguments(
        output_dir=str(scratch),
        per_device_train_batch_size=job.batch,
        num_train_epochs=job.epochs,
        learning_rate=job.learning_rate,
        warmup_steps=job.warmup,
        weight_decay=DECAY,
        seed=job.seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),  # without it, bf16 is refused on a CPU
        prediction_loss_only=not job.labels,
        **settings,
    )
    trainer = transformers.Trainer(
        model,
        arguments,
        train_dataset=features,
        data_collator=collator(job, tokenizer, model, padded=way == "padded"),
        processing_class=tokenizer,
        callbacks=[callback(clock)],
    )
    trainer.train()

    def predict() -> Any:
        return trainer.predict(Dataset.from_dict(job.kind.encode(tokenizer, job, job.rows["test"], way == "padded")))

    return Trained(model, len(features), tokens_in(job, encoded), clock), predict


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

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.stop(state.epoch)

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step >= clock.first:
                clock.start(state.epoch)

    return Tick()


# --- a loop by hand --------------------------------------------------------------------------------------------------


def _loop(job: Job, scratch: Path, clock: Clock) -> tuple[Trained, Callable[[], Any]]:
    """Plain PyTorch: batches of similar length, mixed precision, fused AdamW, a linear schedule, clipped gradients."""
    import torch
    import transformers

    transformers.set_seed(job.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer, model = load_tokenizer(job), load_model(job).to(device)
    features = job.kind.encode(tokenizer, job, job.rows["train"], False)
    lengths = np.array([len(ids) for ids in features["input_ids"]])
    per_epoch = -(-len(lengths) // job.batch)
    steps = int(np.ceil(per_epoch * job.epochs))
    pad = padder(features, tokenizer.pad_token_id, device)
    optimizer = torch.optim.AdamW(_groups(model), lr=job.learning_rate, fused=True)
    warmup = max(1, int(np.ceil(steps * job.warmup)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup), 1.0)
    )
    weights = list(model.parameters())
    model.train()
    for step, rows in enumerate(_batches(lengths, job.batch, steps, job.seed), start=1):
        with _autocast(device):
            loss = model(**pad(rows)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        clock.tick(step, step / per_epoch, is_last=step == steps)

    def predict() -> Any:
        return outputs(model, job, tokenizer)

    return Trained(model, len(lengths), tokens_in(job, features), clock), predict


def outputs(model: Any, job: Job, tokenizer: Any) -> list[tuple[Any, dict[str, Any], Any]]:
    """Indices, batch and outputs of the test split, longest rows first."""
    import torch

    features = job.kind.encode(tokenizer, job, job.rows["test"], False)
    order = np.argsort([-len(ids) for ids in features["input_ids"]], kind="stable")
    pad = padder(features, tokenizer.pad_token_id, model.device)
    model.eval()
    results = []
    with torch.inference_mode(), _autocast(model.device):
        for start in range(0, len(order), 2 * job.batch):
            rows = order[start : start + 2 * job.batch]
            batch = pad(rows)
            results.append((rows, batch, model(**batch)))
    return results


def _autocast(device: Any) -> Any:
    from hfrecipes.models.precision import autocast

    return autocast(best_precision(), device)


def _groups(model: Any) -> list[dict[str, Any]]:
    """Weights with and without decay, which biases and norms do not get."""
    decayed, others = [], []
    for weights in model.parameters():
        (decayed if weights.ndim > 1 else others).append(weights)
    return [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]


def _batches(lengths: Any, size: int, steps: int, seed: int) -> Iterator[Any]:
    """Rows of each step: those of an epoch by length, cut into batches, the batches in random order."""
    generator, done = np.random.default_rng(seed), 0
    while done < steps:
        shuffled = generator.permutation(len(lengths))
        ordered = shuffled[np.argsort(lengths[shuffled], kind="stable")]
        batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
        # The longest first, as in the Trainer: what needs too much memory fails at once, and is not measured.
        numbers = [len(batches) - 1, *generator.permutation(len(batches) - 1)]
        for number in numbers[: steps - done]:
            yield batches[number]
        done += len(batches)


def padder(features: dict[str, list[Any]], padding: int, device: Any) -> Callable[[Any], dict[str, Any]]:
    """Function that makes the tensors of a batch from indices of rows."""
    import torch

    is_cuda = device.type == "cuda"
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
            batch[name] = tensor.pin_memory().to(device, non_blocking=True) if is_cuda else tensor
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
        "seed": job.seed,
    }


def _ours(job: Job, scratch: Path, clock: Clock) -> tuple[Trained, None]:
    """The Trainer that `hfrecipes.build` makes, without validation."""
    trainer = build(job, scratch)
    trainer.add_callback(callback(clock))
    trainer.train()
    return _trained_by_ours(job, trainer, clock), None


def build(job: Job, scratch: Path, max_steps: int = -1) -> Any:
    """The Trainer of hfrecipes for the training rows alone."""
    from datasets import Dataset, DatasetDict

    import hfrecipes

    return hfrecipes.build(
        job.task,
        dataset=DatasetDict({"train": Dataset.from_list(job.rows["train"])}),
        splits={"validation": None, "test": None},
        output_dir=scratch / "ours",
        max_steps=max_steps,
        save_strategy="no",
        disable_tqdm=True,
        **settings_of(job),
    )


def _run(job: Job, folder: Path, clock: Clock) -> Trained:
    """All of `hfrecipes.run`, from the files of the rows to the scores."""
    from hfrecipes.runner import run_settings

    files = {"dataset": str(job.folder), "output_dir": str(folder), "early_stopping": False}
    result = run_settings(job.task, {**files, **settings_of(job)}, callbacks=[callback(clock)])
    return _trained_by_ours(job, result.trainer, clock)


def _trained_by_ours(job: Job, trainer: Any, clock: Clock) -> Trained:
    features, columns = trainer.train_dataset, {}
    for name in ("input_ids", "labels"):
        if name in features.column_names:
            columns[name] = features[name][:]
    return Trained(trainer.model, len(features), tokens_in(job, columns), clock)
