"""The command line: quick to start, one sentence for every mistake, exit code 2, nothing written."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import opinions
from processes import run_python

from hfrecipes.cli import main


def call(*words: object, given: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=given)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    folder = tmp_path / "rows"
    folder.mkdir()
    for index, split in enumerate(("train", "validation", "test")):
        with open(folder / f"{split}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            writer.writerows(opinions(80 if index == 0 else 20, index))
    return folder


@pytest.fixture(scope="module")
def done(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run made on the command line."""
    folder = tmp_path_factory.mktemp("cli")
    for index, split in enumerate(("train", "validation", "test")):
        lines = "".join(json.dumps(row) + "\n" for row in opinions(80 if index == 0 else 20, index))
        (folder / f"{split}.jsonl").write_text(lines)
    words = [
        f"model={tiny_bert}",
        f"dataset={folder}",
        f"output_dir={folder / 'run'}",
        "learning_rate=1e-2",
        "bf16=false",
    ]
    made = call("run", "text-classification", *words, "per_device_train_batch_size=8")
    assert made.exit_code == 0, made.output
    assert "accuracy" in made.output
    assert "baseline" in made.output
    assert f"hfrecipes predict {folder / 'run'} -" in made.output
    return folder / "run"


@pytest.mark.parametrize("words", [["list"], ["--help"], ["show", "text-classification/quickstart"]])
def test_light_commands_load_neither_torch_nor_transformers(words):
    code = (
        "import sys; from hfrecipes.cli import main\n"
        f"try: main({words!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'transformers', 'datasets', 'numpy', 'pandas', 'evaluate'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    run_python("-c", code)


def test_list_answers_at_once():
    listed, bare = [], []
    for _ in range(5):  # in turns, since other work on the machine slows both
        listed.append(seconds_of("-m", "hfrecipes", "list"))
        bare.append(seconds_of("-c", "import click"))
    assert min(listed) < 0.3 or min(listed) < 4 * min(bare)


def seconds_of(*arguments: str) -> float:
    start = time.perf_counter()
    run_python(*arguments)
    return time.perf_counter() - start


def test_list_and_show_tell_tasks_options_and_files():
    listed = call("list").output
    assert "text-classification" in listed
    assert "text-classification/quickstart" in listed
    shown = call("show", "text-classification").output
    for part in ("max_length=512", "text_pair", "The learning rate follows the size", "Maximum number of tokens"):
        assert part in shown
    assert "task: text-classification" in call("show", "text-classification/quickstart").output


def test_show_of_a_task_file_shows_the_task_and_not_its_source(tmp_path):
    (tmp_path / "my_task.py").write_text(
        '"""Tell praise from blame.\\n\\nA second paragraph."""\n'
        "from dataclasses import dataclass\n"
        "from hfrecipes.tasks.text_classification import TextClassification\n\n\n"
        "@dataclass(kw_only=True)\n"
        "class Praise(TextClassification):\n"
        "    strictness: int = 3\n"
        '    """How much praise is needed."""\n'
    )
    made = call("show", tmp_path / "my_task.py")
    assert made.exit_code == 0, made.output
    assert made.output.splitlines()[0].endswith(": Tell praise from blame.")
    assert "strictness=3  (whole number)\n      How much praise is needed." in made.output
    assert "class Praise" not in made.output


@pytest.mark.parametrize("command", [["show"], ["check"], ["run"]])
def test_a_task_file_that_does_not_exist_is_named(command):
    made = call(*command, "no_task.py", *(["model=m", "dataset=d"] if command != ["show"] else []))
    assert made.exit_code == 2
    assert "there is no task file no_task.py" in made.output


def test_copy_refuses_a_task_file(tmp_path):
    (tmp_path / "my_task.py").write_text("")
    made = call("copy", tmp_path / "my_task.py", tmp_path / "copy.py")
    assert made.exit_code == 2
    assert "no recipe file" in made.output


def test_copy_gives_a_recipe_file_and_writes_over_none(tmp_path):
    assert call("copy", "text-classification/quickstart", tmp_path).exit_code == 0
    copied = (tmp_path / "quickstart.yaml").read_text()
    shown = call("show", "text-classification/quickstart").output.splitlines()
    assert copied.splitlines() == [line for line in shown if "$schema" not in line]
    again = call("copy", "text-classification/quickstart", tmp_path / "quickstart.yaml")
    assert again.exit_code == 2
    assert "exists" in again.output


def test_check_reads_everything_and_writes_nothing(rows, tiny_bert, tmp_path):
    before = sorted(tmp_path.iterdir())
    made = call("check", "text-classification", f"dataset={rows}", f"model={tiny_bert}", "seed=7")
    assert made.exit_code == 0
    assert "error" not in made.stdout.splitlines()[-1]
    assert "seed: 7" in made.output
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "datasets-cache"] == before


