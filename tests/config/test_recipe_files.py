"""Recipe files that name Hub datasets, run for a few steps on local rows of the same columns."""

from __future__ import annotations

import datasets
import pytest
from datasets import ClassLabel, List, Value

import hfrecipes
from hfrecipes.config.recipe_files import read_recipe_file
from hfrecipes.recipe import option_types
from hfrecipes.registry import find, find_recipe_file, recipe_files

TEXT = Value("string")
SPANS = {"text": List(TEXT), "answer_start": List(Value("int32"))}


def two(*names: str) -> ClassLabel:
    return ClassLabel(names=list(names))


# Columns and splits as the dataset cards on the Hub give them; a split with a label of -1 has no answers.
FORMS = {
    "sst2": (
        {"idx": Value("int32"), "sentence": TEXT, "label": two("negative", "positive")},
        ["train", "validation", "-test"],
    ),
    "ag_news": ({"text": TEXT, "label": two("World", "Sports", "Business", "Sci/Tech")}, ["train", "test"]),
    "imdb": ({"text": TEXT, "label": two("neg", "pos")}, ["train", "test", "-unsupervised"]),
    "mnli": (
        {
            "premise": TEXT,
            "hypothesis": TEXT,
            "label": two("entailment", "neutral", "contradiction"),
            "idx": Value("int32"),
        },
        ["train", "validation_matched", "validation_mismatched", "-test_matched", "-test_mismatched"],
    ),
    "stsb": (
        {"sentence1": TEXT, "sentence2": TEXT, "label": Value("float32"), "idx": Value("int32")},
        ["train", "validation", "-test"],
    ),
    "go_emotions": (
        {"text": TEXT, "labels": List(two("joy", "fear", "anger")), "id": TEXT},
        ["train", "validation", "test"],
    ),
    "banking77": ({"text": TEXT, "label": two("lost", "stolen", "late")}, ["train", "test"]),
    "conll2003": (
        {
            "id": TEXT,
            "tokens": List(TEXT),
            "pos_tags": List(two("NN", "VB", "DT")),
            "chunk_tags": List(two("O", "B-NP", "I-NP")),
            "ner_tags": List(two("O", "B-PER", "I-PER")),
        },
        ["train", "validation", "test"],
    ),
    "wnut17": (
        {"id": TEXT, "tokens": List(TEXT), "ner_tags": List(two("O", "B-person", "I-person"))},
        ["train", "validation", "test"],
    ),
    "squad": (
        {"id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT, "answers": SPANS},
        ["train", "validation"],
    ),
    "squad_v2": (
        {"id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT, "answers": SPANS},
        ["train", "validation"],
    ),
    "cmrc2018": ({"id": TEXT, "context": TEXT, "question": TEXT, "answers": SPANS}, ["train", "validation", "test"]),
    "swag": (
        {
            "video-id": TEXT,
            "fold-ind": TEXT,
            "startphrase": TEXT,
            "sent1": TEXT,
            "sent2": TEXT,
            "gold-source": TEXT,
            **{f"ending{index}": TEXT for index in range(4)},
            "label": two("0", "1", "2", "3"),
        },
        ["train", "validation", "-test"],
    ),
    "codah": (
        {
            "id": Value("int32"),
            "question_category": two("Idioms", "Negation"),
            "question_propmt": TEXT,
            "candidate_answers": List(TEXT),
            "correct_answer_idx": Value("int32"),
        },
        ["train", "validation", "test"],
    ),
    "race": (
        {"example_id": TEXT, "article": TEXT, "answer": TEXT, "question": TEXT, "options": List(TEXT)},
        ["train", "validation", "test"],
    ),
    "wikitext2": ({"text": TEXT}, ["train", "validation", "test"]),
    "scitldr": (
        {
            "source": List(TEXT),
            "source_labels": List(Value("int32")),
            "rouge_scores": List(Value("float32")),
            "paper_id": TEXT,
            "target": List(TEXT),
        },
        ["train", "validation", "test"],
    ),
    "alpaca": (dict.fromkeys(("instruction", "input", "output", "text"), TEXT), ["train"]),
    "gsm8k": ({"question": TEXT, "answer": TEXT}, ["train", "test"]),
    "wmt16_en_ro": ({"translation": {"ro": TEXT, "en": TEXT}}, ["train", "validation", "test"]),
}
# Cells that are of no use when drawn by their type alone.
CELLS = {
    ("conll2003", "ner_tags"): lambda index: [0, 1, 2],
    ("wnut17", "ner_tags"): lambda index: [1, 2, index % 2],
    ("codah", "correct_answer_idx"): lambda index: index % 3,
    ("race", "answer"): lambda index: "ABC"[index % 3],
    ("wmt16_en_ro", "translation"): lambda index: {"ro": f"filmul {index}", "en": f"the film {index}"},
    ("wikitext2", "text"): lambda index: f" = number {index} = " if index % 2 else "",
}
FROM_HUB = [
    name for name in recipe_files() if not str(read_recipe_file(recipe_files()[name])["dataset"]).startswith("pkg://")
]


def cell(kind, index: int, blind: bool):
    if isinstance(kind, dict):
        return {"text": ["lovely"], "answer_start": [9]}
    if isinstance(kind, List) and kind.feature == TEXT:
        return ["the", "film", f"was number {index}"]
    if isinstance(kind, List):
        return [] if blind else [index % 3]
    if isinstance(kind, ClassLabel):
        return -1 if blind else index % kind.num_classes
    if kind.dtype == "string":
        return f"the film was lovely, number {index}"
    return (-1.0 if blind else index / 10) if kind.dtype == "float32" else index


def local_rows(name: str) -> datasets.DatasetDict:
    columns, splits = FORMS[name]
    parts = {}
    for split in splits:
        rows = [row_of(name, columns, index, split.startswith("-")) for index in range(40)]
        parts[split.removeprefix("-")] = datasets.Dataset.from_list(rows, features=datasets.Features(columns))
    return datasets.DatasetDict(parts)


def row_of(name: str, columns: dict, index: int, blind: bool) -> dict:
    drawn = {column: cell(kind, index, blind) for column, kind in columns.items()}
    return drawn | {column: draw(index) for (data, column), draw in CELLS.items() if data == name}


@pytest.mark.parametrize("name", FROM_HUB)
def test_a_recipe_file_runs_on_rows_of_the_columns_of_its_dataset(name, model_for, tmp_path):
    rows = local_rows(name.partition("/")[2])
    steps = {"max_steps": 2, "bf16": False, "per_device_train_batch_size": 8}
    kind = find(name.partition("/")[0])
    # A model that has learnt nothing writes until it is stopped.
    for option, most in {"max_new_tokens": 4, "max_target_length": 16}.items():
        if option in option_types(kind):
            steps[option] = most
    model = model_for(kind)
    result = hfrecipes.run(name, dataset=rows, output_dir=tmp_path / "run", model=model, **steps)
    splits = FORMS[name.partition("/")[2]][1]
    unscored = "-test" in splits or splits in (["train"], ["train", "validation"])
    assert set(result.metrics) - {"test_clean"} == {"train", "validation"} | (set() if unscored else {"test"})


def test_a_folder_that_is_called_as_a_task_is_does_not_hide_the_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    assert find_recipe_file("chat") is None
