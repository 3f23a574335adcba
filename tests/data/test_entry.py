"""Rows enter in one form: JSON says what it says; frames, formats, encodings and files of any kind read the same."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hfrecipes.data.files import read_file
from hfrecipes.data.plain import plain_dataset
from hfrecipes.data.prepare import load_data
from hfrecipes.data.sources import read_source
from hfrecipes.errors import ConfigError, DataError, NotFoundError
from hfrecipes.training.configuration import configure

ROWS = [{"text": f"the pie was {word} on day {day}", "label": word} for day in range(10) for word in ("warm", "cold")]
CSV = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS)


def jsonl(path: Path, rows: list) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def prepared(task: str, dataset, **settings):
    """Training rows under the names of the task, and the task."""
    config, recipe = configure(task, {"dataset": dataset, **settings})
    data, _ = load_data(config, recipe)
    return data.splits["train"], recipe


def references(task: str, dataset, **settings) -> list:
    rows, recipe = prepared(task, dataset, **settings)
    return [recipe.reference(row) for row in rows]


def targets(tmp_path: Path, cells: list) -> set[str]:
    """First references of a text2text dataset with these outputs."""
    rows = [{"input": f"question {number}", "output": cell} for number, cell in enumerate(cells)]
    return {texts[0] for texts in references("text2text-generation", jsonl(tmp_path / "x.jsonl", rows))}


# --- JSON means what it says -------------------------------------------------------------------------------------


def test_texts_of_json_that_look_like_dates_stay_texts(tmp_path):
    days = [f"2024-03-{day:02d}" for day in range(1, 21)]
    assert targets(tmp_path, days) < set(days)
    labels = [{**row, "label": f"2024-0{number % 2 + 1}-01"} for number, row in enumerate(ROWS)]
    _, recipe = prepared("text-classification", jsonl(tmp_path / "labels.jsonl", labels))
    assert recipe.labels == ["2024-01-01", "2024-02-01"]


def test_texts_of_a_document_of_json_stay_texts(tmp_path):
    questions = []
    for day in range(1, 10):
        answer = {"text": f"2024-03-0{day}", "answer_start": 3}
        context = f"On 2024-03-0{day} the ferry left."
        questions.append({"context": context, "qas": [{"id": "007", "question": "When?", "answers": [answer]}]})
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"title": "2024-01-01", "paragraphs": questions}]}))
    rows, _ = prepared("question-answering", str(tmp_path / "a.json"))
    assert rows[0]["id"] == "007"
    assert rows[0]["answers"]["text"][0].startswith("2024-03-0")


@pytest.mark.parametrize(
    ("first", "second", "learnt"),
    [
        (7, 0.5, {"7", "0.5"}),
        (True, False, {"true", "false"}),
        (10**30, 1, {str(10**30), "1"}),
        ({"b": 1, "a": None}, {"a": True, "b": 0.1}, {'{"b": 1, "a": null}', '{"a": true, "b": 0.1}'}),
        ({"a": "ä/b"}, {"c": 3.14159265358979}, {'{"a": "ä/b"}', '{"c": 3.14159265358979}'}),
        ([1, 2], [3], {"[1, 2]", "[3]"}),
        ([{"a": 1}, {"b": 2}], [], {'[{"a": 1}, {"b": 2}]', "[]"}),
        (["x", 2], "y", {'["x", 2]', "y"}),
    ],
)
def test_what_is_no_text_is_learnt_in_the_spelling_of_json(tmp_path, caplog, first, second, learnt):
    with caplog.at_level("INFO", "hfrecipes"):
        assert targets(tmp_path, [first, second] * 12) == learnt
    assert "in the spelling of JSON" in caplog.text


def test_numbers_beside_texts_keep_their_spelling(tmp_path):
    assert targets(tmp_path, ["x", 7] * 12) == {"x", "7"}
    assert targets(tmp_path, ["7", 0, 0.5, True] * 12) == {"7", "0", "0.5", "true"}


def test_lists_of_texts_as_outputs_are_said_to_be_several_references(tmp_path, caplog):
    with caplog.at_level("INFO", "hfrecipes"):
        assert targets(tmp_path, [["Ana", "Bo"]] * 20) == {"Ana"}
    assert "taken as several references, of which the first is learnt" in caplog.text


def test_objects_as_replies_are_learnt_as_json(tmp_path, caplog):
    rows = [{"prompt": f"Who is {number}?", "completion": {"age": number, "pet": None}} for number in range(20)]
    with caplog.at_level("INFO", "hfrecipes"):
        replies = references("chat", jsonl(tmp_path / "a.jsonl", rows))
    assert '{"age": 3, "pet": null}' in replies
    assert "completion holds objects" in caplog.text
    for row in rows:
        row["messages"] = [{"role": "user", "content": row.pop("prompt")}]
        row["messages"].append({"role": "assistant", "content": row.pop("completion")})
    assert '{"age": 3, "pet": null}' in references("chat", jsonl(tmp_path / "b.jsonl", rows))


def test_types_are_those_of_all_rows_and_not_of_the_first_ones(tmp_path):
    """The 10,000 rows of a batch differ from those after them, in a column that is used and in others."""
    rows = [{"text": f"row {number}", "label": number % 2, "note": None, "more": 1} for number in range(10_001)]
    rows += [{"text": "late", "label": 0.5, "note": "x", "other": {"a": [1]}, "more": [2]}]
    read = read_file(jsonl(tmp_path / "a.jsonl", rows))
    assert read.column_names == ["text", "label", "note", "more", "other"]
    _, recipe = prepared("text-classification", str(tmp_path / "a.jsonl"), limit=100)
    assert recipe.problem_type == "regression"


def test_numbers_and_texts_of_the_same_spelling_are_one_label(tmp_path):
    rows = [{**row, "label": number % 2 if number < 9 else str(number % 2)} for number, row in enumerate(ROWS)]
    assert prepared("text-classification", jsonl(tmp_path / "a.jsonl", rows))[1].labels == ["0", "1"]


def test_the_order_of_keys_does_not_hide_answers(tmp_path):
    rows = []
    for number in range(20):
        answers = {"text": ["pie"], "answer_start": [4]}
        if number % 2:
            answers = dict(reversed(answers.items()))
        rows.append({"question": f"What {number}?", "context": f"The pie is on table {number}.", "answers": answers})
    assert references("question-answering", jsonl(tmp_path / "a.jsonl", rows)) == [["pie"]] * 18


@pytest.mark.parametrize("label", [{"a": "x"}, [["a"]], [{"a": 1}]])
def test_labels_that_are_objects_are_refused(tmp_path, label):
    rows = [{**row, "label": label} for row in ROWS]
    with pytest.raises(DataError, match=r"label is a (dict|list of lists or dicts): expected"):
        prepared("text-classification", jsonl(tmp_path / "a.jsonl", rows))


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table", "records"])
def test_json_as_pandas_writes_it(tmp_path, orient):
    frame = pd.DataFrame(ROWS).sample(frac=1, random_state=0)
    frame.to_json(tmp_path / "a.json", orient=orient)
    read = read_file(str(tmp_path / "a.json")).select_columns(["text", "label"])
    assert sorted(read["text"]) == sorted(frame["text"])
    assert set(read["label"]) == {"warm", "cold"}


def test_json_as_pandas_writes_it_without_names_is_refused_with_the_orient(tmp_path):
    pd.DataFrame(ROWS).to_json(tmp_path / "a.json", orient="values")
    with pytest.raises(DataError, match=r'to_json\(orient="records"\)'):
        read_file(str(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"text": "a"}\n{"text": ' + "[" * 100_000, "line 2 has lists or objects nested too deeply"),
        ('{"text": "a"}\n{"n": ' + "1" * 5000 + "}", "line 2 has a number with too many digits"),
        ('{"text": ["a"],\n"label": ["b", "c"]}', "text 1, label 2"),
    ],
)
def test_json_that_cannot_be_read_is_one_sentence(tmp_path, content, sentence):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=sentence):
        read_file(str(tmp_path / "a.json"))


def test_nan_in_json_is_a_gap(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": NaN}\n{"text": NaN, "label": "x"}\n')
    rows = read_file(str(tmp_path / "a.jsonl"))
    assert rows.to_list() == [{"text": "a", "label": None}, {"text": None, "label": "x"}]


def test_half_a_character_is_replaced_and_printed(tmp_path, caplog):
    (tmp_path / "a.jsonl").write_text('{"text": "cut \\ud83d"}\n{"text": "b"}\n')
    with caplog.at_level("INFO", "hfrecipes"):
        assert read_file(str(tmp_path / "a.jsonl"))["text"][0].startswith("cut \ufffd")
    assert "half of a character" in caplog.text


# --- one form for Datasets, frames and rows ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["torch", "numpy", "pandas", "arrow"])
def test_the_format_of_a_dataset_is_none_of_its_data(kind):
    names = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["warm", "cold"])})
    numbered = [{**row, "label": number % 2} for number, row in enumerate(ROWS)]
    rows = datasets.Dataset.from_list(numbered, features=names)
    rows.set_format(kind, columns=["label"])
    train, recipe = prepared("text-classification", rows)
    assert recipe.labels == ["warm", "cold"]
    assert isinstance(train[0]["text"], str)


def test_a_transform_is_refused_as_it_would_be_lost():
    rows = datasets.Dataset.from_list(ROWS)
    rows.set_transform(lambda batch: batch)
    with pytest.raises(DataError, match="transform"):
        plain_dataset(rows)


def test_columns_that_need_another_library_are_left_out(caplog):
    rows = datasets.Dataset.from_list([{**row, "picture": None} for row in ROWS])
    with caplog.at_level("INFO", "hfrecipes"):
        for kind in (datasets.Image(), datasets.List(datasets.Audio()), {"a": datasets.Video()}):
            assert "picture" not in plain_dataset(rows.cast_column("picture", kind)).column_names
    assert "picture" in caplog.text


class Frame:
    """A frame of another library, as polars and duckdb give them."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def test_types_of_arrow_that_tasks_do_not_know_are_brought_to_those_that_they_do(tmp_path):
    table = pa.table(
        {
            "text": pa.array([row["text"] for row in ROWS], pa.string_view()),
            "label": pa.array([row["label"] for row in ROWS], pa.large_string()).dictionary_encode(),
            "words": pa.array([row["text"].split() for row in ROWS], pa.large_list(pa.string_view())),
            "pairs": pa.array([[("a", 1)]] * len(ROWS), pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(table.select(["text", "label"]), tmp_path / "a.parquet")
    for source in (table, Frame(table), {"train": Frame(table)}, str(tmp_path / "a.parquet")):
        rows = read_source(source)["train"]
        assert rows.select_columns(["text", "label"]).to_list() == ROWS
    words = read_source(table)["train"].features["words"]
    assert isinstance(words, datasets.List)


def test_cells_of_numpy_and_gaps_of_pandas():
    rows = [{"text": np.str_("a"), "label": np.int64(1)}, {"text": "b", "label": np.float64("nan")}]
    assert read_source(rows)["train"].to_list() == [{"text": "a", "label": 1}, {"text": "b", "label": None}]
    frame = pd.DataFrame({"text": ["a", "b"], "label": pd.Categorical(["x", None])})
    frame["count"] = pd.array([1, None], dtype="Int64")
    assert read_source(frame)["train"].to_list() == [
        {"text": "a", "label": "x", "count": 1},
        {"text": "b", "label": None, "count": None},
    ]
    assert read_source({"tags": [np.array(["B", "O"]), ("O",)]})["train"]["tags"][:] == [["B", "O"], ["O"]]


def test_what_an_unused_column_holds_stops_no_run(caplog):
    odd = [object(), {"a": 1}, [1, {2: "b"}], "x", 3]
    rows = [{**row, "odd": odd[number % 5], "mixed": odd[number % 4 + 1]} for number, row in enumerate(ROWS)]
    with caplog.at_level("INFO", "hfrecipes"):
        assert prepared("text-classification", rows)[1].labels == ["cold", "warm"]
        assert prepared("text-classification", pd.DataFrame(rows))[1].labels == ["cold", "warm"]
    assert "column 'odd' is left out" in caplog.text


def test_the_index_of_a_frame_and_two_columns_of_a_name_are_named(caplog):
    frame = pd.DataFrame(ROWS)
    with caplog.at_level("INFO", "hfrecipes"):
        assert read_source(frame.set_index("text"))["train"].column_names == ["label"]
    assert "reset_index()" in caplog.text
    with pytest.raises(DataError, match="two columns named 'text'"):
        read_source(pd.concat([frame, frame["text"]], axis=1))


def test_dates_as_labels_are_refused():
    frame = pd.DataFrame(ROWS)
    frame["label"] = pd.date_range("2024-01-01", periods=len(frame))
    with pytest.raises(DataError, match="label holds timestamp"):
        prepared("text-classification", frame)


def test_files_of_one_split_may_differ_in_the_type_of_a_column(tmp_path):
    for number, kind in enumerate((int, str)):
        rows = [{**row, "id": kind(index), "label": kind(index % 2)} for index, row in enumerate(ROWS)]
        jsonl(tmp_path / f"train-{number}.jsonl", rows)
    jsonl(tmp_path / "train-2.jsonl", [{"text": "new", "label": 1}])
    train, recipe = prepared("text-classification", str(tmp_path))
    assert recipe.labels == ["0", "1"]
    assert len(train) > 30


# --- encodings and compression -----------------------------------------------------------------------------------

WORDS = {
    "cp1252": ("latin-1", "El señor Núñez pidió más café en la compañía"),
    "gb18030": ("gbk", "这家酒店的服务非常差，房间也很脏"),
    "big5": ("big5", "這家酒店的服務非常差，房間也很髒"),
    "cp1251": ("cp1251", "Сегодня хорошая погода, и мы пошли гулять"),
    "utf-16": ("utf-16", "Straße"),
    "utf-16-le": ("utf-16-le", "Straße"),
    "utf-16-be": ("utf-16-be", "这家酒店的服务非常差"),
}


@pytest.mark.parametrize("name", WORDS)
def test_the_encoding_of_a_file_is_recognised_and_printed(tmp_path, caplog, name):
    encoding, text = WORDS[name]
    rows = [{"text": f"{text} {number}", "label": "x"} for number in range(20)]
    files = {
        "a.tsv": "text\tlabel\n" + "".join(f"{row['text']}\tx\n" for row in rows),
        "b.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        "c.txt": "".join(row["text"] + "\n" for row in rows),
    }
    for file, content in files.items():
        (tmp_path / file).write_bytes(content.encode(encoding))
        caplog.clear()
        with caplog.at_level("INFO", "hfrecipes"):
            assert read_file(str(tmp_path / file))["text"][:] == [row["text"] for row in rows]
        assert f"is read as {name}" in caplog.text


def test_an_encoding_that_is_given_is_used_for_every_format(tmp_path):
    (tmp_path / "a.conll").write_bytes("niño O\nJosé B-PER\n\n".encode("cp1252") * 20)
    source = {"path": str(tmp_path / "a.conll"), "encoding": "cp1252"}
    rows = read_source(source, formats=("conll",))["train"]
    assert rows["0"][0] == ["niño", "José"]
    (tmp_path / "a.csv").write_bytes(CSV.replace("pie", "crème").encode("latin-1"))
    for source in ({"train": str(tmp_path / "a.csv")}, {"path": "csv", "data_files": str(tmp_path / "a.csv")}):
        assert "crème" in read_source({**source, "encoding": "latin-1"})["train"]["text"][0]


def test_an_encoding_is_a_key_of_the_dataset_in_the_settings(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV.replace("pie", "crème").encode("latin-1"))
    source = {"path": str(tmp_path / "a.csv"), "encoding": "latin-1"}
    assert len(prepared("text-classification", source)[0]) == 18


def test_encodings_that_do_not_exist_or_do_not_fit_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV.encode() + "pie à la mode,warm\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="did you mean latin-1"):
        read_source({"path": str(tmp_path / "a.csv"), "encoding": "latin-7654"})
    with pytest.raises(DataError, match=r"not ASCII text: byte 0xe0 in line 22.*dataset\.encoding="):
        read_source({"path": str(tmp_path / "a.csv"), "encoding": "ascii"})


def test_a_broken_line_of_utf8_does_not_make_the_file_another_encoding(tmp_path):
    content = CSV.replace("pie", "crème").encode() + "tarte à\n".encode("latin-1")
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match="not UTF-8 text: byte 0xe0 in line 22"):
        read_file(str(tmp_path / "a.csv"))


def test_what_was_decided_is_printed_again_when_the_rows_are_in_the_cache(tmp_path, caplog):
    (tmp_path / "a.csv").write_bytes(("Phrase,Mood\n" + CSV.split("\n", 1)[1].replace("pie", "crème")).encode("cp1252"))
    for _ in range(2):
        caplog.clear()
        with caplog.at_level("INFO", "hfrecipes"):
            read_file(str(tmp_path / "a.csv"), header=None)
        assert "read as cp1252" in caplog.text
        assert "names the columns" in caplog.text


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x89PNG\r\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 9)
    with pytest.raises(DataError, match="no text"):
        read_file(str(tmp_path / "a.csv"))


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)]
)
def test_compressed_files_read_as_if_they_were_not(tmp_path, suffix, pack):
    (tmp_path / f"train.csv.{suffix}").write_bytes(pack(CSV.encode()))
    (tmp_path / f"test.json.{suffix}").write_bytes(pack(json.dumps(ROWS).encode()))
    splits = read_source(str(tmp_path))
    assert splits["train"].to_list() == splits["test"].to_list() == ROWS
    (tmp_path / "cut.csv").write_bytes(pack(CSV.encode())[:50])
    with pytest.raises(DataError, match="cannot read"):
        read_file(str(tmp_path / "cut.csv"))


