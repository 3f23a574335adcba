"""With --json, standard output is one JSON document, for every command that prints results, and for every error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from conftest import opinions

from hfrecipes.cli import main

# Commands that go on until they are ended, or print a file as it is.
WITHOUT = {"chat", "demo", "serve", "schema", "skill"}
RUN = ["dataset={rows}", "model={model}", "bf16=false", "max_steps=2", "output_dir={new}"]
# Words of each command, with a key of what it prints.
WORDS: dict[str, tuple[list[str], str]] = {
    "list": ([], "recipe_files"),
    "show": (["text-classification"], "options"),
    "copy": (["text-classification/quickstart", "{new}.yaml"], "path"),
    "check": (["text-classification", "dataset={rows}", "model={model}"], "ok"),
    "run": (["text-classification", *RUN], "metrics"),
    "search": (["text-classification", *RUN, "search.seq=[1,2]"], "error"),
    "predict": (["{run}", "{rows}/test.jsonl", "-o", "{new}.csv"], "predictions"),
    "evaluate": (["{run}", "{rows}/test.jsonl"], "sets"),
    "compare": (["{run}", "{run}", "--no-timing"], "error"),
    "report": (["{run}"], "path"),
    "explain": (["{run}", "the film was lovely"], ""),
    "robustness": (["{run}"], "perturbations"),
    "audit": (["{run}", "--rows", "20"], "attacks"),
    "export": (["{run}", "-o", "{new}"], "models"),
    "push": (["{run}", "me/model"], "address"),
    "merge": (["{run}", "{new}"], "path"),
    "verify": (["{run}"], "ok"),
}


@pytest.fixture(scope="module")
def made(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Rows, a model, and a run."""
    folder = tmp_path_factory.mktemp("json")
    (folder / "rows").mkdir()
    for index, split in enumerate(("train", "validation", "test")):
        lines = "".join(json.dumps(row) + "\n" for row in opinions(40 if index == 0 else 20, index))
        (folder / "rows" / f"{split}.jsonl").write_text(lines)
    names = {"rows": str(folder / "rows"), "model": tiny_bert, "run": str(folder / "run"), "new": str(folder / "run")}
    done = called("run", ["text-classification", *RUN], names)
    assert done.exit_code == 0, done.output
    return names


def called(command: str, words: list[str], names: dict[str, str]) -> Result:
    return CliRunner().invoke(main, [command, *[word.format(**names) for word in words], "--json"])


