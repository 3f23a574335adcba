"""Texts with spans as annotation tools export them, and columns of tags beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hfrecipes
from hfrecipes.data import checks
from hfrecipes.data.prepare import load_data
from hfrecipes.data.rows import Data
from hfrecipes.errors import DataError
from hfrecipes.training.configuration import configure

TEXTS = ["Ana rows home", "we met Ana", "no one rows"]
SPANS = [[(0, 3)], [(7, 10)], []]
TAGS = [["B-PER", "O", "O"], ["O", "O", "B-PER"], ["O", "O", "O"]]


def file_of(path: Path, row: object, number: int = 24, **suffix) -> str:
    """A file with a row for each text, made by a function of the text and its spans."""
    rows = [row(TEXTS[index % 3], SPANS[index % 3], index) for index in range(number)]
    path.write_text("\n".join(map(json.dumps, rows)) if path.suffix == ".jsonl" else json.dumps(rows), encoding="utf-8")
    return str(path)


def label_studio_min(text: str, spans: list, index: int) -> dict:
    return {"id": index, "text": text, "label": [{"start": a, "end": b, "labels": ["PER"]} for a, b in spans]}


def label_studio(text: str, spans: list, index: int) -> dict:
    regions = [{"type": "labels", "value": {"start": a, "end": b, "labels": ["PER"]}} for a, b in spans]
    skipped = [{"was_cancelled": True, "result": []}] if index % 2 else []
    return {"id": index, "data": {"text": text}, "annotations": [*skipped, {"was_cancelled": False, "result": regions}]}


def prodigy(text: str, spans: list, index: int) -> dict:
    words, end = [], 0
    for number, word in enumerate(text.split()):
        words.append({"text": word, "start": end, "end": end + len(word), "id": number, "ws": True})
        end += len(word) + 1
    labels = [{"start": a, "end": b, "label": "PER", "token_start": 0, "token_end": 0} for a, b in spans]
    return {"text": text, "tokens": words, "answer": "accept", **({"spans": labels} if labels else {})}


def spacy_doc(text: str, spans: list, index: int) -> dict:
    ents = [{"start": a, "end": b, "label": "PER"} for a, b in spans]
    return {"text": text, "ents": ents, "tokens": [{"id": 0, "start": 0, "end": 3}]}


def spacy_training(text: str, spans: list, index: int) -> dict:
    return {"text": text, "annotations": {"entities": [[a, b, "PER"] for a, b in spans]}}


def doccano(text: str, spans: list, index: int) -> dict:
    return {"id": index, "text": text, "label": [[a, b, "PER"] for a, b in spans]}


def cluener(text: str, spans: list, index: int) -> dict:
    # The last character is included, and the text of each span is a key.
    label = {"PER": {text[a:b]: [[a, b - 1]] for a, b in spans}}
    return {"text": text, "label": label if spans else {}}


@pytest.mark.parametrize("row", [label_studio_min, label_studio, prodigy, spacy_doc, spacy_training, doccano, cluener])
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_exports_of_annotation_tools_are_texts_with_tags(row, suffix, tmp_path):
    file = file_of(tmp_path / f"rows{suffix}", row)
    config, recipe = configure("token-classification", {"dataset": {"train": file, "validation": file}})
    data, _ = load_data(config, recipe)
    assert recipe.labels == ["O", "B-PER", "I-PER"] or recipe.labels == ["O", "B-PER"]
    assert checks.references(recipe, data.splits["train"])[:3] == TAGS


def test_rows_that_were_rejected_are_left_out(tmp_path, caplog):
    def row(text: str, spans: list, index: int) -> dict:
        return {**prodigy(text, spans, index), "answer": ("accept", "reject", "accept", "ignore")[index % 4]}

    found = hfrecipes.check("token-classification", dataset=file_of(tmp_path / "rows.jsonl", row))
    assert found["rows"]["train"] + found["rows"]["validation"] == 12
    assert "train: 12 of 24 rows left out, as their answer is not 'accept'" in caplog.text


def test_rows_after_rejected_ones_keep_their_numbers(caplog):
    rows = [{"text": f"note {row}", "label": "ab"[row % 2], "answer": "accept", "_task_hash": row} for row in range(24)]
    rows[3]["answer"] = rows[20]["answer"] = "reject"
    rows[7]["text"] = rows[23]["text"] = ""
    with pytest.raises(DataError, match=r"text is empty in 2 rows \(7, 23, counted from 0\)") as error:
        hfrecipes.check("text-classification", dataset=rows)
    assert error.value.rows == [7, 23]
    data = data_of("text-classification", rows, drop_invalid=True)
    assert "dropped 2 of 22 rows: train: text is empty in 2 rows (7, 23, counted from 0)" in caplog.text
    kept = {number for numbers in data.row_numbers.values() for number in numbers}
    assert kept == set(range(24)) - {3, 7, 20, 23}


def data_of(task: str, dataset: object, **settings) -> Data:
    config, recipe = configure(task, {"dataset": dataset, **settings})
    return load_data(config, recipe)[0]


@pytest.mark.parametrize(("style", "labels"), [("single", "one label"), ("multiple", "any number of labels")])
def test_choices_of_prodigy_are_labels(style, labels, caplog):
    options = [{"id": "SPORT", "text": "Sport"}, {"id": "7", "text": "Food"}]
    rows = []
    for index in range(24):
        chosen = [["SPORT"], ["7"], []][index % 3]
        row = {"text": f"note {index}", "options": options, "accept": chosen, "config": {"choice_style": style}}
        rows.append({**row, "answer": "accept" if chosen or style == "multiple" else "ignore"})
    assert hfrecipes.check("text-classification", dataset=rows)["labels"] == ["Food", "SPORT"]
    assert f"labels: {labels}" in caplog.text


def test_single_choices_of_label_studio_beside_several_are_lists():
    rows = [{"text": f"note {row}", "topic": ["a", {"choices": ["a", "b"]}, "b"][row % 3]} for row in range(24)]
    data = data_of("text-classification", {"train": rows, "test": rows})
    assert hfrecipes.check("text-classification", dataset=rows)["labels"] == ["a", "b"]
    assert len(data.splits["test"]) == 24


def test_documents_of_spacy_are_read(tmp_path):
    pairs = [["Ana sat.", {"entities": [[0, 3, "PER"]]}], ["No one.", {"entities": []}]] * 10
    (tmp_path / "a.json").write_text(json.dumps(pairs))
    assert hfrecipes.check("token-classification", dataset=str(tmp_path / "a.json"))["labels"] == ["O", "B-PER"]
    pairs = [["We won.", {"cats": {"SPORT": 1.0, "FOOD": 0.0}}], ["Soup.", {"cats": {"SPORT": 0.0, "FOOD": 1.0}}]] * 10
    (tmp_path / "b.json").write_text(json.dumps(pairs))
    assert hfrecipes.check("text-classification", dataset=str(tmp_path / "b.json"))["labels"] == ["FOOD", "SPORT"]


def test_an_answer_that_is_the_label_is_no_rejection():
    rows = [{"text": f"note {row}", "answer": ("accept", "reject")[row % 2], "tokens": "x"} for row in range(24)]
    found = hfrecipes.check("text-classification", dataset=rows, columns={"label": "answer"})
    assert found["labels"] == ["accept", "reject"]


def test_a_span_with_several_labels_is_refused(tmp_path):
    def row(text: str, spans: list, index: int) -> dict:
        return {"text": text, "label": [{"start": 0, "end": 3, "labels": ["PER", "LOC"][: 1 + index % 2]}]}

    with pytest.raises(DataError, match="a span has several labels, and a word can have only one tag in 12 rows"):
        hfrecipes.check("token-classification", dataset=file_of(tmp_path / "rows.jsonl", row))


def test_choices_of_label_studio_are_labels_of_the_text(tmp_path):
    def row(text: str, spans: list, index: int) -> dict:
        result = [{"type": "choices", "value": {"choices": [("good", "bad")[index % 2]]}}]
        return {"id": index, "data": {"review": text}, "annotations": [{"result": result}]}

    file = file_of(tmp_path / "rows.json", row)
    found = hfrecipes.check("text-classification", dataset=file, problem_type="single_label_classification")
    assert found["labels"] == ["bad", "good"]


def conll(*columns: list[str]) -> str:
    sentence = "\n".join("\t".join(cells) for cells in zip(*columns, strict=True))
    return "\n\n".join([sentence] * 12) + "\n"


def test_a_second_column_of_entity_tags_is_named(tmp_path, caplog):
    words, outer, inner = ["Ana", "of", "Weir"], ["B-PER", "O", "B-LOC"], ["O", "O", "B-PART"]
    (tmp_path / "train.tsv").write_text(conll(["1", "2", "3"], words, outer, inner), encoding="utf-8")
    found = hfrecipes.check("token-classification", dataset=str(tmp_path / "train.tsv"))
    assert found["labels"] == ["O", "B-PART"]
    assert "column '3' is used as tags; entity tags are in '2' too, columns.tags=2 uses those" in caplog.text
    caplog.clear()
    found = hfrecipes.check("token-classification", dataset=str(tmp_path / "train.tsv"), columns={"tags": 2})
    assert found["labels"] == ["O", "B-LOC", "B-PER"]
    assert "entity tags are in" not in caplog.text


def test_testa_is_validation_and_testb_is_test(tmp_path):
    for name, words in {"train": ["Ana", "rows"], "testa": ["Bo", "rows"], "testb": ["Cy", "rows"]}.items():
        (tmp_path / f"eng.{name}").write_text(conll(words, ["B-PER", "O"]), encoding="utf-8")
    config, recipe = configure("token-classification", {"dataset": str(tmp_path)})
    data, _ = load_data(config, recipe)
    firsts = {split: rows[0]["tokens"][0] for split, rows in data.splits.items()}
    assert firsts == {"train": "Ana", "validation": "Bo", "test": "Cy"}


@pytest.mark.parametrize("names", [["O", "B-PER", "I-PER"], {"O": 0, "B-PER": 1, "I-PER": 2}])
def test_ids_of_tags_get_the_names_that_the_options_give(names):
    rows = [{"tokens": ["Ana", "Weir", f"rows{row}"], "ner_tags": [1, 2, 0]} for row in range(24)]
    settings = {"dataset": {"train": rows, "validation": rows}, "options": {"label_names": names}}
    config, recipe = configure("token-classification", settings)
    data, _ = load_data(config, recipe)
    assert (recipe.labels, recipe.scheme) == (["O", "B-PER", "I-PER"], "BIO")
    assert checks.references(recipe, data.splits["train"])[0] == ["B-PER", "I-PER", "O"]


def test_names_of_tags_beside_the_rows_are_found(tmp_path, caplog):
    rows = [{"tokens": ["Ana", f"rows{row}"], "ner_tags": [1, 0]} for row in range(24)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "label2id.json").write_text(json.dumps({"O": 0, "B-PER": 1}), encoding="utf-8")
    assert hfrecipes.check("token-classification", dataset=str(tmp_path))["labels"] == ["O", "B-PER"]
    assert "label names: O, B-PER, from" in caplog.text


@pytest.mark.parametrize("keys", [("start", "end", "label", "text"), ("start_idx", "end_idx", "type", "entity")])
@pytest.mark.parametrize("end", [3, 2])
def test_the_text_of_a_span_tells_whether_its_end_is_included(end, keys, caplog):
    span = dict(zip(keys, (0, end, "drink", "Tea"), strict=True))
    rows = [{"text": f"Tea {row} is hot", "entities": [span]} for row in range(12)]
    config, recipe = configure("token-classification", {"dataset": {"train": rows, "validation": rows}})
    train = load_data(config, recipe)[0].splits["train"]
    assert train[1]["entities"] == [{"start": 0, "end": 3, "label": "drink"}]
    assert ("end with the index of their last character" in caplog.text) == (end == 2)


def test_a_span_of_one_character_and_spans_without_their_texts(caplog):
    rows = [
        {"text": f"茶 {row}", "entities": [{"start": 0, "end": 0, "label": "饮", "text": "茶"}]} for row in range(12)
    ]
    others = [{"text": f"茶 {row}", "entities": [{"start": 0, "end": 1, "label": "饮"}]} for row in range(12)]
    for data in (rows, others):
        config, recipe = configure("token-classification", {"dataset": {"train": data, "validation": data}})
        assert load_data(config, recipe)[0].splits["train"][1]["tags"] == ["B-饮", "O"]
    assert caplog.text.count("end with the index of their last character") == 1, (
        "once for both splits, of the first data alone"
    )
