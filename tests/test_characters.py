"""Text from data is data everywhere: no terminal obeys it, no page renders it, and no spreadsheet runs it."""

from __future__ import annotations

import csv
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset

import hfrecipes
from hfrecipes.characters import composed, shortened, visible, visible_json, visible_line
from hfrecipes.config.run_config import RunConfig
from hfrecipes.errors import ConfigError, DataError, HubError, NotFoundError, OutputError
from hfrecipes.hub.card import plain_text, write_card
from hfrecipes.log import log
from hfrecipes.output import json_line
from hfrecipes.predictions.output_files import write_output
from hfrecipes.predictions.partial import Partial
from hfrecipes.predictions.records import records_of
from hfrecipes.predictions.table_style import as_cell
from hfrecipes.recipe import CardTexts
from hfrecipes.registry import find
from hfrecipes.run_folder.contents import RunInfo
from hfrecipes.saved.rows import InputRows
from hfrecipes.tasks.text_classification import TextClassification

CLEAR_SCREEN, TURNED, BELL_OF_8_BITS = "\x1b[2J", "\u202e", "\x9b31m"
HIDDEN = f"a{CLEAR_SCREEN}b{TURNED}c{BELL_OF_8_BITS}"
OBEYED = ("\x1b", "\u202e", "\x9b", "\r", "\x00")


def without_obeyed(text: str) -> bool:
    return not any(character in text for character in OBEYED)


# --- terminals ---------------------------------------------------------------------------------------------------


def test_characters_that_a_terminal_obeys_are_written_out_and_letters_stay():
    assert visible(HIDDEN) == r"a\x1b[2Jb\u202ec\x9b31m"
    for text in ("naïve 电影 שלום", "👩\u200d🚀", "می\u200cخواهم", "two\nlines"):
        assert visible(text) == text
    assert visible_line("one\ntwo") == r"one\ntwo"


@pytest.mark.parametrize("kind", [ConfigError, DataError, HubError, NotFoundError, OutputError])
def test_an_error_is_short_and_shows_what_it_was_given(kind):
    message = str(kind(f"there is no column {HIDDEN}\nand more"))
    assert message == r"there is no column a\x1b[2Jb\u202ec\x9b31m\nand more"
    assert len(str(kind("there is no file " + "x/" * 3000))) < 400
    assert len(str(kind("there is none of " + "word " * 3000))) <= 2000


def test_of_many_problems_the_first_are_listed_and_all_are_counted():
    for length in (10, 250):
        message = str(ConfigError([f"problem {number} {'x' * length}" for number in range(2_000)]))
        assert len(message) <= 2000
        shown = message.count("\n- problem")
        assert 1 <= shown <= 10
        assert message.startswith("2000 settings need an edit:")
        assert message.endswith(f"… and {2_000 - shown} more")


def test_a_sentence_on_data_cannot_move_the_cursor(caplog):
    caplog.set_level(logging.INFO, logger="hfrecipes")
    logging.getLogger("hfrecipes").addHandler(caplog.handler)
    try:
        log(f"2 labels: {HIDDEN}, bad\nforged line")
    finally:
        logging.getLogger("hfrecipes").removeHandler(caplog.handler)
    assert without_obeyed(caplog.messages[-1])
    assert "\n" not in caplog.messages[-1]


def test_a_label_that_a_terminal_obeys_is_shown_in_errors_and_sentences(capsys):
    rows = [{"text": f"text {number}", "label": HIDDEN if number % 2 else "good"} for number in range(20)]
    report = hfrecipes.check("text-classification", dataset=rows)
    assert sorted(report["labels"]) == sorted([HIDDEN, "good"])  # what is learnt is what the data says
    with pytest.raises(DataError) as caught:
        hfrecipes.check("text-classification", dataset=rows, columns={"text": HIDDEN})
    printed = capsys.readouterr()
    for text in (printed.out, printed.err, str(caught.value)):
        assert without_obeyed(text)


# --- files -------------------------------------------------------------------------------------------------------


def test_json_reads_back_as_it_was_and_has_no_number_that_json_has_not():
    row = {"label": HIDDEN, "score": float("nan"), "scores": {"é": float("inf"), "b": 0.5}}
    line = json_line(row)
    assert without_obeyed(line)
    assert "é" in line
    assert json.loads(line, parse_constant=pytest.fail) == {
        "label": HIDDEN,
        "score": None,
        "scores": {"é": None, "b": 0.5},
    }
    assert json.loads(visible_json(json.dumps("\u2028\x7f", ensure_ascii=False))) == "\u2028\x7f"


