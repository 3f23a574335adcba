"""Frames and tables from Python: each column that can be read is, and no other column stops a run."""

from __future__ import annotations

import datetime
import decimal

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import hfrecipes
from hfrecipes.data.sources import read_source
from hfrecipes.errors import ConfigError, DataError

TEXTS = [f"note {row}" for row in range(20)]
LABELS = ["a", "b"] * 10


def rows_of(source: object) -> datasets.Dataset:
    return read_source(source)["train"]


@pytest.fixture
def frame():
    pl = pytest.importorskip("polars")
    return pl.DataFrame(
        {
            "text": TEXTS,
            "label": pl.Series(LABELS, dtype=pl.Categorical),
            "spans": [[{"start": 0, "end": 4, "label": "x"}]] * 20,
            "tags": pl.Series([["a"]] * 20, dtype=pl.List(pl.Categorical)),
            "nothing": [None] * 20,
            "day": [datetime.date(2024, 1, 2)] * 20,
            "large": pl.Series([1] * 20, dtype=pl.Int128),
            "any": pl.Series(["q", object(), *["q"] * 18], dtype=pl.Object),
        }
    )


def test_frames_of_polars_are_read(frame, caplog):
    rows = rows_of(frame)
    assert rows["text"][:] == TEXTS
    assert rows["label"][:] == LABELS
    assert rows[0]["spans"] == [{"start": 0, "end": 4, "label": "x"}]
    assert rows[0]["tags"] == ["a"]
    assert rows[0]["day"] == datetime.date(2024, 1, 2)
    assert "column 'any' is left out" in caplog.text
    assert hfrecipes.check("text-classification", dataset=frame)["labels"] == ["a", "b"]
    assert hfrecipes.check("text-classification", dataset={"train": frame, "test": frame})["rows"]["test"] == 20


def test_a_frame_that_is_not_computed_is_refused_with_the_edit(frame):
    with pytest.raises(DataError, match=r"found LazyFrame.*collect\(\) makes a DataFrame of it"):
        rows_of(frame.lazy())
    with pytest.raises(DataError, match="found Series, expected"):
        rows_of(frame["text"])


def test_tables_of_arrow_are_read():
    words = pa.array(LABELS).dictionary_encode().cast(pa.dictionary(pa.int32(), pa.string_view()))
    table = pa.table(
        {"text": pa.array(TEXTS, pa.string_view()), "label": words, "day": pa.array([0] * 20, pa.date32())}
    )
    for source in (table, table.to_batches()[0], pa.RecordBatchReader.from_batches(table.schema, table.to_batches())):
        assert rows_of(source)["label"][:] == LABELS
    with pytest.raises(DataError, match="two columns are named 'text': rename one"):
        rows_of(pa.table([pa.array(TEXTS), pa.array(LABELS)], names=["text", "text"]))


def test_columns_of_pandas_of_every_type_are_read(caplog):
    columns = {
        "text": pd.array([*TEXTS[:19], None], dtype="string"),
        "label": pd.array([0, 1] * 10, dtype="Int64"),
        "day": pd.Series([datetime.date(2024, 1, 2)] * 20, dtype=pd.ArrowDtype(pa.date32())),
        "price": pd.Series([decimal.Decimal("1.5")] * 20, dtype=pd.ArrowDtype(pa.decimal128(4, 2))),
        "words": pd.Series([["a"]] * 20, dtype=pd.ArrowDtype(pa.list_(pa.string()))),
        "array": [np.array(["a", "b"])] * 20,
        "month": pd.period_range("2024", periods=20, freq="M"),
    }
    rows = rows_of(pd.DataFrame(columns))
    assert rows[19]["text"] is None
    assert rows[1]["label"] == 1
    assert rows[0]["day"] == datetime.date(2024, 1, 2)
    assert (rows[0]["words"], rows[0]["array"]) == (["a"], ["a", "b"])
    assert caplog.text.count("left out") == 1
    assert "column 'month' is left out" in caplog.text


@pytest.mark.parametrize(
    "names", [datasets.ClassLabel(names=["no", "yes"]), ("no", "yes"), {0: "no", 1: "yes"}, np.array(["no", "yes"])]
)
def test_names_of_labels_may_be_any_object_that_has_them(names):
    rows = [{"text": text, "label": index % 2} for index, text in enumerate(TEXTS)]
    found = hfrecipes.check("text-classification", dataset=rows, options={"label_names": names})
    assert found["labels"] == ["no", "yes"]
    assert found["config"].options["label_names"] in (["no", "yes"], {0: "no", 1: "yes"}, {"0": "no", "1": "yes"})


@pytest.mark.parametrize(
    ("value", "typed"), [([None, "b"], "['null', b]"), ([1.5], "['1.5']"), ({0: True}, "{0: 'true'}")]
)
def test_texts_that_yaml_reads_as_something_else_are_refused_with_quotes(value, typed):
    rows = [{"text": text, "label": index % 2} for index, text in enumerate(TEXTS)]
    with pytest.raises(ConfigError) as error:
        hfrecipes.check("text-classification", dataset=rows, options={"label_names": value})
    assert str(error.value).endswith(f'; quotes make it a text: label_names="{typed}"')