@pytest.mark.parametrize("output", ["out.jsonl", "out.csv", None])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "txt", "stdin"])
def test_predict_reads_and_writes_every_form(done, tmp_path, output, kind):
    texts = ["the film, a book, was lovely", 'the "song" was awful', "the coat was fine"]
    source, given = tmp_path / f"in.{kind}", None
    if kind == "csv":
        with open(source, "w", newline="") as file:
            csv.writer(file).writerows([["id", "text"], *enumerate(texts)])
    elif kind == "jsonl":
        source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    elif kind == "txt":
        source.write_text("\n".join(texts) + "\n")
    else:
        source, given = "-", "\n".join(texts) + "\n"
    words = ["-o", tmp_path / output] if output else []
    made = CliRunner().invoke(main, ["predict", str(done), str(source), *map(str, words)], input=given)
    assert made.exit_code == 0, made.output
    if output == "out.csv":
        labels = [row["prediction.label"] for row in csv.DictReader((tmp_path / output).open())]
    elif output:
        labels = [json.loads(line)["prediction"]["label"] for line in (tmp_path / output).read_text().splitlines()]
    else:
        labels = [json.loads(line)["label"] for line in made.stdout.splitlines()]
    assert len(labels) == 3
    assert set(labels) <= {"good", "bad"}


def test_evaluate_prints_scores_with_intervals(done):
    made = call("evaluate", done, f"dataset={done.parent / 'test.jsonl'}")
    assert made.exit_code == 0
    assert "20 rows" in made.output
    value = json.loads((done / "metrics.json").read_text())["test"]["accuracy"]["value"]
    assert f"{value:.3f} (" in made.output


