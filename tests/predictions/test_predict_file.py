"""Predictions of a file: joined to their rows, in the form of the file, and whole whatever happens meanwhile."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import openpyxl
import pytest
from click.testing import CliRunner, Result
from conftest import opinions
from datasets import Dataset

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.data.columns import keeps_rows
from hfrecipes.data.input_names import is_text
from hfrecipes.predictions import command
from hfrecipes.predictions.partial import Partial
from hfrecipes.predictions.table_style import style_of
from hfrecipes.predictor import Predictor

ROOT = Path(__file__).resolve().parents[2]


def call(*words: object, given: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=given)


@pytest.fixture(scope="module")
def run(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predicted")
    settings = {"learning_rate": 1e-2, "max_steps": 2, "bf16": False}
    rows = {"train": opinions(40), "test": opinions(20, 1)}
    (folder / "rows").mkdir()
    for split, lines in rows.items():
        (folder / "rows" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    hfrecipes.run(
        "text-classification", model=tiny_bert, dataset=str(folder / "rows"), output_dir=str(folder / "run"), **settings
    )
    return folder / "run"


def tickets(separator: str = ";", line_end: str = "\r\n") -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=line_end)
    writer.writerow(["Nr", "Datum", "text", "Kunde", "Betrag"])
    for number, row in enumerate(opinions(8, 3)):
        blank = number == 3
        writer.writerow([f"T-{number}", "01.03.2026", "" if blank else row["text"], "Müller", f"{number},5"])
    return text.getvalue()


def read(file: Path, encoding: str, separator: str) -> list[dict[str, str]]:
    with open(file, encoding=encoding, newline="") as lines:
        return list(csv.DictReader(lines, delimiter=separator))


# --- joined ------------------------------------------------------------------------------------------------------


def test_each_row_has_its_number_its_columns_and_the_prediction_of_its_own_text(run, tmp_path):
    (tmp_path / "tickets.csv").write_text(tickets(","), encoding="utf-8")
    made = call("predict", run, "tickets.csv", "-o", "out.csv")
    assert made.exit_code == 0, made.output
    rows = read(tmp_path / "out.csv", "utf-8", ",")
    assert [row["row"] for row in rows] == [str(number) for number in range(8)]
    assert [row["Nr"] for row in rows] == [f"T-{number}" for number in range(8)]
    assert list(rows[0])[:6] == ["row", "Nr", "Datum", "text", "Kunde", "Betrag"]
    model = hfrecipes.load(run)
    for row in rows:
        if row["text"]:
            assert row["prediction.label"] == model.predict(row["text"])["label"]


@pytest.mark.parametrize("source", ["tickets.csv", "-"])
def test_a_blank_text_is_answered_null_and_counted(run, tmp_path, source):
    (tmp_path / "tickets.csv").write_text(tickets(","), encoding="utf-8")
    given = "".join(row["text"] + "\n" if row["text"] else "\n" for row in csv.DictReader(io.StringIO(tickets(","))))
    made = call("predict", run, source, "-o", "out.jsonl", given=given)
    assert made.exit_code == 0, made.output
    assert "text is empty in 1 row (3, counted from 0): the prediction of 1 row is null" in made.output
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines if line["prediction"] is None] == [3]
    predictions = hfrecipes.load(run).predict(given.split("\n")[:-1])
    assert [prediction is None for prediction in predictions] == [number == 3 for number in range(8)]


def test_keep_names_the_columns_that_are_written(run, tmp_path):
    (tmp_path / "tickets.csv").write_text(tickets(","), encoding="utf-8")
    assert call("predict", run, "tickets.csv", "keep=[nr]", "-o", "out.jsonl").exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {tuple(line) for line in lines} == {("row", "Nr", "prediction")}
    shown = call("predict", run, "tickets.csv", "keep=Nr").stdout.splitlines()
    assert [json.loads(line)["Nr"] for line in shown] == [line["Nr"] for line in lines]


def test_rows_of_several_files_have_the_file_and_the_number_in_it(run, tmp_path):
    for name in ("part-1.csv", "part-2.csv"):
        (tmp_path / name).write_text(tickets(","), encoding="utf-8")
    made = call("predict", run, "part-*.csv", "-o", "out.csv")
    assert made.exit_code == 0, made.output
    rows = read(tmp_path / "out.csv", "utf-8", ",")
    assert [row["row"] for row in rows] == [str(number) for number in range(16)]
    assert (rows[8]["file"], rows[8]["file_row"], rows[8]["Nr"]) == ("part-2.csv", "0", "T-0")


def test_columns_of_the_input_that_are_called_as_those_of_the_output_stay(run, tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps({"row": "A7", "text": "the film was lovely"}) + "\n")
    made = call("predict", run, "in.jsonl", "-o", "out.jsonl")
    (line,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (line["row"], line["row_2"]) == ("A7", 0)
    assert "called 'row_2'" in made.output


def test_labels_that_are_numbers_are_predicted_as_numbers(tiny_bert, tmp_path):
    rows = [{"text": row["text"], "label": int(row["label"] == "good")} for row in opinions(30)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"max_steps": 2, "bf16": False, "output_dir": "run"}
    hfrecipes.run("text-classification", model=tiny_bert, dataset="in.jsonl", **settings)
    assert call("predict", "run", "in.jsonl", "-o", "out.jsonl").exit_code == 0
    for line in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines()):
        assert type(line["prediction"]["label"]) is type(line["label"]) is int


def test_predictions_of_a_run_have_the_ids_and_the_file_of_each_row(tiny_bert, tmp_path):
    for index, name in enumerate(("one.csv", "two.csv", "test.csv")):
        rows = [f"{name}-{number},a,{row['text']},{row['label']}\n" for number, row in enumerate(opinions(20, index))]
        (tmp_path / name).write_text("ticket,site,text,label\n" + "".join(rows))
    dataset = {"train": ["one.csv", "two.csv"], "test": "test.csv"}
    hfrecipes.run("text-classification", model=tiny_bert, dataset=dataset, output_dir="run", max_steps=2, bf16=False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert {line["split"] for line in lines} == {"validation", "test"}
    for line in lines:
        file = line.get("file", "test.csv")
        assert line["ticket"] == f"{file}-{line.get('file_row', line['row'])}"
        assert "site" not in line
        assert ("file" in line) == (line["split"] == "validation")
        assert {"label", "text", "prediction"} <= set(line)


def test_out_of_fold_predictions_have_the_ids_of_train(tiny_bert, tmp_path):
    rows = [f"{number},{row['text']},{row['label']}\n" for number, row in enumerate(opinions(40))]
    (tmp_path / "train.csv").write_text("nr,text,label\n" + "".join(rows))
    (tmp_path / "test.csv").write_text("nr,text,label\n" + "".join(f"x{row}" for row in rows[:9]))
    dataset = {"train": "train.csv", "test": "test.csv"}
    settings = {"max_steps": 1, "bf16": False, "folds": 2, "output_dir": "run"}
    hfrecipes.run("text-classification", model=tiny_bert, dataset=dataset, **settings)
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert [line["nr"] for line in lines] == [str(line["row"]) for line in lines]


def test_rows_that_a_conversion_may_have_regrouped_are_not_joined_by_their_count():
    """Two paragraphs became two questions, and both are of the first."""
    nested = Dataset.from_list([{"id": "p0", "paragraphs": [{"q": "a"}, {"q": "b"}]}, {"id": "p1", "paragraphs": []}])
    assert not keeps_rows(nested, Dataset.from_list([{"id": "q0", "text": "a"}, {"id": "q1", "text": "b"}]))
    flat = Dataset.from_list([{"id": "a", "review": "x"}, {"id": "b", "review": "y"}])
    assert keeps_rows(flat, flat.rename_column("review", "text"))
    assert not keeps_rows(flat, flat.select([0]))


# --- the form of the input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "separator", "line_end"),
    [("cp1252", ";", "\r\n"), ("utf-8-sig", ";", "\n"), ("gb18030", ",", "\n"), ("utf-16", "\t", "\r\n")],
)
def test_a_table_is_written_in_the_dialect_and_encoding_of_the_input(run, tmp_path, encoding, separator, line_end):
    suffix = "tsv" if separator == "\t" else "csv"
    name = "王小明，您好，谢谢" if encoding == "gb18030" else "Müller, Zoë"
    content = tickets(separator, line_end).replace("Müller", f'"{name}"').encode(encoding)
    (tmp_path / f"in.{suffix}").write_bytes(content)
    made = call("predict", run, f"in.{suffix}", "-o", f"out.{suffix}")
    assert made.exit_code == 0, made.output
    written = (tmp_path / f"out.{suffix}").read_bytes()
    assert written.startswith(content[:2]) == (encoding in ("utf-8-sig", "utf-16"))
    rows = read(tmp_path / f"out.{suffix}", encoding, separator)
    before = read(tmp_path / f"in.{suffix}", encoding, separator)
    assert [{name: row[name] for name in before[0]} for row in rows] == before
    assert line_end in written.decode(encoding)
    assert ("\r\n" in written.decode(encoding)) == (line_end == "\r\n")


@pytest.mark.parametrize(
    ("numbers", "encoding", "has_comma"),
    [
        (",5", "utf-8", True),
        (".5", "cp1252", False),
        ("", "utf-8", False),
        ("", "cp1252", True),
        ("", "utf-8-sig", True),
    ],
)
def test_numbers_have_the_decimal_comma_of_the_input(tmp_path, numbers, encoding, has_comma):
    (tmp_path / "in.csv").write_bytes(tickets().replace(",5", numbers).encode(encoding))
    style = style_of(tmp_path / "in.csv", tmp_path / "out.csv")
    assert style.encode([[0.25]]).decode("utf-8") == ("0,25\r\n" if has_comma else "0.25\r\n")


def test_a_character_that_the_encoding_does_not_have_makes_the_output_unicode(run, tmp_path, monkeypatch):
    (tmp_path / "in.csv").write_bytes(tickets().encode("cp1252"))
    monkeypatch.setattr(Predictor, "predicted", lambda self, given, start=0: [{"label": "好"}] * len(given.rows))
    made = call("predict", run, "in.csv", "-o", "out.csv")
    assert made.exit_code == 0, made.output
    assert "because the encoding of the input, cp1252, has no '好'" in made.output
    rows = read(tmp_path / "out.csv", "utf-8-sig", ";")
    assert (rows[0]["Kunde"], rows[0]["prediction.label"]) == ("Müller", "好")


def test_a_spreadsheet_becomes_a_spreadsheet_with_its_dates_and_numbers(run, tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["Nr", "Datum", "text"])
    day = datetime.datetime(2026, 3, 1)
    book.active.append([7, day, "the film was lovely"])
    book.active.append([8, day, None])
    book.save(tmp_path / "in.xlsx")
    made = call("predict", run, "in.xlsx", "-o", "out.xlsx")
    assert made.exit_code == 0, made.output
    header, first, second = openpyxl.load_workbook(tmp_path / "out.xlsx").active.iter_rows(values_only=True)
    assert header[:5] == ("row", "Nr", "Datum", "text", "prediction.label")
    assert first[:4] == (0, 7, day, "the film was lovely")
    assert isinstance(first[5], float)
    assert second[4] is None


# --- long, and interrupted ---------------------------------------------------------------------------------------


def long_file(path: Path, rows: int) -> None:
    texts = [row["text"] for row in opinions(50, 5)]
    path.write_text("id,text\n" + "".join(f"r{number},{texts[number % 50]}\n" for number in range(rows)))


def test_a_command_that_was_killed_goes_on_and_ends_with_the_same_file(run, tmp_path, monkeypatch):
    long_file(tmp_path / "long.csv", 40)
    monkeypatch.setattr(command, "BLOCK", 8)
    assert call("predict", run, "long.csv", "-o", "whole.csv").exit_code == 0
    code = (
        "import time\n"
        "from hfrecipes.predictions import command, partial\n"
        "command.BLOCK = 8\n"
        "append = partial.Partial.append\n"
        "def slowly(self, block):\n"
        "    append(self, block)\n"
        "    time.sleep(60 * (self.done >= 16))\n"
        "partial.Partial.append = slowly\n"
        "from hfrecipes.cli import main\n"
        f"main(['predict', {str(run)!r}, 'long.csv', '-o', 'out.csv'])\n"
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    partial = tmp_path / "out.csv.partial"
    for _ in range(600):
        time.sleep(0.1)
        if partial.exists() and partial.read_bytes().count(b"\n") >= 17:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out.csv").exists()
    with open(partial, "a") as file:
        file.write('{"label": "go')  # half a line, as a kill may leave it
    made = call("predict", run, "long.csv", "-o", "out.csv")
    assert made.exit_code == 0, made.output
    assert "16 predictions are in out.csv.partial already: continuing from there" in made.output
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not list(tmp_path.glob("*.partial*"))


def test_a_second_command_for_the_same_output_is_refused_until_the_first_ends(run, tmp_path):
    long_file(tmp_path / "long.csv", 3)
    with Partial(tmp_path / "out.csv", {"input": "?", "model": "?"}).opened():
        made = call("predict", run, "long.csv", "-o", "out.csv")
        assert made.exit_code == 2
        assert "out.csv.partial is being written by another command: wait, or write elsewhere" in made.output
        assert not (tmp_path / "out.csv").exists()
    assert call("predict", run, "long.csv", "-o", "out.csv").exit_code == 0
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("what", ["input", "model"])
def test_predictions_of_something_else_are_not_used(run, tmp_path, monkeypatch, what):
    long_file(tmp_path / "long.csv", 20)
    monkeypatch.setattr(command, "BLOCK", 8)
    (tmp_path / "out.csv.partial").write_text(json.dumps({"input": "?", "model": "?"}) + '\n{"label": "stale"}\n')
    if what == "model":
        model, rows = hfrecipes.load(run), "long.csv"
        given = model.read(Path(rows))
        key = command.fingerprint(given.rows)
        line = json.dumps({"input": key, "model": "?"})
        (tmp_path / "out.csv.partial").write_text(line + '\n{"label": "stale"}\n')
    made = call("predict", run, "long.csv", "-o", "out.csv")
    assert made.exit_code == 0, made.output
    assert "belongs to another" in made.output
    assert what in made.output.partition("belongs to another")[2].splitlines()[0]
    assert "stale" not in (tmp_path / "out.csv").read_text()


def test_blocks_change_neither_order_nor_predictions(run, tmp_path, monkeypatch):
    long_file(tmp_path / "long.csv", 30)
    whole = hfrecipes.load(run).predict(file="long.csv")
    monkeypatch.setattr(command, "BLOCK", 7)
    call("predict", run, "long.csv", "-o", "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"r{number}" for number in range(30)]
    for line, prediction in zip(lines, whole, strict=True):
        assert line["prediction"]["score"] == pytest.approx(prediction["score"], abs=1e-6)


# --- what an input means -----------------------------------------------------------------------------------------


def test_a_text_on_the_command_line_is_predicted(run):
    made = call("predict", run, "the film was lovely")
    assert json.loads(made.stdout)["label"] in ("good", "bad")


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Where is my parcel?", True),
        ("and/or, or both", True),
        ("这部电影很好看", True),
        ("great", True),
        ("my reviews.csv", False),
        ("reviews.csv.gz", False),
        ("data/part-*.csv", False),
        ("me/reviews", False),
        ("./reviews", False),
        ("s3://bucket/rows", False),
    ],
)
def test_a_name_of_rows_is_told_from_a_text(name, meaning):
    assert is_text(name) == meaning


def test_a_file_that_is_there_is_read_whatever_its_name(tmp_path):
    (tmp_path / "a text").write_text("x")
    assert not is_text("a text")


def test_a_missing_file_is_named_before_the_model_is_loaded(tmp_path):
    made = call("predict", tmp_path / "no run", "none.csv")
    assert made.exit_code == 2
    assert "there is no file or folder none.csv" in made.output


def test_columns_may_be_named_for_the_rows_to_predict(run, tmp_path):
    (tmp_path / "in.csv").write_text("nr,body\n1,the film was lovely\n")
    made = call("predict", run, "in.csv", "columns.text=body")
    assert made.exit_code == 0, made.output
    assert hfrecipes.load(run).predict(file="in.csv", columns={"text": "body"})[0]["label"] in ("good", "bad")