def test_the_only_file_of_a_zip_is_read_and_of_several_none(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("rows/train.csv", CSV)
    assert read_file(str(tmp_path / "a.zip")).to_list() == ROWS
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("rows/test.csv", CSV)
    with pytest.raises(DataError, match=r"holds rows/train\.csv, rows/test\.csv: unpack it"):
        read_file(str(tmp_path / "a.zip"))


def test_spreadsheets_are_read(tmp_path):
    pytest.importorskip("openpyxl")
    frame = pd.DataFrame([{**row, "count": 2.0} for row in ROWS])
    frame.to_excel(tmp_path / "train.xlsx", index=False)
    rows = read_source(str(tmp_path))["train"]
    assert rows.to_list() == [{**row, "count": "2"} for row in ROWS]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a::b.jsonl", "[1].csv"])
def test_blank_lines_before_the_rows_and_odd_names_do_no_harm(tmp_path, name):
    content = CSV if name.endswith("csv") else "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / name).write_text("\n" * 70_000 + content)
    assert read_source(str(tmp_path / name))["train"].to_list() == ROWS


# --- headers and positions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "positions"),
    [
        ("text,label", {"text": 0, "label": 1}),
        ("Phrase,Mood", {"text": 0, "label": 1}),
        ("0,1", {"text": 0, "label": 1}),
        (",0,1", {"text": 1, "label": 2}),
    ],
)
def test_positions_never_make_a_row_of_a_header(tmp_path, caplog, header, positions):
    lines = CSV.splitlines()[1:]
    if header.startswith(","):
        lines = [f"{number},{line}" for number, line in enumerate(lines)]
    (tmp_path / "a.csv").write_text("\n".join([header, *lines]))
    with caplog.at_level("INFO", "hfrecipes"):
        train, recipe = prepared("text-classification", str(tmp_path / "a.csv"), columns=positions)
    assert recipe.labels == ["cold", "warm"]
    assert len(train) == 18
    assert "names the columns" in caplog.text


