"""Texts that are written are scored as rouge_score and sacrebleu score them, end where they end, and can be learnt."""

from __future__ import annotations

import json
import random
import shutil
import unicodedata
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_cases import random_cases
from test_question_answering import reference_scores

import hfrecipes
from hfrecipes.errors import ConfigError, DataError, MissingPackageError, ModelError
from hfrecipes.evaluation.inference import in_row_order
from hfrecipes.metrics import _languages, _squad, _text
from hfrecipes.tasks._language_codes import language_codes, matching_code
from hfrecipes.tasks._seq2seq import Seq2SeqWriter
from hfrecipes.tasks.summarization import Summarization
from hfrecipes.tasks.text2text_generation import Text2TextGeneration
from hfrecipes.tasks.translation import Translation

PAIRS = settings(max_examples=500, deadline=None)
WORDS = ["the", "film", "was", "great", "Films", "running", "ran", "a", "3.5", "it's", "–", "over.", "really?"]
LINE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
REFERENCES = st.lists(LINE, min_size=1, max_size=3)


def scored(recipe, predictions: list[dict], references: list) -> dict[str, float]:
    """The metrics of all rows, each counted once."""
    values = recipe.measure(predictions, references)(np.ones((1, len(references)), dtype=np.float32))
    return {name: float(value[0]) for name, value in values.items()}


# --- scores ----------------------------------------------------------------------------------------------------------


@random_cases(500, LINE, REFERENCES)
def test_rouge_is_that_of_rouge_score(text, references):
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True).score_multi(references, text)
    ours = _text.rouge([text], [references], letters=False)
    for name, score in theirs.items():
        assert ours[name][0] == pytest.approx(100 * score.fmeasure, abs=1e-6)


@random_cases(500, st.lists(st.tuples(LINE, REFERENCES), min_size=1, max_size=6))
def test_bleu_and_chrf_are_those_of_sacrebleu(rows):
    import sacrebleu

    texts, references = [text for text, _ in rows], [several for _, several in rows]
    most = max(map(len, references))
    streams = [[several[place] if place < len(several) else None for several in references] for place in range(most)]
    ours = _text.Corpus(texts, references).measure(np.ones((1, len(rows))))
    assert ours["bleu"][0] == pytest.approx(sacrebleu.corpus_bleu(texts, streams, force=True).score, abs=1e-6)
    assert ours["chrf"][0] == pytest.approx(sacrebleu.corpus_chrf(texts, streams).score, abs=1e-6)


SYMBOLS = ["A", "a", "the", "+", "-", "*", "...", "5", "-5", "1.5", "15", "10:30", "Paris", "paris.", "é", "e\u0301"]
SYMBOL_LINE = st.lists(st.sampled_from([*SYMBOLS, "第", "1节", "かな"]), min_size=1, max_size=6).map(" ".join)
SYMBOL_ROWS = st.lists(st.tuples(SYMBOL_LINE, st.lists(SYMBOL_LINE, min_size=1, max_size=3)), min_size=1, max_size=5)


def reference_tokens(text: str, characters: bool) -> list[str]:
    """Tokens of F1 by a walk over the characters."""
    text = unicodedata.normalize("NFC", text)
    tokens, position = [], 0
    while position < len(text):
        end, character = position + 1, text[position]
        before = text[position - 1] if position else " "
        signed = character in "+-" and end < len(text) and text[end].isdigit() and not before.isdigit()
        if character.isdigit() or (signed and (_squad.is_cjk(before) or not before.isalpha())):
            while end < len(text) and (text[end].isdigit() or (text[end] == "." and text[end + 1 : end + 2].isdigit())):
                end += 1
        elif character.isalpha() and not (characters and _squad.is_cjk(character)):
            while end < len(text) and text[end].isalpha() and not (characters and _squad.is_cjk(text[end])):
                end += 1
        if not character.isspace():
            tokens.append(text[position:end])
        position = end
    return tokens


def reference_f1(text: str, reference: str, characters: bool) -> float:
    said, wanted = reference_tokens(text, characters), reference_tokens(reference, characters)
    shared, left = 0, list(wanted)
    for token in said:
        if token in left:
            left.remove(token)
            shared += 1
    precision, recall = shared / len(said), shared / len(wanted)
    return 2 * precision * recall / (precision + recall) if shared else 0.0


@pytest.mark.parametrize("characters", [False, True])
@given(rows=SYMBOL_ROWS)
@PAIRS
def test_scores_of_any_text_are_those_of_plain_definitions(characters, rows):
    import sacrebleu

    texts, references = [text for text, _ in rows], [several for _, several in rows]
    scores = scored(
        Text2TextGeneration(characters=characters), [{"generated_text": text} for text in texts], references
    )
    exact = f1 = 0.0
    for text, several in rows:
        exact += unicodedata.normalize("NFC", text) in [unicodedata.normalize("NFC", one) for one in several]
        f1 += max(reference_f1(text, one, characters) for one in several)
    most = max(map(len, references))
    streams = [[several[place] if place < len(several) else None for several in references] for place in range(most)]
    assert scores["exact_match"] == pytest.approx(100 * exact / len(rows))
    assert scores["f1"] == pytest.approx(100 * f1 / len(rows))
    assert scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(texts, streams).score, abs=1e-6)


@given(SYMBOL_ROWS)
@PAIRS
def test_scores_by_squad_s_normalization_are_those_of_squad(rows):
    recipe = Text2TextGeneration(normalize="squad", characters=False)
    scores = scored(recipe, [{"generated_text": text} for text, _ in rows], [several for _, several in rows])
    expected = reference_scores([text for text, _ in rows], [several for _, several in rows], 1)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


def agreement(texts: list[str], references: list[str], **options) -> dict[str, float]:
    recipe = Text2TextGeneration(characters=False, **options)
    scores = scored(recipe, [{"generated_text": text} for text in texts], [[text] for text in references])
    return {name: round(value, 1) for name, value in scores.items()}


@pytest.mark.parametrize("texts", [["A", "B", "C"], ["a", "an", "the"], ["+", "-", "*"], ["...", "!?"], ["1.5", "-5"]])
def test_a_text_of_any_characters_is_right_where_it_is_the_same(texts):
    assert agreement(texts, texts) == {"exact_match": 100, "f1": 100, "chrf": 100}


@pytest.mark.parametrize(
    ("text", "reference"),
    [("", "A"), ("+", "-"), ("a", "the"), ("15", "1.5"), ("5", "-5"), ("1030", "10:30"), ("Yes", "yes"), ("²", "2")],
)
def test_another_text_is_wrong(text, reference):
    scores = agreement([text], [reference])
    assert (scores["exact_match"], scores["f1"]) == (0, 0)


def test_how_a_letter_is_encoded_and_outer_blanks_are_no_mistake():
    scores = agreement([" caf\u00e9\n"], ["cafe\u0301"])
    assert (scores["exact_match"], scores["f1"]) == (100, 100)


def test_squad_s_normalization_is_there_where_it_is_asked_for():
    assert agreement(["paris"], ["The Paris."], normalize="squad")["exact_match"] == 100
    assert agreement(["paris"], ["The Paris."])["exact_match"] == 0
    with pytest.raises(ConfigError, match="normalize"):
        hfrecipes.check("text2text-generation", dataset="nowhere.csv", normalize="bert")


