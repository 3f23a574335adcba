"""Files are read by their content; every cell stays what it was; nothing is guessed in silence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfrecipes.data.files import read_file
from hfrecipes.data.sources import read_source
from hfrecipes.errors import DataError, NotFoundError

ROWS = {"text": ["a, b", "c"], "label": ["x", "y"]}


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\n"a, b",x\nc,y\n'),
        ("a.csv", '\ufefftext,label\r\n"a, b",x\r\nc,y\r\n'),
        ("a.csv", ' text , label \n"a, b",x\nc,y'),
        ("a.csv", "text;label\na, b;x\nc;y\n"),
        ("a.csv", "text\tlabel\na, b\tx\nc\ty\n"),
        ("a.txt", "text\tlabel\na, b\tx\nc\ty\n"),
        ("a.tsv", "text\tlabel\r\na, b\tx\r\n\r\nc\ty\r\n"),
        ("a.tsv", '"text"\t"label"\n"a, b"\t"x"\n"c"\t"y"\n'),
        ("a.dat", "text\tlabel\na, b\tx\nc\ty\n"),
        ("a.jsonl", '{"text": "a, b", "label": "x"}\n\n{"text": "c", "label": "y"}\n'),
        ("a.txt", '{"text": "a, b", "label": "x"}\n{"text": "c", "label": "y"}\n'),
        ("a.json", '[{"text": "a, b", "label": "x"},\n {"text": "c", "label": "y"}]'),
        ("a.json", '{\n"rows": [{"text": "a, b", "label": "x"}, {"text": "c", "label": "y"}]}'),
        ("a.json", '{"version": 1, "data": [{"text": "a, b", "label": "x"}, {"text": "c", "label": "y"}]}'),
    ],
)
def test_every_form_of_the_same_rows_reads_the_same(tmp_path, name, content):
    assert read_file(written(tmp_path, name, content)).to_dict() == ROWS


def test_parquet_and_arrow_are_read_whatever_their_name(tmp_path):
    from datasets import Dataset

    Dataset.from_dict(ROWS).to_parquet(str(tmp_path / "a.csv"))
    assert read_file(str(tmp_path / "a.csv")).to_dict() == ROWS
    Dataset.from_dict(ROWS).save_to_disk(str(tmp_path / "saved"))
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    assert read_file(str(arrow)).to_dict() == ROWS


def test_words_for_nothing_stay_words(tmp_path):
    words = ["NA", "null", "None", "nan", "N/A", "#N/A", "", "1.0", "001", "true"]
    path = tmp_path / "a.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *([word, "x"] for word in words)])
    assert read_file(str(path))["text"][:] == words


def test_quoted_newlines_stay_inside_their_cell(tmp_path):
    path = written(tmp_path, "a.csv", 'text,label\n"one\ntwo, ""three""",x\r\n')
    assert read_file(path)["text"][:] == ['one\ntwo, "three"']


def test_quotes_of_a_plain_tsv_are_text(tmp_path):
    lines = ["text\tlabel", '"Good" film\tx', '"never closed\ty', 'the "end"\tx', '"whole"\ty']
    rows = read_file(written(tmp_path, "a.tsv", "\n".join(lines)))
    assert rows["text"][:] == ['"Good" film', '"never closed', 'the "end"', '"whole"']


def test_a_text_file_is_one_text_a_line(tmp_path):
    assert read_file(written(tmp_path, "a.txt", "one, two\nthree\n\n四\n\n")).to_dict() == {
        "text": ["one, two", "three", "", "四"]
    }


def test_a_file_without_header_is_read_by_position(tmp_path):
    rows = read_file(written(tmp_path, "a.csv", "x,1\ny,2\n"), header=False)
    assert rows.to_dict() == {"0": ["x", "y"], "1": ["1", "2"]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", " \n\n", "is empty"),
        ("a.csv", "text,label\n", "no rows"),
        ("a.csv", "text,label\na,b\nc,d,e\n", "record 3 has 3 cells, expected 2 (text, label)"),
        ("a.tsv", "text\tlabel\na\tb\nc\n", "record 3 has 1 cell, expected 2"),
        ("a.csv", "text,text\na,b\n", "two columns named"),
        ("a.csv", 'text,label\n"a" b,c\n', "fix the quotes"),
        ("a.csv", 'text,label\n"a,c\n', "fix the quotes"),
        ("a.csv", "text,label\nthé,x\nété,x\n".encode() + b"caf\xe9,x\n", "not UTF-8"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "line 2 is not valid JSON"),
        ("a.jsonl", '{"text": "a"}\n3\n', "line 2 is not a JSON object"),
        ("a.json", '[{"text": "a"}, 3]', "entry 1"),
        ("a.json", '{\n"a": 1\n}', "one JSON object"),
        ("a.json", '[{"text": "thé"},\n{"text": "été"},\n'.encode() + b'{"text": "caf\xe9"}]', "not UTF-8"),
        ("a.parquet", b"PAR1 and nothing more", "cannot read"),
    ],
)
def test_a_broken_file_is_one_sentence_with_its_name(tmp_path, name, content, message):
    path = written(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        read_file(path)
    assert message in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_cannot_be_read_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="no file"):
        read_file(str(tmp_path / "none.csv"))
    with pytest.raises(DataError, match="cannot read"):
        read_file(str(tmp_path))


def test_a_changed_file_is_read_anew(tmp_path):
    path = Path(written(tmp_path, "a.csv", "text\none\n"))
    assert read_file(str(path))["text"][:] == ["one"]
    path.write_text("text\nother\n")
    assert read_file(str(path))["text"][:] == ["other"]


def test_a_bad_row_far_down_leaves_nothing_in_the_cache(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\n" + "a,b\n" * 25_000 + "c\n")
    for _ in range(2):
        with pytest.raises(DataError, match="record 25002"):
            read_file(path)


def test_urls_are_read_through_fsspec():
    import fsspec

    with fsspec.open("memory://folder/a.csv", "w") as file:
        file.write('text,label\n"a, b",x\nc,y\n')
    assert read_file("memory://folder/a.csv").to_dict() == ROWS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1)] * 2),
        min_size=1,
    )
)
def test_any_csv_that_python_writes_reads_back(tmp_path, rows):
    path = tmp_path / "any.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    assert list(zip(*(read_file(str(path))[name] for name in ("text", "label")), strict=True)) == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_jsonl_reads_back(tmp_path, texts):
    path = tmp_path / "any.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": "x"}) + "\n" for text in texts), encoding="utf-8")
    assert read_file(str(path))["text"][:] == texts


@pytest.mark.parametrize("name", ["train.zip", "rows.tar.gz"])
def test_archives_in_a_folder_are_named(name, tmp_path, caplog):
    (tmp_path / name).write_bytes(b"PK")
    (tmp_path / "train.csv").write_text("text,label\na,b\n")
    assert len(read_source(str(tmp_path))["train"]) == 1
    assert f"{name} is not read: unpack it, or name it, dataset.train=<file>" in caplog.text