def test_a_first_row_of_numbers_is_a_row_unless_it_is_said_to_be_a_header(tmp_path):
    (tmp_path / "a.csv").write_text("".join(f"{number}.5,the pie {number}\n" for number in range(20)))
    train, _ = prepared("text-classification", str(tmp_path / "a.csv"), columns={"text": 1, "label": 0})
    assert len(train) == 18
    source = {"path": str(tmp_path / "a.csv"), "header": True}
    train, _ = prepared("text-classification", source, columns={"text": 1, "label": 0})
    assert len(train) == 17


def test_a_header_can_be_made_a_row(tmp_path):
    (tmp_path / "a.csv").write_text("Phrase,Mood\n" + CSV.split("\n", 1)[1])
    source = {"path": str(tmp_path / "a.csv"), "header": False}
    with pytest.raises(ConfigError, match=r"dataset\.header"):
        read_source({**source, "header": "no"})
    assert read_source(source)["train"].to_list()[0] == {"0": "Phrase", "1": "Mood"}


def test_one_split_may_have_a_header_and_another_none(tmp_path):
    (tmp_path / "train.csv").write_text("Phrase,Mood\n" + CSV.split("\n", 1)[1])
    (tmp_path / "test.csv").write_text(CSV.split("\n", 1)[1])
    config, recipe = configure("text-classification", {"dataset": str(tmp_path), "columns": {"text": 0, "label": 1}})
    data, config = load_data(config, recipe)
    assert len(data.splits["test"]) == 20
    assert all(recipe.reference(row) for row in data.splits["test"])
    assert config.columns == {"text": "Phrase", "label": "Mood"}