def write(output: Path, rows: list[dict], predictions: list[dict], source: Path | None = None) -> None:
    """The file of predictions of these rows."""
    given = Dataset.from_list(rows)
    records = records_of(InputRows(given, given, frozenset()), TextClassification(), {}, None)
    with Partial(output, {}).opened() as partial:
        partial.append(predictions)
        write_output(output, records, partial, source)
        partial.delete()


@pytest.mark.parametrize(
    "text", ["=1+1", "+SUM(A1)", "-2+3", "@cmd", "\tx", "\rx", '=HYPERLINK("http://x")', "-", "=nan()"]
)
def test_no_spreadsheet_runs_a_predicted_text(tmp_path, text):
    predictions = [{"label": text, "score": -0.5, "scores": {text: 0.1}, "tags": [text]}]
    write(tmp_path / "out.csv", [{"id": text}], predictions)
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["id"] == row["prediction.label"] == f"'{text}"
    assert row["prediction.score"] == "-0.5"
    for cell in (*row, *row.values()):
        assert cell == "-0.5" or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("value", ["-0.5", "+3", "-1e-5", -2, "good", "a=b", "", None])
def test_numbers_and_other_texts_stay_as_they_are(value):
    assert as_cell(value) == value


def test_a_column_of_a_table_stays_as_it_was_and_no_key_is_lost(tmp_path):
    (tmp_path / "in.csv").write_text("id,text\n=7,a\n-x,b\n", encoding="utf-8")
    predictions = [{"answer": "a"}, {"answer": "=b", "start": 3}]
    rows = [{"id": "=7", "text": "a"}, {"id": "-x", "text": "b"}]
    write(tmp_path / "out.csv", rows, predictions, source=tmp_path / "in.csv")
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["=7", "-x"]
    assert [row["prediction.answer"] for row in rows] == ["a", "'=b"]
    assert [row["prediction.start"] for row in rows] == ["", "3"]


def test_a_card_shows_names_from_data_and_renders_none_of_them(tmp_path):
    evil = "<img src=x onerror=alert(1)>|[click](http://evil)\n# heading ```` `code`"
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    recipe = find("text-classification")()
    recipe.card = CardTexts("Sorts.", "", "", "pass\n")
    recipe.labels = [evil, "not_spam"]
    info = RunInfo(
        hfrecipes="1",
        origin={"model": None, "dataset": None},
        data={"train": "60 rows, 0123"},
        limits=[f"labels with fewer than 10 training rows: {evil}"],
        parameters={"total": 1, "trained": 1, "share": 1},
    )
    config = RunConfig(task="text-classification", model="base", dataset="rows.csv", columns={"text": evil})
    write_card(folder, config, recipe, {}, info)
    text = (folder / "README.md").read_text(encoding="utf-8")
    prose, _, recipe_block = text.partition("`````yaml\n")
    assert recipe_block.rstrip().endswith("`````"), "the block ends where the recipe ends"
    assert "not_spam" in prose
    for markup in ("<img", "[click]", "\n# heading"):
        assert markup not in prose.replace(rf"\{markup}", "")
    assert plain_text(evil).count("\n") == 0


# --- spellings ---------------------------------------------------------------------------------------------------

ACUTE = "\u0301"


def rows_of(label_of, count: int = 24) -> list[dict]:
    rows = []
    for number in range(count):
        rows.append({"text": f"text number {number}", "label": label_of(number)})
    return rows


def test_both_spellings_of_an_accent_are_one_label_and_that_is_printed(capsys):
    names = {0: "cafe" + ACUTE, 1: "réservé", 2: "café"}
    report = hfrecipes.check("text-classification", dataset=rows_of(lambda number: names[number % 3]))
    assert report["labels"] == ["café", "réservé"]
    printed = capsys.readouterr().err
    assert "train: a label has accents as characters of their own" in printed
    assert "(Unicode NFC)" in printed


def test_several_labels_class_names_options_and_other_splits_have_one_spelling_too():
    import datasets

    apart, together = "e" + ACUTE, "é"
    several = rows_of(lambda number: [apart if number % 2 else together, "x"])
    assert hfrecipes.check("text-classification", dataset=several)["labels"] == ["x", together]
    train, test = rows_of(lambda number: ["x", together][number % 2]), rows_of(lambda number: ["x", apart][number % 2])
    settings = {"dataset": {"train": train, "test": test}, "class_weights": {apart: 2.0, "x": 1.0}}
    assert hfrecipes.check("text-classification", **settings)["rows"]["test"] == len(test)
    named = datasets.Dataset.from_list(rows_of(lambda number: number % 2))
    named = named.cast_column("label", datasets.ClassLabel(names=[apart, "x"]))
    assert hfrecipes.check("text-classification", dataset=named)["labels"] == [together, "x"]
    given = hfrecipes.check("text-classification", dataset=train, options={"label_names": ["x", apart]})
    assert given["labels"] == ["x", together]


