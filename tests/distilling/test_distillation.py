"""Distillation: the loss is what the page says, the teacher is asked once, and what cannot work is refused."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import opinions, rows_of
from transformers import TrainerCallback

import hfrecipes
from hfrecipes import registry
from hfrecipes.cli import main
from hfrecipes.distilling import kept, teacher
from hfrecipes.distilling.contract import Distillable
from hfrecipes.errors import ConfigError, HFRecipesError, ModelError, NotFoundError
from hfrecipes.runner import run_settings

TEXTS = [row["text"] for row in opinions(24)]
TASKS = {
    "one label": ("text-classification", opinions(24)),
    "several labels": (
        "text-classification",
        [{"text": text, "label": [["a"], ["b", "c"], [], ["a", "c"]][i % 4]} for i, text in enumerate(TEXTS)],
    ),
    "numbers": ("text-classification", [{"text": text, "label": 1.5 * (i % 5) + 20} for i, text in enumerate(TEXTS)]),
    "tags": ("token-classification", rows_of(registry.find("token-classification"), 24)),
    "choices": ("multiple-choice", rows_of(registry.find("multiple-choice"), 24)),
}


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Each test asks its own teacher."""
    kept._last.clear()


@pytest.fixture(scope="module")
def teachers(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run for each kind of labels."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfrecipes.flow.single.rehearse", lambda *_: None)
        for name, (task, rows) in TASKS.items():
            folders[name] = tmp_path_factory.mktemp("teachers") / name.replace(" ", "-")
            settings = {"dataset": {"train": rows, "validation": rows[:8]}, "output_dir": folders[name]}
            hfrecipes.run(task, model=tiny_bert, learning_rate=1e-2, num_train_epochs=1, bf16=False, **settings)
    return folders


def student(teachers: dict[str, Path], name: str, model: str, folder: Path, **distill: float):
    """A Trainer that learns from the teacher of these labels."""
    task, rows = TASKS[name]
    return hfrecipes.build(
        task,
        model=model,
        dataset={"train": rows, "validation": rows[:8]},
        output_dir=folder,
        distill={"run": str(teachers[name]), **distill},
        bf16=False,
        per_device_train_batch_size=8,
    )


def a_batch(trainer):
    """A batch, the outputs of the model for it, and its labels."""
    batch = trainer.data_collator([trainer.train_dataset[row] for row in range(8)])
    labels = batch.pop("labels")
    trainer.model.eval()
    return trainer.model(**batch), labels


def test_each_task_of_the_package_with_labels_is_tried_here():
    tried = {task for task, _ in TASKS.values()}
    assert tried == {name for name in registry.list_tasks() if issubclass(registry.find(name), Distillable)}


@pytest.mark.parametrize("name", TASKS)
def test_without_weight_it_is_the_loss_of_the_task(name, teachers, tiny_bert, tmp_path):
    trainer = student(teachers, name, tiny_bert, tmp_path / "run", weight=0)
    outputs, labels = a_batch(trainer)
    assert "teacher" in outputs
    usual = dict(outputs)
    del usual["teacher"]
    assert trainer.compute_loss_func(outputs, labels).item() == trainer.compute_loss_func(usual, labels).item()


@pytest.mark.parametrize("name", TASKS)
def test_a_student_that_is_its_teacher_has_nothing_to_learn(name, teachers, tmp_path):
    trainer = student(teachers, name, str(teachers[name]), tmp_path / "run", weight=1)
    loss = trainer.compute_loss_func(*a_batch(trainer))
    assert loss.item() == pytest.approx(0, abs=1e-5)
    loss.backward()
    largest = max(float(weights.grad.abs().max()) for weights in trainer.model.parameters() if weights.grad is not None)
    assert largest < 1e-3