# --- numbers that are written for people -------------------------------------------------------------------------


def numbered(tmp_path: Path, cells: list[str]) -> str:
    rows = "".join(f'the pie {number},"{cell}"\n' for number, cell in enumerate(cells))
    (tmp_path / "n.csv").write_text("text,label\n" + rows)
    return str(tmp_path / "n.csv")


@pytest.mark.parametrize(
    ("cell", "number"),
    [("{},5", 0.5), ("1,00{}.5", 1000.5), ("1.00{},5", 1000.5), ("1 00{},25", 1000.25), ("1'00{}.25", 1000.25)],
)
def test_thousands_marks_and_decimal_commas_are_read_and_printed(tmp_path, caplog, cell, number):
    source = numbered(tmp_path, [cell.format(digit) for digit in range(10)] * 2)
    with caplog.at_level("INFO", "hfrecipes"):
        values = references("text-classification", source)
    assert set(values) == {number + digit for digit in range(10)}
    assert "is read as the number" in caplog.text


def test_numbers_that_cannot_be_told_are_refused_or_left_as_names(tmp_path, caplog):
    with pytest.raises(DataError, match="cannot mark both"):
        prepared("text-classification", numbered(tmp_path, ["1,234.5", "3,5"] * 10))
    with caplog.at_level("INFO", "hfrecipes"):
        _, recipe = prepared("text-classification", numbered(tmp_path, ["2", "27", "4", "2,27"] * 10))
    assert "2,27" in recipe.labels
    assert "taken as names" in caplog.text
    source = numbered(tmp_path, ["1,5", "2,5"] * 10)
    assert prepared("text-classification", source, problem_type="single_label_classification")[1].labels == [
        "1,5",
        "2,5",
    ]


