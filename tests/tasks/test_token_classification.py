"""Every word gets a tag, whatever the file, the scheme and the length; scores are those of seqeval and conlleval."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
import seqeval.metrics
from conftest import make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from random_cases import random_cases
from seqeval.scheme import IOB1, IOB2, IOBES

import hfrecipes
from hfrecipes.data.files import read_file
from hfrecipes.data.shapes.tags import find_words, split_words
from hfrecipes.errors import DataError
from hfrecipes.evaluation.scoring import score
from hfrecipes.metrics._schemes import scheme_of, violations
from hfrecipes.tasks.token_classification import TokenClassification

CASES = settings(max_examples=300, deadline=None)
BIO = ["O", "B-a", "I-a", "B-b", "I-b"]
BIOES = ["O", *(f"{prefix}-{kind}" for kind in "ab" for prefix in "BIES")]


def studied(sentences: list[list[str]], **options) -> TokenClassification:
    recipe = TokenClassification(**options)
    tokens = [["w"] * len(tags) for tags in sentences]
    recipe.infer_labels(datasets.Dataset.from_dict({"tokens": tokens, "tags": sentences}))
    return recipe


def read(tmp_path: Path, text: str, name: str = "data.txt") -> list[dict]:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return read_file(str(tmp_path / name), formats=("conll",)).to_list()


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "a.train", "a.bmes", "a.conll", "a"])
@pytest.mark.parametrize("separator", ["\t", " ", "   "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_conll_is_read_by_its_content(tmp_path, name, separator, end):
    lines = ["-DOCSTART- -X- O", "", "EU NNP B-ORG", "rejects VBZ O", "", "", "Peter NNP B-PER"]
    text = end.join(line.replace(" ", separator) for line in lines)
    assert read(tmp_path, text, name) == [
        {"0": ["EU", "rejects"], "1": ["NNP", "VBZ"], "2": ["B-ORG", "O"]},
        {"0": ["Peter"], "1": ["NNP"], "2": ["B-PER"]},
    ]


def test_a_hash_is_a_token_where_it_has_a_tag_and_a_remark_elsewhere(tmp_path):
    text = "# id 7\n#\tO\nLondon\tB-LOC\n\n# sentence two\n#\tO\n"
    assert [row["0"] for row in read(tmp_path, text)] == [["#", "London"], ["#"]]


def test_an_unusual_blank_is_a_token(tmp_path):
    assert read(tmp_path, "\u3000 O\n京 B-L\n")[0]["0"] == ["\u3000", "京"]


def test_a_ragged_line_is_named(tmp_path):
    with pytest.raises(DataError, match="line 3 has 1 cell, expected 2"):
        read(tmp_path, "a O\nb O\nc\nd O\n")


def test_conllu_gives_words_by_column_name_without_ranges_and_empty_nodes(tmp_path):
    rest = "\t_\t0\troot\t_\t_"
    lines = [
        "# text = can't go",
        "1-2\tcan't\t_\t_\t_\t_\t_\t_\t_\t_",
        f"1\tca\tcan\tAUX\tMD{rest}",
        f"2\tn't\tnot\tPART\tRB{rest}",
        f"2.1\tgone\tgo\tVERB\tVB{rest}",
        f"3\tgo\tgo\tVERB\tVB{rest}",
    ]
    (row,) = read(tmp_path, "\n".join(lines) + "\n")
    assert row["form"] == ["ca", "n't", "go"]
    assert row["upos"] == ["AUX", "PART", "VERB"]
    assert row["xpos"] == ["MD", "RB", "VB"]


def test_columns_of_conllu_are_chosen_by_name_in_any_spelling(tmp_path):
    line = "1\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_\n2\ton\ton\tVERB\tVB\t_\t0\troot\t_\t_\n\n"
    other = line.replace("VERB", "NOUN").replace("VB", "NN")
    (tmp_path / "train.conllu").write_text((line + other) * 20)
    found = hfrecipes.check("token-classification", dataset=str(tmp_path / "train.conllu"), columns={"tags": "XPOS"})
    assert found["labels"] == ["NN", "VB"]


def test_a_folder_of_files_with_any_suffix_is_told_apart_by_the_names(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"weibo.{split}").write_text("a B-x\nb O\n\n" * 3)
    found = hfrecipes.check("token-classification", dataset=str(tmp_path))
    assert found["rows"] == {"train": 3, "validation": 3, "test": 3}


def test_a_header_names_the_columns(tmp_path):
    text = "Token\tPOS\tTag\nEU\tNNP\tB-ORG\nword\tNN\tO\n\nWord\tNN\tO\n"
    assert read(tmp_path, text) == [
        {"token": ["EU", "word"], "pos": ["NNP", "NN"], "tag": ["B-ORG", "O"]},
        {"token": ["Word"], "pos": ["NN"], "tag": ["O"]},
    ]


def test_a_column_that_counts_the_tokens_is_not_taken_for_them(tmp_path):
    (tmp_path / "train.txt").write_text("# http://a\n1\tEU\tB-ORG\n2\trose\tO\n\n1\tAnn\tB-PER\n2\tsat\tO\n\n" * 20)
    found = hfrecipes.check("token-classification", dataset=str(tmp_path / "train.txt"))
    assert found["columns"] == {"tokens": "1", "tags": "2"}


def test_a_separator_behind_the_last_cell_is_no_cell(tmp_path):
    assert read(tmp_path, "a\tB-x\t\nb\tO\t\n\nc\tO\n")[0] == {"0": ["a", "b"], "1": ["B-x", "O"]}


@pytest.mark.parametrize(
    "text",
    [
        "hello world\n",
        "We met Otis.\nNo.\nIt was fun there\n",
        "Berlin\nParis\n",
        "我在北京。\n他在日本东京。\n",
        "EU rejects\n\nBob .\n",
        "Ask Amina Hassan now.\nOtis saw a glove.\n\nNo rehearsal today sorry.\n",
        "SALE ENDS TODAY\nCALL BOB NOW\n",
        "Invoice 2024-01-01 1234\nInvoice 2024-01-02 1235\n",
        "第一句话在这里。\n\n第二句话在那里。\n",
    ],
)
def test_lines_of_plain_text_are_no_conll(tmp_path, text):
    assert read(tmp_path, text) == [{"text": line} for line in text.splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        "我\n在\n\n他\n来\n了\n",
        "1 In O\n2 Bob B-PER\n\n3 On O\n4 Ray B-PER\n",
        "The DT\nfilm NN\n\nA DT\nbook NN\n" * 5,
    ],
)
def test_tokens_parted_by_blanks_and_tokens_alone_are_conll(tmp_path, text):
    assert "text" not in read(tmp_path, text)[0]


def test_a_column_that_numbers_the_lines_of_the_file_is_no_token(tmp_path):
    assert set(read(tmp_path, "1 In O\n2 Bob B-PER\n\n3 On O\n4 Ray B-PER\n")[0]) == {"id", "1", "2"}


# --- schemes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "B-a", "I-a", "B-a"], "BIO"),
        (["I-a", "I-a", "B-a", "O", "I-b"], "IOB1"),
        (["I-a", "O"], "IOB1"),
        (["B-a", "I-a", "E-a", "S-b", "O"], "BIOES"),
        (["B-a", "I-a", "L-a", "U-b", "O"], "BILOU"),
        (["B-a", "M-a", "E-a", "S-b", "O"], "BMES"),
        (["NOUN", "VERB", "O"], "none"),
        (["B_a", "I_a", "O"], "BIO"),
        (["B-a", "I-a", "B-b", "o", "O"], "BIO"),
        (["B", "I", "O"], "BIO"),
        (["B", "M", "E", "S"], "BMES"),
        (["N", "V", "S", "I", "M", "B"], "none"),
        (["NOUN", "B-x", "VERB"], "none"),
    ],
)
def test_the_scheme_is_read_from_the_tags(tags, scheme):
    assert scheme_of(Counter(tags), [tags]) == scheme


@pytest.mark.parametrize(
    ("scheme", "tags", "number"),
    [
        ("BIO", ["O", "I-a", "I-a"], 1),
        ("BIO", ["B-a", "I-b"], 1),
        ("IOB1", ["B-a", "I-a", "B-a"], 1),
        ("IOB1", ["I-a", "B-a"], 0),
        ("BIOES", ["B-a", "O", "E-a"], 2),
        ("BIOES", ["B-a", "I-a"], 1),
        ("BILOU", ["U-a", "B-a", "L-a"], 0),
        ("BMES", ["M-a", "E-a"], 1),
    ],
)
def test_violations_are_counted(scheme, tags, number):
    assert violations(tags, scheme) == number


def test_violations_are_said_with_their_rows(tmp_path, caplog):
    rows = [{"tokens": ["a", "b"], "tags": tags} for tags in (["B-x", "I-x"], ["O", "I-x"], ["B-x", "O"])]
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("token-classification", dataset={"train": rows * 10, "validation": rows})
    assert "validation: 1 of 6 tags break BIO in 1 row (1, counted from 0)" in caplog.text


def test_tags_of_the_same_types_that_train_lacks_are_known():
    assert studied([["B-a", "O"], ["B-b", "I-b"]]).labels == ["O", "B-a", "I-a", "B-b", "I-b"]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"tokens": ["a"], "tags": ["O", "O"]}, "not as many tags as tokens"),
        ({"tokens": [], "tags": []}, "tokens is empty"),
        ({"tokens": ["a", ""], "tags": ["O", "O"]}, "tokens has an empty entry"),
        ({"tokens": ["a", None], "tags": ["O", "O"]}, "tokens has an empty entry"),
        ({"tokens": ["a", "b"], "tags": ["O", None]}, "a token has no tag"),
        ({"tokens": ["a", "b"], "tags": ["O", ""]}, "a token has no tag"),
    ],
)
def test_rows_that_cannot_be_used_are_named(row, sentence):
    good = [{"tokens": ["a", "b"], "tags": ["B-x", "O"]}] * 10
    with pytest.raises(DataError, match=sentence):
        hfrecipes.check("token-classification", dataset={"train": good, "test": [*good, row]})


@pytest.mark.parametrize("stray", ["o", "0", "person"])
def test_one_stray_tag_is_named_and_does_not_turn_entities_into_bare_tags(stray):
    rows = [{"tokens": ["a", "b"], "tags": ["B-x", "O"]}] * 10 + [{"tokens": ["a", "b"], "tags": ["B-x", stray]}]
    with pytest.raises(DataError, match=f"tag '{stray}' has no prefix, as other tags do .* in 1 row"):
        hfrecipes.check("token-classification", dataset={"train": rows, "validation": rows[:2]})


def test_tokens_that_each_make_a_row_are_refused():
    rows = [{"tokens": ["EU"], "tags": ["B-x"]}, {"tokens": ["sat"], "tags": ["O"]}] * 5
    with pytest.raises(DataError, match="every row has one token: expected a sentence per row"):
        hfrecipes.check("token-classification", dataset={"train": rows, "validation": rows})


def test_tags_without_type_are_scored_as_entities():
    recipe = studied([["B", "I", "O"], ["B", "O", "B"]])
    assert recipe.labels == ["O", "B", "I"]
    found = score(recipe, [{"tags": ["B", "I", "O", "O"]}], [["B", "I", "O", "B"]])
    assert (found["precision"], found["recall"]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("tokens", "tags"), [("EU rejects it", "B-x O O"), ("['EU', 'rejects', 'it']", "['B-x', 'O', 'O']")]
)
def test_lists_in_the_cells_of_a_csv_file_are_read(tmp_path, tokens, tags):
    (tmp_path / "train.csv").write_text("tokens,tags\n" + f'"{tokens}","{tags}"\n' * 20)
    assert hfrecipes.check("token-classification", dataset=str(tmp_path / "train.csv"))["labels"] == ["O", "B-x"]


@pytest.mark.parametrize(
    ("header", "tokens", "tags"),
    [
        ("words,ner_tags", "EU rejects it", "B-x O O"),
        ("sentence,tags", "EU rejects it", "B-x O O"),
        ("tokens,labels", '""EU"", ""\\ud83d\\ude00"", ""it""', '""B-x"", ""O"", ""O""'),
    ],
)
def test_lists_in_cells_are_read_whatever_their_columns_are_called(tmp_path, header, tokens, tags):
    in_json = [f"[{cell}]" if '"' in cell else cell for cell in (tokens, tags)]
    (tmp_path / "train.csv").write_text(f"{header}\n" + f'"{in_json[0]}","{in_json[1]}"\n' * 20)
    assert hfrecipes.check("token-classification", dataset=str(tmp_path / "train.csv"))["labels"] == ["O", "B-x"]


@pytest.mark.parametrize("cell", ["[0 0 ... 1]", "array(a b c)", "[I, saw, Bob]", "['a' 'b', 'c']"])
def test_a_cell_that_looks_like_a_list_and_is_none_is_refused(tmp_path, cell):
    (tmp_path / "train.csv").write_text("tokens,tags\n" + f'"a b c","{cell}"\n' * 20)
    with pytest.raises(DataError, match="which is not a list: save the rows as jsonl or parquet"):
        hfrecipes.check("token-classification", dataset=str(tmp_path / "train.csv"))


def test_tags_that_the_dataset_names_keep_their_order_and_those_that_train_lacks():
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-MISC"]
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(datasets.ClassLabel(names=names))}
    )
    rows = datasets.Dataset.from_list([{"tokens": ["a", "b"], "ner_tags": [1, 0]}] * 20, features=features)
    assert hfrecipes.check("token-classification", dataset=rows)["labels"] == names


def test_a_test_file_with_fewer_columns_is_scored_by_its_own(tmp_path, caplog):
    (tmp_path / "train.txt").write_text("EU NNP I B-ORG\nsat VB O O\n\n" * 20)
    (tmp_path / "test.txt").write_text("EU B-ORG\nsat O\n\n" * 5)
    from hfrecipes.config.run_config import RunConfig
    from hfrecipes.data.checks import references
    from hfrecipes.data.prepare import read_splits

    recipe = TokenClassification()
    with caplog.at_level("INFO", "hfrecipes"):
        data = read_splits(RunConfig(task=recipe.task, dataset=str(tmp_path)), recipe)
    assert references(recipe, data.splits["test"]) == [["B-ORG", "O"]] * 5
    assert "columns of another split: tags is '1'" in caplog.text


def test_a_tokenizer_that_pads_on_the_left_gives_the_same_tags(tiny_bert, quick, tmp_path):
    import shutil

    shutil.copytree(tiny_bert, tmp_path / "left")
    about = json.loads((tmp_path / "left" / "tokenizer_config.json").read_text())
    about |= {"padding_side": "left", "truncation_side": "left"}
    (tmp_path / "left" / "tokenizer_config.json").write_text(json.dumps(about))
    rows = [dict(TokenClassification.samples[place % 4]) for place in range(20)]
    settings = {**quick, "model": str(tmp_path / "left")}
    result = hfrecipes.run("token-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
    several = result.predict([{"tokens": ["a"] * size} for size in (3, 30)])
    (alone,) = result.predict([{"tokens": ["a"] * 3}])
    assert alone["scores"] == pytest.approx(several[0]["scores"], abs=1e-5)


def test_labels_of_whole_texts_are_no_tags():
    rows = [{"text": "a film", "label": "good"}, {"text": "a book", "label": "bad"}] * 5
    with pytest.raises(DataError, match="column 'label' holds string, expected a list in each row"):
        hfrecipes.check("token-classification", dataset=rows)


# --- spans of characters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entities",
    [
        [{"start": 0, "end": 9, "label": "P"}],
        [{"start_offset": 0, "end_offset": 9, "type": "P"}],
        [[0, 9, "P"]],
    ],
)
def test_spans_become_tags(tmp_path, entities):
    rows = [{"text": "Ada Lamb's cat", "entities": entities}, {"text": "Nothing here", "entities": []}] * 5
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = hfrecipes.check("token-classification", dataset=str(tmp_path / "train.jsonl"))
    assert found["labels"] == ["O", "B-P", "I-P"]


@pytest.mark.parametrize(
    ("entities", "sentence"),
    [
        ([{"start": 0, "end": 3, "label": "P"}, {"start": 2, "end": 5, "label": "Q"}], "spans overlap"),
        ([{"start": 3, "end": 99, "label": "P"}], "outside of its text"),
        ([{"start": 0, "end": 3, "label": ""}], "a span has no label"),
        ([{"start": 4, "end": 6, "label": "P"}, {"start": 6, "end": 8, "label": "Q"}], "two spans share a word"),
        ([{"start": 3, "end": 4, "label": "P"}], "a span holds only blanks"),
    ],
)
def test_spans_that_no_tags_can_stand_for_are_named(entities, sentence):
    rows = [{"text": "Ada Lamb", "entities": [{"start": 0, "end": 3, "label": "P"}]}] * 5
    with pytest.raises(DataError, match=sentence):
        hfrecipes.check("token-classification", dataset=[*rows, {"text": "Ada Lamb", "entities": entities}])


def test_a_span_of_another_form_is_shown():
    rows = [{"text": "Ada Lamb", "entities": [{"from": 0, "to": 3, "label": "P"}]}] * 5
    with pytest.raises(DataError, match=r"found the span .*'from': 0.*, expected"):
        hfrecipes.check("token-classification", dataset=rows)


def test_a_span_within_a_word_is_widened_and_said(caplog):
    rows = [{"text": "Ada Lamb", "entities": [{"start": 0, "end": 2, "label": "P"}]}] * 20
    with caplog.at_level("INFO", "hfrecipes"):
        assert hfrecipes.check("token-classification", dataset=rows)["labels"] == ["O", "B-P"]
    assert "was widened to it in" in caplog.text


@given(st.text(max_size=40))
@CASES
def test_words_cover_all_that_is_no_blank(text):
    spans = split_words(text)
    covered = {place for start, end in spans for place in range(start, end)}
    assert all(sign.isspace() or place in covered or not sign.isprintable() for place, sign in enumerate(text))
    assert find_words(text, [text[start:end] for start, end in spans]) == spans


def test_chinese_and_japanese_letters_are_words():
    text = "王小明在Tokyo駅で3時に"
    assert [text[a:b] for a, b in split_words(text)] == ["王", "小", "明", "在", "Tokyo", "駅", "で", "3", "時", "に"]


# --- windows ---------------------------------------------------------------------------------------------------------


def recipe_with_tokenizer(**options) -> TokenClassification:
    recipe = TokenClassification(**options)
    recipe.tokenizer, recipe.labels, recipe.scheme = make_tokenizer("京都"), ["O", "B-a", "I-a"], "BIO"
    return recipe


@pytest.mark.parametrize("words", [1, 5, 60, 200])
@pytest.mark.parametrize("stride", [0, 4, 64])
def test_every_word_has_one_piece_to_be_tagged_by(words, stride):
    recipe = recipe_with_tokenizer(max_length=16, stride=stride)
    features = recipe.encode({"tokens": [["film", "xyz", "!"] * words, ["book"]], "tags": [["O"] * 3 * words, ["B-a"]]})
    owned = [[], []]
    for row, several in zip(features["row"], features["words"], strict=True):
        owned[row] += [word for word in several if word >= 0]
    assert sorted(owned[0]) == list(range(3 * words))
    assert owned[1] == [0]
    assert max(features["length"]) <= 16
    labelled = sum(label != -100 for labels in features["labels"] for label in labels)
    assert labelled == 3 * words + 1, "gold never shrinks"


def test_a_word_is_tagged_by_its_first_piece_where_it_has_most_context():
    recipe = recipe_with_tokenizer(max_length=12, stride=4)
    features = recipe.encode({"tokens": [["film"] * 30]})
    for window, words in enumerate(features["words"]):
        places = [place for place, word in enumerate(words) if word >= 0]
        assert window == 0 or min(places) > 1, "not the first piece of a later window"


@pytest.mark.parametrize("odd", ["\u200b", "\ufeff", "\x00", "\u00ad"])
def test_a_word_that_leaves_no_piece_is_tagged_too(odd):
    recipe = recipe_with_tokenizer()
    features = recipe.encode({"tokens": [["film", odd, "book"]], "tags": [["O", "B-a", "O"]]})
    assert [word for word in features["words"][0] if word >= 0] == [0, 1, 2]
    assert features["input_ids"][0][2] == recipe.tokenizer.unk_token_id


def test_one_letter_a_token_is_right_for_chinese():
    recipe = recipe_with_tokenizer()
    features = recipe.encode({"tokens": [["京", "都", "京"]]})
    assert features["words"][0] == [-1, 0, 1, 2, -1]


def test_predictions_of_windows_come_together_in_the_order_of_words():
    recipe = recipe_with_tokenizer(max_length=8, stride=2)
    tokens = ["film", "book"] * 10
    encoded = datasets.Dataset.from_dict(recipe.encode({"tokens": [tokens]}))
    width = max(map(len, encoded["input_ids"]))
    best, score = np.full((len(encoded), width), -100), np.full((len(encoded), width), -100.0)
    for window, words in enumerate(encoded["words"]):
        for place, word in enumerate(words):
            best[window, place], score[window, place] = (word % 2 if word >= 0 else 2), word
    (made,) = recipe.decode((best, score), [{"tokens": tokens}], encoded)
    assert made["tags"] == ["O", "B-a"] * 10
    assert made["scores"] == list(range(20))


# --- scores ----------------------------------------------------------------------------------------------------------


def pairs_of(tags: list[str]):
    rows = st.lists(st.tuples(st.sampled_from(tags), st.sampled_from(tags)), min_size=1, max_size=8)
    return st.lists(rows, min_size=1, max_size=5)


def split_pairs(rows):
    return [[a for a, _ in row] for row in rows], [[b for _, b in row] for row in rows]


def agrees_with_seqeval(scheme: str, tags: list[str], strict_scheme, rows) -> None:
    reference, predicted = split_pairs(rows)
    recipe = studied([tags], scheme=scheme)
    found = score(recipe, [{"tags": one} for one in predicted], reference)
    for ending, options in (("", {}), ("_strict", {"mode": "strict", "scheme": strict_scheme})):
        for name in ("precision", "recall", "f1"):
            wanted = getattr(seqeval.metrics, f"{name}_score")(reference, predicted, zero_division=0, **options)
            assert found[name + ending] == pytest.approx(wanted)
    report = seqeval.metrics.classification_report(reference, predicted, output_dict=True, zero_division=0)
    for kind in "ab":
        assert found[f"f1[{kind}]"] == pytest.approx(report.get(kind, {"f1-score": 0})["f1-score"])
    assert found["accuracy"] == pytest.approx(seqeval.metrics.accuracy_score(reference, predicted))


@random_cases(300, pairs_of(BIO))
def test_scores_are_those_of_seqeval(rows):
    agrees_with_seqeval("BIO", BIO, IOB2, rows)


@random_cases(300, pairs_of(BIO))
def test_scores_are_those_of_seqeval_in_iob1(rows):
    agrees_with_seqeval("IOB1", BIO, IOB1, rows)


@random_cases(300, pairs_of(BIOES))
def test_scores_are_those_of_seqeval_in_bioes(rows):
    agrees_with_seqeval("BIOES", BIOES, IOBES, rows)


def conlleval_chunks(tags: list[str]) -> set[tuple[str, int, int]]:
    """Chunks by the definition of the script conlleval, for BIO tags.

    A chunk of a type ends where the next tag is O, B, or of another type, and begins where the one before it is O or of
    another type, or where the tag is B.
    """
    found, start = set(), None
    parts = [("O", "") if tag == "O" else tuple(tag.split("-")) for tag in tags] + [("O", "")]
    for place, (prefix, kind) in enumerate(parts):
        before = parts[place - 1] if place else ("O", "")
        if start is not None and (prefix in "OB" or kind != before[1]):
            found.add((before[1], start, place - 1))
            start = None
        if prefix != "O" and start is None:
            start = place
    return found


@random_cases(300, pairs_of(BIO))
def test_counts_are_those_of_conlleval(rows):
    reference, predicted = split_pairs(rows)
    found = score(studied([BIO]), [{"tags": one} for one in predicted], reference)
    chunks = [(conlleval_chunks(a), conlleval_chunks(b)) for a, b in zip(reference, predicted, strict=True)]
    hit, there, said = (
        sum(len(a & b) for a, b in chunks),
        sum(len(a) for a, _ in chunks),
        sum(len(b) for _, b in chunks),
    )
    assert found["recall"] == pytest.approx(hit / there if there else 0)
    assert found["precision"] == pytest.approx(hit / said if said else 0)


@random_cases(300, pairs_of(["NOUN", "VERB", "O"]))
def test_scores_of_bare_tags_are_those_of_scikit_learn(rows):
    import sklearn.metrics

    reference, predicted = split_pairs(rows)
    labels = ["NOUN", "O", "VERB"]
    found = score(studied([labels]), [{"tags": one} for one in predicted], reference)
    flat_gold, flat = ([tag for tags in side for tag in tags] for side in (reference, predicted))
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(flat_gold, flat))
    each = sklearn.metrics.f1_score(flat_gold, flat, labels=labels, average=None, zero_division=0)
    assert [found[f"f1[{tag}]"] for tag in labels] == pytest.approx(each)
    assert found["f1_macro"] == pytest.approx(sklearn.metrics.f1_score(flat_gold, flat, average="macro"))


@given(pairs_of(BIO), st.integers(0, 100))
@settings(max_examples=200, deadline=None)
def test_a_resample_scores_as_its_rows_do(rows, seed):
    reference, predicted = split_pairs(rows)
    recipe, predictions = studied([BIO]), [{"tags": one} for one in predicted]
    places = np.random.default_rng(seed).integers(0, len(reference), len(reference))
    weights = np.bincount(places, minlength=len(reference))[None].astype(np.float32)
    plain = score(recipe, [predictions[i] for i in places], [reference[i] for i in places])
    found = recipe.measure(predictions, reference)(weights)
    assert {name: pytest.approx(values[0]) for name, values in found.items()} == plain


# --- runs ------------------------------------------------------------------------------------------------------------


def notices(number: int) -> list[dict]:
    rows = []
    for place in range(number):
        thing, mood = ["film", "book", "hotel", "train"][place % 4], ["great", "awful", "fine"][place % 3]
        rows.append({"tokens": ["the", thing, "was", mood], "tags": ["O", "B-thing", "O", "O"]})
    return rows


def test_a_run_learns_and_gives_entities_with_their_place_in_the_text(quick, tmp_path):
    rows = {"train": notices(120), "test": notices(24)}
    result = hfrecipes.run("token-classification", dataset=rows, output_dir=tmp_path / "run", **quick)
    assert result.metrics["test"]["f1"] > 0.9
    text = "  the  film, was the BOOK"
    made = hfrecipes.load(tmp_path / "run").predict(text)
    assert [(one["label"], text[one["start"] : one["end"]]) for one in made["entities"]] == [
        ("thing", "film"),
        ("thing", "BOOK"),
    ]
    assert all(0 < one["score"] <= 1 for one in made["entities"])
    tags = result.predict([{"tokens": ["the", "hotel"]}])
    assert tags[0]["tags"] == ["O", "B-thing"]
    assert result.predict({"tokens": ["the", "hotel"]}) == tags[0]


def test_a_sentence_beyond_the_model_is_scored_to_its_last_word(quick, tmp_path):
    long = {"tokens": ["the", "film"] * 150, "tags": ["O", "B-thing"] * 150}
    rows = {"train": notices(80), "test": [long]}
    settings = {**quick, "num_train_epochs": 4}
    result = hfrecipes.run("token-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
    (line,) = [
        json.loads(line)
        for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()
        if '"split": "test"' in line
    ]
    assert len(line["prediction"]["tags"]) == 300
    assert result.scores["test"]["recall"].value > 0.9