def test_of_several_references_the_best_counts():
    recipe = Text2TextGeneration(characters=False)
    scores = scored(recipe, [{"generated_text": "42"}], [["forty-two", "42"]])
    assert scores == pytest.approx({"exact_match": 100, "f1": 100, "chrf": 100})
    assert "nrefs:2" in recipe.signatures["chrf"]


def test_chrf_picks_the_checkpoint_of_texts_to_texts(tiny_t5, quick, tmp_path):
    rows = [dict(Text2TextGeneration.samples[place % 4]) for place in range(24)]
    settings = {**quick, "model": tiny_t5, "max_target_length": 6, "max_steps": 1}
    result = hfrecipes.run("text2text-generation", dataset=rows, output_dir=tmp_path / "run", **settings)
    assert result.trainer.args.metric_for_best_model == "chrf"
    assert result.trainer.args.greater_is_better
    assert "version:" in result.scores["validation"]["chrf"].signature


def test_a_resample_scores_as_its_rows_do():
    texts, references = ["the film was great", "a book"], [["the film was really great"], ["the book"]]
    twice = _text.Corpus(texts, references).measure(np.array([[2.0, 0.0]]))
    alone = _text.Corpus(texts[:1] * 2, references[:1] * 2).measure(np.ones((1, 2)))
    assert twice["bleu"] == pytest.approx(alone["bleu"])
    assert twice["chrf"] == pytest.approx(alone["chrf"])


def test_the_signature_says_how_bleu_was_counted():
    recipe = Translation(target_lang="zh")
    scored(recipe, [{"translation_text": "北京是首都"}], [["北京是首都"]])
    assert "tok:zh" in recipe.signatures["bleu"]
    for language, tokenizer in (("de", "13a"), ("ja", "char"), ("zho_Hans", "zh"), ("zh_CN", "zh"), ("", "13a")):
        assert f"tok:{tokenizer}|" in _text.Corpus(["a"], [["a"]], language).signatures["bleu"]


LANGUAGES = {"zh": ["zh", "zho_Hans", "zh_CN", "zh-TW", "chinese", "Chinese", "traditional_chinese", "cn", "hk", "yue"]}
LANGUAGES["char"] = ["ja", "jp", "Japanese", "ja_XX", "ko", "kr", "korean", "kor_Hang", "th", "Thai", "lo", "km", "bo"]
LANGUAGES["13a"] = ["en", "english", "eng_Latn", "en_XX", "us", "de", "German", "fr", "vi", "id", "ua", "greek"]


@pytest.mark.parametrize(("tokenizer", "name"), [(key, name) for key, names in LANGUAGES.items() for name in names])
def test_a_language_is_known_by_its_codes_its_name_and_its_country(tokenizer, name):
    corpus = _text.Corpus(["a"], [["a"]], name)
    assert f"tok:{tokenizer}|" in corpus.signatures["bleu"]
    assert _languages.language(name)


def test_chinese_by_name_scores_as_chinese_by_code():
    texts, references = ["雨下得很大了", "茶很好"], [["今天雨下得很大。"], ["这杯茶很好喝。"]]
    by_code, by_name = (_text.Corpus(texts, references, name).measure(np.ones((1, 2))) for name in ("zh", "chinese"))
    assert by_code["bleu"][0] == by_name["bleu"][0] > 30


WRITTEN = {
    "zh": "北京是首都。",
    "ja": "会議は火曜日です。",
    "ko": "회의는 화요일입니다.",
    "th": "วันนี้ฝนตกหนัก",
    "km": "ថ្ងៃនេះភ្លៀង",
}


@pytest.mark.parametrize("language", WRITTEN)
@pytest.mark.parametrize("name", ["", "xx", "中文", "en"])
def test_texts_without_blanks_decide_where_the_language_does_not(language, name):
    assert _text.language_of([WRITTEN[language]] * 3) == language
    signature = _text.Corpus(["a"], [[WRITTEN[language]]], name).signatures["bleu"]
    assert f"tok:{'zh' if language == 'zh' else 'char'}|" in signature


def test_a_few_japanese_words_do_not_make_a_chinese_text_japanese():
    assert _text.language_of([*[WRITTEN["zh"]] * 30, WRITTEN["ja"]]) == "zh"


@pytest.mark.parametrize("name", ["xx", "foo", "zz", "und", "text"])
def test_what_is_no_language_is_not_taken_for_one(name):
    assert _languages.parse(name) is None
    assert _languages.language(name) == ""


@pytest.mark.parametrize(
    ("text", "reference"), [("北京是中国首都", "首都是北京"), ("会議は火曜日です", "会議は水曜日です")]
)
def test_chinese_and_japanese_do_not_score_zero(text, reference):
    for name, values in _text.rouge([text], [[reference]], letters=True).items():
        assert 0 < values[0] < 100, name
    assert _text.Corpus([text], [[reference]], "zh").measure(np.ones((1, 1)))["chrf"][0] > 0
    recipe = Summarization()
    assert recipe.infer_labels(datasets.Dataset.from_dict({"summary": [reference] * 3})) == [
        "ROUGE counts words of any script, Chinese and Japanese by character; options.characters changes that"
    ]


def test_sentences_are_compared_one_by_one():
    assert (
        _text.by_sentence("It rained. We left!  Why? 他来了。她走了。")
        == "It rained.\nWe left!\nWhy?\n他来了。\n她走了。"
    )
    text, reference = "We left. It rained.", "It rained. We left."
    scores = _text.rouge([text], [[reference]], letters=False)
    assert scores["rougeLsum"][0] > scores["rougeL"][0]


# --- rows ------------------------------------------------------------------------------------------------------------


def loaded(recipe, rows, **settings) -> datasets.Dataset:
    from hfrecipes.config.run_config import RunConfig
    from hfrecipes.data.prepare import read_splits

    return read_splits(RunConfig(task=recipe.task, dataset=rows, **settings), recipe).splits["train"]


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([{"translation": {"en": "hello", "de": "hallo"}}], {}),
        ([{"en": "hello", "de": "hallo"}], {}),
        ([{"de": "hallo", "en": "hello"}], {"source_lang": "en"}),
        ([{"translation": {"de": "hallo", "en": "hello"}}], {"target_lang": "deu_Latn"}),
        ([{"source": "hello", "target": "hallo"}], {"source_lang": "en_XX", "target_lang": "de_DE"}),
        ([{"src": "hello", "tgt": "hallo"}], {}),
        ([{"src": "hello", "tgt": "hallo", "url": "a", "tag": "b"}], {}),
        ([{"en": "hello", "de": "hallo", "url": "a"}], {"source_lang": "en", "target_lang": "de"}),
    ],
)
def test_every_shape_of_parallel_texts_gives_source_and_target(rows, options):
    found = loaded(Translation(**options), rows * 3)
    assert (found[0]["source"], found[0]["target"]) == ("hello", "hallo")