# --- several files -----------------------------------------------------------------------------------------------


def test_lists_of_files_are_joined_and_printed(tmp_path, caplog):
    files = [jsonl(tmp_path / f"{name}.jsonl", ROWS[:10]) for name in "ab"]
    for source in (files, {"train": files}, {"train": [tmp_path / "*.jsonl"]}, {"train": str(tmp_path / "*.jsonl")}):
        caplog.clear()
        with caplog.at_level("INFO", "hfrecipes"):
            assert read_source(source)["train"].to_list() == ROWS[:10] * 2
        assert "read from 2 files: a.jsonl, b.jsonl" in caplog.text
    with pytest.raises(NotFoundError, match=r"c\.jsonl"):
        read_source({"train": [*files, str(tmp_path / "c.jsonl")]})


def test_the_names_of_columns_are_no_files():
    assert read_source({"text": ["a b.csv is lost", "b"], "label": ["x", "y"]})["train"].num_rows == 2


@pytest.mark.parametrize(("first", "second"), [("dev-en", "dev-de"), ("test2012", "test2013"), ("val", "valid")])
def test_two_sets_of_one_split_are_asked_about(tmp_path, first, second):
    for name in ("train", first, second):
        jsonl(tmp_path / f"{name}.jsonl", ROWS)
    with pytest.raises(DataError, match=r"several files for (validation|test).*name one of them.*to join them"):
        read_source(str(tmp_path))


