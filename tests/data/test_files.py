"""Files are read by their content; every cell stays what it was; nothing is guessed in silence."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfrecipes.data.files import read_file
from hfrecipes.data.sources import read_source
from hfrecipes.errors import ConfigError, DataError, NotFoundError

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


# --- blanks, zeros, damage -----------------------------------------------------------------------------------------

JSONL = '{"text": "a, b", "label": "x"}\n{"text": "c", "label": "y"}\n'
CSV = 'text,label\n"a, b",x\nc,y\n'
FORMS = [("a.csv", CSV), ("a.jsonl", JSONL), ("a.txt", JSONL), ("a.json", f"[{JSONL[:30]}]")]
BLANK = 70_000  # lines: more than what is read to tell the format


@pytest.mark.parametrize("start", ["\n" * BLANK, " \r\n" * BLANK, "\ufeff" + "\n" * BLANK], ids=["lf", "crlf", "mark"])
@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", CSV), ("a.jsonl", JSONL), ("a.txt", JSONL), ("a.json", f"[{JSONL[:30]}]")]
)
def test_rows_may_start_after_any_number_of_blank_lines(tmp_path, start, name, content):
    rows = read_file(written(tmp_path, name, start + content)).to_dict()
    assert rows == ({"text": ["a, b"], "label": ["x"]} if name == "a.json" else ROWS)


def test_tokens_may_start_after_and_be_parted_by_any_number_of_blank_lines(tmp_path):
    gap = "\n" * BLANK
    path = written(tmp_path, "a.conll", f"{gap}Ana\tB-PER\nran\tO\n{gap}She\tO\nsat\tO\n")
    assert read_file(path, formats=("conll",))["0"][:] == [["Ana", "ran"], ["She", "sat"]]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt", "a.conll", "a.parquet", "a.xlsx"])
@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe\0\0", b"\xef\xbb\xbf\n\n", "\u00a0\n".encode(), bytes(2000)],
)
def test_a_file_of_blanks_or_zeros_or_a_mark_alone_is_empty(tmp_path, name, content):
    with pytest.raises(DataError, match="is empty: expected rows"):
        read_file(written(tmp_path, name, content), formats=("conll",))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-16", "utf-32"])
def test_wide_characters_without_a_mark_are_told_by_their_zeros(tmp_path, encoding):
    assert read_file(written(tmp_path, "a.csv", CSV.encode(encoding))).to_dict() == ROWS


@pytest.mark.parametrize("encoding", ["hex", "rot13", "idna", "punycode", "undefined", "x" * 3000])
def test_what_is_no_encoding_of_texts_is_refused(tmp_path, encoding):
    with pytest.raises(ConfigError, match=r"dataset\.encoding: there is no encoding") as caught:
        read_file(written(tmp_path, "a.csv", CSV), encoding=encoding)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", CSV.encode() + bytes(500), "holds bytes that are no text, such as 0x00 in line 4"),
        ("a.csv", "te\0xt,label\na,b\n", "zero byte in the name of its column"),
        ("a.jsonl", '{"te\\u0000xt": "a"}\n', "zero byte in the name of its column"),
        ("a.csv", 'text,label\n"a\n', "a quote is never closed; fix the quotes there"),
        ("a.csv", f"{'w' * 10**6},b,c\n1,2\n", "record 2 has 2 cells, expected 3"),
        ("a.csv", ",".join(f"c{number % 5000}" for number in range(10_000)) + "\na\n", "two columns named 'c0'"),
        ("a.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "run  git lfs pull"),
        ("a.jsonl", f'{{"text": {"9" * 5000}}}\n{JSONL}', "line 1 has a number with too many digits"),
        ("a.txt", f'{{"text": {"9" * 5000}}}\n{JSONL}', "line 1 has a number with too many digits"),
        ("a.txt", f'{{"text": \n{JSONL}', "line 1 is not valid JSON"),
        ("a.jsonl", f'{JSONL}{{"text": {"[" * 100_000}}}\n', "line 3 has lists or objects nested too deeply"),
        ("a.json", "[" * 100_000, "lists or objects nested too deeply"),
    ],
)
def test_an_odd_file_is_one_short_sentence(tmp_path, name, content, message):
    with pytest.raises(DataError) as caught:
        read_file(written(tmp_path, name, content))
    assert message in str(caught.value)
    assert "unexpected" not in str(caught.value)
    assert len(str(caught.value)) <= 2000


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_a_compressed_file_that_was_cut_is_damaged(tmp_path, compress):
    for keep in (4, -1):
        with pytest.raises(DataError, match="the file is damaged, so copy or download it again"):
            read_file(written(tmp_path, "a.csv", compress(CSV.encode())[:keep]))


def test_lists_in_hundreds_of_lists_are_read(tmp_path):
    nested = "[" * 200 + "]" * 200
    rows = read_file(written(tmp_path, "a.jsonl", f'{{"text": "a", "unused": {nested}}}\n{JSONL}'))
    assert rows["text"][:] == ["a", "a, b", "c"]


@pytest.mark.parametrize("kind", ["parquet", "feather", "saved"])
def test_a_text_in_a_table_that_is_no_utf_8_is_damage(tmp_path, kind):
    import datasets
    import pandas as pd
    import pyarrow.feather

    table, file = pd.DataFrame({"text": ["first row", "second row"]}), tmp_path / f"a.{kind}"
    if kind == "saved":
        datasets.Dataset.from_pandas(table).save_to_disk(file)
        changed = next(file.glob("*.arrow"))
    else:
        changed = file
        table.to_parquet(file) if kind == "parquet" else pyarrow.feather.write_feather(table, file, "uncompressed")
    changed.write_bytes(changed.read_bytes().replace(b"second", b"\xffecond"))
    with pytest.raises(DataError, match="damaged"):
        read_source(str(file))


def test_two_columns_of_one_name_in_a_parquet_file_are_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.array(["a"])
    pq.write_table(pa.Table.from_arrays([column, column], names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="two columns named 'text'"):
        read_file(str(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    "name", ["a[1].csv", "a*.csv", "a::b.csv", "a b.csv", "😀.csv", "a#b.csv", "~a.csv", "a\udcff.csv"]
)
def test_a_file_may_have_any_name(tmp_path, name):
    (tmp_path / name).write_text(CSV)
    assert read_file(str(tmp_path / name)).to_dict() == ROWS


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "link to nothing", "link to itself"])
def test_what_is_no_file_in_a_folder_is_not_read_and_printed(tmp_path, kind, caplog):
    caplog.set_level("INFO", logger="hfrecipes")
    path = tmp_path / "train-0.csv"
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            server.bind(path.name)
        else:
            path.symlink_to({"device": "/dev/zero", "link to nothing": "nothing"}.get(kind, path.name))
        (tmp_path / "train-1.csv").write_text(CSV)
        assert read_source(str(tmp_path))["train"].to_dict() == ROWS
    assert f"{path} is not used: it is no file that can be read" in caplog.text


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_refused_by_its_name(tmp_path, kind):
    path = tmp_path / "rows.csv"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for source in (str(path), [str(path)], {"train": str(path)}, {"path": "csv", "data_files": str(path)}):
        with pytest.raises(DataError, match="is a pipe or a device, expected a file"):
            read_source(source)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def refused(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("hfrecipes.data.folders.os.listdir", refused)
    with pytest.raises(DataError, match=f"cannot read the folder {tmp_path}: Permission denied"):
        read_source(str(tmp_path))


@pytest.mark.parametrize("listed", [["a.csv", "./a.csv"], ["*.csv", "a.csv"]])
def test_a_file_that_is_listed_twice_is_refused(tmp_path, monkeypatch, listed):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "a.csv", CSV)
    for source in ({"train": listed}, {"path": "csv", "data_files": listed}):
        with pytest.raises(DataError, match=r"train: found the file (\./)?a\.csv twice, and its rows would count"):
            read_source(source)


def test_links_of_other_names_to_one_file_are_several_files(tmp_path):
    (tmp_path / "train-1.csv").symlink_to(written(tmp_path, "rows", CSV))
    (tmp_path / "train-2.csv").symlink_to(tmp_path / "rows")
    assert len(read_source(str(tmp_path))["train"]) == 2 * len(read_file(str(tmp_path / "train-1.csv")))


@pytest.mark.parametrize("files", [5, [5], {"train": None}, {"train": [None]}])
def test_data_files_are_paths(files):
    with pytest.raises(ConfigError, match=r"dataset\.data_files: found .*, expected a path, a list of paths"):
        read_source({"path": "csv", "data_files": files})
