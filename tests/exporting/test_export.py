"""An exported model predicts what its run predicts, on rows of any length and number, through the same functions."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import close, opinions, rows_of

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.contract.tiny_models import tiny_model
from hfrecipes.errors import MissingPackageError, ModelError
from hfrecipes.exporting import graph
from hfrecipes.exporting.rows import difference_of
from hfrecipes.predictor import write_report
from hfrecipes.recipe import input_columns
from hfrecipes.registry import find, list_tasks

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

FIRST = "text-classification"  # the others take the same way, and half a minute


def trained(task: str, folder: Path, **settings) -> Path:
    """The folder of a run of a few steps on the sample rows of the task, with a test."""
    rows = rows_of(find(task), 48)
    settings = {"learning_rate": 1e-2, "max_steps": 3, "per_device_train_batch_size": 8, "bf16": False, **settings}
    given = {"train": rows[:24], "validation": rows[:12], "test": rows[24:]}
    model = tiny_model(find(task), folder / "model")
    return hfrecipes.run(task, **{"model": model, "dataset": given, "output_dir": folder / "run", **settings}).path


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of a task, made once."""
    options = {FIRST: {"out_of_scope_by": "distance"}}
    return functools.cache(lambda task: trained(task, tmp_path_factory.mktemp(task), options=options.get(task, {})))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory):
    """A run that learned labels and thresholds, exported with weights in 8 bits."""
    folder = tmp_path_factory.mktemp("opinions")
    options = {"abstain": {"share": 0.1}, "max_length": 16}
    rows = {"train": opinions(64), "validation": opinions(40, seed=1), "test": opinions(40, seed=2)}
    run = trained(FIRST, folder, dataset=rows, max_steps=20, options=options)
    return hfrecipes.export(run, "onnx", int8=True)


def inputs_of(task: str) -> list[dict]:
    """Rows to predict of many lengths, in a number that the model was not exported with."""
    kind, rows = find(task), []
    for index, row in enumerate(rows_of(kind, 7)):
        given = {name: row[name] for name in input_columns(kind) if row.get(name) is not None}
        if index % 2 and "text" in given:
            given["text"] = " ".join([given["text"]] * index)
        rows.append(given)
    return rows


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=() if task == FIRST else pytest.mark.long) for task in list_tasks()]
)
def test_an_exported_model_predicts_what_its_run_predicts(task, run_of):
    run = run_of(task)
    result = hfrecipes.export(run)
    assert result.path == run / "onnx"
    assert result.compared == 24
    rows = inputs_of(task)
    expected, predictions = (hfrecipes.load(path).predict(rows) for path in (run, result.path))
    assert difference_of(expected, predictions) == ""
    assert difference_of(expected[0], hfrecipes.load(result.path).predict(rows[0])) == ""
    assert difference_of(expected * 6, hfrecipes.load(result.path).predict(rows * 6)) == ""
    about = json.loads((result.path / "export.json").read_text(encoding="utf-8"))
    assert about["models"]["onnx"]["changes"], "scored on the rows of the run"


def test_thresholds_and_labels_are_inside(exported):
    run = exported.path.parent
    config = json.loads((exported.path / "config.json").read_text(encoding="utf-8"))["hfrecipes"]
    assert config == json.loads((run / "config.json").read_text(encoding="utf-8"))["hfrecipes"]
    assert config["calibration"], "the run has thresholds"
    about = json.loads((exported.path / "export.json").read_text(encoding="utf-8"))
    assert about["calibration"] == config["calibration"]
    assert about["labels"] == ["bad", "good"]
    assert about["max_length"] == 16
    assert set(about["inputs"]) == {"input_ids", "attention_mask", "token_type_ids"}
    predictions = hfrecipes.load(exported.path).predict(opinions(9, seed=3))
    assert predictions[0].keys() == hfrecipes.load(run).predict(opinions(1, seed=3))[0].keys()