def test_parts_of_one_set_are_joined(tmp_path, caplog):
    for name in ("train-00000-of-00002", "train-00001-of-00002"):
        jsonl(tmp_path / f"{name}.jsonl", ROWS)
    with caplog.at_level("INFO", "hfrecipes"):
        assert len(read_source(str(tmp_path))["train"]) == 40
    assert "train is read from 2 files" in caplog.text


def test_several_pairs_of_parallel_texts_are_named_as_pairs(tmp_path):
    for year in (2012, 2013):
        for language in ("en", "vi"):
            (tmp_path / f"tst{year}.{language}").write_text(f"{language} one\n{language} two\n")
    with pytest.raises(DataError, match=r"several pairs.*name a pair, dataset\.test='.*tst2013\.\*'"):
        read_source(str(tmp_path), formats=("parallel",))
    one = read_source({"test": str(tmp_path / "tst2013.*")}, formats=("parallel",))
    assert one["test"].to_list()[1] == {"en": "en two", "vi": "vi two"}
    both = read_source({"test": str(tmp_path / "*")}, formats=("parallel",))
    assert len(both["test"]) == 4


def test_files_of_save_to_disk_beside_rows_are_no_saved_dataset(tmp_path):
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "train.csv").write_text(CSV)
    assert read_source(str(tmp_path))["train"].to_list() == ROWS


def test_a_saved_dataset_that_is_incomplete_is_refused(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "saved" / "state.json").write_text("{")
    with pytest.raises(DataError, match="incomplete"):
        read_source(str(tmp_path / "saved"))


def test_numbers_to_write_are_named(caplog):
    rows = [{"input": f"a {row}", "output": row + 0.5} for row in range(20)]
    config, recipe = configure("text2text-generation", {"dataset": rows})
    load_data(config, recipe)
    assert "output holds numbers: read as texts, as Python spells them" in caplog.text


@pytest.mark.parametrize("row", [{"choices": ["a", "b"]}, {"sol1": "a", "sol2": "b"}])
def test_nothing_is_said_of_whole_numbers_that_are_labels(row, caplog):
    rows = [{"question": f"Which {number}?", **row, "label": number % 2} for number in range(20)]
    config, recipe = configure("multiple-choice", {"dataset": rows})
    load_data(config, recipe)
    assert "read as texts" not in caplog.text