@pytest.mark.parametrize(
    ("rows", "options", "languages"),
    [
        ([{"english": "hello", "german": "hallo"}], {}, ["en", "de"]),
        ([{"English": "hello", "German": "hallo", "domain": "x"}], {}, ["en", "de"]),
        ([{"german": "hallo", "english": "hello"}], {"source_lang": "en"}, ["en", "de"]),
        ([{"german": "hallo", "english": "hello"}], {"target_lang": "German"}, ["en", "de"]),
        ([{"translation": {"german": "hallo", "english": "hello"}}], {"source_lang": "eng_Latn"}, ["en", "de"]),
        ([{"us": "hello", "de": "hallo"}], {}, ["en", "de"]),
        ([{"translation": {"source": "hello", "target": "hallo"}}], {}, []),
        ([{"translation": {"tgt": "hallo", "src": "hello"}}], {"target_lang": "de"}, ["de"]),
        ([{"translation": {"en": "hello", "xx": "hallo"}}], {"target_lang": "de"}, ["en", "de"]),
        ([{"xx": "hello", "foo": "hallo"}], {"source_lang": "en", "target_lang": "de"}, ["en", "de"]),
        ([{"even": "no", "source": "hello", "target": "hallo", "male": "no"}], {}, []),
        ([{"mandarin": "hello", "Farsi": "hallo"}], {}, ["zh", "fa"]),
        ([{"EN": "hello", "DE": "hallo", "ID": "7"}], {}, ["en", "de"]),
        ([{"text_en": "hello", "text_de": "hallo", "number": "a"}], {}, ["en", "de"]),
        ([{"sentence_deu_Latn": "hallo", "sentence_eng_Latn": "hello"}], {"target_lang": "German"}, ["en", "de"]),
        (
            [{"en_text": "hello", "fr_text": "allo", "de_text": "hallo"}],
            {"source_lang": "en", "target_lang": "de"},
            ["en", "de"],
        ),
    ],
)
def test_names_of_languages_are_read_as_their_codes_are(rows, options, languages):
    recipe = Translation(**options)
    found = loaded(recipe, rows * 3)
    assert (found[0]["source"], found[0]["target"]) == ("hello", "hallo")
    assert recipe.writer.languages == languages


@pytest.mark.parametrize("row", [{"en": "hello", "xx": "hallo"}, {"translation": {"en": "hello", "xx": "hallo"}}])
def test_what_is_no_language_is_asked_for_before_training_and_the_edit_works(row):
    with pytest.raises(ConfigError, match=r"target_lang: xx is not a known language: .* target_lang=de for German"):
        hfrecipes.check("translation", dataset=[row] * 20)
    hfrecipes.check("translation", dataset=[row] * 20, target_lang="de")


def test_a_language_that_the_data_lacks_is_not_read_from_another_column():
    rows = [{"en": "hello", "de": "hallo", "uid": "a1"}] * 3
    with pytest.raises(ConfigError, match="target_lang: no fr in the data, which has en, de, uid"):
        loaded(Translation(source_lang="en", target_lang="fr"), rows)


def test_a_language_that_only_its_texts_show_is_said(caplog):
    rows = [{"translation": {"en": f"hello {place}", "中文": f"你好 {place}"}} for place in range(20)]
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("translation", dataset=rows)
    assert "target_lang: 中文, but its texts look like zh, so BLEU splits them as zh" in caplog.text


def test_a_direction_that_was_guessed_is_said_and_kept(caplog):
    rows = [{"translation": {"en": f"hello {place}", "de": f"hallo {place}"}} for place in range(20)]
    with caplog.at_level("INFO", "hfrecipes"):
        report = hfrecipes.check("translation", dataset=rows)
    assert "from en to de; options.source_lang changes that" in caplog.text
    assert report["config"].options["target_lang"] == "de"


def test_a_language_that_the_data_lacks_is_named():
    with pytest.raises(ConfigError, match="source_lang: no fr in the data, which has en, de"):
        loaded(Translation(source_lang="fr"), [{"translation": {"en": "a", "de": "b"}}])


def test_parallel_files_are_read_side_by_side(tmp_path: Path):
    for split, number in (("train", 30), ("val", 6), ("test_2016", 6)):
        for language, word in (("en", "hello"), ("de", "hallo")):
            lines = "".join(f"{word} {place}\n" for place in range(number))
            (tmp_path / f"{split}.{language}").write_text(lines)
    report = hfrecipes.check("translation", dataset=str(tmp_path), source_lang="en")
    assert report["rows"] == {"train": 30, "validation": 6, "test": 6}
    found = loaded(Translation(source_lang="en"), str(tmp_path))
    assert found[3] == {"source": "hello 3", "target": "hallo 3"}
    (tmp_path / "train.en").write_text("hello\n")
    with pytest.raises(DataError, match=r"have different numbers of lines: de 30, en 1"):
        hfrecipes.check("translation", dataset=str(tmp_path), source_lang="en")


@pytest.mark.parametrize(
    ("row", "source", "references"),
    [
        ({"instruction": "Greet.", "input": "Ida", "output": "Hello Ida"}, "Greet.\n\nIda", ["Hello Ida"]),
        ({"instruction": "Greet.", "input": "", "output": "Hello"}, "Greet.", ["Hello"]),
        (
            {"question": "who ?", "context": "Ida came", "answers": {"text": ["Ida", "ida"], "answer_start": [0, 0]}},
            "question: who ? context: Ida came",
            ["Ida", "ida"],
        ),
        ({"question": "who ?", "answer": "Ida"}, "who ?", ["Ida"]),
        ({"prompt": "2 + 2", "completion": "4"}, "2 + 2", ["4"]),
    ],
)
def test_instructions_and_questions_become_input_and_output(row, source, references):
    recipe = Text2TextGeneration()
    found = loaded(recipe, [row] * 3)
    assert found[0]["input"] == source
    assert recipe.reference(found[0]) == references


ARTICLE = {
    "title": "Mills",
    "paragraphs": [
        {
            "context": "the old mill",
            "qas": [
                {
                    "id": "q1",
                    "question": "what ?",
                    "answers": [{"text": "mill", "answer_start": 8}, {"text": "old mill", "answer_start": 4}],
                },
                {"id": "q2", "question": "who ?", "answers": [], "is_impossible": True},
            ],
        }
    ],
}


def test_files_of_squad_are_questions_to_answer_in_words(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"version": "v2.0", "data": [ARTICLE] * 3}))
    recipe = Text2TextGeneration()
    found = loaded(recipe, str(tmp_path / "train.json"))
    assert found[0]["input"] == "question: what ? context: the old mill"
    assert [recipe.reference(row) for row in found][:2] == [["mill", "old mill"], None]
    with pytest.raises(DataError, match=r"output is missing in 3 rows .*drop_invalid=true"):
        hfrecipes.check("text2text-generation", dataset=str(tmp_path / "train.json"))


TURNS = [{"speaker": "Ana", "text": "Tea?"}, {"speaker": "Bo", "text": "Yes."}]