def test_what_8_bits_cost_is_scored_with_intervals_beside_the_run(exported):
    run, float_model, int8 = exported.variants
    assert exported.split == "test"
    assert (
        run.scores["accuracy"].value
        == hfrecipes.load(exported.path.parent).evaluate(opinions(40, seed=2)).metrics["accuracy"]
    )
    assert float_model.changes["accuracy"].value == 0
    change = int8.changes["accuracy"]
    assert change.low <= int8.scores["accuracy"].value - run.scores["accuracy"].value <= change.high
    assert int8.cost.size < float_model.cost.size
    assert all(variant.cost.latency.median > 0 and variant.cost.rows_per_second > 0 for variant in exported.variants)


def test_the_file_in_8_bits_is_what_is_loaded(exported):
    import onnx

    operators = {node.op_type for node in onnx.load(exported.path / "model.onnx").graph.node}
    assert operators & {"MatMulInteger", "DynamicQuantizeMatMul"}


def test_the_commands_take_the_folder_as_a_run(exported, tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opinions(5)), encoding="utf-8")
    for command, *words in (["predict"], ["predict", "-o", "out.csv"], ["evaluate"]):
        outcome = CliRunner().invoke(main, [command, str(exported.path), "rows.jsonl", *words])
        assert outcome.exit_code == 0, outcome.output
    assert "accuracy" in outcome.output
    assert "has no metrics.json" not in outcome.output
    assert CliRunner().invoke(main, ["verify", str(exported.path)]).exit_code == 0


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (lambda path: hfrecipes.load(path, int8=True), "leave it out"),
        (lambda path: hfrecipes.load(path).explain("the cake was great"), "load the run that it was exported from"),
        (lambda path: hfrecipes.load(path).trainer, "load the run that it was exported from"),
        (lambda path: hfrecipes.export(path), "is a model in ONNX already"),
        (lambda path: hfrecipes.run(FIRST, model=path, dataset=opinions(20)), "cannot be trained: use the run"),
        (lambda path: hfrecipes.push(path, "me/model"), "cannot be pushed: use the run"),
        (write_report, "cannot be shown in a report: use the run"),
    ],
)
def test_what_a_model_in_onnx_cannot_do_is_said_in_a_sentence(exported, use, sentence):
    with pytest.raises(hfrecipes.HFRecipesError, match=sentence):
        use(exported.path)


def test_a_changed_graph_is_refused(exported, tmp_path):
    copy = Path(shutil.copytree(exported.path, tmp_path / "copy"))
    with open(copy / "model.onnx", "ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match=r"model\.onnx is not what was saved"):
        hfrecipes.load(copy)


def test_a_folder_that_is_taken_is_refused_before_the_model_is_loaded(exported, monkeypatch):
    monkeypatch.setattr("hfrecipes.exporting.export.load_on_cpu", None)
    outcome = CliRunner().invoke(main, ["export", str(exported.path.parent), "--int8"])
    assert outcome.exit_code == 2
    assert "onnx-int8 is not empty: delete it, or choose another folder with --output" in outcome.output


def test_a_missing_package_is_named_before_anything_is_loaded(exported, monkeypatch):
    monkeypatch.setattr("hfrecipes.errors.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(MissingPackageError, match="needs onnxscript: pip install onnxscript"):
        hfrecipes.export(exported.path.parent)


def failing(*_, **__):
    raise RuntimeError("an operator that nobody knows")


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("transformers.exporters.exporter_onnx.OnnxExporter.export", "an operator that nobody knows"),
        ("hfrecipes.exporting.rows.difference_of", "predicts something else"),
    ],
)
def test_a_failure_leaves_nothing_behind(exported, tmp_path, monkeypatch, broken, sentence):
    replacement = failing if "transformers" in broken else lambda *_: "label is 'bad' and not 'good'"
    monkeypatch.setattr(broken, replacement)
    if "transformers" not in broken:  # tracing is not what is tested
        program = __import__("onnx_ir").load(exported.path / "model.onnx")
        monkeypatch.setattr(graph, "traced", lambda *_: {"model.onnx": program})
    with pytest.raises(ModelError, match=sentence):
        hfrecipes.export(exported.path.parent, output=tmp_path / "out")
    assert not [name for name in os.listdir(tmp_path) if "out" in name]


