"""Rows from anywhere: splits, columns, limits and checks, each guess said and each fault named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import datasets
import pandas as pd
import pytest

from hfrecipes.data.checks import fingerprint
from hfrecipes.data.columns import find_columns
from hfrecipes.data.prepare import load_data
from hfrecipes.data.sources import read_source
from hfrecipes.data.splits import choose_splits, hold_out
from hfrecipes.errors import ConfigError, DataError, NotFoundError
from hfrecipes.tasks.text_classification import TextClassification
from hfrecipes.training.configuration import configure

ROWS = [{"text": f"text {place}", "label": "ab"[place % 2]} for place in range(40)]


def loaded(caplog=None, **settings):
    config, recipe = configure("text-classification", settings)
    data, config = load_data(config, recipe)
    return data, config, recipe


def fault(**settings) -> str:
    with pytest.raises(DataError) as caught:
        loaded(**settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- sources -----------------------------------------------------------------------------------------------------


def test_rows_from_python_in_every_form():
    frame = pd.DataFrame(ROWS)
    columns = {"text": [row["text"] for row in ROWS], "label": [row["label"] for row in ROWS]}
    dataset = datasets.Dataset.from_list(ROWS)
    for source in (ROWS, frame, columns, dataset, datasets.DatasetDict(train=dataset), {"train": frame}):
        assert read_source(source)["train"].to_list() == ROWS
    parts = {"train": ROWS, "dev": frame, "test": dataset}
    assert {name: len(rows) for name, rows in read_source(parts).items()} == {"train": 40, "dev": 40, "test": 40}


def test_a_frame_with_gaps_gives_missing_cells_not_nan():
    rows = read_source(pd.DataFrame({"text": ["a", None], "label": ["x", float("nan")]}))["train"]
    assert rows.to_list() == [{"text": "a", "label": "x"}, {"text": None, "label": None}]


@pytest.mark.parametrize("source", [3, [], ["a"], iter(ROWS)])
def test_what_is_no_dataset_is_refused_with_what_would_be(source):
    with pytest.raises(DataError, match=r"expected (a Hub id, a file|a list of rows: list)"):
        read_source(source)


def test_a_streamed_dataset_is_refused():
    with pytest.raises(DataError, match="streaming"):
        read_source(datasets.Dataset.from_list(ROWS).to_iterable_dataset())


def test_a_folder_of_splits_under_their_usual_names(tmp_path: Path):
    for name in ("train.csv", "dev.tsv", "test.jsonl", "notes.md", "extra_test_old.csv"):
        if name.endswith("jsonl"):
            (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        else:
            separator = "\t" if name.endswith("tsv") else ","
            (tmp_path / name).write_text(
                "\n".join(separator.join(row.values()) for row in [{"text": "text", "label": "label"}, *ROWS])
            )
    assert {name: len(rows) for name, rows in read_source(str(tmp_path)).items()} == {
        "train": 40,
        "validation": 40,
        "test": 40,
    }


def test_globs_urls_saved_datasets_and_files_by_split(tmp_path: Path):
    frame = pd.DataFrame(ROWS)
    frame.to_parquet(tmp_path / "train-00000-of-00002.parquet")
    frame.to_parquet(tmp_path / "train-00001-of-00002.parquet")
    frame.to_csv(tmp_path / "held.csv", index=False)
    assert len(read_source(str(tmp_path / "train-*.parquet"))["train"]) == 80
    assert (
        len(read_source({"train": str(tmp_path / "held.csv"), "test": str(tmp_path / "train-*.parquet")})["test"]) == 80
    )
    assert len(read_source(f"file://{tmp_path}/held.csv")["train"]) == 40
    datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)).save_to_disk(str(tmp_path / "saved"))
    assert len(read_source(str(tmp_path / "saved"))["train"]) == 40
    assert len(read_source({"path": "csv", "data_files": str(tmp_path / "held.csv")})["train"]) == 40


def test_sources_that_are_not_there_are_named(tmp_path: Path):
    for source in ("data/none.csv", "./folder", str(tmp_path / "none")):
        with pytest.raises(NotFoundError, match="no file or folder"):
            read_source(source)
    with pytest.raises(NotFoundError, match="no data file"):
        read_source(str(tmp_path))
    with pytest.raises(NotFoundError, match=r"loading it from the Hub failed \(HF_HUB_OFFLINE is set: unset it"):
        read_source("nobody/nothing")
    with pytest.raises(ConfigError, match="did you mean revision"):
        read_source({"path": "nobody/nothing", "revison": "x"})


# --- splits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "wanted", "chosen"),
    [
        (["train", "dev"], {}, {"train": "train", "validation": "dev"}),
        (["test", "train", "val"], {}, {"train": "train", "validation": "val", "test": "test"}),
        (["all"], {}, {"train": "all"}),
        (["train", "test"], {"validation": "test", "test": None}, {"train": "train", "validation": "test"}),
        (
            ["train", "validation_matched", "test_matched"],
            {"validation": "validation_matched"},
            {"train": "train", "validation": "validation_matched"},
        ),
        (["train", "test"], {"validation": "test"}, {"train": "train", "validation": "test"}),
    ],
)
def test_splits_are_found_by_their_usual_names(found, wanted, chosen):
    assert choose_splits(found, wanted) == chosen


def test_a_split_that_is_not_there_names_those_that_are():
    with pytest.raises(ConfigError, match=r"no split dev.*train, test"):
        choose_splits(["train", "test"], {"validation": "dev"})


def test_without_a_split_to_train_on_the_edit_is_told():
    assert "splits.train=" in fault(dataset={"a": ROWS, "b": ROWS})


def test_a_validation_split_is_a_stratified_seeded_tenth():
    rows = datasets.Dataset.from_list([{"label": "a"}] * 150 + [{"label": "b"}] * 50)
    train, held = hold_out(rows, rows["label"][:], None, 1)
    assert Counter(held["label"]) == {"a": 15, "b": 5}
    assert len(train) == 180
    assert hold_out(rows, rows["label"][:], None, 1)[1].to_list() == held.to_list()


def test_a_share_of_train_is_drawn_as_test_and_as_validation(caplog):
    caplog.set_level("INFO", logger="hfrecipes")
    rows = [{"text": f"text {number}", "label": "aab"[number % 3]} for number in range(300)]
    data, config, _ = loaded(dataset=rows, splits={"test": 0.2, "validation": 0.15})
    sizes = {split: len(part) for split, part in data.splits.items()}
    assert sizes == {"train": 195, "validation": 45, "test": 60}
    assert Counter(data.splits["test"]["label"]) == {"a": 40, "b": 20}
    texts = [text for part in data.splits.values() for text in part["text"]]
    assert len(set(texts)) == 300
    assert [rows[number]["text"] for number in data.row_numbers["test"]] == data.splits["test"]["text"][:]
    assert "test: 60 rows drawn from train with seed 42, 240 left to train on" in caplog.text
    assert "no test split" not in caplog.text
    assert config.splits == {"train": "train", "test": 0.2, "validation": 0.15}
    assert loaded(dataset=rows, splits=config.splits)[0].splits["test"].to_list() == data.splits["test"].to_list()


def test_a_share_takes_the_place_of_a_split_of_the_dataset(caplog):
    caplog.set_level("INFO", logger="hfrecipes")
    data, _, _ = loaded(dataset={"train": ROWS, "test": ROWS[:4]}, splits={"test": 0.25})
    assert len(data.splits["test"]) == 10
    assert len(data.splits["validation"]) == 4
    assert "not used: test" in caplog.text


def test_rows_of_a_group_are_on_one_side_of_a_drawn_test_split():
    rows = [
        {"context": f"Ann has {number // 4} eggs.", "question": f"How many, in {number}?", "answer": str(number // 4)}
        for number in range(80)
    ]
    config, recipe = configure("question-answering", {"dataset": rows, "splits": {"test": 0.3}})
    splits = load_data(config, recipe)[0].splits
    assert len(splits["test"]) == 24
    assert not set(splits["test"]["context"]) & set(splits["train"]["context"])


@pytest.mark.parametrize(
    ("splits", "problem"),
    [
        ({"test": 20}, r"splits.test: found 20, expected a share of train, such as 0.2"),
        ({"test": 0.6, "validation": 0.4}, r"shares of 1 together, expected less than 1"),
        ({"train": 0.8}, r"splits.train: found 0.8, expected the name of a split; limit.train"),
    ],
)
def test_shares_that_leave_nothing_are_refused(splits, problem):
    with pytest.raises(ConfigError, match=problem):
        configure("text-classification", {"dataset": ROWS, "splits": splits})


def test_folds_and_a_drawn_test_split_exclude_each_other():
    with pytest.raises(ConfigError, match="leave out one of the two"):
        configure("text-classification", {"dataset": ROWS, "splits": {"test": 0.2}, "folds": 3})


def test_no_label_is_emptied_by_the_validation_split():
    rows = datasets.Dataset.from_list([{"label": str(place)} for place in range(30)] + [{"label": "0"}] * 60)
    train, held = hold_out(rows, rows["label"][:], None, 1)
    assert set(train["label"]) == set(rows["label"])
    assert set(held["label"]) == {"0"}


def test_every_guess_is_said(caplog):
    caplog.set_level("INFO", logger="hfrecipes")
    loaded(dataset={"train": [{"review": row["text"], "sentiment": row["label"]} for row in ROWS]}, limit=30)
    said = caplog.text
    for part in (
        "train 40 rows",
        "text is 'review'",
        "label is 'sentiment'",
        "30 of 40",
        "2 labels: a, b",
        "3 rows drawn",
    ):
        assert part in said
    assert "no test split" in said


def test_a_limit_by_split_draws_with_the_seed_and_keeps_the_order():
    data, _, _ = loaded(dataset={"train": ROWS, "test": ROWS}, limit={"train": 20})
    kept = [int(text.split()[1]) for rows in (data.splits["train"],) for text in rows["text"]]
    assert kept == sorted(kept)
    assert len(data.splits["train"]) + len(data.splits["validation"]) == 20
    assert len(data.splits["test"]) == 40
    assert (
        loaded(dataset={"train": ROWS, "test": ROWS}, limit={"train": 20})[0].splits["train"].to_list()
        == data.splits["train"].to_list()
    )


# --- columns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "columns"),
    [
        (["text", "label"], {"text": "text", "label": "label"}),
        (["idx", "sentence1", "sentence2", "label"], {"text": "sentence1", "text_pair": "sentence2", "label": "label"}),
        (["premise", "hypothesis", "label", "idx"], {"text": "premise", "text_pair": "hypothesis", "label": "label"}),
        (["question1", "question2", "label"], {"text": "question1", "text_pair": "question2", "label": "label"}),
        (["question", "sentence", "label"], {"text": "question", "text_pair": "sentence", "label": "label"}),
        (["label", "text_a"], {"text": "text_a", "label": "label"}),
        (["id", "Review", "Sentiment"], {"text": "Review", "label": "Sentiment"}),
        (["text", "label", "label_text"], {"text": "text", "label": "label"}),
        (["score", "sentence1", "sentence2"], {"text": "sentence1", "text_pair": "sentence2", "label": "score"}),
        (["句子", "标签"], {"text": "句子", "label": "标签"}),
        (["text", "labels", "id"], {"text": "text", "label": "labels"}),
    ],
)
def test_columns_are_found_by_the_names_of_real_datasets(found, columns):
    assert find_columns(found, TextClassification, {}) == columns


def test_unclear_columns_are_an_error_with_the_edit():
    with pytest.raises(DataError, match=r"several columns could be text: 'review', 'comment'.*columns\.text=review"):
        find_columns(["review", "comment", "label"], TextClassification, {})
    with pytest.raises(DataError, match=r"no column for text and label among 'a', 'b': columns\.text="):
        find_columns(["a", "b"], TextClassification, {})
    with pytest.raises(DataError, match=r"there is no column 'revew' \(did you mean review\?\)"):
        find_columns(["review", "label"], TextClassification, {"text": "revew"})
    with pytest.raises(DataError, match="no such column"):
        find_columns(["text", "label"], TextClassification, {"texts": "text"})


def test_a_named_column_wins_over_one_with_the_usual_name():
    rows = [{"text": "no", "review": row["text"], "label": row["label"]} for row in ROWS]
    data, config, _ = loaded(dataset=rows, columns={"text": "review"})
    assert data.splits["train"]["text"][0].startswith("text")
    assert config.columns == {"text": "review", "label": "label"}


def test_a_file_without_header_is_read_by_position(tmp_path: Path):
    (tmp_path / "a.csv").write_text("".join(f"{row['label']},title,{row['text']}\n" for row in ROWS))
    data, config, _ = loaded(dataset=str(tmp_path / "a.csv"), columns={"text": 2, "label": 0})
    assert len(data.splits["train"]) + len(data.splits["validation"]) == 40
    assert config.columns == {"text": 2, "label": 0}


def test_a_column_of_something_else_than_text_is_refused():
    assert "column text holds" in fault(dataset=[{"text": 3, "label": "a"}, {"text": 4, "label": "b"}])


# --- checks ------------------------------------------------------------------------------------------------------


def test_empty_texts_and_missing_labels_are_counted_and_named():
    rows = [*ROWS, {"text": " ", "label": "a"}, {"text": None, "label": "b"}, {"text": "c", "label": None}]
    said = fault(dataset=rows)
    assert "text is empty in 2 rows (40, 41" in said
    assert "label is missing in 1 row (42" in said
    assert "options.drop_invalid=true" in said


def test_the_rows_at_fault_are_an_attribute_of_the_error():
    with pytest.raises(DataError) as caught:
        loaded(dataset=[*ROWS, {"text": "", "label": "a"}])
    assert caught.value.rows == [40]


def test_invalid_rows_are_dropped_only_when_asked(caplog):
    caplog.set_level("INFO", logger="hfrecipes")
    rows = [*ROWS, {"text": "", "label": "a"}, {"text": "c", "label": None}]
    data, _, _ = loaded(dataset=rows, drop_invalid=True)
    assert sum(len(part) for part in data.splits.values()) == 40
    assert "dropped 2 of 42 rows" in caplog.text


def test_labels_that_train_lacks_are_named_with_their_split(caplog):
    with caplog.at_level("INFO", "hfrecipes"):
        loaded(dataset={"train": ROWS, "test": [*ROWS, {"text": "x", "label": "new"}]})
    assert "test: no prediction can match the label of 1 of 41 rows" in caplog.text
    assert "label 'new' does not occur in train in 1 row (40" in caplog.text


def test_rows_keep_the_number_that_they_have_in_the_file(tmp_path: Path):
    """Through rows that are dropped, a limit, a drawn validation split, and folds."""
    rows = [*ROWS]
    for place in (0, 7, 39):
        rows[place] = {"text": "", "label": "a"}
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[::-1]))
    settings = {"dataset": str(tmp_path), "drop_invalid": True, "limit": {"train": 30, "test": 20}}
    for more in ({}, {"folds": {"n_splits": 3, "fold": 2}}):
        data, _, _ = loaded(**settings, **more)
        assert set(data.splits) == {"train", "validation", "test"}
        for split, found in data.splits.items():
            file = rows[::-1] if split == "test" and not more else rows
            assert [file[place] for place in data.row_numbers[split]] == found.to_list()
            assert len(set(data.row_numbers[split])) == len(found)
    assert len({place for places in data.row_numbers.values() for place in places}) == 30


def test_the_number_of_a_row_enters_neither_fingerprint_nor_columns():
    data, _, _ = loaded(dataset={"train": ROWS, "validation": ROWS[:4], "test": ROWS[4:8]})
    assert fingerprint(data.splits["test"]) == fingerprint(datasets.Dataset.from_list(ROWS[4:8]))
    assert all(rows.column_names == ["text", "label"] for rows in data.splits.values())


def test_one_label_only_is_refused():
    assert "only one label, a" in fault(dataset=[{"text": f"{place}", "label": "a"} for place in range(20)])


def test_a_test_split_without_answers_is_no_fault():
    for test in ([{"text": "x"}], [{"text": "x", "label": None}]):
        data, _, recipe = loaded(dataset={"train": ROWS, "test": test})
        assert recipe.reference(data.splits["test"][0]) is None


def test_inputs_that_stand_in_train_and_test_are_counted(caplog):
    from hfrecipes.doctor.rows import examine_rows

    data, _, recipe = loaded(
        dataset={"train": [*ROWS, ROWS[0]], "validation": ROWS[:4], "test": [{"text": "new", "label": "a"}]}
    )
    notes = [diagnosis.line for diagnosis in examine_rows(data, recipe).diagnoses]
    assert any("train: 1 of 41 rows duplicate" in note for note in notes)
    assert any("validation: 4 of 4 inputs (100 %) also occur in train" in note for note in notes)
    assert not any(note.startswith("test") and "input" in note for note in notes)


def test_the_fingerprint_is_of_the_content_alone():
    one, other = datasets.Dataset.from_list(ROWS), datasets.Dataset.from_list([*ROWS[:-1], {"text": "z", "label": "a"}])
    assert fingerprint(one) == fingerprint(datasets.Dataset.from_pandas(pd.DataFrame(ROWS)))
    assert fingerprint(one) != fingerprint(other)


def test_rows_that_stand_twice_are_not_drawn_as_validation(caplog):
    twice = [{"text": f"text {place // 2}", "label": "ab"[place % 4 // 2]} for place in range(60)]
    once = [{"text": f"other {place}", "label": "ab"[place % 2]} for place in range(60)]
    with caplog.at_level("INFO", "hfrecipes"):
        data, _, _ = loaded(dataset=[*twice, *once])
    held = set(data.splits["validation"]["text"])
    assert held
    assert not held & set(data.splits["train"]["text"])


@pytest.mark.parametrize("name", ["text", "csv", "json"])
def test_the_name_of_a_format_alone_reads_no_files_of_the_folder(name):
    Path("notes.txt").write_text("one\ntwo\n")
    Path("notes.csv").write_text("text,label\na,b\n")
    with pytest.raises(NotFoundError, match=f"there is no file or folder {name}"):
        loaded(dataset=name)


def test_a_missing_file_of_any_suffix_is_no_hub_id():
    with pytest.raises(NotFoundError, match=r"there is no file or folder nofile\.conll"):
        loaded(dataset="nofile.conll")


@pytest.mark.parametrize(
    ("text", "label"), [("Nachricht", "Kategorie"), ("commentaire", "étiquette"), ("mensaje", "etiqueta")]
)
def test_german_french_and_spanish_names_of_columns_are_guessed_and_printed(text, label, caplog):
    rows = [{text: row["text"], label: row["label"]} for row in ROWS]
    with caplog.at_level("INFO", "hfrecipes"):
        loaded(dataset={"train": rows})
    assert f"text is '{text}', label is '{label}'" in caplog.text