@pytest.mark.parametrize(
    ("task", "row", "source"),
    [
        ("text2text-generation", {"dialogue": TURNS, "response": "x"}, "Ana: Tea?\nBo: Yes."),
        ("text2text-generation", {"context": ["Tea?", "Yes."], "response": "x"}, "Tea?\nYes."),
        ("text2text-generation", {"history": ["Tea?"], "input": "Yes.", "output": "x"}, "Yes."),
        (
            "text2text-generation",
            {"question": "What?", "context": ["One.", "Two."], "answer": "x"},
            "question: What? context: One. Two.",
        ),
        (
            "text2text-generation",
            {"instruction": "Sum.", "input": {"a": [1, None]}, "output": "x"},
            'Sum.\n\n{"a": [1, null]}',
        ),
        ("summarization", {"dialogue": TURNS, "summary": "x"}, "Ana: Tea?\nBo: Yes."),
        ("summarization", {"dialogue": ["Ana: Tea?", "Bo: Yes."], "summary": "x"}, "Ana: Tea?\nBo: Yes."),
        ("summarization", {"article": [["One.", "Two."], ["Three."]], "summary": "x"}, "One. Two. Three."),
    ],
)
def test_turns_are_lines_and_sentences_are_one_text(task, row, source):
    recipe = hfrecipes.registry.find(task)()
    found = loaded(recipe, [row] * 3)
    assert found[0][next(iter(recipe.columns))] == source
    assert recipe.reference(found[0]) == ["x"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ({"name": "Ana", "known": True, "pet": None}, '{"name": "Ana", "known": true, "pet": null}'),
        ([{"name": "Zoë"}], '[{"name": "Zoë"}]'),
        ([3, 5], "[3, 5]"),
        (True, "true"),
        (7, "7"),
    ],
)
def test_what_is_learnt_of_an_object_is_the_json_of_the_file(cell, text, tmp_path, caplog):
    (tmp_path / "train.jsonl").write_text(json.dumps({"input": "a", "output": cell}, ensure_ascii=False) + "\n")
    recipe = Text2TextGeneration()
    found = loaded(recipe, str(tmp_path / "train.jsonl"))
    assert recipe.reference(found[0]) == [text]
    said = recipe.infer_labels(found)
    assert said == (["output: JSON in 1 of 1 row, read as texts, in the spelling of JSON"] if len(text) > 4 else [])