def by_hand(name: str, outputs, labels, predictions, heat: float) -> float:
    """The loss towards the teacher, row by row, from its predictions."""
    total = 0.0
    for logits, prediction in zip(outputs["logits"].detach().double(), predictions, strict=True):
        if name == "several labels":
            for score, share in zip(logits, prediction["scores"].values(), strict=True):
                # Yes and no are two labels whose logits differ by that of yes.
                own = torch.stack([score, torch.zeros_like(score)]) / heat
                total += heat**2 * divergence(torch.tensor([share, 1 - share]).log() / heat, own)
            continue
        shares = prediction["scores"]
        shares = torch.tensor(list(shares.values()) if isinstance(shares, dict) else shares, dtype=torch.float64)
        total += heat**2 * divergence(shares.log() / heat, logits[: len(shares)] / heat)
    return total / (labels.numel() if name == "several labels" else len(labels))


def divergence(teacher_logits, student_logits) -> float:
    share = torch.softmax(teacher_logits.double(), -1)
    return float((share * (share.log() - torch.log_softmax(student_logits.double(), -1))).sum())


@pytest.mark.parametrize("heat", [1.0, 3.0])
@pytest.mark.parametrize("name", ["one label", "several labels", "choices"])
def test_with_full_weight_it_is_the_divergence_from_the_teacher_times_the_squared_temperature(
    name, heat, teachers, tiny_bert, tmp_path
):
    trainer = student(teachers, name, tiny_bert, tmp_path / "run", weight=1, temperature=heat)
    outputs, labels = a_batch(trainer)
    rows = [{key: cell for key, cell in row.items() if key != "label"} for row in TASKS[name][1][:8]]
    expected = by_hand(name, outputs, labels, hfrecipes.load(teachers[name]).predict(rows), heat)
    assert expected > 1e-4
    assert trainer.compute_loss_func(outputs, labels).item() == pytest.approx(expected, rel=1e-3)


def test_the_weight_is_the_share_of_the_teacher(teachers, tiny_bert, tmp_path):
    values = []
    for weight in (0, 1, 0.3):
        trainer = student(teachers, "one label", tiny_bert, tmp_path / "run", weight=weight)
        values.append(trainer.compute_loss_func(*a_batch(trainer)).item())
    assert values[2] == pytest.approx(0.7 * values[0] + 0.3 * values[1], rel=1e-5)


def test_numbers_are_drawn_to_the_number_of_the_teacher_in_the_unit_that_they_are_learnt_in(
    teachers, tiny_bert, tmp_path
):
    trainer = student(teachers, "numbers", tiny_bert, tmp_path / "run", weight=1)
    outputs, labels = a_batch(trainer)
    numbers = [row["label"] for row in hfrecipes.load(teachers["numbers"]).predict(TEXTS[:8])]
    unit = trainer.hfrecipes_job.plan.recipe.number_scale[1]
    expected = np.mean(((outputs["logits"].detach().numpy()[:, 0] - numbers) / unit) ** 2)
    assert trainer.compute_loss_func(outputs, labels).item() == pytest.approx(expected, rel=1e-4)


def test_the_loss_does_not_depend_on_how_a_batch_is_split(teachers, tiny_bert, tmp_path):
    for name in TASKS:
        trainer = student(teachers, name, tiny_bert, tmp_path / name, weight=1)
        rows = [trainer.train_dataset[row] for row in range(8)]
        items = sum(int((trainer.data_collator([row])["labels"] != -100).sum()) for row in rows)
        trainer.model.eval()
        sums = []
        for parts in ([rows], [rows[:3], rows[3:]]):
            total = 0.0
            for part in parts:
                batch = trainer.data_collator(part)
                labels = batch.pop("labels")
                total += trainer.compute_loss_func(trainer.model(**batch), labels, num_items_in_batch=items).item()
            sums.append(total)
        assert sums[0] == pytest.approx(sums[1], rel=1e-4), name


