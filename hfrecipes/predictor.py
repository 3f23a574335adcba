"""A saved run, of this machine or of the Hub: loaded, ready to predict and to evaluate, or merged."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import metrics, run_folder
from .config import RunConfig, read_recipe_file, resolve, training_types
from .data import checks, sources
from .data.columns import check_lists, find_columns, normalize_columns
from .data.columns import rename as columns_rename
from .data.rows import Data, drop_blind_answers, drop_groups, name_classes, number_rows
from .data.splits import choose_splits
from .errors import ConfigError, DataError, ModelError, NotFoundError, OutputError
from .evaluation import generation, scoring
from .evaluation.inference import collator, predict_rows
from .hub.client import reason
from .hub.names import hub_name, model_path
from .log import log
from .models import adapters
from .models.directory import ADAPTER, PADDING, TUNED, as_model_error, is_adapter, quiet, save
from .models.hardware import machine_arguments, one_gpu
from .models.heads import bring_body_to, compute_in_float32
from .models.loading import fit_length, is_quantized, load_tokenizer
from .recipe import Recipe, arguments_name
from .registry import find, tasks

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, Trainer, TrainingArguments


class Predictor:
    """A model with the preprocessing that it was trained with.

    Attributes:
        recipe: Task with its options, tokenizer and labels.
        trainer: Plain Trainer that runs the model.
    """

    def __init__(self, recipe: Recipe, trainer: Trainer, config: RunConfig) -> None:
        self.recipe = recipe
        self.trainer = trainer
        self.config = config

    def predict(self, rows: Any) -> Any:
        """Predict rows that the model has not seen.

        Args:
            rows: A text, a list of texts, a file's path, or rows with the columns of training in any form that `run`
                takes as dataset.

        Returns:
            One prediction for a single text, else a list with one per row.

        Example:
            >>> hfrecipes.load("runs/quickstart").predict("Where is my parcel?")["label"]  # doctest: +SKIP
            'delivery'
        """
        if isinstance(rows, str) and os.path.isfile(rows):
            log(f"{rows} is a file: its rows are predicted")
            rows = Path(rows)
        if isinstance(rows, str) or self._is_row(rows):
            return self.predict([rows])[0]
        if self.recipe.text is None and isinstance(rows, list) and any(isinstance(row, str) for row in rows):
            raise DataError(f"found a bare text, expected rows with {' and '.join(self.reads)}")
        if isinstance(rows, list) and rows and all(isinstance(row, str) for row in rows):
            rows = [{self.recipe.text: row} for row in rows]
        if isinstance(rows, list) and not rows:
            return []
        header, formats = not sources.by_position(self.config.columns), self.recipe.formats
        found = sources.one_part(rows, header=header, formats=formats)
        return predict_rows(self.trainer, self.recipe, self.prepare(found, self._columns_in(found)))

    def stream(self, row: Mapping[str, Any], show: Callable[[str], None]) -> str:
        """What the model writes behind one row, shown piece by piece while it is written.

        Args:
            row: As for `predict`.
            show: Called with each piece of text.

        Returns:
            The whole text.
        """
        found = sources.one_part([dict(row)], header=True, formats=self.recipe.formats)
        rows = self.prepare(found, self._columns_in(found))
        (prompt,) = self.recipe.prompts(rows, scored=False)
        if prompt is None:
            raise DataError("found nothing to go on from, expected a turn of the user")
        (made,) = generation.generate(
            self.trainer, [prompt.input_ids], streamer=generation.Streamer(self.recipe, prompt, show)
        )
        return str(self.recipe.decode_generated(prompt, made)["generated_text"])

    @property
    def reads(self) -> list[str]:
        """Columns that the model was trained on."""
        return [name for name in self.recipe.inputs() if name in self.config.columns] or self.recipe.inputs()

    def _is_row(self, rows: Any) -> bool:
        """Whether this is one row, and not columns of cells."""
        if not isinstance(rows, Mapping) or "path" in rows:
            return False
        if any(isinstance(cell, str) for cell in rows.values()):
            return True
        lists = {
            name.lower()
            for column, facts in self.recipe.columns.items()
            if isinstance(facts.kind, list)
            for name in (column, str(self.config.columns.get(column, column)), *facts.names)
        }
        cells = [cell for name, cell in rows.items() if str(name).lower() in lists]
        if cells:
            return not len(cells[0]) or not isinstance(cells[0][0], list)
        return not all(map(sources.is_column, rows.values()))

    def _columns_in(self, rows: Dataset) -> dict[str, str]:
        """Columns of training, as far as these rows have them; others are found by the usual names."""
        given = {column: str(name) for column, name in self.config.columns.items()}
        return {column: name for column, name in given.items() if name in rows.column_names}

    def prepare(self, rows: Dataset, given: Mapping[str, str | int], *, reference: bool = False) -> Dataset:
        """The rows under the task's column names, checked.

        Args:
            rows: Raw rows.
            given: Column of the rows for columns of the task.
            gold: Whether they must have answers.

        Raises:
            DataError: A column lacks, or a row has no text.
        """
        kind, trained = type(self.recipe), set(self.config.columns)
        rows, given = normalize_columns(rows, self.recipe, given)
        columns = find_columns(rows.column_names, kind, given, reference=reference)
        inputs = set(kind.inputs())
        if trained and inputs & set(columns) != inputs & trained:
            wanted = " and ".join(name for name in kind.columns if name in inputs & trained)
            found = " and ".join(repr(columns[name]) for name in kind.columns if name in inputs & set(columns))
            raise DataError(
                f"this model reads {wanted}; found {found}: give rows with those columns, or columns.<name>="
            )
        rows = columns_rename(rows, columns, kind, "train" if reference else "test")
        if reference:
            check_lists(rows, columns, kind)
        empty = {} if reference else checks.empty_texts(rows, self.recipe)
        if empty:
            raise DataError("; ".join(checks.name_rows("input", *problem) for problem in empty.items()))
        return rows

    def evaluate(
        self, dataset: Any, *, splits: Mapping[str, str | None] | None = None, columns: Any = None
    ) -> Evaluation:
        """Score the model on rows with answers.

        Args:
            dataset: Anything that `run` takes; its test split is scored, else validation, else the only one.
            splits: `{"test": name}` for another split.
            columns: Columns of the dataset, as `run` takes them.
        """
        given = dict(columns or {})
        header = not sources.by_position(given or self.config.columns)
        found = sources.read(dataset, header=header, formats=self.recipe.formats)
        chosen = choose_splits(list(found), splits or {})
        name = chosen.get("test") or chosen.get("validation") or next(iter(found))
        rows = self.prepare(found[name], given or self._columns_in(found[name]), reference=True)
        prepared = Data({"test": rows}, {}, {"test": name})
        name_classes(prepared, type(self.recipe))
        drop_blind_answers(prepared, type(self.recipe))
        number_rows(prepared)
        checks.check(prepared, self.recipe, in_training=False)
        drop_groups(prepared)
        notes = list(checks.scored_as_wrong(prepared, self.recipe).values())
        for note in notes:
            log(note)
        rows = prepared.splits["test"]
        predictions = predict_rows(self.trainer, self.recipe, rows, scored=True)
        references = checks.references(self.recipe, rows)
        scored = sum(reference is not None for reference in references)
        if not scored:
            raise DataError(f"none of {len(rows)} rows has an answer to score against")
        if scored < len(rows):
            log(f"{len(rows) - scored} of {len(rows)} rows have no answer; they are not scored")
        seed = self.config.training.get("seed", 42)
        others, groups = self.config.metrics, self.recipe.groups(rows)
        measured = scoring.scores(self.recipe, predictions, references, seed=seed, others=others, groups=groups)
        return Evaluation(name if len(found) > 1 else "the data", scored, measured, notes)


class Evaluation:
    """Scores of one split, and sentences on labels in it that the model lacks, which count as wrong."""

    def __init__(self, split: str, rows: int, found: dict[str, dict[str, Any]], notes: list[str]) -> None:
        self.split, self.rows, self.scores, self.notes = split, rows, found, notes

    @property
    def metrics(self) -> dict[str, float]:
        """Plain values by metric."""
        return {name: entry["value"] for name, entry in self.scores.items()}

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value:.3f}" for name, value in list(self.metrics.items())[:3])
        return f"Evaluation({self.rows} rows of {self.split}: {shown})"


def load(path: str | os.PathLike[str]) -> Predictor:
    """Load a run, or a model that a run pushed to the Hub, for prediction.

    Args:
        path: Folder of a run, or of the adapter in it, or Hub id; `me/model@v1` for a branch, tag or commit.

    Raises:
        NotFoundError: There is no such run.
        ModelError: The folder is no run of hfrecipes, or its model is damaged.

    Example:
        >>> hfrecipes.load("runs/quickstart").predict(["Where is my parcel?"])  # doctest: +SKIP
    """
    return _load(*_find(os.fspath(path)))


def merge(path: str | os.PathLike[str], destination: Path) -> None:
    """Leave an ordinary model directory, made of an adapter and the base that it was trained on.

    Args:
        path: Folder of a run, or of an adapter, or Hub id.
        destination: Folder that does not exist, or is empty.

    Raises:
        ModelError: There is no adapter, or it is of a method that cannot be merged.
        OutputError: The destination holds something.
    """
    run_folder.check_place(destination)
    if destination.exists() and any(destination.iterdir()):
        raise OutputError(f"{destination} is not empty: choose another folder")
    run, is_foreign = _find(os.fspath(path))
    place = run / ADAPTER if is_adapter(run / ADAPTER) else run
    if not is_adapter(place):
        raise ModelError(f"{path}: there is nothing to merge, its model is whole as it stands")
    predictor = _load(place, is_foreign)
    if adapters.is_adapted(predictor.trainer.model):
        raise ModelError(f"{path} was trained with {adapters.method_of(predictor.config.lora)}, which cannot be merged")
    files = save(predictor.trainer.model, predictor.recipe.tokenizer, destination)
    for name in (run_folder.RECIPE, run_folder.METRICS, run_folder.CARD):
        source = next((one / name for one in (run, place) if (one / name).exists()), None)
        if source is not None:
            (destination / name).write_bytes(source.read_bytes())
    if not run_folder.is_complete(destination):  # an adapter alone has no scores
        run_folder.write_json(destination / run_folder.METRICS, {})
    about = run_folder.read_json(run / run_folder.RUN)
    if about:
        run_folder.write_json(destination / run_folder.RUN, {**about, "files": files})


def _find(name: str) -> tuple[Path, bool]:
    """Folder of the run, and whether it came from the Hub, where anybody may have written it."""
    name = os.path.expanduser(name)
    if os.path.isdir(name):
        if not Path(name, run_folder.RECIPE).exists():
            raise ModelError(f"{name} has no {run_folder.RECIPE}: expected the folder that a run of hfrecipes left")
        parts = sorted(one.name for one in Path(name).iterdir() if (one / run_folder.RUN).exists())
        if parts and not Path(name, run_folder.RUN).exists():
            raise ModelError(f"{name} holds several runs: choose one of {', '.join(parts)}")
        if not (run_folder.is_complete(Path(name)) or is_adapter(name)):
            raise ModelError(f"the run in {name} is not complete: the command that started it resumes it")
        return Path(name), False
    repository, _, revision = name.partition("@")
    is_part = repository.count("/") == 2 and repository.endswith(f"/{ADAPTER}")
    repository = repository.removesuffix(f"/{ADAPTER}") if is_part else repository
    if hub_name(repository) is None or "/" not in repository:
        raise NotFoundError(f"there is no run {name}: give the folder of a run, or a Hub id such as me/model")
    return _from_hub(repository, revision, ADAPTER if is_part else ""), True


def _from_hub(name: str, revision: str, part: str) -> Path:
    """Folder of a model that a run pushed, or of the adapter in it, fetched where the cache lacks it."""
    from huggingface_hub import snapshot_download

    patterns = {"allow_patterns": f"{part}/*"} if part else {"ignore_patterns": ["checkpoint-*", f"{ADAPTER}/*"]}
    try:
        place = Path(snapshot_download(name, revision=revision or None, **patterns)) / part
    except Exception as error:
        raise NotFoundError(f"{name} is no folder here, and the Hub did not give it: {reason(error)}") from error
    if not (place / run_folder.RECIPE).exists():
        raise ModelError(f"{name} has no {run_folder.RECIPE}: expected a model that a run of hfrecipes pushed")
    return place


def _settings(place: Path, is_foreign: bool) -> tuple[RunConfig, Recipe]:
    """Settings and task of a saved run, checked as those of a new one are.

    Raises:
        ModelError: They are not what a run leaves, or ask to run what others wrote.
    """
    try:
        settings = {key: value for key, value in read_recipe_file(place / run_folder.RECIPE).items() if key in _KNOWN}
        task = settings["task"]
        if is_foreign and task not in tasks():
            raise ModelError(
                f"this model was trained with a task of its author's own, {task}: fetch both, and load the folder"
            )
        kind = find(task)
        training = training_types(arguments_name(kind))
        config = resolve(settings, option_types=kind.option_types(), training=training)
        recipe = kind(**config.options)
    except ConfigError as error:
        raise ModelError(f"{place / run_folder.RECIPE} is not as a run leaves it: {error}") from error
    return (_harmless(config) if is_foreign else config), recipe


_KNOWN = set(RunConfig.__dataclass_fields__)


def _harmless(config: RunConfig) -> RunConfig:
    """Settings that others wrote, without what would have their code run, or files written at places they choose."""
    shipped = [name for name in config.metrics if name in metrics.names()]
    model = config.model
    if isinstance(model, dict):
        kept = ("path", "revision", "subfolder", "quantization_config", "dtype")
        model = {key: value for key, value in model.items() if key in kept}
    return replace(config, metrics=shipped, model=model)


def _load(place: Path, is_foreign: bool) -> Predictor:
    if is_adapter(place / ADAPTER) and not (place / "config.json").exists():  # of a method that leaves nothing to merge
        place = place / ADAPTER
    run, recipe = _settings(place, is_foreign)
    name = model_path(run) or ""
    if is_foreign and is_adapter(place) and not (hub_name(name) or name.startswith("pkg://")):
        raise ModelError(f"this adapter names the base {name}, which is none that others can load")
    trusted = isinstance(run.model, dict) and bool(run.model.get("trust_remote_code"))
    config = replace(run, model={"path": str(place), "trust_remote_code": trusted})
    return Predictor(recipe, _trainer(config, recipe, place, run.model), config)


def _trainer(config: RunConfig, recipe: Recipe, place: Path, base: Any) -> Trainer:
    """A Trainer that only predicts, with the batch size and precision of training.

    Args:
        config: Settings of the run, with the folder as its model.
        recipe: The task.
        place: Folder.
        base: What the run started from, which an adapter is put on again.
    """
    import transformers

    recipe.tokenizer, model_config = load_tokenizer(config, recipe.padding_side)
    _settle(recipe, model_config, config)
    with as_model_error(str(place)), quiet():
        if is_adapter(place):
            model = adapters.load(base, recipe, place)
        else:
            model = _whole_model(config, recipe, base, model_config)
    model.config.pad_token_id = recipe.tokenizer.pad_token_id
    compute_in_float32(model)
    trainer: Trainer = getattr(transformers, recipe.trainer)(
        model,
        _arguments(config, recipe, place),
        data_collator=collator(recipe, model),
        processing_class=recipe.tokenizer,
        preprocess_logits_for_metrics=recipe.preprocess_logits,
        compute_loss_func=recipe.loss_function(),
    )
    return trainer


def _settle(recipe: Recipe, model_config: PretrainedConfig, config: RunConfig) -> None:
    """What training settled: length, labels, and what validation decided."""
    fit_length(recipe, model_config, adapters.virtual_tokens(config.lora))
    recipe.adapt_to_model(model_config)
    if not recipe.labels:
        recipe.labels = [model_config.id2label[number] for number in sorted(model_config.id2label)]
    recipe.tuned = dict(getattr(model_config, TUNED, {}))
    recipe.pads_to_max_length = getattr(model_config, PADDING, "") == "max_length"


def _whole_model(config: RunConfig, recipe: Recipe, base: Any, model_config: PretrainedConfig) -> Any:
    import torch
    import transformers

    # What was too large for float32 in training stays in 16 bits.
    dtype = torch.bfloat16 if is_quantized(base) else torch.float32
    about = dict(config.model) if isinstance(config.model, Mapping) else {}
    model = getattr(transformers, recipe.auto_model).from_pretrained(about.pop("path"), dtype=dtype, **about)
    if isinstance(base, Mapping) and "dtype" in base:  # the weights of the body were saved in the precision of training
        bring_body_to(model, model_config.dtype)
    return model


def _arguments(config: RunConfig, recipe: Recipe, place: Path) -> TrainingArguments:
    import transformers

    size = config.training.get("per_device_eval_batch_size", recipe.defaults.get("per_device_eval_batch_size", 64))
    plain = config.training.get("bf16") is False or config.training.get("fp16") is False
    machine, _ = machine_arguments({"bf16": False} if plain else {})
    arguments: TrainingArguments = getattr(transformers, arguments_name(type(recipe)))(
        output_dir=str(place),
        per_device_eval_batch_size=size,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        report_to="none",
        label_names=["labels"],
        eval_do_concat_batches=False,
        seed=config.training.get("seed", 42),
        **{name: config.training[name] for name in ("bf16_full_eval", "fp16_full_eval") if name in config.training},
        **({"predict_with_generate": True} if recipe.trainer == "Seq2SeqTrainer" else {}),
        **machine,
    )
    return one_gpu(arguments)
