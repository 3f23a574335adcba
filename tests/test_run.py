"""The whole way, as a user goes it: what a run leaves, how it resumes, what it refuses, and that its loss is right."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import BAD, GOOD, opinions, plan_of
from processes import TWO_PROCESSES, run_python
from safetensors.torch import load_file

import hfrecipes
from hfrecipes.errors import ConfigError, DataError, ModelError, OutputError, UntrustedError
from hfrecipes.recipe import best_metric
from hfrecipes.run_folder import contents

ROWS = {"train": opinions(160), "validation": opinions(40, 1), "test": opinions(40, 2)}
FILES = {
    "baseline.json",
    "trained_on.npy",
    "README.md",
    "config.json",
    "history.json",
    "manifest.json",
    "metrics.json",
    "model.safetensors",
    "predictions.jsonl",
    "recipe.yaml",
    "report.html",
    "report.json",
    "run.json",
}
FILES |= {"tokenizer.json", "tokenizer_config.json"}
FILES |= {"pictures"} if importlib.util.find_spec("matplotlib") else set()


@pytest.fixture(scope="module")
def done(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> hfrecipes.Result:
    """One complete run, for the tests that only look at it."""
    folder = tmp_path_factory.mktemp("runs") / "opinions"
    return hfrecipes.run(
        "text-classification",
        model=tiny_bert,
        dataset=ROWS,
        output_dir=folder,
        learning_rate=1e-2,
        num_train_epochs=3,
        per_device_train_batch_size=8,
    )


def test_a_run_learns_and_leaves_exactly_these_files(done):
    assert done.metrics["test"]["accuracy"] > 0.9
    assert {file.name for file in done.path.iterdir()} == FILES


def test_metrics_are_floats_in_python_and_have_interval_and_baseline_in_the_file(done):
    written = json.loads((done.path / "metrics.json").read_text())
    assert set(written) - {"gap"} == set(done.metrics) == {"train", "validation", "test"}
    for split, found in done.metrics.items():
        assert all(isinstance(value, float) for value in found.values())
        for name, entry in written[split].items():
            assert entry["value"] == pytest.approx(found[name])
            assert entry["ci95"][0] <= entry["value"] <= entry["ci95"][1]
    assert written["test"]["accuracy"]["baseline"] == 0.5


def test_a_text_is_never_the_name_of_a_file(done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("good").write_text("text\nthe film was poor\n", encoding="utf-8")
    Path("rows.csv").write_text("text\nthe film was poor\nthe song was good\n", encoding="utf-8")
    assert isinstance(done.predict("good"), dict)
    assert len(done.predict(["rows.csv", "rows.csv", "rows.csv"])) == 3
    assert isinstance(done.predict({"text": "a good film", "path": "rows.csv"}), dict)
    assert len(done.predict(Path("rows.csv"))) == len(done.predict(file="rows.csv")) == 2


@pytest.mark.parametrize("form", ["tuple", "generator", "frame", "series", "array", "columns", "rows"])
def test_rows_to_predict_have_any_form_of_python(done, form):
    import numpy as np
    import pandas as pd

    texts = ["the film was good", "the soup was bad"]
    forms = {
        "tuple": tuple(texts),
        "generator": (text for text in texts),
        "frame": pd.DataFrame({"text": texts}),
        "series": pd.Series(texts),
        "array": np.array(texts),
        "columns": {"text": texts, "path": ["a.csv", "b.csv"]},
        "rows": ({"text": text} for text in texts),
    }
    expected = done.predict(texts)
    assert [row["label"] for row in done.predict(forms[form])] == [row["label"] for row in expected]


@pytest.mark.parametrize("rows", [None, 5, b"text", [5], [None], [["a"]], {}, "", object()])
def test_what_is_no_row_is_one_sentence(done, rows):
    with pytest.raises(DataError, match=r"expected|empty|no column"):
        done.predict(rows)


def test_rows_that_can_be_read_once_or_have_one_column_are_refused_for_training():
    import pandas as pd

    with pytest.raises(DataError, match=r"can be read only once, expected a list of rows: list\(…\) makes one"):
        hfrecipes.check("text-classification", dataset=(row for row in ROWS["train"]))
    with pytest.raises(DataError, match=r"found a Series, .*to_frame\(\)"):
        hfrecipes.check("text-classification", dataset=pd.Series(["a", "b"]))


def test_the_result_is_one_line_and_its_trainer_a_plain_one(done):
    import transformers

    assert "\n" not in repr(done)
    assert "test accuracy" in repr(done)
    assert type(done.trainer) is transformers.Trainer


def test_the_model_directory_is_an_ordinary_one(done):
    from transformers import AutoModelForSequenceClassification, pipeline

    model = AutoModelForSequenceClassification.from_pretrained(done.path)
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert model.dtype == torch.float32
    classify = pipeline("text-classification", str(done.path))
    for text in ("the film was lovely", "the film was awful"):
        own, theirs = done.predict(text), classify(text)[0]
        assert own["label"] == theirs["label"]
        assert own["score"] == pytest.approx(theirs["score"], abs=0.02)


def test_predict_takes_a_text_texts_and_rows_of_any_form(done):
    import pandas as pd

    text = f"the song was {GOOD[0]}"
    one = done.predict(text)
    assert one["label"] == "good"
    assert set(one["scores"]) == {"good", "bad"}
    for rows in ([text], [{"text": text}], pd.DataFrame({"text": [text]}), {"text": [text]}):
        assert done.predict(rows) == [one]
    assert done.predict({"text": text}) == one
    assert done.predict([]) == []
    assert done.predict([text, " "]) == [one, None]
    with pytest.raises(hfrecipes.errors.DataError, match="empty in 1 row"):
        done.predict(" ")


def test_predictions_come_back_in_the_order_of_the_rows(done):
    texts = ["the " + "film " * (place % 13) + f"was {(GOOD, BAD)[place % 2][place % 6]}" for place in range(150)]
    together, alone = done.predict(texts), [done.predict(text) for text in texts[:20]]
    assert [one["label"] for one in together[:20]] == [one["label"] for one in alone]
    assert sum(one["label"] == ("good", "bad")[place % 2] for place, one in enumerate(together)) > 130


def test_evaluate_gives_the_numbers_of_the_run(done, tmp_path):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS["test"])
    (tmp_path / "more.jsonl").write_text(lines)
    found = hfrecipes.load(done.path).evaluate(str(tmp_path / "more.jsonl"))
    assert found.metrics == pytest.approx(done.metrics["test"])
    assert found.scores["accuracy"].ci95 == pytest.approx(done.scores["test"]["accuracy"].ci95)


def test_the_same_call_returns_a_complete_run_as_it_is(done, caplog, tiny_bert):
    caplog.set_level(logging.INFO, logger="hfrecipes")
    before = (done.path / "model.safetensors").stat().st_mtime_ns
    again = hfrecipes.run(
        "text-classification",
        model=tiny_bert,
        dataset=ROWS,
        output_dir=done.path,
        learning_rate=1e-2,
        num_train_epochs=3,
        per_device_train_batch_size=8,
    )
    assert "is complete" in caplog.text
    assert again.metrics == done.metrics
    assert again.predict("the film was lovely")["label"] == "good"
    assert (done.path / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 1e-3}, "training.learning_rate is 0.01 there and 0.001 here"),
        ({"dataset": {**ROWS, "test": ROWS["test"][:-1]}}, "the content of test has changed"),
        ({"max_length": 9}, "options.max_length is 512 there and 9 here"),
    ],
)
def test_a_folder_with_another_run_is_not_written_over(done, tiny_bert, change, message):
    before = {file.name: file.stat().st_mtime_ns for file in done.path.iterdir()}
    settings = {
        "model": tiny_bert,
        "dataset": ROWS,
        "learning_rate": 1e-2,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        **change,
    }
    with pytest.raises(OutputError) as caught:
        hfrecipes.run("text-classification", output_dir=done.path, **settings)
    assert message in str(caught.value)
    assert "choose another output_dir" in str(caught.value)
    assert {file.name: file.stat().st_mtime_ns for file in done.path.iterdir()} == before


def test_a_folder_with_other_files_is_not_written_into(quick, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("x")
    with pytest.raises(OutputError, match=r"contains files that are not a run \(chapter1.tex"):
        hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "thesis", **quick)
    assert [file.name for file in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]


def test_the_written_recipe_file_repeats_the_run(quick, tmp_path):
    for split, rows in ROWS.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = {split: str(tmp_path / f"{split}.jsonl") for split in ROWS}
    first = hfrecipes.run("text-classification", dataset=dataset, output_dir=tmp_path / "first", **quick)
    second = hfrecipes.run(str(tmp_path / "first" / "recipe.yaml"), output_dir=tmp_path / "second")
    assert second.metrics == first.metrics
    assert same_weights(first.path, second.path)


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return all(torch.equal(first[name], second[name]) for name in first)


def interrupted(path: Path, step: int, settings: dict) -> None:
    """Start a run and stop it as a lost machine would, before the given step."""
    import transformers

    class Stop(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == step:
                raise KeyboardInterrupt

    from hfrecipes.training import trainer as trainer_module

    plan = plan_of("text-classification", {"output_dir": path, **settings})
    job = trainer_module.make_job(plan)
    job.trainer.add_callback(Stop())
    contents.write_start(plan.path, plan.config, plan.info)
    with pytest.raises(KeyboardInterrupt):
        job.trainer.train()


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_an_interrupted_run_resumes_to_the_very_same_weights(quick, tmp_path, caplog, lora):
    caplog.set_level(logging.INFO, logger="hfrecipes")
    settings = {**quick, "dataset": ROWS, "num_train_epochs": 3, "lora": lora}
    interrupted(tmp_path / "broken", 45, settings)
    assert not (tmp_path / "broken" / "metrics.json").exists()
    with pytest.raises(ModelError, match="not complete"):
        hfrecipes.load(tmp_path / "broken")
    resumed = hfrecipes.run("text-classification", output_dir=tmp_path / "broken", **settings)
    assert "resuming from" in caplog.text
    whole = hfrecipes.run("text-classification", output_dir=tmp_path / "whole", **settings)
    assert same_weights(resumed.path, whole.path)
    assert resumed.metrics == whole.metrics
    assert not list(resumed.path.glob("checkpoint-*"))


def test_a_checkpoint_that_was_cut_short_is_passed_over(quick, tmp_path):
    from hfrecipes.run_folder.progress import last_checkpoint

    interrupted(tmp_path / "run", 45, {**quick, "dataset": ROWS, "num_train_epochs": 3, "save_total_limit": 3})
    good = last_checkpoint(tmp_path / "run")
    assert good.name == "checkpoint-40"
    shutil.copytree(good, tmp_path / "run" / "checkpoint-50")
    assert last_checkpoint(tmp_path / "run") == good, "its state is of another step"
    shutil.copytree(good, tmp_path / "run" / "checkpoint-60")
    (tmp_path / "run" / "checkpoint-60" / "trainer_state.json").write_text('{"global_step": 60')
    assert last_checkpoint(tmp_path / "run") == good, "its state was not written to its end"
    (good / "optimizer.pt").write_bytes(b"")
    assert last_checkpoint(tmp_path / "run").name == "checkpoint-20"


def test_early_stopping_and_the_best_model_are_on_by_default(quick, tmp_path):
    from transformers import EarlyStoppingCallback

    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "a", **quick)
    assert trainer.pop_callback(EarlyStoppingCallback)
    assert trainer.args.load_best_model_at_end
    assert trainer.args.metric_for_best_model == "accuracy"
    assert trainer.args.weight_decay > 0
    off = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "b", early_stopping=False, **quick)
    assert off.pop_callback(EarlyStoppingCallback) is None
    kept = {**quick, "num_train_epochs": 30, "learning_rate": 1e-7, "early_stopping": {"early_stopping_patience": 1}}
    stopped = hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "c", **kept)
    assert stopped.trainer.state.epoch < 30


SEVERAL = {
    split: [
        {"text": row["text"], "label": [row["label"], *(["a b"] if "film" in row["text"] else ["[c]"])]} for row in rows
    ]
    for split, rows in ROWS.items()
}


@pytest.mark.parametrize("best", ["f1[a b]", "eval_f1[[c]]"])
def test_the_score_of_one_label_may_pick_the_checkpoint(quick, tmp_path, best):
    trainer = hfrecipes.build(
        "text-classification", dataset=SEVERAL, output_dir=tmp_path / "a", metric_for_best_model=best, **quick
    )
    trainer.train()
    name = f"eval_{best.removeprefix('eval_')}"
    values = [entry[name] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(values) == 2
    assert trainer.state.best_metric == max(values)
    assert [key for key in trainer.evaluate() if "[" in key] == [name], "the other labels are scored at the end alone"


@pytest.mark.parametrize("rows", [ROWS, SEVERAL])
def test_the_score_of_a_label_that_is_not_there_is_refused_before_training(quick, tmp_path, rows):
    settings = {**quick, "dataset": rows, "output_dir": tmp_path / "a", "metric_for_best_model": "f1[goood]"}
    with pytest.raises(ConfigError, match=r"metric_for_best_model: no score f1\[goood\].*f1_macro"):
        hfrecipes.run("text-classification", **settings)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("lora", [False, True])
def test_finish_writes_after_build_what_run_writes(quick, tmp_path, lora):
    settings = {**quick, "dataset": ROWS, "lora": lora, "max_steps": 4}
    whole = hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    trainer = hfrecipes.build("text-classification", output_dir=tmp_path / "built", **settings)
    with pytest.raises(ConfigError, match=r"has not been trained: call trainer\.train\(\) first"):
        hfrecipes.finish(trainer)
    trainer.train()
    result = hfrecipes.finish(trainer)
    assert {file.name for file in result.path.iterdir()} == {file.name for file in whole.path.iterdir()}
    assert result.metrics == whole.metrics
    assert same_weights(result.path, whole.path)
    assert result.history.equals(whole.history)
    assert (result.path / "predictions.jsonl").read_bytes() == (whole.path / "predictions.jsonl").read_bytes()
    assert 0 < json.loads((result.path / "run.json").read_text())["seconds"] < 60
    # The same settings find it complete, and train nothing again.
    assert hfrecipes.run("text-classification", output_dir=tmp_path / "built", **settings).metrics == whole.metrics
    with pytest.raises(OutputError, match="holds a complete run: move or delete it, then call finish again"):
        hfrecipes.finish(trainer)


def test_finish_takes_no_other_trainer():
    with pytest.raises(ConfigError, match=r"found object, expected the Trainer that hfrecipes\.build made"):
        hfrecipes.finish(object())


def test_build_gives_a_trainer_that_trains_and_scores(quick, tmp_path):
    import transformers

    trainer = hfrecipes.build(
        "text-classification", dataset=ROWS, output_dir=tmp_path / "a", **{**quick, "num_train_epochs": 3}
    )
    assert type(trainer) is transformers.Trainer
    trainer.train()
    found = trainer.evaluate()
    assert found["eval_accuracy"] > 0.8
    assert found["eval_accuracy"] == pytest.approx(trainer.predict(trainer.eval_dataset).metrics["test_accuracy"])


@pytest.mark.parametrize("strategy", ["group_by_length", "random", "sequential"])
def test_scores_in_training_are_those_of_the_rows_whatever_the_order(done, quick, tmp_path, strategy):
    settings = {**quick, "model": str(done.path), "train_sampling_strategy": strategy, "bf16": True, "use_cpu": True}
    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "a", **settings)
    assert trainer.evaluate()["eval_accuracy"] == done.metrics["validation"]["accuracy"] > 0.9


def test_other_rows_than_validation_are_not_scored_as_if_they_were(quick, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="hfrecipes")
    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "a", **quick)
    other = trainer.eval_dataset.map(lambda row: {"labels": 1 - row["labels"]})
    assert "eval_accuracy" not in trainer.evaluate(other)
    assert "not the validation rows" in caplog.text


def test_a_loaded_run_reads_no_more_than_its_model_can(done):
    long = "the film was lovely " * 200
    assert hfrecipes.load(done.path).predict(long) == done.predict(long)


def test_a_run_by_position_predicts_and_evaluates_files_of_that_form(quick, tmp_path):
    (tmp_path / "rows.csv").write_text("".join(f"{row['label']},{row['text']}\n" for row in ROWS["train"]))
    settings = {**quick, "columns": {"label": 0, "text": 1}, "dataset": tmp_path / "rows.csv"}
    result = hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    again = hfrecipes.load(tmp_path / "run")
    assert len(again.predict(tmp_path / "rows.csv")) == len(ROWS["train"])
    assert again.evaluate(tmp_path / "rows.csv").rows == len(ROWS["train"])
    assert "validation" in result.metrics


def test_a_model_of_pairs_wants_both_texts_and_one_of_single_texts_only_one(done, quick, tmp_path):
    pairs = [{"premise": row["text"], "hypothesis": "it was good", "label": row["label"]} for row in ROWS["train"]]
    result = hfrecipes.run(
        "text-classification", dataset=pairs, output_dir=tmp_path / "run", **{**quick, "max_steps": 2}
    )
    assert len(result.predict(pairs[:3])) == 3
    for rows in ("one text", [{"premise": "one text"}]):
        with pytest.raises(hfrecipes.errors.DataError, match="this model needs text and text_pair"):
            result.predict(rows)
    with pytest.raises(hfrecipes.errors.DataError, match="this model needs text; found"):
        done.predict(pairs[:3])


def test_a_plain_frame_is_a_dataset(quick, tmp_path):
    import pandas as pd

    rows = pd.DataFrame(ROWS["train"])
    assert hfrecipes.check("text-classification", dataset=rows)["labels"] == ["bad", "good"]
    trainer = hfrecipes.build("text-classification", dataset=rows, output_dir=tmp_path / "a", **quick)
    assert len(trainer.train_dataset) + len(trainer.eval_dataset) == 160


def test_a_run_that_never_took_a_step_does_not_block_its_correction(quick, tmp_path):
    made = plan_of("text-classification", {**quick, "dataset": ROWS, "output_dir": tmp_path / "run"})
    contents.write_start(made.path, made.config, made.info)
    settings = {**quick, "dataset": ROWS, "output_dir": tmp_path / "run", "learning_rate": 1e-3}
    assert plan_of("text-classification", settings).path == tmp_path / "run"


def test_a_test_split_without_labels_is_predicted_and_not_scored(quick, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="hfrecipes")
    blind = [{"text": row["text"]} for row in ROWS["test"]]
    result = hfrecipes.run("text-classification", dataset={**ROWS, "test": blind}, output_dir=tmp_path / "a", **quick)
    assert "test" not in result.metrics
    assert "40 of 40 rows without a reference" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "a" / "predictions.jsonl").read_text().splitlines()]
    assert sum(line["split"] == "test" for line in lines) == 40


def test_long_texts_are_cut_and_the_share_is_said(quick, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="hfrecipes")
    rows = [
        {"text": "the film was lovely " * (30 if place % 4 == 0 else 1), "label": "ab"[place % 2]}
        for place in range(80)
    ]
    trainer = hfrecipes.build(
        "text-classification", dataset={"train": rows, "validation": rows}, output_dir=tmp_path / "a", **quick
    )
    assert "max_length: 64, the maximum of the model" in caplog.text
    assert "20 (25.0%) truncated at max_length=64" in caplog.text
    assert max(trainer.train_dataset["length"]) == 64


def test_a_checkpoint_that_knows_the_labels_keeps_their_order(done, quick, tmp_path):
    config = json.loads((done.path / "config.json").read_text())
    swapped = tmp_path / "swapped"
    shutil.copytree(done.path, swapped)
    config |= {"id2label": {"0": "good", "1": "bad"}, "label2id": {"good": 0, "bad": 1}}
    (swapped / "config.json").write_text(json.dumps(config))
    (swapped / "manifest.json").unlink()  # the change is meant
    trainer = hfrecipes.build(
        "text-classification", dataset=ROWS, output_dir=tmp_path / "a", **{**quick, "model": str(swapped)}
    )
    assert trainer.model.config.id2label == {0: "good", 1: "bad"}


def test_a_head_of_another_size_is_replaced(done, quick, tmp_path):
    rows = [{"text": row["text"], "label": "abc"[place % 3]} for place, row in enumerate(ROWS["train"])]
    trainer = hfrecipes.build(
        "text-classification", dataset=rows, output_dir=tmp_path / "a", **{**quick, "model": str(done.path)}
    )
    assert trainer.model.config.num_labels == 3


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": None}, ConfigError, "no model"),
        ({"dataset": None}, ConfigError, "no dataset"),
        ({"model": "./nowhere"}, ModelError, "no model folder"),
        ({"model": "nobody/nothing"}, ModelError, "loading it from the Hub failed"),
        ({"eval_strategy": "sometimes"}, ConfigError, "expected no or steps or epoch"),
        ({"tf32": True, "use_cpu": True}, ConfigError, "training: "),
        ({"metric_for_best_model": "acuracy"}, ConfigError, "did you mean accuracy"),
        ({"dataloader_persistent_workers": True, "dataloader_num_workers": 1}, ConfigError, "persistent_workers"),
        ({"lora": {"rank": 3}}, ConfigError, "unknown setting lora.rank"),
        ({"lora": {"target_modules": ["nothing"]}}, ConfigError, "lora: "),
        ({"metrics": ["acuracy"]}, UntrustedError, "did you mean accuracy"),
    ],
)
def test_what_cannot_be_run_is_refused_and_leaves_nothing(quick, tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        hfrecipes.run("text-classification", **{**quick, "dataset": ROWS, "output_dir": tmp_path / "run", **settings})
    assert not (tmp_path / "run").exists()


def test_a_model_folder_without_weights_is_refused(quick, tmp_path, tiny_bert):
    shutil.copytree(tiny_bert, tmp_path / "empty", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ModelError, match="no weights"):
        hfrecipes.run("text-classification", **{**quick, "model": tmp_path / "empty", "dataset": ROWS})
    (tmp_path / "empty" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="cut short or damaged"):
        hfrecipes.run("text-classification", **{**quick, "model": tmp_path / "empty", "dataset": ROWS})


@pytest.mark.long
@pytest.mark.parametrize("kind", ["multi", "regression", "pair"])
def test_the_other_kinds_of_problem_learn_and_reload(quick, tmp_path, kind):
    def row(place: int) -> dict:
        text = ROWS["train"][place]["text"]
        good = ROWS["train"][place]["label"] == "good"
        if kind == "multi":
            return {"text": text, "labels": ["good"] * good + ["short"] * (len(text) < 50)}
        if kind == "regression":
            return {"text": text, "score": 1.5 if good else -0.5}
        return {"premise": text, "hypothesis": "the film", "label": ["no", "yes"][good]}

    rows = [row(place) for place in range(160)]
    dataset = {"train": rows[:120], "validation": rows[120:140], "test": rows[140:]}
    settings = {**quick, "num_train_epochs": 20, "early_stopping": False}
    result = hfrecipes.run("text-classification", dataset=dataset, output_dir=tmp_path / "run", **settings)
    best = best_metric(result.predictor.recipe)
    assert result.metrics["test"][best] > 0.75
    again = hfrecipes.load(tmp_path / "run").evaluate(rows[140:])
    assert again.metrics == pytest.approx(result.metrics["test"])


LOSS = """
import json, os, sys, torch, transformers, hfrecipes
model, rows, options, parts = sys.argv[1:]
for out, batch, steps in json.loads(parts):
    trainer = hfrecipes.build(
        "text-classification", model=model, dataset={"train": json.load(open(rows))}, splits={"validation": None},
        output_dir=out, per_device_train_batch_size=batch, gradient_accumulation_steps=steps, max_steps=4,
        learning_rate=0.1, warmup_steps=0, optim="sgd", bf16=False, max_grad_norm=0.0,
        train_sampling_strategy="sequential", logging_steps=1, logging_strategy="steps", save_strategy="no",
        **json.loads(options),
    )
    assert trainer.args.world_size == int(os.environ.get("WORLD_SIZE", "1"))
    trainer.train()
    if trainer.is_world_process_zero():
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        weights = torch.cat([weight.flatten() for weight in trainer.model.parameters()])
        torch.save({"losses": losses, "weights": weights, "world": trainer.args.world_size}, out + ".pt")
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("family", "options"),
    [("bert", {}), ("roberta", {"label_smoothing_factor": 0.1}), ("distilbert", {"class_weights": {"bad": 5.0}})],
)
def test_loss_and_gradient_are_right_under_accumulation_and_several_processes(family, options, tmp_path):
    import transformers
    from conftest import make_tokenizer

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    if family == "distilbert":
        config = transformers.DistilBertConfig(
            vocab_size=len(tokenizer),
            dim=32,
            n_layers=1,
            n_heads=2,
            hidden_dim=64,
            dropout=0,
            attention_dropout=0,
            seq_classif_dropout=0,
        )
    else:
        kind = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig}[family]
        config = kind(**sizes, hidden_dropout_prob=0, attention_probs_dropout_prob=0, pad_token_id=0)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "rows.json").write_text(json.dumps(opinions(64)))
    (tmp_path / "loss.py").write_text(LOSS)
    parted = {(): [("whole", 16, 1), ("accumulated", 4, 4)], TWO_PROCESSES: [("two processes", 8, 1)]}
    for launcher, parts in parted.items():
        words = [tmp_path / "loss.py", tmp_path / "model", tmp_path / "rows.json", json.dumps(options)]
        run_python(*launcher, *words, json.dumps(parts), cwd=tmp_path)
    found = {name: torch.load(tmp_path / f"{name}.pt") for name in ("whole", "accumulated", "two processes")}
    assert found["two processes"]["world"] == 2
    start = torch.cat(
        [weight.flatten() for weight in transformers.AutoModel.from_pretrained(tmp_path / "model").parameters()]
    )
    assert len(start) < len(found["whole"]["weights"])
    for name in ("accumulated", "two processes"):
        assert found[name]["losses"] == pytest.approx(found["whole"]["losses"], abs=2e-3)
        assert torch.allclose(found[name]["weights"], found["whole"]["weights"], atol=1e-5), name