def test_words_are_asked_for_the_tags_that_the_teacher_gives_them(teachers, tiny_bert, tmp_path):
    trainer = student(teachers, "tags", tiny_bert, tmp_path / "run")
    recipe, rows = trainer.hfrecipes_job.plan.recipe, TASKS["tags"][1]
    predictions = hfrecipes.load(teachers["tags"]).predict([{"tokens": row["tokens"]} for row in rows[:8]])
    for feature, prediction in zip(trainer.train_dataset, predictions, strict=False):
        shares = np.array(feature["teacher"])
        words = shares[np.array(feature["labels"]) >= 0]
        assert [recipe.labels[index] for index in words.argmax(1)] == prediction["tags"]
        assert words.max(1) == pytest.approx(prediction["scores"], abs=1e-5)
        assert (shares[np.array(feature["labels"]) < 0] == -1).all()


# --- the teacher -------------------------------------------------------------------------------------------------


def with_labels_swapped(model: str, folder: Path) -> str:
    """A model whose head has its two labels in the other order than the rows."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "good", "1": "bad"}, "label2id": {"good": 0, "bad": 1}}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_labels_of_the_teacher_are_found_by_name(quick, tiny_bert, tmp_path):
    swapped = with_labels_swapped(tiny_bert, tmp_path / "swapped")
    rows = opinions(24)
    other = hfrecipes.run("text-classification", **{**quick, "model": swapped}, dataset=rows, output_dir=tmp_path / "a")
    assert other.predictor.recipe.labels == ["good", "bad"]
    settings = {**quick, "dataset": {"train": rows, "validation": rows[:8]}, "distill": str(tmp_path / "a")}
    trainer = hfrecipes.build("text-classification", **settings, output_dir=tmp_path / "b")
    assert trainer.hfrecipes_job.plan.recipe.labels == ["bad", "good"]
    for feature, prediction in zip(trainer.train_dataset, other.predict([row["text"] for row in rows]), strict=True):
        expected = [prediction["scores"]["bad"], prediction["scores"]["good"]]
        assert feature["teacher"] == pytest.approx(expected, abs=1e-5)


def test_rows_of_a_fold_are_asked_of_the_folds_that_were_not_trained_on_them(quick, tmp_path):
    rows = [{**row, "text": f"{row['text']} {index}"} for index, row in enumerate(opinions(30))]
    run = hfrecipes.run("text-classification", **quick, dataset={"train": rows}, output_dir=tmp_path / "a", folds=3)
    runs = teacher.runs_of(str(tmp_path / "a"))
    assert runs == run.runs
    new = opinions(3, seed=9)
    settings = {**quick, "dataset": {"train": rows + new, "validation": rows[:4]}, "distill": str(tmp_path / "a")}
    trainer = hfrecipes.build("text-classification", **settings, output_dir=tmp_path / "b")
    data = trainer.hfrecipes_job.plan.data.splits["train"]
    asked = teacher.who_answers(runs, data)
    models = [hfrecipes.load(path) for path in runs]
    trained = [set(teacher.contents.read_trained_on(path)) for path in runs]
    keys = teacher.input_keys(data, models[0].recipe)
    for index, key in enumerate(keys):
        assert asked[:, index].tolist() == [key not in known for known in trained]
        assert asked[:, index].any()
    assert asked[:, -3:].all(), "all of them are asked about a new row"
    for index in (0, 5, len(data) - 1):
        shares = [model.predict(data[index]["text"])["scores"]["good"] for model in models]
        expected = np.mean([share for share, answers in zip(shares, asked[:, index], strict=True) if answers])
        assert trainer.train_dataset[index]["teacher"][1] == pytest.approx(expected, abs=1e-5)


def test_rows_to_score_that_the_teacher_was_trained_on_are_counted(quick, teachers, tmp_path, caplog):
    _, known = TASKS["one label"]
    settings = {**quick, "dataset": {"train": known, "validation": [*known[:2], *opinions(3, seed=9)]}}
    with caplog.at_level("INFO"):
        trainer = hfrecipes.build(
            "text-classification", **settings, output_dir=tmp_path / "a", distill=str(teachers["one label"])
        )
    (sentence,) = (line for line in caplog.messages if "the teacher was trained on" in line)
    assert "on 2 of 5 rows of validation" in sentence
    assert sentence in trainer.hfrecipes_job.plan.info.limits


def test_a_teacher_with_virtual_tokens_has_labels(quick, tmp_path):
    folder = tmp_path / "teacher"
    lora = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}
    hfrecipes.run("text-classification", **quick, dataset=opinions(24), output_dir=folder, lora=lora)
    settings = {**quick, "dataset": opinions(24), "output_dir": tmp_path / "student", "distill": str(folder)}
    assert "teacher" in hfrecipes.build("text-classification", **settings).train_dataset.column_names


class StopAfterOneEpoch(TrainerCallback):
    """Ends a training as a crash would, after the first checkpoint."""

    def on_epoch_begin(self, args, state, control, **_):
        if state.epoch:
            raise InterruptedError


def test_a_resumed_run_asks_nobody_and_learns_the_same(quick, teachers, tmp_path, monkeypatch):
    rows = {"train": opinions(24), "validation": opinions(8, 1)}
    settings = {**quick, "dataset": rows, "distill": str(teachers["one label"]), "output_dir": str(tmp_path / "whole")}
    hfrecipes.run("text-classification", **settings)
    kept._last.clear()
    settings["output_dir"] = str(tmp_path / "run")
    with contextlib.suppress(InterruptedError):
        run_settings("text-classification", settings, callbacks=[StopAfterOneEpoch()])
    assert (tmp_path / "run" / "teacher.npz").exists()
    kept._last.clear()
    with monkeypatch.context() as patch:
        patch.setattr(teacher, "soft_labels", None)  # a call of it would fail
        hfrecipes.run("text-classification", **settings)
    saved = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "run")]
    assert saved[0] == saved[1]
    assert not (tmp_path / "run" / "teacher.npz").exists(), "a finished run needs it no more"


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_what_was_kept_is_made_again_where_it_is_damaged(damage, tmp_path, caplog):
    soft = [np.array([0.25, 0.75], dtype=np.float32), np.array([1.0, 0.0], dtype=np.float32)]
    kept.write(tmp_path, "key", soft)
    assert [cells.tolist() for cells in kept.read(tmp_path, "key")] == [[0.25, 0.75], [1.0, 0.0]]
    file = tmp_path / "teacher.npz"
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        file.write_bytes(b"")
    assert kept.read(tmp_path, "other" if damage == "other" else "key") is None
    assert "the teacher is asked again" in caplog.text


def test_the_trials_of_a_search_ask_once(quick, teachers, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    calls = []
    ask = teacher.soft_labels
    monkeypatch.setattr(teacher, "soft_labels", lambda *given: calls.append(given) or ask(*given))
    rows = {"train": opinions(24), "validation": opinions(8, 1), "test": opinions(8, 2)}
    settings = {**quick, "num_train_epochs": 1, "dataset": rows, "distill": str(teachers["one label"])}
    search = {"distill.temperature": [1.0, 4.0], "trials": 2}
    hfrecipes.run("text-classification", **settings, search=search, output_dir=tmp_path / "run")
    assert len(calls) == 1


# --- quality against cost ----------------------------------------------------------------------------------------


@pytest.mark.rehearsed
def test_the_run_is_compared_with_its_teacher_on_the_same_rows(quick, teachers, tiny_bert, tmp_path):
    rows = {"train": opinions(24), "validation": opinions(8, 1), "test": opinions(30, 2)}
    for split, of_split in rows.items():
        (tmp_path / "rows").mkdir(exist_ok=True)
        (tmp_path / "rows" / f"{split}.json").write_text(json.dumps(of_split))
    words = [f"model={tiny_bert}", "dataset=rows", f"distill={teachers['one label']}", "output_dir=run", "bf16=false"]
    outcome = CliRunner().invoke(main, ["run", "text-classification", *words, "num_train_epochs=1", "lora=true"])
    assert outcome.exit_code == 0, outcome.output
    run = Path("run")
    compared = json.loads((run / "run.json").read_text())["distillation"]
    metrics = json.loads((run / "metrics.json").read_text())
    other = hfrecipes.load(teachers["one label"])
    answers = other.predict([row["text"] for row in rows["test"]])
    right = [row["label"] == answer["label"] for row, answer in zip(rows["test"], answers, strict=True)]
    mine, its = compared["runs"]["this run"], compared["runs"]["its teacher"]
    assert compared["split"] == "test"
    assert mine["scores"]["accuracy"]["value"] == metrics["test"]["accuracy"]["value"]
    assert its["scores"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    difference = mine["differences"]["accuracy"]
    assert difference["value"] == pytest.approx(mine["scores"]["accuracy"]["value"] - np.mean(right))
    assert difference["ci95"][0] <= difference["value"] <= difference["ci95"][1]
    assert mine["parameters"] > 1000
    assert mine["seconds_per_1000_rows"] > 0
    table = compared["table"]
    assert table[0] == ["", "test accuracy", "difference", "parameters", "s per 1,000 rows"]
    for text in (outcome.output, (run / "README.md").read_text(), (run / "report.html").read_text()):
        assert "s per 1,000 rows" in text
        assert table[1][3] in text


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "distill", "message"),
    [
        ("summarization", "TEACHER", "found summarization, expected a task with labels .*train on its predictions"),
        ("text-classification", "runs/none", "there is no folder runs/none"),
        ("token-classification", "TEACHER", "is a run of text-classification, expected one of token-classification"),
        ("text-classification", {"temperature": 2}, "distill: found no run to learn from"),
        (
            "text-classification",
            {"run": "TEACHER", "wieght": 1},
            r"unknown setting distill.wieght \(did you mean weight",
        ),
        ("text-classification", {"run": "TEACHER", "weight": 2}, "distill.weight: found 2, expected the share"),
        ("text-classification", {"run": "TEACHER", "temperature": 0}, "distill.temperature: found 0, expected"),
        ("text-classification", {"run": "TEACHER", "temperature": True}, "distill.temperature: found True"),
    ],
)
def test_what_cannot_work_is_refused_before_rows_are_read(task, distill, message, teachers):
    folder = str(teachers["one label"])
    if isinstance(distill, dict):
        distill = {key: folder if value == "TEACHER" else value for key, value in distill.items()}
    elif distill == "TEACHER":
        distill = folder
    with pytest.raises(HFRecipesError, match=message):
        hfrecipes.run(task, model="nobody/nothing", dataset="nobody/no-rows", distill=distill)


@pytest.mark.parametrize(
    ("of", "rows", "distill", "message"),
    [
        (
            "one label",
            [{"text": text, "label": ["bad", "maybe"][i % 2]} for i, text in enumerate(TEXTS)],
            {},
            "it has no label maybe and has the additional label good: train the teacher on rows with the same labels",
        ),
        (
            "several labels",
            opinions(24),
            {},
            "with problem_type=multi_label_classification, and this run has problem_type=single_label",
        ),
        (
            "numbers",
            TASKS["numbers"][1],
            {"temperature": 2},
            "distill.temperature: leave it out, the labels are numbers",
        ),
    ],
)
def test_other_labels_are_refused_before_a_model_is_looked_for(of, rows, distill, message, teachers):
    with pytest.raises(ConfigError, match=message):
        hfrecipes.run(
            "text-classification",
            model="nobody/nothing",
            dataset=rows,
            distill={"run": str(teachers[of]), **distill},
        )


def test_a_folder_without_one_finished_run_is_no_teacher(teachers, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(teachers["one label"], run)
    (run / "metrics.json").unlink()
    with pytest.raises(ModelError, match="is not finished: give its command again, then this one"):
        teacher.runs_of(str(run))
    (run / "recipe.yaml").unlink()
    with pytest.raises(ModelError, match=r"has no recipe.yaml, expected the folder of a finished run"):
        teacher.runs_of(str(run))
    shutil.copytree(teachers["one label"], tmp_path / "several" / "model-1-small")
    with pytest.raises(ModelError, match="contains several runs: name one of model-1-small"):
        teacher.runs_of(str(tmp_path / "several"))
    with pytest.raises(NotFoundError):
        teacher.runs_of(str(tmp_path / "nowhere"))