def test_both_spellings_are_one_tag_one_choice_and_one_column(capsys):
    tagged = []
    for number in range(24):
        tag = "B-lieu" if number % 3 else "B-e" + ACUTE if number % 2 else "B-é"
        tagged.append({"tokens": ["a", f"w{number}"], "tags": [tag, "O"]})
    assert hfrecipes.check("token-classification", dataset=tagged)["labels"] == ["O", "B-lieu", "B-é"]
    assert "a tag has accents as characters of their own" in capsys.readouterr().err
    chosen = []
    for number in range(24):
        chosen.append({"question": f"which {number}", "choices": ["é", "o"], "label": ["e" + ACUTE, "o"][number % 2]})
    assert hfrecipes.check("multiple-choice", dataset=chosen)["rows"]
    spelled = [{"text": row["text"], "e" + ACUTE + "tat": row["label"]} for row in rows_of(lambda n: "ab"[n % 2])]
    report = hfrecipes.check("text-classification", dataset=spelled, columns={"label": "état"})
    assert composed(report["columns"]["label"]) == "état"


def test_texts_themselves_keep_their_spelling():
    rows = [{"input": "e" + ACUTE + str(number), "output": "o" + ACUTE} for number in range(24)]
    report = hfrecipes.check("text2text-generation", dataset=rows)
    assert report["rows"]["train"] > 0
    assert composed("ascii") == "ascii"


# --- streams -----------------------------------------------------------------------------------------------------


def command(*words: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-m", "hfrecipes", *words], capture_output=True, env=environment, timeout=120
    )


@pytest.mark.parametrize(
    ("variables", "column"),
    [
        pytest.param({"PYTHONIOENCODING": "cp1252"}, r"\u6587\u672c", marks=pytest.mark.long),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "文本"),
        pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0"}, "文本", marks=pytest.mark.long),
    ],
    ids=["cp1252", "C", "C that Python takes for UTF-8"],
)
def test_a_terminal_of_another_encoding_ends_no_command(tmp_path, variables, column):
    file = tmp_path / "文本.jsonl"
    lines = []
    for number in range(24):
        lines.append(json.dumps({"文本": f"电影 😀 {number}", "label": "好坏"[number % 2]}, ensure_ascii=False) + "\n")
    file.write_text("".join(lines), encoding="utf-8")
    checked = command("check", "text-classification", f"dataset={file}", "columns.text=文本", **variables)
    assert checked.returncode == 0, checked.stderr
    assert f"  text: {column}" in checked.stdout.decode(errors="replace")
    assert b"settings that differ from the defaults" in checked.stdout


def test_json_on_standard_output_is_read_back_in_any_encoding():
    code = (
        "from hfrecipes.output import prepare_streams, say_json, say\n"
        "prepare_streams()\n"
        "say_json({'label': '好😀é'})\n"
        "say('好é')\n"
    )
    for encoding in ("cp1252", "ascii", "utf-8", "utf-16-le"):
        variables = {**os.environ, "PYTHONIOENCODING": encoding}
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, env=variables, check=True)
        read_as = "utf-8" if encoding == "ascii" else encoding
        first, second = ended.stdout.decode(read_as).splitlines()
        assert json.loads(first) == {"label": "好😀é"}
        assert second in ("好é", r"\u597dé")


def test_a_reader_that_is_gone_ends_no_command():
    code = (
        "import sys, time\n"
        "from hfrecipes.output import prepare_streams, say\n"
        "prepare_streams()\n"
        "for number in range(20000): say(str(number))\n"
        "print('still here')\n"
        "sys.stderr.write('done')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read().strip() == b"done"
    assert process.wait() == 0


def test_a_folder_is_named_by_what_can_be_seen(tmp_path, monkeypatch):
    from hfrecipes.training.configuration import configure
    from hfrecipes.training.folder_names import default_folder

    config, _ = configure("text-classification", {"dataset": f"{HIDDEN}.csv", "model": "me/model"})
    assert without_obeyed(str(default_folder("text-classification", config)))
    assert default_folder("text-classification", config).parent == Path("runs")


def test_long_words_are_cut_in_their_middle():
    text = shortened(f"there is no file {'a' * 500}.csv, expected one")
    assert text.startswith("there is no file aaa")
    assert text.endswith(".csv, expected one")
