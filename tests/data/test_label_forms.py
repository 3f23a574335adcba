"""Labels in other forms than a name per row: written lists, columns of 0 and 1, ids with names, placeholders."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import datasets
import pytest
from conftest import opinions

import hfrecipes
from hfrecipes.config.overrides import parse_overrides
from hfrecipes.data import checks
from hfrecipes.data.prepare import load_data
from hfrecipes.errors import ConfigError, DataError, NotFoundError
from hfrecipes.tasks.text_classification import MULTI, SINGLE
from hfrecipes.training.configuration import configure

SETS = [["food", "staff"], ["food"], ["room"], ["staff", "room"], []]


def rows_with(labels: list, number: int = 40) -> list[dict]:
    return [{"text": f"note {row} of a guest", "label": labels[row % len(labels)]} for row in range(number)]


def references_of(dataset: object, split: str = "train", **settings) -> list:
    """What the rows of a split are scored against, in their order."""
    splits = dataset if isinstance(dataset, dict) else {"train": dataset}
    first = next(iter(splits.values()))
    dataset = splits if isinstance(first, str) else {"validation": first, **splits}
    config, recipe = configure("text-classification", {"dataset": dataset, **settings})
    data, _ = load_data(config, recipe)
    return checks.references(recipe, data.splits[split])


def written(path: Path, names: list[str], rows: list[list]) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return str(path)


@pytest.mark.parametrize(
    "spelled",
    [str, json.dumps, "|".join, "; ".join, lambda labels: str(set(labels)) if labels else "[]"],
    ids=["python", "json", "pipes", "semicolons", "sets"],
)
def test_lists_that_cells_of_text_write_are_lists(spelled, tmp_path, caplog):
    cells = [[f"note {row}", spelled(SETS[row % 5])] for row in range(40)]
    file = written(tmp_path / "notes.csv", ["text", "labels"], cells)
    found = hfrecipes.check("text-classification", dataset=file)
    assert found["labels"] == ["food", "room", "staff"]
    assert "any number of labels per text" in caplog.text
    assert "are lists written as text" in caplog.text or "are read as lists, separated by" in caplog.text
    # Labels that other rows have are in the order of the model, and a row without any has none of them.
    assert references_of({"train": file, "validation": file})[:5] == [sorted(labels) for labels in SETS]


@pytest.mark.parametrize(("separator", "kind"), [(", ", SINGLE), ("|", SINGLE)])
def test_names_with_a_separator_stay_one_label_and_the_other_reading_is_named(separator, kind, caplog):
    rows = rows_with([f"books{separator}films", f"sci-fi{separator}fantasy", "news"])
    assert len(hfrecipes.check("text-classification", dataset=rows)["labels"]) == 3
    assert ("options.problem_type=multi_label_classification reads such cells as lists" in caplog.text) == (
        separator == "|"
    )


def test_lists_separated_by_commas_are_asked_about(caplog):
    rows = rows_with(["food, staff", "food", "[staff, food]", "room", "room, food"])
    assert hfrecipes.check("text-classification", dataset=rows)["config"].options["problem_type"] == SINGLE
    assert "reads such cells as lists, separated by ','" in caplog.text
    found = hfrecipes.check("text-classification", dataset=rows, problem_type=MULTI)
    assert found["labels"] == ["food", "room", "staff"]


@pytest.mark.parametrize("separator", ["，", "、", "#", "&&", " & ", "+", "/"])
def test_names_that_other_cells_have_alone_are_asked_about_whatever_separates_them(separator, caplog):
    joined = [f"food{separator}staff", "food", f"staff{separator}food", "room", f"room{separator}food"]
    rows = rows_with(joined)
    assert hfrecipes.check("text-classification", dataset=rows)["config"].options["problem_type"] == SINGLE
    assert f"reads such cells as lists, separated by '{separator.strip()[0]}'" in caplog.text
    found = hfrecipes.check("text-classification", dataset=rows, problem_type=MULTI)
    assert found["labels"] == ["food", "room", "staff"]
    # A topic and a part of it are one name: no cell has either alone.
    topics = rows_with([f"news{separator}films", f"news{separator}tea", "sport"])
    assert len(hfrecipes.check("text-classification", dataset=topics)["labels"]) == 3


def test_names_in_brackets_are_names():
    assert hfrecipes.check("text-classification", dataset=rows_with(["[sport]", "[2 news]"]))["labels"] == [
        "[2 news]",
        "[sport]",
    ]


def test_a_list_that_cannot_be_read_is_refused():
    with pytest.raises(DataError, match="save the rows as jsonl"):
        hfrecipes.check("text-classification", dataset=rows_with(["['food' 'room', 'staff']", "['food']"]))


def test_a_list_of_one_is_one_label_where_the_options_say_so(caplog):
    rows = rows_with([["food"], ["room"]])
    assert hfrecipes.check("text-classification", dataset=rows, problem_type=SINGLE)["labels"] == ["food", "room"]
    assert hfrecipes.check("text-classification", dataset=rows)["config"].options["problem_type"] == MULTI
    assert "each text has exactly one" in caplog.text


def test_a_missing_list_is_none_of_the_labels_where_other_rows_have_lists(caplog):
    rows = rows_with([["food"], ["room", "food"], None])
    test = [{"text": "a new note", "label": None}, {"text": "another note", "label": ["food", "food"]}]
    assert references_of({"train": rows, "test": test}, "test") == [[], ["food"]]
    assert "train: a missing label is read as none of the labels in 13 rows" in caplog.text
    assert "test: a label occurs twice and counts once in 1 row" in caplog.text
    hidden = [{"text": "a new note", "label": None}] * 3
    assert references_of({"train": rows, "test": hidden}, "test") == [None] * 3
    with pytest.raises(DataError, match="validation: label is missing in 3 rows"):
        references_of({"train": rows, "validation": hidden})


# --- 0 and 1 ---------------------------------------------------------------------------------------------------------


def bits(path: Path, number: int = 40, hidden: int = 0) -> str:
    rows = []
    for row in range(number):
        cells = [-1, -1, -1] if row < hidden else [int(name in SETS[row % 5]) for name in ("staff", "food", "room")]
        rows.append([row, f"note {row}", *cells])
    return written(path, ["id", "comment_text", "staff", "food", "room"], rows)


def test_columns_of_0_and_1_are_labels_in_the_order_of_the_columns(tmp_path, caplog):
    train, test = bits(tmp_path / "train.csv"), bits(tmp_path / "test.csv", 10, hidden=4)
    dataset = {"train": train, "validation": train, "test": test}
    assert hfrecipes.check("text-classification", dataset=dataset)["labels"] == ["staff", "food", "room"]
    assert "columns staff, food, room hold 0 or 1: they are read as labels" in caplog.text
    assert "test: 4 of 10 rows without a reference" in caplog.text
    scored = references_of(dataset, "test")
    assert scored[:6] == [None] * 4 + [[], ["staff", "food"]]
    found = hfrecipes.check("text-classification", dataset=dataset, columns={"label": ["food", "room"]})
    assert found["labels"] == ["food", "room"]
    assert found["config"].columns["label"] == ["food", "room"]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"label": ["food", "romo"]}, "there is no column 'romo'"),
        ({"label": ["food", "id"]}, "column 'id' holds '2', expected 0 or 1"),
        ({"text": ["food", "room"]}, "columns.text: found a list, expected one column, such as columns.text=food"),
        ({"text": []}, "columns.text: found an empty list, expected the name of a column"),
        ({"label": []}, "columns.label: found an empty list, expected the name of a column"),
    ],
)
def test_columns_that_are_not_0_and_1_are_refused(columns, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        hfrecipes.check("text-classification", dataset=bits(tmp_path / "train.csv"), columns=columns)


def test_vectors_of_0_and_1_need_the_names_of_their_labels():
    rows = rows_with([[0, 1, 1], [1, 0, 0], [0.0, 0.0, 0.0], [False, True, False]])
    with pytest.raises(DataError, match="vector of 0 and 1 without names"):
        hfrecipes.check("text-classification", dataset=rows)
    names = {"label_names": ["food", "staff", "room"]}
    assert references_of(rows, options=names)[:4] == [["staff", "room"], ["food"], [], ["staff"]]
    spelled = [{**row, "label": str(row["label"])} for row in rows]
    assert references_of(spelled, options=names)[:2] == [["staff", "room"], ["food"]]


def test_a_dict_of_0_and_1_is_its_names():
    rows = rows_with([{"food": 1, "room": 0}, {"food": 0, "room": 1}, {"food": 1, "room": 1}])
    assert references_of(rows)[:3] == [["food"], ["room"], ["food", "room"]]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([[0.25, 0.75], [0.5, 0.5]], "neither probabilities nor several numbers are learnt"),
        (["[0.25, 0.75]", "[0.5, 0.5]"], "neither probabilities nor several numbers are learnt"),
        ([{"food": 0.5, "room": 0.1}], "probabilities are not learnt"),
        ([[{"value": "food"}], [{"value": "room"}]], "expected a list of names"),
    ],
)
def test_what_is_no_name_is_refused(labels, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        hfrecipes.check("text-classification", dataset=rows_with(labels))
    assert "only one label" not in str(caught.value)


def test_several_numbers_as_a_target_are_refused():
    with pytest.raises(DataError, match="expected a single number, several at once are not learnt"):
        hfrecipes.check("text-classification", dataset=rows_with([[1.5, 2.5]]), problem_type="regression")


# --- names of ids ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [["calm", "joy", "grief"], {"0": "calm", "1": "joy", "2": "grief"}, {"joy": 1, "grief": 2, "calm": 0}]
)
@pytest.mark.parametrize("ids", [[0, 1, 2], ["0", "1", "2"], [0.0, 1.0, 2.0]])
def test_ids_get_the_names_that_the_options_give(names, ids):
    settings = {"options": {"label_names": names}}
    assert references_of(rows_with(ids), **settings)[:3] == ["calm", "joy", "grief"]
    found = hfrecipes.check("text-classification", dataset=rows_with(ids[1:]), **settings)
    assert found["labels"] == ["calm", "joy", "grief"]


def test_names_that_are_numbers_are_given_once():
    rows = rows_with([0, 1, 2])
    assert references_of(rows, options={"label_names": ["1", "2", "3"]})[:3] == ["1", "2", "3"]


def test_an_id_without_a_name_is_refused():
    with pytest.raises(ConfigError, match="label_names: no name for label '2', which train has"):
        hfrecipes.check("text-classification", dataset=rows_with([0, 1, 2]), options={"label_names": ["calm", "joy"]})
    with pytest.raises(ConfigError, match="label_names: leave it out"):
        hfrecipes.check("text-classification", dataset=rows_with([0.5, 1.5]), options={"label_names": ["a", "b"]})


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("id2label.json", '{"0": "calm", "1": "joy"}'),
        ("label2id.json", '{"joy": 1, "calm": 0}'),
        ("labels.json", '["calm", "joy"]'),
        ("mapping.txt", "0\tcalm\n1\tjoy\n"),
        ("classes.txt", "calm\njoy\n"),
        ("labels.json", '{"label": "0", "label_desc": "calm"}\n{"label": "1", "label_desc": "joy"}\n'),
        ("labels.json", '[{"id": 1, "name": "joy"}, {"id": 0, "name": "calm"}]'),
    ],
)
def test_names_in_a_file_beside_the_rows_are_found_and_printed(file, content, tmp_path, caplog):
    written(tmp_path / "train.csv", ["text", "label"], [[f"note {row}", row % 2] for row in range(30)])
    (tmp_path / file).write_text(content, encoding="utf-8")
    for dataset in (tmp_path, tmp_path / "train.csv"):
        caplog.clear()
        found = hfrecipes.check("text-classification", dataset=str(dataset))
        assert found["labels"] == ["calm", "joy"]
        assert "label names: calm, joy, from" in caplog.text
        assert found["config"].options["label_names"] == {"0": "calm", "1": "joy"}, "the recipe file repeats the run"
    left = hfrecipes.check("text-classification", dataset=str(tmp_path), options={"label_names": []})
    assert left["labels"] == ["0", "1"]
    named = hfrecipes.check("text-classification", dataset=str(tmp_path), options={"label_names": str(tmp_path / file)})
    assert named["labels"] == ["calm", "joy"]


def test_objects_that_are_no_ids_and_names_name_no_labels(tmp_path):
    written(tmp_path / "train.csv", ["text", "label"], [[f"note {row}", row % 2] for row in range(30)])
    (tmp_path / "labels.json").write_text('{"a": "0", "b": "x", "c": "y"}\n{"a": "1"}\n', encoding="utf-8")
    assert hfrecipes.check("text-classification", dataset=str(tmp_path))["labels"] == ["0", "1"]


def test_a_file_beside_the_rows_that_does_not_fit_is_not_used(tmp_path):
    written(tmp_path / "train.csv", ["text", "label"], [[f"note {row}", row % 3] for row in range(30)])
    (tmp_path / "id2label.json").write_text('{"0": "calm", "1": "joy"}', encoding="utf-8")
    assert hfrecipes.check("text-classification", dataset=str(tmp_path))["labels"] == ["0", "1", "2"]
    with pytest.raises(NotFoundError, match="label_names: cannot read nowhere"):
        hfrecipes.check("text-classification", dataset=str(tmp_path), options={"label_names": "nowhere.json"})


def test_names_are_in_the_model_its_predictions_and_its_scores_after_load(tiny_bert, tmp_path):
    rows = [{"text": row["text"], "label": int(row["label"] == "good")} for row in opinions(24)]
    settings = {"options": {"label_names": ["bad", "good"]}, "max_steps": 1, "output_dir": str(tmp_path / "run")}
    hfrecipes.run("text-classification", model=tiny_bert, dataset={"train": rows, "test": rows[:8]}, **settings)
    model = hfrecipes.load(tmp_path / "run")
    assert model.trainer.model.config.id2label == {0: "bad", 1: "good"}
    assert model.predict("the film was lovely")["label"] in ("bad", "good")
    assert model.evaluate(rows[:8]).rows == 8
    lines = (tmp_path / "run" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["label"] for line in lines} <= {"bad", "good"}


def test_how_labels_are_written_is_known_after_load(tiny_bert, tmp_path):
    cells = ["good|new", "bad", "bad|new", "good"]
    rows = [{**row, "label": cells[index % 4]} for index, row in enumerate(opinions(24))]
    settings = {"max_steps": 1, "output_dir": str(tmp_path / "run")}
    hfrecipes.run("text-classification", model=tiny_bert, dataset={"train": rows, "validation": rows}, **settings)
    evaluation = hfrecipes.load(tmp_path / "run").evaluate(rows[:8])
    assert {"f1[bad]", "f1[good]", "f1[new]"} <= set(evaluation.metrics)
    assert not any("no prediction can match" in note for note in evaluation.notes)


# --- labels that mean none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("placeholder", "shown"), [("-", "-"), (-1, "-1"), ("None", "None")])
def test_a_label_that_may_mean_none_is_named_and_can_be_ignored(placeholder, shown, caplog):
    labels = [1, 0, placeholder] if placeholder == -1 else ["yes", "no", placeholder]
    dataset = {"train": rows_with(labels, 30), "test": rows_with(labels, 6)}
    assert shown in hfrecipes.check("text-classification", dataset=dataset)["labels"]
    assert f"options.ignore_labels={shown}" in caplog.text
    named = [line for line in caplog.messages if line.startswith(f"train: label '{shown}'")]
    assert len(named) == 1, "it is one finding, whoever knows the word"
    assert ("looks like a placeholder" in named[0]) == (shown != "-1"), "which is a label as often"
    assert ("is learnt as others are" in named[0]) == (shown == "-1")
    found = hfrecipes.check("text-classification", dataset=dataset, ignore_labels=[placeholder])
    assert len(found["labels"]) == 2
    assert found["rows"]["train"] + found["rows"]["validation"] == 20
    assert found["rows"]["test"] == 6
    assert f"dropped 10 of 30 rows: train: label '{shown}' is among options.ignore_labels" in caplog.text
    assert "test: 2 of 6 rows without a reference, predicted but not scored" in caplog.text


@pytest.mark.parametrize(("typed", "label"), [("-", "-"), ("[-]", "-"), ("no", "no"), ("2024-01-01", "2024-01-01")])
def test_a_label_to_ignore_is_typed_as_it_is(typed, label, caplog):
    settings = parse_overrides([f"options.ignore_labels={typed}"])
    rows = rows_with(["a", "b", label], 30)
    assert hfrecipes.check("text-classification", dataset=rows, **settings)["labels"] == ["a", "b"]
    assert "no row of train has" not in caplog.text
    hfrecipes.check("text-classification", dataset=rows_with(["a", "b"], 30), **settings)
    assert f"ignore_labels: no row of train has the label {label!r}" in caplog.text


def test_the_edit_for_a_label_that_yaml_reads_as_null_can_be_typed(caplog):
    rows = rows_with(["a", "b", "null"], 30)
    hfrecipes.check("text-classification", dataset=rows)
    edit = shlex.split(re.search(r"options\.ignore_labels=\S+", caplog.text)[0])
    assert hfrecipes.check("text-classification", dataset=rows, **parse_overrides(edit))["labels"] == ["a", "b"]


@pytest.mark.parametrize("separator", ["|", ";", ","])
def test_ids_may_be_joined_as_names_are(separator, caplog):
    rows = rows_with(["4", "15", f"4{separator}15", "27"], 40)
    several = hfrecipes.check("text-classification", dataset=rows, problem_type=MULTI)
    assert several["labels"] == ["4", "15", "27"]
    hfrecipes.check("text-classification", dataset=rows)
    assert f"separated by {separator!r}" in caplog.text


@pytest.mark.parametrize("label", [-1, "None"])
def test_a_test_split_whose_only_label_train_uses_is_scored(label):
    others = [0, 1] if label == -1 else ["yes", "no"]
    train = rows_with([label, *others], 30)
    assert references_of({"train": train, "test": rows_with([label], 3)}, "test") == [str(label)] * 3
    assert references_of({"train": rows_with(others, 30), "test": rows_with([-1], 3)}, "test") == [None] * 3


@pytest.mark.parametrize("name", ["intents", "emotions", "topics", "categories", "tags", "genres"])
def test_plural_names_of_columns_are_found(name):
    rows = [{"text": row["text"], name: row["label"]} for row in rows_with([["a"], ["b", "a"]])]
    assert hfrecipes.check("text-classification", dataset=rows)["columns"]["label"] == name


def test_classes_that_the_dataset_names_are_not_taken_for_lists():
    names = ["a|b", "a", "b"]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    rows = datasets.Dataset.from_dict({"text": [f"t{row}" for row in range(30)], "label": [0, 1, 2] * 10}, features)
    assert hfrecipes.check("text-classification", dataset=rows)["labels"] == names
