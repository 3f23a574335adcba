"""What a model gives for a row does not depend on the rows beside it, whatever the model does with padding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import make_tokenizer, opinions

import hfrecipes
from hfrecipes.errors import ConfigError, ModelError

pytestmark = pytest.mark.rehearsed

SHORT, LONG = "the film was fine", "the " + "film book meal hotel " * 6 + "was awful"
ROWS = {"train": opinions(40), "validation": [{"text": SHORT, "label": "good"}, {"text": LONG, "label": "bad"}]}


def save(config, folder: Path, **tokenizer) -> str:
    """A small model without a head, with the tokenizer of the tests."""
    import transformers

    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    made = make_tokenizer()
    for name, value in tokenizer.items():
        setattr(made, name, value)
    made.init_kwargs |= tokenizer
    made.save_pretrained(folder)
    return str(folder)


def xlnet(folder: Path, side: str) -> str:
    from transformers import XLNetConfig

    sizes = {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 32, "dropout": 0.0, "initializer_range": 0.2}
    config = XLNetConfig(vocab_size=len(make_tokenizer()), pad_token_id=0, **sizes)
    return save(config, folder, padding_side=side, model_max_length=128)


def fnet(folder: Path) -> str:
    from transformers import FNetConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 32, "max_position_embeddings": 64}
    return save(FNetConfig(vocab_size=len(make_tokenizer()), pad_token_id=0, **sizes), folder)


def canine(folder: Path) -> str:
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    wide = {"initializer_range": 0.3, "local_transformer_stride": 16}
    config = transformers.CanineConfig(max_position_embeddings=192, **sizes, **wide)
    torch.manual_seed(0)
    transformers.CanineModel(config).save_pretrained(folder)
    transformers.CanineTokenizer(model_max_length=192).save_pretrained(folder)
    return str(folder)


SMALL = {"hidden_size": 32, "num_attention_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.2}


def reformer(folder: Path, **settings) -> str:
    from transformers import ReformerConfig

    sizes = {"attention_head_size": 16, "feed_forward_size": 32, "is_decoder": False, "pad_token_id": 0}
    chunks = {"attn_layers": ["local"], "axial_pos_embds": False, "local_attn_chunk_length": 16}
    known = {**SMALL, **sizes, **chunks, "num_buckets": 4, "lsh_attn_chunk_length": 16, **settings}
    return save(ReformerConfig(vocab_size=len(make_tokenizer()), **known), folder)


def big_bird(folder: Path) -> str:
    from transformers import BigBirdConfig

    sizes = {"num_hidden_layers": 1, "intermediate_size": 32, "block_size": 4, "num_random_blocks": 1}
    return save(BigBirdConfig(vocab_size=len(make_tokenizer()), pad_token_id=0, **SMALL, **sizes), folder)


def nystromformer(folder: Path) -> str:
    from transformers import NystromformerConfig

    sizes = {"num_hidden_layers": 1, "intermediate_size": 32, "num_landmarks": 8, "segment_means_seq_len": 16}
    return save(NystromformerConfig(vocab_size=len(make_tokenizer()), pad_token_id=0, **SMALL, **sizes), folder)


def scores(predictor, texts: list[str]) -> list[float]:
    return [row["scores"]["good"] for row in predictor.predict(texts)]


def assert_rows_stand_alone(predictor) -> None:
    together = scores(predictor, [SHORT, LONG])
    apart = scores(predictor, [SHORT]) + scores(predictor, [LONG])
    assert together == pytest.approx(apart, abs=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_a_head_that_reads_the_last_token_is_padded_on_the_left(side, lora, quick, tmp_path, caplog):
    settings = {**quick, "model": xlnet(tmp_path / "model", side), "num_train_epochs": 1, "lora": lora}
    with caplog.at_level("INFO", "hfrecipes"):
        result = hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **settings)
    assert (
        "padding: on the left, because the output of this model depends on padding on the right" in caplog.text
    ) == (side == "right")
    assert result.trainer.processing_class.padding_side == "left"
    for predictor in (result, hfrecipes.load(tmp_path / "run")):
        assert_rows_stand_alone(predictor)


@pytest.mark.parametrize("make", [fnet, canine])
def test_a_model_that_mixes_all_places_is_given_the_same_padding_for_all_rows(make, quick, tmp_path, caplog):
    settings = {**quick, "model": make(tmp_path / "model"), "num_train_epochs": 1, "max_length": 192}
    with caplog.at_level("INFO", "hfrecipes"):
        result = hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **settings)
    assert "padding: all rows to max_length=" in caplog.text
    for predictor in (result, hfrecipes.load(tmp_path / "run")):
        assert_rows_stand_alone(predictor)


def test_tags_and_answers_are_looked_up_from_the_left_whatever_the_tokenizer_says(quick, tmp_path):
    rows = []
    for row in opinions(40):
        words = row["text"].split()
        rows.append({"tokens": words, "tags": ["O"] * (len(words) - 1) + ["B-x"]})
    settings = {**quick, "model": xlnet(tmp_path / "model", "left"), "num_train_epochs": 1}
    result = hfrecipes.run("token-classification", dataset={"train": rows}, output_dir=tmp_path / "run", **settings)
    assert result.trainer.processing_class.padding_side == "right"
    short, long = ({"tokens": text.split()} for text in (SHORT, LONG))
    together, alone = result.predict([short, long]), result.predict([short])
    assert together[0]["scores"] == pytest.approx(alone[0]["scores"], abs=1e-5)


def test_a_model_that_gives_another_output_each_time_is_refused(quick, tmp_path):
    from hfrecipes.models import padding
    from hfrecipes.tasks.text_classification import TextClassification

    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **quick)
    recipe = TextClassification()
    recipe.tokenizer = trainer.processing_class
    trainer.model.classifier.register_forward_hook(lambda module, inputs, output: output + torch.rand_like(output))
    with pytest.raises(ModelError, match=r"gives a row another output each time .* of another type"):
        padding.choose_collator(trainer.model, recipe, lambda: trainer.data_collator, [trainer.train_dataset])


@pytest.mark.parametrize("max_length", [28, 40], ids=["short", "long"])
def test_attention_does_not_change_with_the_rows_that_were_seen(max_length, quick, tmp_path, caplog):
    """BigBird changes to full attention at the first short row, and stays with it."""
    settings = {**quick, "model": big_bird(tmp_path / "model"), "num_train_epochs": 1, "max_length": max_length}
    hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **settings)
    is_sparse = max_length > 28
    assert ("attention: full, because sparse attention needs rows of more than 28 tokens" in caplog.text) != is_sparse
    for predictor in (hfrecipes.load(tmp_path / "run"), hfrecipes.load(tmp_path / "run")):
        assert_rows_stand_alone(predictor)
    first, second = hfrecipes.load(tmp_path / "run"), hfrecipes.load(tmp_path / "run")
    scores(first, [SHORT])
    assert scores(first, [LONG]) == pytest.approx(scores(second, [LONG]), abs=1e-5)


def test_rows_are_padded_to_a_multiple_where_a_model_is_trained_on_multiples(quick, tmp_path, caplog):
    settings = {**quick, "model": reformer(tmp_path / "model"), "num_train_epochs": 1, "max_length": 40}
    result = hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **settings)
    assert (
        "max_length: 32, because a model of type reformer is trained on rows of a multiple of 16 tokens" in caplog.text
    )
    assert result.trainer.data_collator([result.trainer.train_dataset[0]])["input_ids"].shape == (1, 32)
    for predictor in (result, hfrecipes.load(tmp_path / "run")):
        assert_rows_stand_alone(predictor)


def test_lengths_that_no_row_can_have_are_refused_with_the_setting_that_helps(quick, tmp_path):
    exact = {"axial_pos_embds": True, "axial_pos_shape": [8, 16], "axial_pos_embds_dim": [16, 16]}
    folder = reformer(tmp_path / "reformer", **exact)
    with pytest.raises(
        ConfigError, match=r"max_length: 64, but .* trained on rows of 128 tokens alone: set max_length="
    ):
        hfrecipes.check("text-classification", dataset=ROWS, model=folder, max_length=64)
    folder = nystromformer(tmp_path / "nystromformer")
    with pytest.raises(ConfigError, match=r"8 landmarks in rows of exactly 16 tokens.*model.segment_means_seq_len=8"):
        hfrecipes.check("text-classification", dataset=ROWS, model=folder)
    settings = {**quick, "model": {"path": folder, "segment_means_seq_len": 8}}
    assert hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **settings)


def test_a_model_that_hashes_at_random_is_refused(quick, tmp_path):
    settings = {**quick, "model": reformer(tmp_path / "model", attn_layers=["lsh"], num_hashes=2), "max_length": 64}
    rows = {"train": [{"text": LONG * 4, "label": label} for label in ("good", "bad")] * 8}
    with pytest.raises(ModelError, match="another output each time that it reads it, because it draws random numbers"):
        hfrecipes.build("text-classification", dataset=rows, output_dir=tmp_path / "run", **settings)


def test_a_model_that_pools_tokens_is_tried_on_rows_of_neighbouring_lengths(quick, tmp_path, caplog):
    from transformers import FunnelConfig, FunnelModel

    sizes = {"d_model": 32, "block_sizes": [1, 1, 1], "n_head": 2, "d_head": 8, "d_inner": 32, "initializer_std": 0.3}
    torch.manual_seed(0)
    FunnelModel(FunnelConfig(vocab_size=len(make_tokenizer()), pad_token_id=0, **sizes)).save_pretrained(
        tmp_path / "model"
    )
    make_tokenizer().save_pretrained(tmp_path / "model")
    settings = {**quick, "model": str(tmp_path / "model"), "num_train_epochs": 1, "max_length": 32}
    rows = {"train": [*ROWS["train"], {"text": "was", "label": "good"}], "validation": ROWS["validation"]}
    result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
    assert "padding: all rows to max_length=32" in caplog.text
    assert scores(result, ["was", LONG]) == pytest.approx(scores(result, ["was"]) + scores(result, [LONG]), abs=1e-5)


@pytest.mark.parametrize("task", ["text-classification", "question-answering", "multiple-choice"])
def test_a_model_with_one_token_type_takes_pairs_of_a_tokenizer_with_two(task, quick, tmp_path, caplog):
    import transformers

    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.RobertaConfig(vocab_size=len(make_tokenizer()), type_vocab_size=1, pad_token_id=0, **sizes)
    pairs = {
        "text-classification": {"text": SHORT, "text_pair": SHORT},
        "question-answering": {"question": "what ?", "context": SHORT},
        "multiple-choice": {"question": "what ?", "choices": [SHORT, "a hotel"]},
    }
    references = {
        "text-classification": [{"label": "a"}, {"label": "b"}],
        "question-answering": [{"answers": {"text": ["film"], "answer_start": [4]}}] * 2,
        "multiple-choice": [{"label": 0}, {"label": 1}],
    }
    rows = [{**pairs[task], **reference} for reference in references[task]] * 8
    settings = {**quick, "model": save(config, tmp_path / "model"), "max_steps": 1}
    without = {"splits": {"validation": None}, "output_dir": tmp_path / "run"}
    hfrecipes.run(task, dataset={"train": rows}, **without, **settings)
    assert "token types: not used, a model of type roberta does not tell two texts apart by them" in caplog.text
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path / "run")
    assert "token_type_ids" not in saved("a", "b"), "plain transformers fails on them"


def test_the_type_of_a_classification_token_is_given_for_single_texts_too(quick, tmp_path):
    import transformers
    from tokenizers import processors

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [SEP] [CLS]:2", pair="$A [SEP] $B:1 [SEP]:1 [CLS]:2", special_tokens=[("[SEP]", 3), ("[CLS]", 2)]
    )
    xlnet(tmp_path / "model", "left")
    special = {f"{name}_token": getattr(tokenizer, f"{name}_token") for name in ("pad", "unk", "cls", "sep", "mask")}
    names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, model_input_names=names, padding_side="left", **special
    )
    tokenizer.save_pretrained(tmp_path / "model")
    settings = {**quick, "model": str(tmp_path / "model")}
    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **settings)
    expected = tokenizer(ROWS["train"][0]["text"])["token_type_ids"]
    assert trainer.train_dataset[0]["token_type_ids"] == expected
    assert expected[-1] == 2


@pytest.mark.parametrize("family", ["ibert", "lilt", "markuplm", "roberta"])
def test_positions_that_begin_behind_the_padding_token_are_left_free(family, quick, tmp_path, caplog):
    import transformers

    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    more = {"max_depth": 3, "xpath_unit_hidden_size": 4} if family == "markuplm" else {}
    config = transformers.AutoConfig.for_model(
        family, vocab_size=len(make_tokenizer()), max_position_embeddings=40, pad_token_id=0, **sizes, **more
    )
    settings = {**quick, "model": save(config, tmp_path / "model"), "max_steps": 1}
    rows = {"train": [{"text": LONG * 3, "label": label} for label in ("good", "bad")] * 4}
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **settings)
        assert "max_length: 39, the maximum of the model" in caplog.text
        caplog.clear()
        # A model that is loaded decides nothing new.
        hfrecipes.load(tmp_path / "run")
    assert "max_length:" not in caplog.text


def test_a_model_that_cannot_read_the_longest_row_is_refused_before_training(quick, tmp_path, monkeypatch):
    from hfrecipes.models import lengths

    monkeypatch.setattr(lengths, "longest_input", lambda *given: 512)
    rows = {"train": [{"text": LONG * 3, "label": "bad"}, {"text": SHORT, "label": "good"}] * 8}
    with pytest.raises(ModelError, match=r"a model of type bert cannot read rows of \d+ tokens .* lower max_length"):
        hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", **quick)
    assert not (tmp_path / "run").exists(), "nothing was written"


@pytest.mark.parametrize("has_questions_without_answer", [True, False])
def test_no_answer_is_not_read_off_a_token_that_sees_no_context(has_questions_without_answer, quick, tmp_path):
    import transformers

    config = transformers.GPT2Config(
        vocab_size=len(make_tokenizer()), n_embd=32, n_layer=1, n_head=2, n_positions=64, bos_token_id=2, eos_token_id=3
    )
    settings = {**quick, "model": save(config, tmp_path / "model")}
    row = {"question": "what was great ?", "context": SHORT, "answers": {"text": ["film"], "answer_start": [4]}}
    empty = {**row, "answers": {"text": [], "answer_start": []}}
    rows = [row, empty if has_questions_without_answer else row] * 8
    build = {"dataset": {"train": rows}, "splits": {"validation": None}, "output_dir": tmp_path / "run", **settings}
    if has_questions_without_answer:
        with pytest.raises(ConfigError, match="version_2_with_negative: a model of type gpt2 reads from left to right"):
            hfrecipes.build("question-answering", **build)
    else:
        assert hfrecipes.build("question-answering", **build)