ODD_NAMES = ["[person]", "/arts/music", "[/b]", "[red]x", ":smile:", "a b", "%s {0}"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_from_the_data_are_printed_as_they_are(name, capsys):
    """Rich would read `[red]` as a colour, `[/b]` as the end of bold, and `:smile:` as a picture."""
    from hfrecipes.commands.group import fail
    from hfrecipes.evaluation.scoring import Score
    from hfrecipes.log import log
    from hfrecipes.output import print_table, score_table

    entry = Score(0.5, 0.25, 0.75, baseline=0.125)
    print_table(score_table({name: {f"f1[{name}]": entry}}, [f"f1[{name}]"]))
    log(f"label {name}")
    with pytest.raises(SystemExit):
        fail(f"no label {name}")
    printed, logged = capsys.readouterr()
    assert f"f1[{name}]" in printed
    assert name in printed.splitlines()[0]
    assert f"label {name}\n" in logged
    assert f"no label {name}\n" in logged


def test_a_long_name_is_printed_whole(capsys):
    from hfrecipes.evaluation.scoring import Score
    from hfrecipes.output import print_table, score_table

    print_table(score_table({"test": {"n" * 130: Score(0.5, 0.25, 0.75)}}, ["n" * 130]))
    assert capsys.readouterr().out.count("n") == 130


def test_each_label_keeps_its_name_in_the_table_of_evaluate(tiny_bert, tmp_path):
    several = [
        {"text": row["text"], "labels": [row["label"].replace("good", "/arts/music"), "[person]"][i % 3 :]}
        for i, row in enumerate(opinions(60))
    ]
    (tmp_path / "several.jsonl").write_text("".join(json.dumps(row) + "\n" for row in several))
    words = [f"model={tiny_bert}", "dataset=several.jsonl", "bf16=false", "max_steps=2", "output_dir=run"]
    assert call("run", "text-classification", *words).exit_code == 0
    made = call("evaluate", "run", "dataset=several.jsonl")
    assert made.exit_code == 0, made.output
    for name in ("f1[/arts/music]", "f1[[person]]", "f1[bad]"):
        assert name in made.output


def test_a_run_again_says_that_it_is_complete(done, tiny_bert):
    made = call("run", done / "recipe.yaml")
    assert made.exit_code == 0, made.output
    assert "complete" in made.output


BAD = {
    "unknown task": (["run", "text-clasification", "model=m", "dataset=d"], "did you mean text-classification?"),
    "unknown recipe file": (["run", "recipes/none.yaml"], "no recipe file"),
    "unknown command form": (["run", "text-classification", "--learning_rate", "3e-5"], "write: learning_rate=3e-5"),
    "unknown command form 2": (["run", "text-classification", "--lora", "--bf16=true"], "write: lora=true bf16=true"),
    "columns as options": (
        ["run", "text-classification", "--text_column", "body", "--label_column_name=topic", "--run_name", "a"],
        "write: columns.text=body columns.label=topic run_name=a",
    ),
    "no value": (["run", "text-classification", "learning_rate"], "expected key=value"),
    "unknown key": (["run", "text-classification", "learning_rat=1"], "did you mean learning_rate?"),
    "several": (
        ["run", "text-classification", "learning_rat=1", "seed=x", "warmup_ratio=0.1"],
        "3 settings need an edit",
    ),
    "wrong type": (["run", "text-classification", "learning_rate=fast"], "found fast (str), expected number"),
    "old name": (["run", "text-classification", "evaluation_strategy=epoch"], "write eval_strategy=epoch"),
    "missing file": (["run", "text-classification", "model={model}", "dataset=none.csv"], "no file or folder none.csv"),
    "empty file": (["run", "text-classification", "model={model}", "dataset={empty}"], "is empty"),
    "unreadable file": (
        ["run", "text-classification", "model={model}", "dataset={folder}/torn.parquet"],
        "cannot read",
    ),
    "not utf-8": (["run", "text-classification", "model={model}", "dataset={latin}"], "not UTF-8"),
    "ragged": (["run", "text-classification", "model={model}", "dataset={ragged}"], "has 3 cells, expected 2"),
    "column": (
        ["run", "text-classification", "model={model}", "dataset={rows}", "columns.text=body"],
        "no column 'body'",
    ),
    "one class": (["run", "text-classification", "model={model}", "dataset={one}"], "only one label"),
    "no weights": (["run", "text-classification", "model={weightless}", "dataset={rows}"], "no weights"),
    "no such model": (
        ["run", "text-classification", "model=nobody/nothing", "dataset={rows}"],
        "is not a local folder",
    ),
    "no model": (["run", "text-classification", "dataset={rows}"], "add model="),
    "no value of a key": (["run", "text-classification", "model={model}", "learning_rate="], "found no value"),
    "no folder can be made": (
        ["run", "text-classification", "model={model}", "dataset={rows}", "output_dir=" + "x" * 400],
        "cannot be made",
    ),
    "seed": (
        ["run", "text-classification", "model={model}", "dataset={rows}", "seed=4294967296"],
        "from 0 to 4294967295",
    ),
    "package": (["run", "text-classification", "model={model}", "dataset=pkg://../x"], "expected pkg://"),
    "no run": (["predict", "nowhere/at/all", "-"], "no run"),
    "no run 2": (["evaluate", "./nowhere", "dataset=x"], "no run"),
    "no input": (["predict", "{done}", "none.csv"], "none.csv"),
    "evaluate what": (["evaluate", "{done}"], "dataset="),
    "evaluate which columns": (["evaluate", "{done}", "dataset={rows}", "columns=5"], "expected block of keys"),
    "evaluate which splits": (["evaluate", "{done}", "dataset={rows}", "splits=[a]"], "expected block of keys"),
    "output folder is a file": (
        ["run", "text-classification", "model={model}", "dataset={rows}", "output_dir={one}"],
        "is a file",
    ),
    "compressed": (["run", "text-classification", "model={model}", "dataset={gz}"], "cannot read"),
    "no rows": (
        ["run", "text-classification", "model={model}", "dataset.train={rows}/train.csv", "dataset.test={headonly}"],
        "no rows",
    ),
    "column to keep": (["predict", "{done}", "-", "keep=[nr]"], "keep: no column 'nr'; there are text"),
    "output form": (["predict", "{done}", "-", "-o", "x.xml"], "ends in .jsonl, .csv, .tsv or .xlsx"),
    "text without a run": (["predict", "I loved it"], "needs a run and something to predict, found 'I loved it'"),
    "text without quotes": (["predict", "{done}", "a", "text"], "put quotes around a text"),
    "option of predict": (["predict", "{done}", "-", "batch=3"], "predict takes keep="),
    "blank text": (["predict", "{done}", " "], "text is empty in 1 row (0"),
    "data as recipe": (["run", "{one}"], "write  dataset="),
    "folder as recipe": (["check", "{rows}"], "is data, expected a recipe file or a task"),
    "copy what": (["copy", "nothing", "."], "no recipe file"),
    "copy to a long name": (["copy", "text-classification/imdb", "x" * 5000], "cannot be written (File name too long)"),
    "predict to a long name": (["predict", "{done}", "-", "-o", "x" * 5000 + ".csv"], "cannot be written"),
    "push a long name": (["push", "x" * 5000, "me/model"], "there is no folder"),
    "model of a long name": (
        ["run", "text-classification", "model=" + "x" * 5000, "dataset={rows}"],
        "no model folder",
    ),
    "show what is no text": (["show", "{folder}/torn.bin"], "not a UTF-8 text file"),
}


@pytest.mark.parametrize("words", [["list"], ["check", "text-classification", "dataset=x.csv"], ["predict", "x", "-"]])
def test_a_working_folder_that_was_deleted_is_one_sentence(words, tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    made = call(*words)
    assert (made.exit_code, made.output) == (
        2,
        "hfrecipes: the working folder was deleted or moved: change to another one with cd\n",
    )


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence_and_writes_nothing(case, rows, done, tiny_bert, tmp_path):
    words, message = BAD[case]
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "empty.csv").touch()
    (folder / "latin.csv").write_bytes("text,label\nthé,x\nété,x\n".encode() + "café,x\n".encode("latin-1"))
    (folder / "ragged.csv").write_text("text,label\na,b\nc,d,e\n")
    (folder / "one.csv").write_text("text,label\n" + "".join(f"text {number},x\n" for number in range(20)))
    (folder / "gz.csv").write_bytes(b"\x1f\x8b\x08 and more")
    (folder / "headonly.csv").write_text("text,label\n")
    (folder / "torn.parquet").write_bytes(b"PAR1 and no more")
    (folder / "torn.bin").write_bytes(b"\xff\xfe")
    (folder / "weightless").mkdir()
    (folder / "weightless" / "config.json").write_text((Path(tiny_bert) / "config.json").read_text())
    paths = {"model": tiny_bert, "rows": rows, "done": done, "folder": folder, "weightless": folder / "weightless"}
    paths |= {name: folder / f"{name}.csv" for name in ("empty", "latin", "ragged", "one", "gz", "headonly")}
    before = sorted(path for path in tmp_path.rglob("*") if "datasets-cache" not in str(path))
    made = call(*(word.format(**paths) for word in words), given="a text\n\nb\n")
    assert made.exit_code == 2, made.output
    assert message in made.output
    assert "Traceback" not in made.output
    assert made.output.splitlines()[-1].startswith(("hfrecipes: ", "- ")), "the sentence is the last line"
    assert sorted(path for path in tmp_path.rglob("*") if "datasets-cache" not in str(path)) == before


def test_a_folder_with_another_run_is_refused(done, tiny_bert):
    made = call("run", done / "recipe.yaml", "seed=9")
    assert made.exit_code == 2
    assert "training.seed is 42 there and 9 here" in made.output


def test_the_traceback_is_shown_when_asked_for(monkeypatch):
    monkeypatch.setenv("HFRECIPES_DEBUG", "1")
    from hfrecipes.errors import HFRecipesError

    assert isinstance(call("run", "nothing").exception, HFRecipesError)


def test_what_nobody_foresaw_is_still_one_line(monkeypatch):
    from hfrecipes import registry

    def broken(_name):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(registry, "find_recipe_file", broken)
    made = call("show", "text-classification")
    assert made.exit_code == 2
    assert "unexpected RuntimeError: two lines" in made.output


def test_python_dash_m_is_the_same_command():
    made = run_python("-m", "hfrecipes", "run", "nothing", status=2)
    assert made.stderr.startswith("hfrecipes: unknown task nothing")


@pytest.mark.parametrize(
    "words",
    [
        ["{}"],
        ["--{}"],
        ["copy", "{}", "x"],
        ["show", "a", "{}"],
        ["predict", "a", "b", "-o", "{}.csv"],
        ["chat", "--{}"],
    ],
)
def test_words_of_any_length_get_a_short_sentence(words):
    made = call(*[word.format("x" * 5000) for word in words])
    assert made.exit_code == 2
    assert max(map(len, made.output.splitlines())) < 2000


def test_a_copy_is_whole_or_not_there(tmp_path, monkeypatch):
    """A full disk leaves no empty file, of which the next copy would say that it exists."""

    def full(self, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    made = call("copy", "text-classification/quickstart", tmp_path / "q.yaml")
    assert (made.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "no space is left" in made.output


def test_sigterm_ends_a_command_with_a_line_and_its_own_status(monkeypatch, tmp_path):
    def ended(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("hfrecipes.checkup.examine", ended)
    made = call("check", "text-classification")
    assert (made.exit_code, made.output) == (143, "hfrecipes: ended by SIGTERM\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_comes_while_an_object_is_deleted_ends_a_command_too(monkeypatch, request, number, status):
    # A process in the background ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    class Deleted:
        def __del__(self):
            os.kill(os.getpid(), number)

    def waits(*_, **__):
        Deleted()
        for _ in range(100):
            time.sleep(0.05)

    monkeypatch.setattr("hfrecipes.checkup.examine", waits)
    made = call("check", "text-classification")
    assert made.exit_code == status
    assert "Traceback" not in made.output
