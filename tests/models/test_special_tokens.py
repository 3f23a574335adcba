"""Special tokens that are written in a text are text, in every task; what was added to a tokenizer stays a token."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import make_letters, make_tokenizer, opinions

import hfrecipes
from hfrecipes.models.tokenizing import read
from hfrecipes.registry import find

WRITTEN = "the <s>meal</s> was [SEP] great [PAD] <pad> <|end|>"


def save_bart(folder: Path) -> str:
    """A small BART whose head reads the last end token of a row, and fails where rows have different numbers of it."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    tokenizer = make_letters()
    sizes = {f"{part}_{name}": 1 for part in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        decoder_start_token_id=1,
        **sizes,
    )
    torch.manual_seed(0)
    BartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def rows_with_marks(task: str) -> list[dict]:
    rows = {
        "text-classification": {"text": WRITTEN, "text_pair": WRITTEN},
        "token-classification": {"tokens": WRITTEN.split()},
        "question-answering": {"question": WRITTEN, "context": WRITTEN},
        "multiple-choice": {"context": WRITTEN, "question": WRITTEN, "choices": [WRITTEN, "a"]},
        "fill-mask": {"text": f"{WRITTEN} [MASK]"},
        "summarization": {"document": WRITTEN, "summary": WRITTEN},
        "text2text-generation": {"input": WRITTEN, "target": WRITTEN},
        "text-generation": {"text": WRITTEN},
    }
    return [rows[task]]


def flat(values) -> list[int]:
    if not hasattr(values, "__len__"):
        return [int(values)]
    return [number for value in values for number in flat(value)]


@pytest.mark.parametrize(
    "task",
    [
        "text-classification",
        "token-classification",
        "question-answering",
        "multiple-choice",
        "fill-mask",
        "summarization",
        "text2text-generation",
        "text-generation",
    ],
)
def test_marks_of_the_tokenizer_are_text_in_every_task(task, model_for):
    from transformers import AutoTokenizer

    recipe = find(task)()
    recipe.tokenizer = AutoTokenizer.from_pretrained(model_for(find(task)))
    (row,) = rows_with_marks(task)
    plain = {}
    for name, cell in row.items():
        plain[name] = [text.replace("[", "(").replace("<", "(") for text in cell] if isinstance(cell, list) else cell
        if isinstance(cell, str):
            gap = recipe.tokenizer.mask_token if task == "fill-mask" else "\0"
            parts = [part.replace("[", "(").replace("<", "(") for part in cell.split(gap)]
            plain[name] = gap.join(parts)
    marks = {recipe.tokenizer.convert_tokens_to_ids(mark) for mark in recipe.tokenizer.all_special_tokens}
    written, other = (recipe.encode({name: [cell] for name, cell in cells.items()}) for cells in (row, plain))
    for feature in ("input_ids", "labels"):
        if feature in written:
            numbers = [[number in marks for number in flat(features[feature])] for features in (written, other)]
            # Brackets of both kinds are a token each, so that the rest is at the same places.
            assert sum(numbers[0]) == sum(numbers[1]), feature


def test_an_end_token_in_a_text_ends_nothing(quick, tmp_path, caplog):
    """Heads such as BART's look for the end of each row."""
    rows = [
        {**row, "text": f"<s>old</s> {row['text']}" if index % 3 else row["text"]}
        for index, row in enumerate(opinions(24))
    ]
    settings = {**quick, "model": save_bart(tmp_path / "model"), "max_steps": 2}
    dataset = {"train": rows, "validation": rows[:6]}
    hfrecipes.run("text-classification", dataset=dataset, output_dir=tmp_path / "run", **settings)
    assert "train: </s> in the texts of 16 rows: read as text, not as special tokens" in caplog.text
    predictor = hfrecipes.load(tmp_path / "run")
    marked, plain = "a </s>b</s>", "the film was fine"
    together, alone = predictor.predict([marked, plain]), predictor.predict([marked])
    assert together[0]["score"] == pytest.approx(alone[0]["score"], abs=1e-5)


def reads(tokenizer, text: str, task: str = "text-classification", **keywords) -> list[str]:
    recipe = find(task)()
    recipe.tokenizer = tokenizer
    return tokenizer.convert_ids_to_tokens(read(recipe, [text], **keywords)["input_ids"][0])