@pytest.mark.long
def test_two_processes_leave_one_run_with_its_rows_in_order(tiny_bert, tmp_path):
    for split, rows in ROWS.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = [
        f"model={tiny_bert}",
        f"dataset={tmp_path}",
        "output_dir=run",
        "learning_rate=1e-2",
        "lora=true",
        "bf16=false",
        "log_level=info",
    ]
    words = ["-m", "hfrecipes", "run", "text-classification", *settings, "per_device_train_batch_size=4"]
    made = run_python(*TWO_PROCESSES, *words, cwd=tmp_path)
    assert made.stderr.count("labels: one label per text") == 1, "one process speaks"
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    test = [line for line in lines if line["split"] == "test"]
    assert [line["text"] for line in test] == [row["text"] for row in ROWS["test"]]
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    again = hfrecipes.load(tmp_path / "run").evaluate(ROWS["test"]).metrics
    assert {name: entry["value"] for name, entry in written.items()} == pytest.approx(again)
    said = [float(one) for one in re.findall(r"'eval_loss': '([\d.]+)'", made.stdout + made.stderr)]
    assert all(one < 0.8 for one in said), "of two labels alike it is 0.69, and not twice that"
    assert said
    steps = json.loads((tmp_path / "run" / "run.json").read_text())["steps"]
    assert steps == 3 * 160 / 8, "both processes share each epoch"


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_scores_in_mixed_precision_are_those_of_the_reloaded_model(quick, tmp_path, lora):
    from hfrecipes.models.hardware import machine_arguments

    if not machine_arguments({})[0].get("bf16"):
        pytest.skip("this machine predicts in float32")
    settings = {key: value for key, value in quick.items() if key != "bf16"}
    result = hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", lora=lora, **settings)
    texts = [row["text"] for row in ROWS["test"]]
    before, after = result.predict(texts), hfrecipes.load(tmp_path / "run").predict(texts)
    assert [one["score"] for one in before] == pytest.approx([one["score"] for one in after], abs=1e-6)


@pytest.mark.rehearsed
@pytest.mark.parametrize("setting", ["bf16_full_eval", "eval_accumulation_steps", "auto_find_batch_size"])
def test_settings_of_evaluation_give_the_same_scores_after_reload(setting, quick, tmp_path):
    value = 2 if setting == "eval_accumulation_steps" else True
    result = hfrecipes.run(
        "text-classification", dataset=ROWS, output_dir=tmp_path / "run", use_cpu=True, **{**quick, setting: value}
    )
    texts = [row["text"] for row in ROWS["test"]]
    before, after = result.predict(texts), hfrecipes.load(tmp_path / "run").predict(texts)
    assert [row["score"] for row in before] == pytest.approx([row["score"] for row in after], abs=1e-6)