def test_objects_of_different_keys_get_no_key_that_they_lack(tmp_path):
    rows = [{"input": "a", "output": {"x": 1}}, {"input": "b", "output": {"y": None}}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = Text2TextGeneration()
    found = loaded(recipe, str(tmp_path / "train.jsonl"))
    assert [recipe.reference(row) for row in found] == [['{"x": 1}'], ['{"y": null}']]


@pytest.mark.parametrize("cell", [{"en": "a"}, [["One.", "Two."], ["Three."]]])
def test_a_summary_that_is_no_text_is_refused(cell):
    with pytest.raises(DataError, match=r"column summary holds .*expected a text, or a list of texts that are several"):
        hfrecipes.check("summarization", dataset=[{"document": "A text.", "summary": cell}] * 20)


def test_that_of_several_references_the_first_is_learnt_is_printed(caplog):
    rows = [{"input": f"note {place}", "output": ["one", "two", "three"][: 1 + place % 3]} for place in range(20)]
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("text2text-generation", dataset=rows)
    assert "output: up to 3 texts per row, taken as several references, of which the first is learnt" in caplog.text
    assert "a list that is to be learnt as a whole must be written as a text" in caplog.text


@pytest.mark.parametrize(
    ("task", "row", "references"),
    [
        ("summarization", {"document": "d", "summary2": "b", "summary1": "a"}, ["a", "b"]),
        ("summarization", {"document": "d", "summaries": ["a", "b"]}, ["a", "b"]),
        ("translation", {"source": "s", "ref0": "a", "ref1": "b"}, ["a", "b"]),
        ("translation", {"source": "s", "target": "a", "reference_1": "b", "reference_2": " "}, ["a", "b"]),
        ("translation", {"translation": {"en": "s", "de": ["a", "b"]}}, ["a", "b"]),
        ("translation", {"english": "s", "german": ["a", "b"]}, ["a", "b"]),
        ("text2text-generation", {"input": "s", "output_1": "a", "output_2": "b"}, ["a", "b"]),
    ],
)
def test_columns_and_lists_of_several_references_are_read(task, row, references):
    recipe = hfrecipes.registry.find(task)()
    found = loaded(recipe, [row] * 3)
    assert found[0][next(iter(recipe.columns))] in ("d", "s")
    assert recipe.reference(found[0]) == references


def test_a_test_split_may_have_several_columns_of_summaries(caplog):
    train = [{"dialogue": f"Text {place}.", "summary": "a"} for place in range(20)]
    test = [{"dialogue": "Text.", "summary1": "b", "summary2": "c", "summary3": "b"}]
    recipe = Summarization()
    from hfrecipes.config.run_config import RunConfig
    from hfrecipes.data.prepare import read_splits

    with caplog.at_level("INFO", "hfrecipes"):
        config = RunConfig(task=recipe.task, dataset={"train": train, "test": test})
        splits = read_splits(config, recipe).splits
    assert recipe.reference(splits["test"][0]) == ["b", "c"]
    said = "test: columns dialogue, summary1, summary2, summary3 were converted to dialogue, summary, references"
    assert said in caplog.text
    assert "has no" not in caplog.text


def test_lists_of_texts_to_translate_are_refused_and_not_glued():
    rows = [{"en": ["One.", "Two."], "de": ["Eins.", "Zwei."]}] * 20
    with pytest.raises(DataError, match="en holds lists or objects, expected a text to translate in each row"):
        hfrecipes.check("translation", dataset=rows)


def test_a_list_of_summaries_is_one_to_learn_from_and_all_to_score_against():
    recipe = Summarization()
    found = loaded(recipe, [{"document": "A long text.", "summary": ["Short.", "Brief."]}] * 3)
    assert found[0]["summary"] == "Short."
    assert recipe.reference(found[0]) == ["Short.", "Brief."]
    scores = scored(recipe, [{"summary_text": "Brief."}], [["Short.", "Brief."]])
    assert scores["rouge1"] == pytest.approx(100)


def test_a_document_may_be_a_list_of_sentences():
    found = loaded(Summarization(), [{"source": ["One.", "Two."], "summary": ["Both.", "The two."]}] * 3)
    assert found[0]["document"] == "One. Two."
    assert found[0]["references"] == ["Both.", "The two."]


@pytest.mark.parametrize("blank", ["", "  ", None])
def test_a_row_without_a_text_to_learn_is_named(blank):
    rows = [{"document": f"A text {place}.", "summary": "Short."} for place in range(20)]
    rows[3]["summary"] = blank
    with pytest.raises(DataError, match=r"summary is missing in 1 row \(3"):
        hfrecipes.check("summarization", dataset=rows)


def test_the_trivial_summary_is_the_first_three_sentences():
    rows = datasets.Dataset.from_list([{"document": "One. Two! Three? Four."}, {"document": "一。二。三。四。"}])
    recipe = Summarization()
    made = recipe.baseline_predictions(rows, recipe.baseline(rows))
    assert [one["summary_text"] for one in made] == ["One. Two! Three?", "一。二。三。"]


# --- models ----------------------------------------------------------------------------------------------------------


def test_a_prefix_that_the_model_knows_is_used_and_said():
    from transformers import T5Config

    config = T5Config()
    config.task_specific_params = {
        "summarization": {"prefix": "summarize: "},
        "translation_en_to_de": {"prefix": "translate English to German: "},
    }
    for recipe, prefix in (
        (Summarization(), "summarize: "),
        (Translation(source_lang="en", target_lang="de"), "translate English to German: "),
        (Translation(source_lang="english", target_lang="German"), "translate English to German: "),
    ):
        assert prefix in recipe.adapt_to_model(config)[0]
        assert recipe.prefix == prefix
    assert Summarization(prefix="").adapt_to_model(config) == []


@pytest.fixture(scope="module")
def nllb():
    """A tokenizer of NLLB's class, with its codes and letters for words."""
    from transformers import NllbTokenizer

    signs = ["<s>", "<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    return NllbTokenizer(vocab={sign: place for place, sign in enumerate(signs)}, merges=[])


def test_a_model_that_needs_codes_gets_those_of_the_languages_that_were_given(nllb):
    from transformers import M2M100Config

    assert {"eng_Latn", "deu_Latn", "zho_Hans"} <= set(language_codes(nllb))
    recipe = Translation(source_lang="en", target_lang="deu_Latn")
    recipe.tokenizer = nllb
    recipe.adapt_to_model(M2M100Config())
    assert (recipe.source_lang, recipe.target_lang) == ("eng_Latn", "deu_Latn")
    assert recipe.writer.generation()["forced_bos_token_id"] == nllb.convert_tokens_to_ids("deu_Latn")
    features = recipe.encode({"source": ["hi"], "target": ["du"]})
    assert nllb.convert_tokens_to_ids("eng_Latn") in features["input_ids"][0]
    assert nllb.convert_tokens_to_ids("deu_Latn") in features["labels"][0]


@pytest.mark.parametrize("given", [None, "tlh", "xx"])
def test_a_model_that_needs_codes_and_gets_none_lists_them(nllb, given):
    from transformers import M2M100Config

    recipe = Translation(source_lang="eng_Latn", target_lang=given)
    recipe.tokenizer = nllb
    with pytest.raises(
        ConfigError, match=f"target_lang: the model needs a language code, found {given}; .*with _Hans: zho"
    ):
        recipe.adapt_to_model(M2M100Config())


def test_texts_that_end_and_texts_that_are_cut_off_are_told_apart():
    from conftest import make_letters

    recipe = Summarization()
    recipe.tokenizer = make_letters()
    ids = recipe.tokenizer("hi you", add_special_tokens=False)["input_ids"]
    recipe.max_target_length = len(ids) + 1
    outputs = [[0, *ids, 1, 0, 0, -100], [0, *ids, *ids[:1]]]
    ended, cut = recipe.decode(outputs, [], None)
    assert (ended["summary_text"], ended["at_limit"]) == ("hi you", False)
    assert cut["at_limit"] is True
    assert ended["tokens"] == len(ids) + 1, "its end included"


def test_a_scorer_that_lacks_is_named_before_anything_is_read(monkeypatch):
    monkeypatch.setattr("hfrecipes.errors.find_spec", lambda name: None)
    with pytest.raises(
        MissingPackageError, match=r"translation needs sacrebleu and langcodes: pip install sacrebleu langcodes"
    ):
        hfrecipes.check("translation", dataset="nowhere.csv")


@pytest.mark.parametrize("kind", [Summarization, Translation, Text2TextGeneration])
@pytest.mark.parametrize("setting", [{"num_beams": 0}, {"max_target_length": 0}])
def test_settings_that_generate_nothing_are_refused(kind, setting):
    with pytest.raises(ConfigError, match=r"expected 1 or more"):
        kind(**setting)


def with_generation(model: str, folder: Path, **settings) -> str:
    """A copy of the model with generation settings of its own."""
    shutil.copytree(model, folder)
    file = folder / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    return str(folder)


def test_settings_of_a_task_that_contradict_each_other_are_refused_before_training(
    tiny_t5, quick, tmp_path, monkeypatch
):
    monkeypatch.setattr(Seq2SeqWriter, "generation", lambda writer: {"num_return_sequences": 3})
    rows = [dict(row) for row in Summarization.samples] * 8
    with pytest.raises(ConfigError, match=r"generation: .*num_return_sequences"):
        hfrecipes.build("summarization", dataset=rows, output_dir=tmp_path / "run", **{**quick, "model": tiny_t5})


# Each would change what is written, or how many texts there are for a row.
LEAKS = {
    "num_return_sequences": 2,
    "num_beams": 5,
    "min_new_tokens": 6,
    "suppress_tokens": [4, 5, 6],
    "begin_suppress_tokens": [1, 7],
    "encoder_no_repeat_ngram_size": 2,
    "encoder_repetition_penalty": 3.0,
    "exponential_decay_length_penalty": [1, 2.0],
    "sequence_bias": [[[8], -9.0]],
    "bad_words_ids": [[9], [10]],
    "forced_eos_token_id": 1,
    "renormalize_logits": True,
    "length_penalty": 2.0,
    "stop_strings": ["a"],
    "max_time": 0.001,
    "do_sample": True,
    "temperature": 9.0,
    "repetition_penalty": 5.0,
}


@pytest.mark.parametrize("lora", [False, True])
def test_generation_settings_of_the_base_model_are_left_out_and_named(lora, tiny_t5, quick, tmp_path, caplog):
    rows = [dict(Text2TextGeneration.samples[place % 4]) for place in range(24)]
    settings = {**quick, "max_target_length": 9, "num_beams": 2, "lora": lora}
    written = {}
    for name, model in (("plain", tiny_t5), ("odd", with_generation(tiny_t5, tmp_path / "model", **LEAKS))):
        caplog.clear()
        with caplog.at_level("INFO", "hfrecipes"):
            hfrecipes.run(
                "text2text-generation", dataset=rows, output_dir=tmp_path / name, **{**settings, "model": model}
            )
        written[name] = (tmp_path / name / "predictions.jsonl").read_text()
        folders = [tmp_path / name, *[tmp_path / name / "adapter"] * lora]
        for folder in folders:
            texts = hfrecipes.load(folder).predict([row["input"] for row in rows[:6]])
            assert texts == hfrecipes.load(tmp_path / "plain").predict([row["input"] for row in rows[:6]])
        files = [tmp_path / name / "generation_config.json", *[folders[-1] / "config/generation_config.json"] * lora]
        saved = [json.loads(file.read_text()) for file in files]
        assert not any(one.get(key) == value for one in saved for key, value in LEAKS.items())
    assert written["plain"] == written["odd"]
    assert "generation: the options of the task apply; the base model's settings" in caplog.text
    assert all(f"{key}={value}" in caplog.text for key, value in LEAKS.items())


def test_a_base_model_without_settings_of_its_own_has_none_left_out(tiny_t5, quick, tmp_path, caplog):
    rows = [dict(row) for row in Summarization.samples] * 8
    model = with_generation(tiny_t5, tmp_path / "model", num_beams=1, use_cache=True, max_length=20)
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.build("summarization", dataset=rows, output_dir=tmp_path / "run", **{**quick, "model": model})
    assert "generation: " not in caplog.text


def test_what_tells_the_model_where_a_text_begins_stays(tiny_t5, quick, tmp_path):
    rows = [dict(row) for row in Summarization.samples] * 8
    begin = {"bos_token_id": 5, "forced_bos_token_id": 6, "decoder_start_token_id": 7}
    for name, banned, stays in (("padding", [[0]], [[0]]), ("a word", [[8]], None), ("both", [[0], [8]], None)):
        model = with_generation(tiny_t5, tmp_path / name / "model", bad_words_ids=banned, **begin)
        settings = {**quick, "model": model}
        trainer = hfrecipes.build("summarization", dataset=rows, output_dir=tmp_path / name / "run", **settings)
        found = trainer.model.generation_config
        assert {key: getattr(found, key) for key in begin} == begin
        assert found.bad_words_ids == stays


def test_more_texts_than_rows_are_an_error_with_both_numbers(tiny_t5, quick, tmp_path):
    rows = [dict(Text2TextGeneration.samples[place % 4]) for place in range(24)]
    settings = {**quick, "model": tiny_t5, "max_target_length": 4, "num_beams": 3, "max_steps": 1}
    result = hfrecipes.run("text2text-generation", dataset=rows, output_dir=tmp_path / "run", **settings)
    result.trainer.model.generation_config.num_return_sequences = 3
    with pytest.raises(ModelError, match="gave 12 outputs for 4 rows, expected one for each: leave num_return_seq"):
        result.predict([row["input"] for row in rows[:4]])


@pytest.mark.parametrize(("outputs", "fits"), [(8, True), (7, False), (9, False), (16, False)])
def test_outputs_beyond_the_rows_are_what_fills_the_last_batch_of_several_processes(outputs, fits):
    order = [*range(7), 6]
    batches = [np.arange(outputs)[start : start + 4] for start in range(0, outputs, 4)]
    if fits:
        assert in_row_order(batches, order).tolist() == list(range(7))
    else:
        with pytest.raises(ModelError, match=f"gave {outputs} outputs for 8 rows"):
            in_row_order(batches, order)


def test_the_saved_model_generates_as_it_was_evaluated(tiny_t5, quick, tmp_path):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    rows = [dict(Text2TextGeneration.samples[place % 4]) for place in range(24)]
    settings = {**quick, "model": tiny_t5, "max_target_length": 9, "num_beams": 3}
    result = hfrecipes.run("text2text-generation", dataset=rows, output_dir=tmp_path / "run", **settings)
    saved = json.loads((tmp_path / "run" / "generation_config.json").read_text())
    assert (saved["max_length"], saved["num_beams"]) == (10, 3)
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    ids = model.generate(**tokenizer(rows[0]["input"], return_tensors="pt"))[0]
    ours = result.predict(rows[0]["input"])
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == ours["generated_text"]
    assert ours["tokens"] <= 9


@pytest.fixture(params=["bart", "marian", "mbart", "m2m_100"])
def family(request, nllb, tmp_path: Path) -> tuple[str, dict]:
    """A folder with a tiny model of each family that translates, and what it needs to be told."""
    import torch
    import transformers
    from conftest import make_letters

    needs_codes = request.param == "m2m_100"
    tokenizer = nllb if needs_codes else make_letters()
    about = {"d_model": 32, "max_position_embeddings": 128, "vocab_size": len(tokenizer)}
    for part in ("encoder", "decoder"):
        about |= {f"{part}_layers": 1, f"{part}_attention_heads": 2, f"{part}_ffn_dim": 64}
    about |= {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "dropout": 0.0}
    starts = {"bart": tokenizer.eos_token_id, "m2m_100": tokenizer.eos_token_id, "marian": tokenizer.pad_token_id}
    if request.param in starts:
        about["decoder_start_token_id"] = starts[request.param]
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[request.param](**about)
    transformers.AutoModelForSeq2SeqLM.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model"), {"source_lang": "en", "target_lang": "de"} if needs_codes else {}


def test_every_family_learns_with_the_loss_of_its_own_and_predicts_the_same_after_reload(family, quick, tmp_path):
    import torch

    model, options = family
    rows = [dict(Translation.samples[place % 4]) for place in range(24)]
    settings = {**quick, **options, "model": model, "max_target_length": 8}
    trainer = hfrecipes.build("translation", dataset=rows, output_dir=tmp_path / "loss", **settings)
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        theirs = trainer.model.eval()(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]
        )
        ours = trainer.compute_loss(trainer.model, dict(batch))
    assert float(ours) == pytest.approx(float(theirs.loss), rel=1e-4)
    result = hfrecipes.run("translation", dataset=rows, output_dir=tmp_path / "run", **settings)
    texts = [row["source"] for row in rows[:4]]
    assert hfrecipes.load(tmp_path / "run").predict(texts) == result.predict(texts)
    saved = json.loads((tmp_path / "run" / "generation_config.json").read_text())
    assert (saved.get("forced_bos_token_id") is not None) == bool(options)


# --- what broke once -------------------------------------------------------------------------------------------------

NLLB = ["eng_Latn", "deu_Latn", "est_Latn", "spa_Latn", "jav_Latn", "jpn_Jpan", "plt_Latn", "pol_Latn", "zho_Hans"]
NLLB += ["zho_Hant", "kor_Hang", "rus_Cyrl", "swe_Latn", "por_Latn"]
CODES = {"es": "spa_Latn", "ja": "jpn_Jpan", "pl": "pol_Latn", "et": "est_Latn", "sv": "swe_Latn", "pt": "por_Latn"}
CODES |= {"ko": "kor_Hang", "ru": "rus_Cyrl", "zh": "zho_Hans", "zh-CN": "zho_Hans", "zh-TW": "zho_Hant"}


@pytest.mark.parametrize(
    ("given", "known", "code"),
    [
        ("zh-TW", ["en_XX", "zh_CN"], None),
        ("zh-Hant", ["en_XX", "zh_CN"], None),
        ("traditional chinese", ["en", "zh"], None),
        ("zh-HK", ["zho_Hans", "zho_Hant"], "zho_Hant"),
        ("zh", ["en_XX", "zh_CN"], "zh_CN"),
        ("Chinese", ["en_XX", "zh_CN"], "zh_CN"),
        ("cn", ["en_XX", "zh_CN"], "zh_CN"),
        ("sr-Latn", ["srp_Cyrl", "hrv_Latn", "bos_Latn"], None),
        ("sr-Latn", ["sr", "hr", "bs"], None),
        ("sr", ["srp_Cyrl"], "srp_Cyrl"),
        ("sr", ["sr_Latn", "sr_Cyrl"], "sr_Cyrl"),
        ("uz-Cyrl", ["uzn_Latn"], None),
        ("pa-PK", ["pan_Guru"], None),
        ("pt-BR", ["pt_PT"], "pt_PT"),
        ("pt-BR", ["pt_XX"], "pt_XX"),
        ("en-GB", ["en"], "en"),
        ("nb", ["no"], "no"),
        ("bs", ["hr_HR"], None),
    ],
)
def test_a_language_is_not_taken_in_another_script_nor_another_language_for_it(given, known, code):
    assert matching_code(given, known) == code


def test_every_code_of_a_model_is_found_by_its_plain_code(nllb):
    codes = language_codes(nllb)
    assert len(codes) > 200
    for code in codes:
        assert _languages.language(code), code
    assert [matching_code(code.replace("_", "-"), codes) for code in codes] == codes


@pytest.mark.parametrize(("given", "edit"), [("zh-TW", "zho_Hans"), ("sr-Latn", "srp_Cyrl")])
def test_a_script_that_the_model_lacks_is_refused_with_the_edit_that_takes_another(nllb, given, edit, monkeypatch):
    from transformers import M2M100Config

    kept = [code for code in language_codes(nllb) if code not in ("zho_Hant", "yue_Hant")]
    monkeypatch.setattr("hfrecipes.tasks.translation.language_codes", lambda tokenizer: kept)
    recipe = Translation(source_lang="en", target_lang=given)
    recipe.tokenizer = nllb
    with pytest.raises(ConfigError, match=rf"found {given}, .*\(target_lang={edit} takes that\); it has with _.*"):
        recipe.adapt_to_model(M2M100Config())
    recipe = Translation(source_lang="en", target_lang=edit)
    recipe.tokenizer = nllb
    recipe.adapt_to_model(M2M100Config())
    assert recipe.target_lang == edit


def test_the_edit_for_another_script_works_where_the_data_has_its_languages_as_keys():
    rows = [{"translation": {"en": "hello", "zh-TW": "你好"}}] * 3
    assert loaded(Translation(source_lang="en", target_lang="zh_CN"), rows)[0] == {"source": "hello", "target": "你好"}


@pytest.mark.parametrize("code", CODES)
def test_a_code_means_its_language_and_none_that_is_spelled_alike(code):
    assert matching_code(code, NLLB) == CODES[code]
    assert matching_code("uk", NLLB) is None, "Russian is near, and another language"


def save_mbart(folder: Path) -> str:
    """A tiny mBART whose tokenizer puts the code of the language behind a text."""
    import torch
    from transformers import MBartConfig, MBartForConditionalGeneration, MBartTokenizer

    signs = ["<s>", "<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = MBartTokenizer(vocab=[(sign, 0.0) for sign in signs])
    torch.manual_seed(0)
    small = {
        f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in (("layers", 1), ("ffn_dim", 64))
    }
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = MBartConfig(vocab_size=len(tokenizer), d_model=32, max_position_embeddings=64, **small, **heads)
    MBartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_decoder_that_was_taught_to_start_from_the_code_does_so(quick, tmp_path):
    rows = [{"en": "the bus", "de": "der bus"}, {"en": "a key", "de": "ein ding"}] * 12
    settings = {**quick, "model": save_mbart(tmp_path / "model"), "max_target_length": 8, "max_steps": 2}
    trainer = hfrecipes.build("translation", dataset=rows, target_lang="de", output_dir=tmp_path / "a", **settings)
    code = trainer.processing_class.convert_tokens_to_ids("de_DE")
    batch = next(iter(trainer.get_train_dataloader()))
    starts = trainer.model.prepare_decoder_input_ids_from_labels(batch["labels"])[:, 0].tolist()
    assert set(starts) == {code}
    assert trainer.model.generation_config.decoder_start_token_id == code
    assert trainer.model.generation_config.forced_bos_token_id is None


def test_a_vocabulary_of_bert_ends_what_is_written(quick, tmp_path):
    from conftest import make_tokenizer, save_t5

    rows = [dict(row) for row in Text2TextGeneration.samples] * 6
    settings = {**quick, "model": save_t5(make_tokenizer(), tmp_path / "model"), "max_steps": 1, "max_target_length": 8}
    result = hfrecipes.run("text2text-generation", dataset=rows, output_dir=tmp_path / "run", **settings)
    saved = json.loads((result.path / "generation_config.json").read_text())
    assert saved["eos_token_id"] == make_tokenizer().sep_token_id


def test_references_that_only_the_test_split_has_are_scored_against(tiny_t5, quick, tmp_path):
    rows = [{"input": f"note {place}", "output": "zzz"} for place in range(30)]
    test = [{**row, "references": ["yyy"]} for row in rows[:4]]
    settings = {**quick, "model": tiny_t5, "max_steps": 1, "max_target_length": 4}
    result = hfrecipes.run(
        "text2text-generation", dataset={"train": rows, "test": test}, output_dir=tmp_path / "run", **settings
    )
    lines = [json.loads(line) for line in (result.path / "predictions.jsonl").read_text().splitlines()]
    assert {tuple(line.get("references", ())) for line in lines if line["split"] == "test"} == {("yyy",)}
    assert result.predictor.recipe.reference(lines[-1]) == ["zzz", "yyy"]
    assert result.metrics["test"] == pytest.approx(result.predictor.evaluate(test).metrics)


@pytest.mark.parametrize("others", [["B", "C", " ", None], ["", None], None])
def test_a_row_s_own_text_and_the_further_ones_are_all_wanted(others):
    row = {"summary": "A", "references": others}
    assert Summarization().reference(row) == ["A", "B", "C"][: 3 if others and "B" in others else 1]


def test_the_first_reference_is_learnt_where_a_row_has_no_text_of_its_own(tiny_t5, quick, tmp_path):
    rows = [{"document": f"Text {place}.", "summary": None, "references": ["Short."]} for place in range(20)]
    settings = {**quick, "model": tiny_t5}
    trainer = hfrecipes.build("summarization", dataset=rows, output_dir=tmp_path / "run", **settings)
    ids = trainer.train_dataset[0]["labels"]
    assert trainer.processing_class.decode(ids, skip_special_tokens=True) == "Short."


def test_a_text_that_was_cut_is_learnt_without_an_end_and_said(tiny_t5, quick, tmp_path, caplog):
    rows = [{"input": f"note {place}", "output": "a text that is too long"} for place in range(30)]
    settings = {**quick, "model": tiny_t5, "max_target_length": 6}
    with caplog.at_level("INFO", "hfrecipes"):
        trainer = hfrecipes.build("text2text-generation", dataset=rows, output_dir=tmp_path / "run", **settings)
    labels = trainer.train_dataset["labels"][:]
    assert all(len(ids) < 7 and trainer.processing_class.eos_token_id not in ids for ids in labels)
    assert "27 (100.0%) truncated at max_target_length=6" in caplog.text
    assert "truncated at max_length" not in caplog.text
    assert trainer.model.generation_config.forced_eos_token_id is None


@pytest.mark.parametrize(
    "text", ["Комитет купит насос.", "회의는 화요일에 있습니다.", "Η αντλία χάλασε.", "पंप खराब है।"]
)
def test_rouge_counts_words_of_every_script(text):
    recipe = Summarization()
    recipe.infer_labels(datasets.Dataset.from_dict({"summary": [text]}))
    assert recipe.characters
    assert scored(recipe, [{"summary_text": text}], [[text]])["rougeL"] == pytest.approx(100)


def test_ways_to_generate_otherwise_for_scores_alone_are_refused():
    rows = [{"input": f"note {place}", "output": "zzz"} for place in range(30)]
    for name in ("generation_max_length", "generation_num_beams"):
        with pytest.raises(ConfigError, match=f"{name}: leave it out, the option is"):
            hfrecipes.build("text2text-generation", dataset=rows, model="nowhere", **{name: 7})


def test_what_is_written_is_no_longer_than_the_decoder_has_places(quick, tmp_path):
    model = save_mbart(tmp_path / "model")
    recipe = Summarization(max_target_length=200)
    from transformers import AutoConfig

    assert recipe.adapt_to_model(AutoConfig.from_pretrained(model)) == [
        "max_target_length: 63, the maximum of the model"
    ]


def test_sampling_settings_of_the_base_model_are_no_obstacle(tiny_t5, quick, tmp_path):
    model = with_generation(tiny_t5, tmp_path / "model", do_sample=True, temperature=0.7, top_k=10)
    rows = [{"input": f"note {place}", "output": "zzz"} for place in range(30)]
    settings = {**quick, "model": model}
    trainer = hfrecipes.build("text2text-generation", dataset=rows, output_dir=tmp_path / "run", **settings)
    assert trainer.model.generation_config.do_sample is False


# The tokenizer of the tests knows no line break.
MESSY = [
    ("summarization", {"document": ["One.", None], "summary": "Short."}, "One."),
    ("summarization", {"document": "One.", "summary": 7}, "One."),
    ("text2text-generation", {"input": "six by seven", "output": ["42", "forty-two"]}, "six by seven"),
    ("text2text-generation", {"instruction": "double it", "input": 7, "output": 14}, "double it7"),
    ("text2text-generation", {"instruction": "double it", "context": "7", "response": "14"}, "double it7"),
    ("text2text-generation", {"question": "What?", "output": "That."}, "What?"),
    ("text2text-generation", {"question": "What?", "answer": "{'a': 1, b}"}, "What?"),
]


@pytest.mark.parametrize(("task", "row", "source"), MESSY)
def test_odd_cells_are_read_as_texts(task, row, source, tiny_t5, quick, tmp_path):
    settings = {**quick, "model": tiny_t5}
    trainer = hfrecipes.build(task, dataset=[row] * 30, output_dir=tmp_path / "run", **settings)
    assert trainer.processing_class.decode(trainer.train_dataset[0]["input_ids"], skip_special_tokens=True) == source


@pytest.mark.parametrize("row", [{"question": None, "answer": "a"}, {"instruction": " ", "input": "b", "output": "a"}])
def test_a_row_that_asks_nothing_is_named(row):
    rows = [dict.fromkeys(row, "text") for _ in range(20)]
    rows[4] = row
    with pytest.raises(DataError, match=r"input is empty in 1 row \(4"):
        hfrecipes.check("text2text-generation", dataset=rows)


def test_a_language_twice_and_too_many_languages_are_named():
    rows = [{"en": f"a {place}", "de": "b", "fr": "c"} for place in range(20)]
    with pytest.raises(ConfigError, match="are both en, expected two of en, de, fr"):
        hfrecipes.check("translation", dataset=rows, source_lang="en", target_lang="en")
    with pytest.raises(ConfigError, match="found the languages en, de, fr: choose two, source_lang="):
        hfrecipes.check("translation", dataset=rows)


def test_indonesian_is_a_language_where_it_is_asked_for():
    rows = [{"en": f"a {place}", "id": "b"} for place in range(20)]
    assert loaded(Translation(target_lang="id"), rows)[0] == {"source": "a 0", "target": "b"}


@pytest.mark.parametrize("names", [("train.en", "train.de"), ("train.en.txt", "train.de.txt")])
def test_parallel_lines_are_taken_as_they_are(names, tmp_path: Path):
    english, german = tmp_path / names[0], tmp_path / names[1]
    english.write_text("".join(f"{place}\thello\n" for place in range(20)) + "\n")
    german.write_text("".join(f"{place}\thallo\n" for place in range(20)) + "ende\n")
    with pytest.raises(DataError, match=r"source is empty in 1 row \(20"):
        hfrecipes.check("translation", dataset=str(tmp_path), source_lang="en")
    found = hfrecipes.check("translation", dataset=str(tmp_path), source_lang="en", drop_invalid=True)
    assert found["rows"] == {"train": 18, "validation": 2}


def test_chinese_is_scored_as_chinese_without_being_told():
    recipe = Translation()
    scored(recipe, [{"translation_text": "北京"}], [["北京是首都"]])
    assert "tok:zh" in recipe.signatures["bleu"]


@pytest.mark.parametrize("reference", ["Der Bus fährt. ", "Der Bus fa\u0308hrt."])
def test_a_blank_behind_a_reference_and_how_a_letter_is_encoded_are_no_mistake(reference):
    assert scored(Translation(), [{"translation_text": "Der Bus fährt."}], [[reference]])["exact_match"] == 100


def test_the_snippet_of_the_card_holds_a_prefix_with_quotes_and_braces(tiny_t5, quick, tmp_path):
    rows = [{"input": f"note {place}", "output": "zzz"} for place in range(30)]
    settings = {**quick, "model": tiny_t5, "max_steps": 1, "prefix": 'say "{output}"\n', "max_target_length": 4}
    result = hfrecipes.run("text2text-generation", dataset=rows, output_dir=tmp_path / "run", **settings)
    snippet = (result.path / "README.md").read_text().split("```python\n")[1].partition("```")[0]
    compile(snippet, "snippet", "exec")
    assert 'say \\"{output}\\"\\ncant come thu' in snippet


# --- learning --------------------------------------------------------------------------------------------------------

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def dates(number: int, seed: int, form: str = "{year}-{month:02d}-{day:02d}") -> list[dict]:
    """Dates as people write them, and in another form."""
    generator = random.Random(seed)
    rows = []
    for _ in range(number):
        day, month, year = generator.randint(1, 28), generator.randint(1, 12), generator.randint(10, 29)
        written = form.format(day=day, month=month, year=year)
        rows.append({"input": f"{day} {MONTHS[month - 1]} {year}", "output": written})
    return rows


def learnt(model: str, form: str, path: Path, **more) -> hfrecipes.Result:
    train = dates(1500, 0, form)
    seen = {row["input"] for row in train}
    test = [row for row in dates(400, 1, form) if row["input"] not in seen][:100]
    return hfrecipes.run(
        "text2text-generation",
        model=model,
        dataset={"train": train, "test": test},
        output_dir=path,
        max_target_length=12,
        per_device_train_batch_size=32,
        bf16=False,
        **more,
    )


@pytest.mark.long
def test_a_small_model_learns_to_rewrite_dates_and_with_lora_another_form(tiny_t5, tmp_path):
    full = learnt(tiny_t5, "{year}-{month:02d}-{day:02d}", tmp_path / "full", learning_rate=5e-3, num_train_epochs=10)
    assert full.metrics["test"]["exact_match"] > 80
    assert full.metrics["test"]["at_limit"] == 0, "it learnt where to end"
    lora = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
    other = learnt(
        str(full.path),
        "{year}/{month:02d}/{day:02d}",
        tmp_path / "lora",
        lora=lora,
        learning_rate=1e-2,
        num_train_epochs=4,
    )
    assert other.metrics["test"]["exact_match"] > 80
    rows = dates(5, 1, "{year}/{month:02d}/{day:02d}")
    again = hfrecipes.load(other.path).predict([row["input"] for row in rows])
    assert again == other.predict([row["input"] for row in rows])


NOUNS = {"cat": "kato", "dog": "hundo", "bird": "birdo", "fish": "fiso", "horse": "cevalo", "mouse": "muso"}
KINDS = {"red": "ruga", "old": "malnova", "small": "eta", "white": "blanka", "good": "bona"}
VERBS = {"sees": "vidas", "likes": "amas", "follows": "sekvas", "helps": "helpas"}


def sentences(number: int, seed: int) -> list[dict]:
    """A language of a few words, in which adjectives stand behind their noun."""
    generator = random.Random(seed)
    rows = []
    for _ in range(number):
        (a, b), (x, y), verb = (generator.sample(list(words), 2) for words in (NOUNS, KINDS, VERBS))
        rows.append(
            {
                "en": f"the {x} {a} {verb[0]} the {y} {b}",
                "eo": f"la {NOUNS[a]} {KINDS[x]} {VERBS[verb[0]]} la {NOUNS[b]} {KINDS[y]}",
            }
        )
    return rows


@pytest.mark.long
def test_a_small_model_learns_a_small_language(tmp_path):
    from conftest import save_t5
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", "the", "la"]
    words += [word for known in (NOUNS, KINDS, VERBS) for pair in known.items() for word in pair]
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    model = save_t5(PreTrainedTokenizerFast(tokenizer_object=backend, **special), tmp_path / "model")
    train = sentences(1500, 0)
    seen = {row["en"] for row in train}
    test = [row for row in sentences(200, 1) if row["en"] not in seen][:60]
    result = hfrecipes.run(
        "translation",
        model=model,
        dataset={"train": train, "test": test},
        source_lang="en",
        max_target_length=12,
        per_device_train_batch_size=32,
        num_train_epochs=10,
        learning_rate=5e-3,
        bf16=False,
        output_dir=tmp_path / "run",
    )
    assert result.metrics["test"]["bleu"] > 80
