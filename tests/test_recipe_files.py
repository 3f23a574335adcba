"""Recipe files that name Hub datasets, run for a few steps on local rows of the same columns."""

from __future__ import annotations

import datasets
import pytest
from datasets import ClassLabel, List, Value

import hfrecipes
from hfrecipes.config import read_recipe_file
from hfrecipes.registry import recipe_files

TEXT = Value("string")


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
}
FROM_HUB = [
    name for name in recipe_files() if not str(read_recipe_file(recipe_files()[name])["dataset"]).startswith("pkg://")
]


def cell(kind, place: int, blind: bool):
    if isinstance(kind, List):
        return [] if blind else [place % 3]
    if isinstance(kind, ClassLabel):
        return -1 if blind else place % kind.num_classes
    if kind.dtype == "string":
        return f"the film number {place} was lovely"
    return (-1.0 if blind else place / 10) if kind.dtype == "float32" else place


def local_rows(name: str) -> datasets.DatasetDict:
    columns, splits = FORMS[name]
    parts = {}
    for split in splits:
        rows = [
            {column: cell(kind, place, split.startswith("-")) for column, kind in columns.items()}
            for place in range(40)
        ]
        parts[split.removeprefix("-")] = datasets.Dataset.from_list(rows, features=datasets.Features(columns))
    return datasets.DatasetDict(parts)


@pytest.mark.parametrize("name", FROM_HUB)
def test_a_recipe_file_runs_on_rows_of_the_columns_of_its_dataset(name, quick, tmp_path):
    rows = local_rows(name.partition("/")[2])
    steps = {"max_steps": 2, "bf16": False, "per_device_train_batch_size": 8}
    result = hfrecipes.run(name, dataset=rows, output_dir=tmp_path / "run", model=quick["model"], **steps)
    blind_test = any(split == "-test" for split in FORMS[name.partition("/")[2]][1])
    assert set(result.metrics) == {"train", "validation"} | (set() if blind_test else {"test"})
