"""Export the model of a run, and compare what it predicts with what the run predicts."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._version import __version__
from ..comparing.cost import Cost, measure
from ..config.run_config import RunConfig
from ..data.features import encode_to_predict
from ..errors import ConfigError, ModelError, OutputError, require_packages
from ..evaluation.inference import collator
from ..evaluation.scoring import Scores
from ..log import log
from ..models import adapters
from ..models.binding import model_inputs, pass_loss_features
from ..models.directory import EXPORT, is_exported, quiet, save_tokenizer, weight_files
from ..models.onnx_graph import TYPES
from ..models.precision import mixed_precision
from ..predictor import Predictor, in_float32, load_on_cpu
from ..recipe import Recipe, table_metrics
from ..run_folder import claim, contents, manifest, writing
from ..run_folder.trouble import as_output_error
from ..saved.run import find_run, settings_of
from . import graph
from .outcome import Export, Variant
from .rows import COMPARED, RunRows, check_equal, rows_of, scored

_INT8 = "int8"  # folder of the graph in 8 bits, until it takes the place of the other one
_VERSIONS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")


def export(
    run: str | os.PathLike[str],
    to: str = "onnx",
    *,
    int8: bool = False,
    output: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> Export:
    """Export the model of a run, for use without PyTorch or Python, and compare its predictions with those of the run.

    Args:
        run: Folder of a run, or Hub id of a model that a run pushed.
        to: `onnx`, the only format there is.
        int8: Whether weights become 8-bit integers, which is smaller, mostly faster and less exact; by how much is
            scored on the rows of the run.
        output: New folder; by default `onnx` in the folder of the run, `onnx-int8` with `int8`.
        trust: As for `load`.

    Returns:
        Size, speed and scores of the exported model and of the run; `load` takes the folder, as it takes a run.

    Raises:
        ConfigError: The model is quantized or exported already.
        MissingPackageError: A package for ONNX is not installed.
        ModelError: The exporter cannot trace the model, or what it gave predicts something else.
        OutputError: The folder exists.

    Example:
        >>> hfrecipes.export("runs/quickstart", to="onnx", int8=True).path  # doctest: +SKIP
        PosixPath('runs/quickstart/onnx-int8')
    """
    if to != "onnx":
        raise ConfigError(f"to: found {to!r}, expected onnx")
    require_packages("an export to ONNX", *graph.PACKAGES)
    folder, is_foreign = find_run(os.fspath(run))
    if output is None and is_foreign:
        raise ConfigError("output: a model on the Hub needs a folder to be exported to: add --output <folder>")
    target = Path(output or folder / ("onnx-int8" if int8 else "onnx")).absolute()
    _check_target(target)
    _check_run(folder, *settings_of(folder, is_foreign, trust))
    predictor = _in_float32(load_on_cpu(folder, is_foreign, trust))
    if adapters.is_adapted(predictor.model):
        raise ModelError(
            f"{run}: its adapter cannot be merged into the base model, and only a whole model is exported: train with "
            "lora=true, or use the run itself"
        )
    with as_output_error(target.parent), writing.new_folder(target) as draft:
        outcome = _export(predictor, folder, draft, int8=int8)
        writing.write_json(draft / EXPORT, _about(predictor, outcome))
        # Last, as `load` takes no folder without it.
        manifest.write(draft, [file.relative_to(draft).as_posix() for file in draft.rglob("*")])
    return replace(outcome, path=target)


def _check_target(target: Path) -> None:
    """Refuse a folder that holds something, before the model is loaded."""
    claim.check_writable(target)
    if target.exists() and any(target.iterdir()):
        raise OutputError(f"{target} is not empty: delete it, or choose another folder with --output")


def _check_run(folder: Path, config: RunConfig, recipe: Recipe) -> None:
    """Refuse what cannot be exported, by its settings alone."""
    if is_exported(folder):
        raise ConfigError(f"{folder} is a model in ONNX already: export the run that it came from")
    if config.model and config.base.is_quantized:
        raise ConfigError(
            "a model that was trained on quantized weights cannot be exported: train without quantization_config"
        )


def _in_float32(predictor: Predictor) -> Predictor:
    """The model in float32, which ONNX Runtime computes in on a CPU."""
    import torch

    precision = mixed_precision(predictor.config.training)
    if precision is not None or predictor.model.dtype != torch.float32:
        log(f"float32: the run computes in {precision or predictor.model.dtype}, the exported model in float32")
    return Predictor(predictor.recipe, predictor.model.float().eval(), in_float32(predictor.config), predictor.folder)


# --- the work ----------------------------------------------------------------------------------------------------


def _export(predictor: Predictor, run: Path, folder: Path, *, int8: bool) -> Export:
    """Write the model into a folder, and compare it with the run."""
    rows = rows_of(predictor.recipe, run)
    graphs = _traced(predictor, rows)
    _write_beside(predictor, run, folder)
    graph.write(graphs, folder)
    models = {"run": predictor, "onnx": _loaded(predictor, folder, folder)}
    sizes = [_size_of(run, predictor), graph.size_of(folder)]
    compared = check_equal(predictor, models["onnx"], rows)
    if int8:
        (folder / _INT8).mkdir()
        graph.write({name: graph.quantized(program) for name, program in graphs.items()}, folder / _INT8)
        models["onnx int8"] = _loaded(predictor, folder / _INT8, folder)
        sizes.append(graph.size_of(folder / _INT8))
    variants = _variants(models, sizes, rows)
    final = list(models.values())[-1].model.graph
    about = Export(
        folder,
        rows.split,
        len(rows.lines),
        compared,
        table_metrics(predictor.recipe)[0],
        variants,
        inputs=final.inputs,
        outputs=final.outputs,
    )
    del models, final  # which may read weights from the files
    if int8:
        graph.move(folder / _INT8, folder)
    return about


def _traced(predictor: Predictor, rows: RunRows) -> dict[str, Any]:
    """The graphs of the model by the names of their files."""
    log(f"ONNX: {type(predictor.model).__name__} is traced, which takes up to a minute")
    if predictor.recipe.writer is not None:
        return graph.traced_writer(predictor.model)
    return graph.traced(predictor.model, _sample(predictor, rows))


def _sample(predictor: Predictor, rows: RunRows) -> dict[str, Any]:
    """The shortest and the longest of some rows as a batch, so that it has padding and no size is 1."""
    import torch

    recipe = predictor.recipe
    features = encode_to_predict(recipe, rows.read(predictor, COMPARED).rows)
    lengths = features["length"]
    order = sorted(range(len(features)), key=lambda index: lengths[index])
    batch = collator(recipe, predictor.model)(features.__getitems__([order[0], order[-1]]))
    inputs = model_inputs(recipe, batch)
    # Rows of single texts have none, and another row may have a second text.
    if TYPES in recipe.tokenizer.model_input_names and TYPES not in inputs:
        inputs[TYPES] = torch.zeros_like(inputs["input_ids"])
    return inputs


def _write_beside(predictor: Predictor, run: Path, folder: Path) -> None:
    """Write what `load` reads beside the graph: config, tokenizer, settings."""
    model = predictor.model
    with quiet():
        model.config.save_pretrained(folder)
        if model.can_generate():
            model.generation_config.save_pretrained(folder)
    save_tokenizer(predictor.recipe.tokenizer, folder)
    # Not the baseline, which has words of the training rows: an export is made to be given away.
    if (run / contents.RECIPE).exists():
        shutil.copy(run / contents.RECIPE, folder / contents.RECIPE)


def _loaded(predictor: Predictor, folder: Path, settings: Path) -> Predictor:
    """What predicts by the graphs in a folder; arguments as for `load_onnx`."""
    from ..models.onnx_models import load_onnx

    model = pass_loss_features(predictor.recipe, load_onnx(folder, predictor.model.config, settings))
    return Predictor(predictor.recipe, model, predictor.config)


def _variants(models: Mapping[str, Predictor], sizes: Sequence[int], rows: RunRows) -> list[Variant]:
    """What is known of the run, and of models that were exported from it."""
    variants, measured = [], measure(list(models.values()), rows.lines)
    for name, size, (latency, rows_per_second) in zip(models, sizes, measured, strict=True):
        cost = Cost(size=size, latency=latency, rows_per_second=rows_per_second)
        variants.append(Variant(name, cost, *_scored(name, models[name], rows)))
    return variants


def _scored(name: str, predictor: Predictor, rows: RunRows) -> tuple[Scores, Scores]:
    """Scores of a model and their changes from the run; empty where the run has not predicted the rows."""
    if not rows.split:
        return {}, {}
    # What the run has predicted before is its score, also where it computed in half precision.
    is_run = name == "run"
    predictions = [line["prediction"] for line in rows.lines] if is_run else rows.predicted(predictor)
    scores, changes = scored(predictor.recipe, rows, predictions, predictor.config.training.get("seed", 42))
    return scores, {} if is_run else changes


def _size_of(run: Path, predictor: Predictor) -> int:
    """Bytes of the weights of a run; of an adapter alone, those of the whole model."""
    files = weight_files(run)
    if files:
        return sum(file.stat().st_size for file in files)
    return sum(weights.nbytes for weights in predictor.model.parameters())


def _about(predictor: Predictor, outcome: Export) -> dict[str, Any]:
    """What a program that reads the graph needs to know, and how the model compares with its run."""
    recipe = predictor.recipe
    versions = {name: importlib.metadata.version(name) for name in _VERSIONS}
    return {
        "task": recipe.task,
        "format": "onnx",
        "inputs": outcome.inputs,
        "outputs": outcome.outputs,
        "max_length": recipe.max_length,
        "pad_token_id": recipe.tokenizer.pad_token_id,
        "labels": recipe.labels,
        "calibration": recipe.calibration,
        **outcome.as_json(),
        "versions": {"hfrecipes": __version__, **versions},
    }