def takes_json(command: click.Command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def test_every_command_that_prints_results_takes_json():
    assert {name for name, command in main.commands.items() if takes_json(command)} == set(WORDS)
    assert set(main.commands) - set(WORDS) == WITHOUT


@pytest.mark.parametrize("command", WORDS)
def test_standard_output_is_one_document(command, made, tmp_path, monkeypatch):
    monkeypatch.setattr("hfrecipes.hub.push.push", lambda *_, **__: "https://example.org/me/model")
    monkeypatch.setattr("hfrecipes.predictor.merge", lambda *_, **__: print("a library that prints"))
    words, key = WORDS[command]
    done = called(command, words, {**made, "new": str(tmp_path / "new")})
    content = json.loads(done.stdout)
    if key:
        assert key in content, done.output
    assert done.exit_code == (2 if key == "error" else 0), done.output


def test_a_run_prints_what_its_files_have(made):
    content = json.loads(called("run", ["text-classification", *RUN], {**made, "new": made["run"]}).stdout)
    assert content["models"] == [made["run"]]
    assert content["metrics"] == json.loads(Path(made["run"], "metrics.json").read_text())


def test_predictions_are_a_list(made):
    content = json.loads(called("predict", ["{run}", "{rows}/test.jsonl", "keep=text"], made).stdout)
    assert [row["text"] for row in content] == [row["text"] for row in opinions(20, 2)]
    assert {"label", "score"} <= set(content[0]["prediction"])


def test_an_evaluation_is_that_of_its_file(made, tmp_path):
    file = tmp_path / "scores.json"
    content = json.loads(called("evaluate", ["{run}", "{rows}/test.jsonl", "-o", str(file)], made).stdout)
    assert content == json.loads(file.read_text())


def test_several_runs_are_compared(made, tmp_path):
    other = str(tmp_path / "other")
    assert called("run", ["text-classification", *RUN, "seed=7"], {**made, "new": other}).exit_code == 0
    content = json.loads(called("compare", ["{run}", other, "--no-timing"], made).stdout)
    assert content["sentences"]


def test_a_recipe_file_is_shown_as_its_settings():
    content = json.loads(called("show", ["text-classification/quickstart"], {}).stdout)
    assert content["task"] == "text-classification"
    assert content["training"]["num_train_epochs"] == 5


def test_rules_of_a_task_file_are_listed(tmp_path):
    (tmp_path / "my_task.py").write_text(
        "from hfrecipes import Recipe\n\n\nclass Praise(Recipe):\n    task = 'praise'\n"
    )
    done = called("check", [str(tmp_path / "my_task.py")], {})
    content = json.loads(done.stdout)
    assert done.exit_code == 2
    assert not content["ok"]
    assert content["rules"][0]["problems"]


# --- errors ------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[list[str], str]] = {
    "a setting": (["run", "chat", "learning_rat=1"], "ConfigError"),
    "a file": (["check", "chat", "dataset=nowhere.csv"], "NotFoundError"),
    "a run": (["predict", "nowhere", "text"], "NotFoundError"),
    "nothing to predict": (["predict", "nowhere"], "UsageError"),
    "an option": (["run", "chat", "--epochs", "3"], "UsageError"),
    "an argument": (["run"], "UsageError"),
    "a command": (["rum"], "UsageError"),
    "an option of click": (["audit", "nowhere", "--rows", "many"], "UsageError"),
    "a command without it": (["serve", "nowhere"], "UsageError"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_is_a_document_and_keeps_its_exit_status(case):
    words, kind = WRONG[case]
    plain = CliRunner().invoke(main, words)
    done = CliRunner().invoke(main, [*words, "--json"])
    content: dict[str, Any] = json.loads(done.stdout)
    assert content["error"]["type"] == kind
    assert content["error"]["message"] in done.stderr
    assert done.exit_code == 2
    assert case == "a command without it" or plain.exit_code == 2


def test_all_problems_of_the_settings_are_listed():
    done = CliRunner().invoke(main, ["run", "chat", "learning_rat=1", "seeds=x", "--json"])
    assert len(json.loads(done.stdout)["error"]["problems"]) == 2


@pytest.mark.parametrize(("labels", "status"), [(["a", "b"], 1), (["a", "a"], 2)])
def test_a_report_of_rows_keeps_its_exit_status(made, tmp_path, labels, status):
    """With one label alone the check ends early: the report says so, and there is no second document."""
    file = tmp_path / "rows.jsonl"
    rows = [{"text": text, "label": label} for label in labels for text in ("", *map(str, range(10, 30)))]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = called("check", ["text-classification", f"dataset={file}", "model={model}"], made)
    assert done.exit_code == status, done.output
    content = json.loads(done.stdout)
    assert content["ok"] is False
    assert (content["stopped"] is not None) == (status == 2)


def test_an_unexpected_error_is_a_document(monkeypatch):
    monkeypatch.setattr("hfrecipes.registry.list_tasks", lambda: 1 / 0)
    done = CliRunner().invoke(main, ["list", "--json"])
    assert json.loads(done.stdout)["error"]["type"] == "ZeroDivisionError"
    assert done.exit_code == 2


def test_a_word_after_two_dashes_is_no_option():
    done = CliRunner().invoke(main, ["predict", "--", "nowhere", "--json"])
    assert done.stdout == ""
    assert done.exit_code == 2


def test_a_process_writes_its_log_to_standard_error(made):
    words = ["check", "text-classification", f"dataset={made['rows']}", f"model={made['model']}", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-m", "hfrecipes", *words], capture_output=True, text=True, env=environment)
    assert json.loads(done.stdout)["ok"]
    assert done.stdout.count("\n") == 1