def test_what_a_kill_leaves_is_no_model_and_goes_with_the_next_export(exported, tmp_path, monkeypatch):
    draft = tmp_path / ".draft-out"
    shutil.copytree(exported.path, draft)
    (draft / "manifest.json").unlink()  # written last
    with pytest.raises(ModelError, match="not complete"):
        hfrecipes.load(draft)
    monkeypatch.setattr("transformers.exporters.exporter_onnx.OnnxExporter.export", failing)
    with pytest.raises(ModelError):
        hfrecipes.export(exported.path.parent, output=tmp_path / "out")
    assert not draft.exists()


def test_a_decoder_that_forgets_early_tokens_is_refused():
    """Traced on a few tokens, its window would be as long for ever as it was then."""
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=32, num_key_value_heads=2, sliding_window=4, pad_token_id=0, **sizes)
    with pytest.raises(ModelError, match="its layers remember tokens by DynamicSlidingWindowLayer"):
        graph.traced_writer(MistralForCausalLM(config).eval())


def prompt_of(run: Path) -> dict:
    """Two prompts of different length, padded on the left."""
    tokenizer = hfrecipes.load(run).recipe.tokenizer
    texts = ["the cat looks up", "the kettle hums, and the cat"]
    batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.long
@pytest.mark.parametrize("task", ["summarization", "text-generation"])
def test_8_bits_generate_by_the_settings_of_the_run(task, run_of):
    run = run_of(task)
    result = hfrecipes.export(run, int8=True)
    model, exported = hfrecipes.load(run).model, hfrecipes.load(result.path).model
    assert exported.generation_config.max_length == model.generation_config.max_length
    assert {file.name for file in result.path.iterdir()} >= {"model.onnx", "generation_config.json", "export.json"}
    assert (
        exported.generate(**prompt_of(run), max_new_tokens=2).shape
        == model.generate(**prompt_of(run), max_new_tokens=2).shape
    )


@pytest.mark.long
@pytest.mark.parametrize("task", ["summarization", "text-generation"])
def test_beams_take_the_same_ways_through_the_graph(task, run_of):
    run = run_of(task)
    folder = hfrecipes.export(run, output=run / "beams").path
    settings = {"num_beams": 3, "max_new_tokens": 6, "do_sample": False, "early_stopping": False}
    expected, ids = (hfrecipes.load(path).model.generate(**prompt_of(run), **settings) for path in (run, folder))
    assert ids.tolist() == expected.tolist()


@pytest.mark.long
def test_an_adapter_is_exported_as_the_merged_model(tmp_path):
    run = trained(FIRST, tmp_path, lora=True)
    result = hfrecipes.export(run, output=tmp_path / "out")
    rows = inputs_of(FIRST)
    assert close(hfrecipes.load(result.path).predict(rows), hfrecipes.load(run).predict(rows))


@pytest.mark.long
def test_a_run_without_its_predictions_is_compared_on_samples_and_not_scored(run_of, tmp_path, caplog):
    run = Path(shutil.copytree(run_of(FIRST), tmp_path / "copy", ignore=shutil.ignore_patterns("onnx*")))
    (run / "predictions.jsonl").unlink()
    result = hfrecipes.export(run)
    assert result.split == ""
    assert not result.variants[1].scores
    assert result.compared == len(find(FIRST).samples)
    assert "the samples of the task are compared" in caplog.text


@pytest.mark.parametrize(
    ("expected", "value", "is_same"),
    [
        ({"score": 0.5}, {"score": 0.50005}, True),
        ({"score": 0.5}, {"score": 0.5002}, False),
        ({"value": 5000.0}, {"value": 5000.3}, True),
        ({"labels": ["a", "b"]}, {"labels": ["b", "a"]}, False),
        ({"scores": [0.1, 0.9]}, {"scores": [0.1]}, False),
        ({"label": "a"}, {"label": "a", "score": 1.0}, False),
        (None, None, True),
        (None, {"label": "a"}, False),
        ({"label": 1}, {"label": 2}, False),
    ],
)
def test_predictions_are_the_same_up_to_rounding_of_numbers(expected, value, is_same):
    assert (difference_of(expected, value) == "") == is_same
