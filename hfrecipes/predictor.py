"""A saved run, on this machine or on the Hub: loaded to predict and to evaluate, or merged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from .config.blocks import ModelSettings
from .config.resolving import check_blocks
from .config.run_config import RunConfig
from .data.indicators import Columns
from .data.redacting import restore
from .errors import ConfigError, DataError, ModelError, NotFoundError, OutputError, counted
from .evaluation import generation, inference
from .evaluation.inference import Inference
from .garbage import collect_as_usual
from .hub.names import hub_id_or_none, model_path
from .log import log
from .models import adapters, cuda_graphs, distances, hardware
from .models.binding import bind_trained_tokenizer, pass_loss_features, trained_model
from .models.directory import ADAPTER, is_adapter, is_exported, save
from .models.int8 import in_int8, is_int8
from .models.integrity import check_unchanged
from .models.onnx_graph import is_onnx
from .models.precision import mixed_precision
from .recipe import DISTANCE, Recipe, Row
from .redaction.names import name_finder
from .run_folder import claim, contents, manifest, writing
from .run_folder.contents import RunInfo
from .run_folder.history import read_history
from .run_folder.trouble import as_output_error
from .saved.rows import InputRows, RowReader, as_list
from .saved.run import find_run, settings_of

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset
    from transformers import Trainer

    from .evaluation.comparison import Evaluation
    from .explaining.explainer import Explainer
    from .explaining.explanation import Explanation
    from .robustness.suite import Robustness
    from .saved.evaluation import Evaluator

_LOAD_THE_RUN = "load the run that it was exported from"
EXPLAINED_AT_ONCE = 64  # rows that are predicted before the first of them is explained


class Predictor:
    """A model with the preprocessing that it was trained with.

    Attributes:
        recipe: Task with its options, tokenizer and labels.
        config: Settings of the run.
        folder: Folder of the run, where there is one.
    """

    def __init__(
        self, recipe: Recipe, model: Any, config: RunConfig, folder: Path | None = None, trainer: Trainer | None = None
    ) -> None:
        self.recipe = recipe
        self.config = config
        self.folder = folder
        self._model = model
        self._trainer = trainer

    @property
    def model(self) -> Any:
        """The model: the one in `trainer`, once there is one."""
        return self._model if self._trainer is None else self._trainer.model

    @property
    def trainer(self) -> Trainer:
        """Plain Trainer that holds the model; made when it is first asked for, as no prediction needs it."""
        if self._trainer is None:
            from .evaluation.holder import trainer_for_prediction

            if is_onnx(self._model):
                raise ModelError(f"a model in ONNX cannot be trained, and has no Trainer: {_LOAD_THE_RUN}")
            self._trainer = trainer_for_prediction(self.config, self.recipe, self._model)
        return self._trainer

    # --- predict -------------------------------------------------------------------------------------------------

    def predict(
        self, rows: Any = None, *, file: str | os.PathLike[str] | None = None, columns: Columns | None = None
    ) -> Any:
        """Predict rows that the model has not seen.

        Args:
            rows: A text, a list of texts, a `pathlib.Path`, or rows with the columns of training in any form that `run`
                takes as dataset. A text is never the name of a file.
            file: File of rows, in place of `rows`.
            columns: Columns of the rows, as `run` takes them, where they are not those of training.

        Returns:
            One prediction for a single text, else a list with one per row, None for a blank one. A row that holds
            several, as a request with several questions, gives a list too.

        Raises:
            DataError: The rows do not have the input columns of the model.

        Example:
            >>> hfrecipes.load("runs/quickstart").predict("Where is my parcel?")["label"]  # doctest: +SKIP
            'delivery'
        """
        given, is_single = self._given(rows, file, columns)
        predictions = [] if given is None else self.predicted(given)
        return predictions[0] if is_single and len(predictions) == 1 else predictions

    def _given(self, rows: Any, file: str | os.PathLike[str] | None, columns: Columns | None) -> tuple[Any, bool]:
        """The rows that a caller means, None for an empty list; and whether it is a single one."""
        if (rows is None) == (file is None):
            raise DataError("found no rows, or a file beside them: expected a text, a list of texts or rows, or file=")
        rows = Path(file) if file is not None else as_list(rows)
        is_single = isinstance(rows, str) or self._reader.is_row(rows)
        if isinstance(rows, list) and not rows:
            return None, False
        return self.read([rows] if is_single else rows, columns), is_single

    def stream(self, row: Mapping[str, Any], show: Callable[[str], None]) -> str:
        """The text that the model generates for one row, shown piece by piece.

        Args:
            row: As for `predict`.
            show: Called with each piece of text.

        Returns:
            The whole text.

        Raises:
            DataError: The row has nothing that the model could continue.
        """
        if not isinstance(row, Mapping):
            raise DataError(f"found {type(row).__name__}, expected a row with {' and '.join(self.reads)}")
        writer = self.recipe.writer
        prompts = writer.prompts(self.read([dict(row)]).rows, scored=False) if writer is not None else [None]
        if writer is None or prompts[0] is None:
            raise DataError("found nothing to continue, expected a row that ends with a turn of the user")
        streamer = generation.Streamer(writer, prompts[0], show)
        (generated,) = generation.generate(self.inference, [prompts[0].input_ids], streamer=streamer)
        return str(writer.decode(prompts[0], generated)["generated_text"])

    @property
    def history(self) -> pd.DataFrame:
        """Losses, learning rates and scores of the training by step, as `Result.history`.

        Raises:
            NotFoundError: The model comes from elsewhere than the folder of its run.
        """
        return read_history(self.folder or Path()).frame()

    def report_html(self, *, trust: bool = False) -> Path:
        """Write all of report.html into the folder of the run, and return its path; see docs/report.md.

        Args:
            trust: As for `load`.

        Raises:
            NotFoundError: The model comes from elsewhere than the folder of its run.
        """
        if self.folder is None or not (self.folder / contents.PREDICTIONS).exists():
            raise NotFoundError(
                f"found no {contents.PREDICTIONS}, which a report is made of: load the folder where the model was "
                "trained"
            )
        return write_report(self.folder, trust=trust)

    @property
    def reads(self) -> list[str]:
        """Columns that the model was trained on."""
        return self._reader.reads

    @property
    def _reader(self) -> RowReader:
        return RowReader(self.recipe, self.config.columns)

    def names_inputs(self, names: Iterable[Any]) -> bool:
        """Whether one of the names is that of a column that the model reads."""
        return self._reader.names_inputs(names)

    def form_of(self, row: Row) -> tuple[tuple[str, type], ...] | None:
        """What rows must share so that they can be predicted together, and each as it would be alone."""
        return self._reader.form_of(row)

    def read(self, rows: Any, columns: Columns | None = None, *, needs_text: bool = True) -> InputRows:
        """Rows to predict, checked; arguments as for `predict`.

        Without `needs_text`, all of them may be blank.
        """
        check_blocks({"columns": columns or {}})
        return self._reader.read(self._reader.as_rows(as_list(rows)), dict(columns or {}), needs_text=needs_text)

    def predicted(
        self, given: InputRows, start: int = 0, stop: int | None = None, *, scored: bool = False
    ) -> list[Row | None]:
        """One prediction for each row from `start` to `stop`; None for a blank one.

        With `scored`, texts are written only for as many rows as are scored. Spans are those of the rows as they were
        given, where the model reads them redacted.
        """
        predictions = self._of_read_rows(given, start, stop, scored=scored)
        if given.unredacted is None:
            return predictions
        return restore(predictions, given.unredacted.select(range(start, start + len(predictions))), self.recipe)

    def _of_read_rows(
        self, given: InputRows, start: int, stop: int | None, *, scored: bool = False
    ) -> list[Row | None]:
        """As `predicted`, with the spans of the rows as the model reads them."""
        numbers = range(start, len(given.rows) if stop is None else min(stop, len(given.rows)))
        present = [number for number in numbers if number not in given.blank]
        rows = given.rows
        if len(present) < len(rows):
            rows = rows.select(numbers if len(present) == len(numbers) else present)
        made = iter(self._predictions(rows, scored=scored) if present else [])
        return [None if number in given.blank else next(made) for number in numbers]

    # --- explain -------------------------------------------------------------------------------------------------

    def explain(
        self, rows: Any = None, *, file: str | os.PathLike[str] | None = None, columns: Columns | None = None
    ) -> Any:
        """Explain predictions by the words that speak for them and against them.

        Args:
            rows: As for `predict`.
            file: File of rows, in place of `rows`.
            columns: As for `predict`.

        Returns:
            One `Explanation` for a single text, else a list with one per row, None for a blank one: words with their
            characters, what each of them adds to the prediction, and the prediction itself.

        Raises:
            ConfigError: Predictions of the task cannot be explained.
            MissingPackageError: Captum is not installed.
            DataError: The rows do not have the input columns of the model.

        Example:
            >>> hfrecipes.load("runs/quickstart").explain("Where is my parcel?").targets[0].target  # doctest: +SKIP
            'delivery'
        """
        explainer = self.explainer()
        given, is_single = self._given(rows, file, columns)
        explanations = [] if given is None else list(self.explained(given, explainer))
        return explanations[0] if is_single else explanations

    def explainer(self) -> Explainer:
        """What explains predictions of this model.

        Raises:
            ConfigError: Predictions of the task, or of a model in 8 bits, cannot be explained.
            MissingPackageError: Captum is not installed.
        """
        from .explaining.explainer import Explainer

        if is_onnx(self.model):
            raise ConfigError(f"a model in ONNX has no gradients, which explanations are made of: {_LOAD_THE_RUN}")
        if is_int8(self.model):
            raise ConfigError("layers in 8 bits have no gradients, which explanations are made of: load without int8")
        return Explainer(self.inference)

    def explained(
        self, given: InputRows, explainer: Explainer, limit: int | None = None
    ) -> Iterator[Explanation | None]:
        """The explanation of one row after the other; None for a blank one.

        Args:
            given: What `read` gave.
            explainer: What `explainer` gave.
            limit: Number of rows, from the first one on; all by default.
        """
        rows = min(len(given.rows), len(given.rows) if limit is None else limit)
        for start in range(0, rows, EXPLAINED_AT_ONCE):
            stop = min(start + EXPLAINED_AT_ONCE, rows)
            predictions = self._of_read_rows(given, start, stop)
            for row, prediction in zip(given.rows.select(range(start, stop)), predictions, strict=True):
                yield None if prediction is None else explainer.explain(row, prediction)

    def _predictions(self, rows: Dataset, *, scored: bool) -> list[Row]:
        """One prediction per row, with the texts that the model writes for rows, or for those that are scored."""
        ready = self.inference
        predictions = inference.predict_rows(ready, rows)
        return generation.add_texts(ready, rows, predictions, scored=scored)

    @property
    def inference(self) -> Inference:
        """The model with its task, ready to predict."""
        return Inference.of(self.model, self.recipe, self.config.training)

    # --- evaluate ------------------------------------------------------------------------------------------------

    @overload
    def evaluate(
        self,
        dataset: Any,
        *,
        splits: Mapping[str, str | None] | None = None,
        columns: Columns | None = None,
        by: str | None = None,
    ) -> Evaluation: ...

    @overload
    def evaluate(
        self,
        *,
        tests: Mapping[str, Any],
        splits: Mapping[str, str | None] | None = None,
        columns: Columns | None = None,
        by: str | None = None,
    ) -> dict[str, Evaluation]: ...

    def evaluate(
        self,
        dataset: Any = None,
        *,
        tests: Mapping[str, Any] | None = None,
        splits: Mapping[str, str | None] | None = None,
        columns: Columns | None = None,
        by: str | None = None,
    ) -> Evaluation | dict[str, Evaluation]:
        """Score the model on rows with references, as a run scores its own splits, and compare it with its own test.

        Args:
            dataset: Anything that `run` takes; its test split is scored, else validation, else the only one.
            tests: Several of them by name, in place of `dataset`.
            splits: `{"test": name}` for another split.
            columns: Columns of the dataset, as `run` takes them.
            by: Column of the dataset; the rows of each of its values are scored by themselves too.

        Returns:
            The scores; with `tests` those of each of them, by name.

        Raises:
            ConfigError: `tests`, `splits` or `columns` is no block.
            DataError: The rows cannot be scored.
        """
        if (dataset is None) == (not tests):
            raise DataError("expected either a dataset or tests by name, found both or neither")
        evaluations = {}
        for name, evaluation in self.evaluator(by).evaluate_each(tests or {"": dataset}, splits, columns):
            evaluations[name] = evaluation
            for note in evaluation.notes:
                log(note)
        return evaluations if tests else evaluations[""]

    def robustness(self, dataset: Any = None) -> Robustness:
        """Score the model on rows with typos, in other case, without punctuation, with other names, and so on.

        Args:
            dataset: Rows with references, anything that `run` takes; the run's own test where not given.

        Returns:
            For each kind of change the scores, and the change of each with its interval.

        Raises:
            ConfigError: The task has no texts that can be changed while their references stay right.
            NotFoundError: No rows are given, and the model has none of its own.
            DataError: The rows cannot be scored.

        Example:
            >>> hfrecipes.load("runs/quickstart").robustness().cells()  # doctest: +SKIP
        """
        from .robustness import suite

        suite.changed_columns(self.recipe)  # before rows are predicted
        lines = suite.own_lines(self.folder) if dataset is None else self.evaluate(dataset).predictions
        return suite.robustness(self.recipe, lines, self._predict_again, self.config.training.get("seed", 42))

    def _predict_again(self, rows: list[Row]) -> list[Row | None]:
        """Predictions of rows under the column names of the task, as they are scored."""
        inputs = []
        for row in rows:
            inputs.append({name: row[name] for name in self.reads if row.get(name) is not None})
        return self.predicted(self.read(inputs), scored=True)

    def evaluator(self, by: str | None = None) -> Evaluator:
        """What scores one set of rows after another, and prints none of its notes."""
        from .saved.evaluation import Evaluator

        return Evaluator(self._reader, self.config, self.folder, lambda rows: self._predictions(rows, scored=True), by)


# --- load and merge ----------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str], *, trust: bool = False, int8: bool = False) -> Predictor:
    """Load a run, or a model that a run pushed to the Hub, for prediction.

    Args:
        path: Folder of a run, or of the adapter in it, or Hub id; `me/model@v1` for a branch, tag or commit.
        trust: Whether code that the run names may be run: a task or a metric in a .py file, code of its model. That of
            a run on the Hub is not run in any case.
        int8: Whether linear layers compute with 8-bit integers, which is faster on a CPU and less exact; by how much
            is printed.

    Raises:
        UntrustedError: The run names code, and it is not trusted.
        NotFoundError: There is no such run.
        ModelError: The folder is not a run of hfrecipes, its model is damaged, or it cannot compute in 8 bits here.

    Example:
        >>> hfrecipes.load("runs/quickstart").predict(["Where is my parcel?"])  # doctest: +SKIP
    """
    if not isinstance(path, str | os.PathLike):
        raise NotFoundError(f"found {path!r} ({type(path).__name__}), expected the folder of a run, or a Hub id")
    predictor = _load(*find_run(os.fspath(path)), trust)
    return _in_int8(predictor) if int8 else predictor


def _in_int8(predictor: Predictor) -> Predictor:
    """The same, with layers that compute in 8 bits; their score is printed."""
    from .saved.int8 import about_score

    if is_onnx(predictor.model):
        raise ModelError("int8: a model in ONNX computes as it was exported: leave it out, or export with --int8")
    config = in_float32(predictor.config)  # layers in 8 bits take nothing else
    changed = Predictor(predictor.recipe, predictor.model.float(), config, predictor.folder)
    layers = in_int8(changed.model)

    def predict(rows: list[Row]) -> list[Row | None]:
        return changed.predicted(changed.read(rows, {name: name for name in rows[0]}), scored=True)

    try:
        score = about_score(changed.recipe, changed.folder, config.training.get("seed", 42), predict)
    except (TypeError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"int8: {type(changed.model).__name__} cannot compute with layers in 8 bits ({error}): leave it out"
        ) from error
    log(f"int8: {counted(layers, 'layer')} of the model in 8 bits; {score}")
    return changed


def write_report(path: str | os.PathLike[str], *, trust: bool = False) -> Path:
    """Write all of report.html into the folder of a run, or of several runs over folds or seeds.

    Args:
        path: Folder of a complete run.
        trust: As for `load`.

    Returns:
        The file.

    Raises:
        UntrustedError: The run names code, and it is not trusted.
        NotFoundError: There is no such folder.
        ModelError: It holds no complete run.
    """
    from .reports import writing as reports

    folder = reports.folder_of(os.fspath(path))
    run = reports.read_run(folder, lambda model: _load(model, False, trust), trust=trust)
    with as_output_error(folder):
        return reports.write_page(run)


def merge(path: str | os.PathLike[str], destination: Path, *, trust: bool = False) -> None:
    """Merge an adapter into the base model it was trained on, and save an ordinary model directory.

    Args:
        path: Folder of a run, or of an adapter, or Hub id.
        destination: Folder that does not exist, or is empty.
        trust: As for `load`.

    Raises:
        UntrustedError: The run names code, and it is not trusted.
        ModelError: There is no adapter, or it is of a method that cannot be merged.
        OutputError: The destination is not empty.
    """
    claim.check_writable(destination)
    if destination.exists() and any(destination.iterdir()):
        raise OutputError(f"{destination} is not empty: choose another folder")
    run, is_foreign = find_run(os.fspath(path))
    folder = run / ADAPTER if is_adapter(run / ADAPTER) else run
    if not is_adapter(folder):
        raise ModelError(f"{path}: there is nothing to merge, it is a complete model already")
    predictor = _load(folder, is_foreign, trust)
    if adapters.is_adapted(predictor.model):
        raise ModelError(
            f"{path} was trained with {_method(predictor.config)}, which cannot be merged: use its folder as it is, "
            "hfrecipes loads adapter and base together"
        )
    files = save(predictor.model, predictor.recipe, destination)
    if DISTANCE in predictor.recipe.learned:
        distances.write(destination, distances.read(folder))
        files.append(distances.FILE)
    for name in (contents.RECIPE, contents.METRICS, contents.CARD, contents.BASELINE):
        for source in (run / name, folder / name):
            if source.exists():
                (destination / name).write_bytes(source.read_bytes())
                break
    if not contents.is_complete(destination):  # an adapter alone has no scores
        writing.write_json(destination / contents.METRICS, {})
    try:
        info = RunInfo.read(run)
    except contents.DamagedError as error:
        log(f"not copied: {error}")
        info = None
    if info is not None:
        replace(info, files=files).write(destination)
    manifest.write(destination, [*files, *contents.BESIDE_MODEL])


def _method(config: RunConfig) -> str:
    """Name of the PEFT method that the run was trained with."""
    return "LORA" if config.adapter is None else config.adapter.method


def in_float32(config: RunConfig) -> RunConfig:
    """The settings of a run, with predictions computed in float32."""
    halves = dict.fromkeys(("bf16", "fp16", "bf16_full_eval", "fp16_full_eval"), False)
    return replace(config, training={**config.training, **halves})


def _load(folder: Path, is_foreign: bool, trust: bool) -> Predictor:
    predictor = load_on_cpu(folder, is_foreign, trust)
    model = predictor.model
    if not is_onnx(model):
        precision = mixed_precision(predictor.config.training)
        model = cuda_graphs.replay_rows(hardware.place(model), predictor.recipe, precision)
    collect_as_usual()
    return Predictor(predictor.recipe, model, predictor.config, predictor.folder)


def load_on_cpu(folder: Path, is_foreign: bool, trust: bool) -> Predictor:
    """Load a run without moving its model to a GPU.

    Args:
        folder: What `find_run` gave, with whether it came from the Hub.
        is_foreign: The latter.
        trust: As for `load`.
    """
    run = folder
    # Some methods of PEFT leave nothing to merge, and so no whole model.
    if is_adapter(folder / ADAPTER) and not (folder / "config.json").exists():
        folder = folder / ADAPTER
    if not check_unchanged(folder):
        log(f"{folder} has no manifest of what was saved, so its files are not compared with it")
    config, recipe = settings_of(folder, is_foreign, trust)
    recipe.find_names = name_finder(recipe.redact, load)
    name = model_path(config) or ""
    if is_foreign and is_adapter(folder) and not (hub_id_or_none(name) or name.startswith("pkg://")):
        raise ModelError(
            f"this adapter was trained on the model {name}, a folder of another machine: ask its author for the merged "
            "model, or for the Hub id of that model"
        )
    base = config.base if config.model else ModelSettings("", {})
    here = replace(config, model={"path": str(folder), "trust_remote_code": base.trust_remote_code})
    model_config = bind_trained_tokenizer(recipe, here)
    if is_exported(folder):
        from .models.onnx_models import load_onnx

        model = pass_loss_features(recipe, load_onnx(folder, model_config, folder))
        return Predictor(recipe, model, in_float32(here), run)
    return Predictor(recipe, trained_model(recipe, here, base, folder), here, run)
