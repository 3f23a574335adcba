"""A list of models: each is a run of its own, validation chooses, and the test rows have no part in the choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import opinions

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.errors import ConfigError, ModelError, OutputError, UntrustedError
from hfrecipes.flow import candidates, single
from hfrecipes.training.configuration import configure
from hfrecipes.training.folder_names import default_folder

ROWS = {"train": opinions(40), "validation": opinions(20, 1), "test": opinions(30, 2)}
SETTINGS = {"dataset": ROWS, "max_steps": 2, "save_strategy": "no", "bf16": False}


@pytest.fixture(scope="module")
def other_bert(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as the tiny model, with other weights."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    folder = str(tmp_path_factory.mktemp("models") / "other")
    torch.manual_seed(5)
    AutoModel.from_config(AutoConfig.from_pretrained(tiny_bert)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def chosen(tiny_bert: str, other_bert: str, tmp_path_factory: pytest.TempPathFactory) -> hfrecipes.Selection:
    folder = tmp_path_factory.mktemp("chosen") / "run"
    models = [{"path": tiny_bert}, other_bert]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single, "rehearse", lambda *_: None)
        return hfrecipes.run("text-classification", model=models, output_dir=folder, **SETTINGS)


def saved(path: Path) -> dict:
    return json.loads((path / "metrics.json").read_text())


def test_validation_chooses_and_test_does_not(chosen):
    values = [saved(path)["validation"]["accuracy"]["value"] for path in chosen.runs]
    best = values.index(max(values))
    assert chosen.best.path == chosen.runs[best]
    assert chosen.comparison.reference == ["tiny-bert", "other"][best]
    assert chosen.metrics == chosen.best.metrics
    said = " ".join(chosen.comparison.sentences)
    assert f"{chosen.comparison.reference} is chosen by validation alone, so its test accuracy of " in said
    assert "is an honest figure" in said


def test_the_result_predicts_and_shows_all_models(chosen):
    assert chosen.predict("the film was great")["label"] in ("good", "bad")
    assert list(chosen.frame.index) == ["tiny-bert", "other"]
    assert set(chosen.pareto) <= {"tiny-bert", "other"}
    assert "<table>" in chosen._repr_html_()
    assert repr(chosen).startswith(f"Selection({chosen.comparison.reference} of 2 models, Result(")
    written = json.loads((chosen.path / "comparison.json").read_text())
    assert written["reference"] == chosen.comparison.reference


def test_each_is_the_run_of_its_model_alone(chosen, other_bert, tmp_path):
    alone = hfrecipes.run("text-classification", model=other_bert, output_dir=tmp_path / "alone", **SETTINGS)
    assert saved(alone.path)["test"] == saved(chosen.runs[1])["test"]
    assert hfrecipes.load(chosen.runs[1]).predict("the film was great") == alone.predict("the film was great")
    with pytest.raises(ModelError, match="contains several runs: choose one of model-1-tiny-bert, model-2-other"):
        hfrecipes.load(chosen.path)
    with pytest.raises(ModelError, match="contains several runs, and no single model: push one of model-1-tiny-bert"):
        hfrecipes.push(chosen.path, "me/model")


def test_the_same_command_trains_nothing_again_and_another_one_is_refused(chosen, tiny_bert, other_bert):
    before = {path: (path / "model.safetensors").stat().st_mtime_ns for path in chosen.runs}
    models = [{"path": tiny_bert}, other_bert]
    again = hfrecipes.run("text-classification", model=models, output_dir=chosen.path, **SETTINGS)
    assert {path: (path / "model.safetensors").stat().st_mtime_ns for path in chosen.runs} == before
    assert again.metrics == chosen.metrics
    for other in (models[::-1], other_bert):
        with pytest.raises(OutputError, match="contains another run"):
            hfrecipes.run("text-classification", model=other, output_dir=chosen.path, **SETTINGS)


def test_after_an_interruption_it_goes_on_with_the_model_it_was_at(chosen, tiny_bert, other_bert, tmp_path, caplog):
    settings = {key: value for key, value in SETTINGS.items() if key != "save_strategy"}
    run = {"model": [tiny_bert, other_bert], "output_dir": tmp_path / "run", "lora": True, **settings}
    finish = single.finish_run

    def fail(job, *given, **more):
        if job.plan.path.name.startswith("model-2"):
            raise InterruptedError
        return finish(job, *given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single, "finish_run", fail)
        with pytest.raises(InterruptedError):
            hfrecipes.run("text-classification", **run)
    first, second = candidates.folders(tmp_path / "run", run["model"])
    before = (first / "model.safetensors").stat().st_mtime_ns
    assert not (second / "metrics.json").exists()
    assert list(second.glob("checkpoint-*"))
    result = hfrecipes.run("text-classification", **run)
    assert f"training was over at {second}/checkpoint-2" in caplog.text
    assert (first / "model.safetensors").stat().st_mtime_ns == before
    assert [path.name for path in result.runs] == ["model-1-tiny-bert", "model-2-other"]
    assert (second / "adapter").is_dir()


def test_a_recipe_file_may_name_the_models(chosen, tiny_bert, other_bert, tmp_path):
    text = (chosen.path / "recipe.yaml").read_text()
    (tmp_path / "r.yaml").write_text(text)
    config, _ = configure(tmp_path / "r.yaml", {}, index=1)
    assert config.model == other_bert
    config, _ = configure(str(tmp_path / "r.yaml"), {"model": "me/one"}, index=1)
    assert config.model == "me/one"


def test_code_of_a_model_that_only_a_file_names_is_not_run(tmp_path):
    (tmp_path / "r.yaml").write_text(
        "task: text-classification\nmodel:\n- me/a\n- {path: me/b, trust_remote_code: true}\n"
    )
    with pytest.raises(UntrustedError, match="the code that comes with the model me/b"):
        configure("r.yaml", {}, index=1)
    own = {"model": ["me/a", {"path": "me/b", "trust_remote_code": True}]}
    assert configure("r.yaml", own, index=1)[0].model == own["model"][1]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([], "found a list of 0, expected two models or more"),
        (["me/a"], "found a list of 1, expected two models or more; for one, model=me/a"),
        (["me/a", "me/a"], "found me/a twice in the list"),
        (["me/a", {"path": "me/a"}], "twice in the list"),
        (["me/a", 3], "found 3 in the list, expected Hub ids or folders, or blocks with a path"),
        (["me/a", True], "found true in the list"),
        (["me/a", None], "found null in the list"),
        (["me/a", ""], "found '' in the list"),
        (["me/a", ["me/b", "me/c"]], r"found \[me/b, me/c\] in the list"),
        (["me/a", {"revision": "v1"}], "found {revision: v1} in the list"),
        (["me/a", {"path": 3}], "found {path: 3} in the list"),
    ],
)
def test_lists_that_name_no_models_are_refused(models, said):
    for command in (hfrecipes.run, hfrecipes.check):
        with pytest.raises(ConfigError, match=said):
            command("text-classification", model=models, dataset=ROWS)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hub": "me/model"}, "hub: leave it out, a list of models gives several runs"),
        ({"folds": 3}, "model and folds: give one model, or leave folds out"),
        ({"seeds": [1, 2]}, "model and seeds: give one model, or leave seeds out"),
        ({"splits": {"validation": None}}, "a list of models needs a validation split"),
        ({"nonsense": 1}, "unknown setting nonsense"),
    ],
)
def test_what_a_list_cannot_be_combined_with_is_refused_before_training(
    settings, said, tiny_bert, other_bert, tmp_path
):
    with pytest.raises(ConfigError, match=said):
        hfrecipes.run("text-classification", model=[tiny_bert, other_bert], **{**SETTINGS, **settings})
    assert not (tmp_path / "runs").exists()


def test_a_model_that_is_not_there_is_found_before_another_one_is_trained(tiny_bert, tmp_path):
    for missing, error in (("nobody/nothing", ModelError), (str(tmp_path / "empty"), ModelError)):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(error):
            hfrecipes.run("text-classification", model=[tiny_bert, missing], **SETTINGS)
        assert not (tmp_path / "runs").exists()


def test_building_one_trainer_for_several_models_is_refused():
    with pytest.raises(ConfigError, match="a list of models asks for several Trainers"):
        hfrecipes.build("text-classification", model=["me/a", "me/b"], dataset=ROWS)


def test_a_revision_beside_a_list_is_refused():
    made = CliRunner().invoke(main, ["run", "text-classification", "model=[me/a, me/b]", "model.revision=v1"])
    assert made.exit_code == 2
    assert "found a list with keywords beside it; give them to each model" in made.output


def test_the_name_of_the_folder_tells_the_models():
    config, _ = configure("text-classification", {"dataset": "rows.csv"})

    def folder(models: list, what: str = "text-classification") -> str:
        return default_folder(what, candidates.with_models(config, models)).as_posix()

    assert folder(["me/a", "pkg://b/model"]) == "runs/text-classification-rows-a-or-b"
    assert folder(["m" * 50, "n" * 50]) == "runs/text-classification-rows-2-models"
    assert folder(["me/a", "me/b"], "my/recipe.yaml") == "runs/recipe-2-models"


def test_check_reports_each_model(tiny_bert, other_bert, tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opinions(40)))
    words = ["check", "text-classification", "dataset=rows.jsonl", f"model=[{tiny_bert}, {other_bert}]"]
    made = CliRunner().invoke(main, words)
    assert made.exit_code == 0, made.output
    assert "model tiny-bert\n" in made.output
    assert "\nmodel other\n" in made.output
    content = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert content["ok"]
    assert list(content["models"]) == ["tiny-bert", "other"]
    report = hfrecipes.check("text-classification", dataset=ROWS, model=[tiny_bert, other_bert])
    assert report["models"]["other"]["rows"] == {"train": 40, "validation": 20, "test": 30}


def test_the_command_ends_with_the_table(tiny_bert, other_bert, tmp_path):
    for split, rows in ROWS.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"dataset.{split}={split}.jsonl" for split in ROWS]
    words += [f"model=[{tiny_bert}, {other_bert}]", "max_steps=2", "save_strategy=no", "bf16=false", "output_dir=run"]
    made = CliRunner().invoke(main, ["run", "text-classification", *words])
    assert made.exit_code == 0, made.output
    assert "is chosen by validation alone" in made.stdout
    assert "all numbers: run/comparison.json\nmodel: run/model-" in made.stdout
    assert "try it: echo " in made.stdout