def test_tokens_that_were_added_stay_tokens():
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<place>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<speaker>"]})
    tokens = reads(tokenizer, "<speaker>the [SEP] <place>[MASK]")
    assert tokens == [
        *["[CLS]", "<speaker>", "the", "[", "s", "##e", "##p", "]", "<place>"],
        *["[", "m", "##a", "##s", "##k", "]", "[SEP]"],
    ]
    # The mask is a gap where the model fills gaps, and other marks beside it are text.
    tokens = reads(tokenizer, "the [SEP] [MASK]", "fill-mask")
    assert tokens == ["[CLS]", "the", "[", "s", "##e", "##p", "]", "[MASK]", "[SEP]"]
    assert reads(tokenizer, "the [MASK]", "fill-mask") == ["[CLS]", "the", "[MASK]", "[SEP]"]
    # The tokenizer itself stays as it was, for decoding and for what is saved.
    assert tokenizer("[SEP]")["input_ids"] == [2, 3, 3]


def unigram():
    """A tokenizer whose vocabulary has its special tokens among the pieces, as that of T5."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((sign, -5.0) for sign in "abdlos<>/")]
    backend = Tokenizer(models.Unigram(pieces, 2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def test_pieces_of_a_vocabulary_are_no_way_round():
    assert reads(unigram(), "old</s>a") == ["▁", "o", "l", "d", "<", "/", "s", ">", "a", "</s>"]
    assert reads(unigram(), "a</s>", is_target=True) == ["▁", "a", "<", "/", "s", ">", "</s>"]


def test_a_tokenizer_in_python_reads_marks_as_text_too():
    from transformers import ByT5Tokenizer

    tokens = reads(ByT5Tokenizer(), "a</s>b<extra_id_0>")
    assert tokens == ["a", "<", "/", "s", ">", "b", "<extra_id_0>", "</s>"]


def test_what_a_chat_template_renders_are_tokens(tiny_llama):
    from transformers import AutoTokenizer

    recipe = find("chat")()
    recipe.tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    recipe.adapt_to_model(None)
    features = recipe.encode({"messages": [find("chat").samples[0]["messages"]]})
    assert recipe.tokenizer.eos_token_id in features["input_ids"][0]


# --- between two texts ---------------------------------------------------------------------------------------------


def test_texts_of_a_pair_are_kept_apart_where_the_tokenizer_glues_them(tiny_llama, quick, tmp_path, caplog):
    from transformers import AutoTokenizer

    rows = [{"text": "ab", "text_pair": "cd", "label": label} for label in ("x", "y")] * 8
    settings = {**quick, "model": tiny_llama, "max_steps": 1}
    hfrecipes.run("text-classification", dataset={"train": rows}, output_dir=tmp_path / "run", **settings)
    assert "pairs of texts: <|end|> is put between them, because the tokenizer would put nothing there" in caplog.text
    saved = AutoTokenizer.from_pretrained(tmp_path / "run")
    assert saved.decode(saved("ab", "cd")["input_ids"]) == "ab<|end|>cd"
    assert saved.decode(saved("ab")["input_ids"]) == "ab"


def test_the_separator_is_added_to_whatever_a_tokenizer_does_already():
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    from hfrecipes.models.tokenizing import separate_pairs

    begin = processors.TemplateProcessing(single="<pad> $A", pair="<pad> $A $B:1", special_tokens=[("<pad>", 0)])
    level = processors.ByteLevel(trim_offsets=True)
    known = {
        "none": (None, "a </s> b"),
        "bytes": (level, "a </s> b"),
        "template": (begin, "<pad> a </s> b"),
        "both": (processors.Sequence([level, begin]), "<pad> a </s> b"),
    }
    for processor, expected in known.values():
        backend = unigram().backend_tokenizer
        backend.post_processor = processor or processors.Sequence([])
        recipe = find("text-classification")()
        recipe.tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="<pad>")
        assert len(separate_pairs(recipe)) == 1
        ids = recipe.tokenizer("a", "b")["input_ids"]
        tokens = [token for token in recipe.tokenizer.convert_ids_to_tokens(ids) if token != "▁"]
        assert tokens == expected.split()
        assert separate_pairs(recipe) == [], "there is one now"


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_a_blank_second_text_is_an_empty_text(blank, tiny_bert, quick, tmp_path, caplog):
    rows = [{"text": f"the film {index}", "text_pair": "was great", "label": "xy"[index % 2]} for index in range(12)]
    rows[3]["text_pair"] = blank
    dataset = {"train": rows, "validation": rows[:4]}
    trainer = hfrecipes.build("text-classification", dataset=dataset, output_dir=tmp_path / "run", **quick)
    tokens = trainer.processing_class.convert_ids_to_tokens(trainer.train_dataset[3]["input_ids"])
    assert tokens == ["[CLS]", "the", "film", "3", "[SEP]", "[SEP]"]
    assert "train: text_pair is empty, and read as an empty text, in 1 row (3, counted from 0)" in caplog.text
