"""Dialogues of any shape, learnt where the assistant speaks, answered as the saved model would."""

from __future__ import annotations

import json
import random
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner
from conftest import make_pieces, save_llama

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.data import packing
from hfrecipes.data.plain import in_memory
from hfrecipes.data.shapes.dialogues import messages, shortened_dialogues, wrong_order
from hfrecipes.errors import ConfigError, DataError
from hfrecipes.tasks.chat import Chat

TEXTS = [turn["content"] for row in Chat.samples for turn in row["messages"]]
MESSAGES = Chat.samples[0]["messages"]


def said(*turns: str, system: str = "") -> list[dict]:
    """A dialogue that the user begins."""
    start = [{"role": "system", "content": system}] if system else []
    return start + [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(turns)]


# --- rows ------------------------------------------------------------------------------------------------------------

SHAPES = {
    "messages": {"messages": MESSAGES},
    "sharegpt": {
        "conversations": [
            {"from": {"user": "human", "assistant": "gpt"}[turn["role"]], "value": turn["content"]} for turn in MESSAGES
        ]
    },
    "turns": {"dialogue": [turn["content"] for turn in MESSAGES]},
    "json in a cell": {"messages": json.dumps(MESSAGES)},
    "alpaca": {
        "instruction": "Translate.",
        "input": "guten Tag",
        "output": "good day",
    },
    "alpaca without input": {"instruction": "Greet me.", "input": "", "output": "Hello!"},
    "prompt": {"prompt": "Hi", "completion": "Hello!"},
    "prompt of messages": {"prompt": MESSAGES[:3], "completion": MESSAGES[3:]},
    "question": {"question": "Hi", "answer": "Hello!"},
    "chinese": {"问题": "几点开门？", "回答": "十点。"},
    "system": {"system": "Be brief.", "prompt": "Hi", "response": "Hello!"},
    "history": {"instruction": "And now?", "input": "", "output": "Now too.", "history": [["Hi", "Hello!"]]},
    "history of messages": {"instruction": "And now?", "output": "Now too.", "history": said("Hi", "Hello!")},
    "history in a cell": {"instruction": "And now?", "output": "Now too.", "history": '[["Hi", "Hello!"]]'},
    "no history": {"prompt": "Hi", "completion": "Hello!", "history": "[]"},
    "dolly": {"instruction": "Translate.", "context": "guten Tag", "response": "good day"},
    "numbers": {"question": "2 + 1?", "answer": 3},
    "a list as text": {"instruction": "Sort.", "input": "3 1", "output": "[1, 3]"},
}
MEANT = {
    "alpaca": said("Translate.\n\nguten Tag", "good day"),
    "alpaca without input": said("Greet me.", "Hello!"),
    "prompt": said("Hi", "Hello!"),
    "question": said("Hi", "Hello!"),
    "chinese": said("几点开门？", "十点。"),
    "system": said("Hi", "Hello!", system="Be brief."),
    **dict.fromkeys(
        ("history", "history of messages", "history in a cell"), said("Hi", "Hello!", "And now?", "Now too.")
    ),
    "no history": said("Hi", "Hello!"),
    "dolly": said("Translate.\n\nguten Tag", "good day"),
    "numbers": said("2 + 1?", "3"),
    "a list as text": said("Sort.\n\n3 1", "[1, 3]"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_published_shape_becomes_messages(shape, tmp_path: Path, caplog):
    from hfrecipes.data.prepare import load_data

    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(SHAPES[shape]) + "\n" for _ in range(30)))
    config, recipe = hfrecipes.training.configuration.configure("chat", {"dataset": str(file)})
    with caplog.at_level("INFO", "hfrecipes"):
        data, _ = load_data(config, recipe)
    assert data.splits["train"][0]["messages"] == MEANT.get(shape, MESSAGES)
    assert ("were converted to messages" in caplog.text) == (not shape.startswith(("messages", "json")))


def test_columns_of_requests_and_replies_can_be_named(tiny_llama, quick, tmp_path):
    rows = [{"q": f"Number {place}?", "a": str(place), "id": place} for place in range(40)]
    settings = {**quick, "model": tiny_llama, "max_steps": 1, "generated_rows": 1, "max_new_tokens": 4}
    columns = {"prompt": "q", "completion": "a"}
    result = hfrecipes.run("chat", dataset=rows, columns=columns, output_dir=tmp_path / "run", **settings)
    again = hfrecipes.load(result.path)
    assert again.predict([{"q": "Number 5?"}])[0]["prompt"] == "Number 5?"
    assert again.evaluate(rows[:5]).rows == 5


ODD = {
    "the assistant speaks first": [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Hi"}],
    "the user speaks twice in a row": [*said("Hi"), *said("Hi", "Hello")],
    "the assistant speaks twice in a row": [*said("Hi", "Hello"), {"role": "assistant", "content": "Well?"}],
    "a turn is blank": said("Hi", " "),
    "a system message comes after the first turn": [*said("Hi", "Hello"), {"role": "system", "content": "Stop."}],
    "a turn has the role 'narrator', expected user, assistant, system or tool": [
        {"role": "narrator", "content": "Night."}
    ],
    "the assistant says nothing": said("Hi"),
}


@pytest.mark.parametrize("wrong", ODD)
def test_rows_whose_turns_are_out_of_order_are_named(wrong):
    rows = [{"messages": said(f"Hi {place}", "Hello")} for place in range(30)]
    rows[7] = {"messages": ODD[wrong]}
    with pytest.raises(DataError, match=rf"train: {wrong} in 1 row \(7, counted from 0\)"):
        hfrecipes.check("chat", dataset=rows)
    assert hfrecipes.check("chat", dataset=rows, drop_invalid=True)["rows"]["train"] == 26


def test_a_tool_answers_like_a_user():
    turns = ["user", "assistant", "tool", "assistant"]
    assert wrong_order([{"role": role, "content": "…"} for role in turns]) is None


@pytest.mark.parametrize("cell", [[{"content": "a"}], [{"role": "user", "content": [{"type": "image"}]}], [None]])
def test_a_turn_that_cannot_be_read_is_named_with_its_row(cell):
    assert wrong_order(messages(cell)) is not None


def test_content_in_parts_of_text_is_read():
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]
    assert messages([{"role": "user", "content": parts}]) == said("a b")


# --- templates -------------------------------------------------------------------------------------------------------

# In the manner of well-known ones: their marks, and what is special about them.
TURN = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
TEMPLATES = {
    "marked turns": TURN + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "brackets": (
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% elif m['role'] == 'assistant' %} {{ m['content'] }}<|end|>{% endif %}{% endfor %}"
    ),
    "thoughts": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
        "{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "no end": (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    ),
    "with generation markers": (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}"
        "{% else %}{{ m['content'] }}<|im_end|>{% endif %}\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "opened thought": (  # as told, a turn has no thought; as asked for, it opens one
        TURN + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    ),
    "asked with a blank": (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    ),
    "ended twice": TURN + "{% if add_generation_prompt %}<|im_start|>assistant\n{% else %}{{ eos_token }}{% endif %}",
    "no system": (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system messages, please') }}{% endif %}"
        + TURN
        + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "none": None,
}


def recipe_with(template: str | None, **options) -> Chat:
    from transformers import LlamaConfig

    recipe = Chat(**options)
    recipe.tokenizer = make_pieces(TEXTS * 3)
    recipe.tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    recipe.tokenizer.chat_template = TEMPLATES[template]
    recipe.adapt_to_model(LlamaConfig())
    return recipe


def learnt(recipe: Chat, dialogue: list[dict], *, training: bool = True) -> list[tuple[str, str]]:
    """Of each piece what is learnt, and what stands before the first token of it."""
    encode = recipe.encode_for_training if training else recipe.encode
    features = encode({"messages": [dialogue]})
    found = []
    for ids, labels in zip(features["input_ids"], features["labels"], strict=True):
        assert [label for label in labels if label >= 0] == [a for a, b in zip(ids, labels, strict=True) if b >= 0]
        first = next((place for place, label in enumerate(labels) if label >= 0), len(ids))
        found.append(
            (recipe.tokenizer.decode([one for one in labels if one >= 0]), recipe.tokenizer.decode(ids[:first]))
        )
    return found


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_assistant_s_words_and_their_end_are_learnt_and_nothing_else(template):
    recipe = recipe_with(template)
    dialogue = said("When do you open?", "At ten.", "And on Sunday?", "Never.")
    pieces = learnt(recipe, dialogue)
    ends = dict.fromkeys(("brackets", "none", "asked with a blank"), "<|end|>")
    end = {**ends, "no end": "\n<|end|>"}.get(template, "<|im_end|>")
    first, last = (
        ("At ten.", "Never.")
        if template != "thoughts"
        else ("<think>\n\n</think>\n\nAt ten.", "<think>\n\n</think>\n\nNever.")
    )
    if template in ("brackets", "no end"):
        first, last = f" {first}", f" {last}"
    # Each turn as it is when it is the last, or as it is asked for.
    if template in ("thoughts", "no end", "opened thought"):
        assert [text for text, _ in pieces] == [first + end, last + end]
    else:
        assert [text for text, _ in pieces] == [first + end + last + end]


def asked(recipe: Chat, *dialogues: list[dict], scored: bool = True) -> list[list[int]]:
    """What the model is to go on from."""
    rows = datasets.Dataset.from_list([{"messages": dialogue} for dialogue in dialogues])
    return [prompt.input_ids for prompt in recipe.writer.prompts(rows, scored=scored)]


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_learnt_goes_on_from_the_very_tokens_that_prediction_starts_from(template):
    recipe = recipe_with(template)
    dialogue = said("When do you open?", "At ten.", "And on Sunday?", "Never.")
    (prompt,) = asked(recipe, dialogue)
    features = recipe.encode_for_training({"messages": [dialogue]})
    assert features["input_ids"][-1][: len(prompt)] == prompt
    assert features["labels"][-1][len(prompt)] >= 0
    assert features["labels"][-1][len(prompt) - 1] < 0


def test_generation_markers_and_our_marks_agree():
    recipe = recipe_with("with generation markers")
    dialogue = said("When do you open?", "At ten.", "And on Sunday?", "Never.")
    theirs = recipe.tokenizer.apply_chat_template(dialogue, return_dict=True, return_assistant_tokens_mask=True)
    ours = recipe.encode({"messages": [dialogue]})
    # Ours leaves out the line break behind the last end.
    size = len(ours["labels"][0])
    assert [int(label >= 0) for label in ours["labels"][0]] == theirs["assistant_masks"][:size]
    assert not any(theirs["assistant_masks"][size:])


def test_what_is_learnt_can_be_the_last_reply_or_everything():
    dialogue = said("When do you open?", "At ten.", "And on Sunday?", "Never.")
    last = learnt(recipe_with("marked turns", train_on="last"), dialogue)
    assert [text for text, _ in last] == ["Never.<|im_end|>"]
    everything = recipe_with("marked turns", train_on="all")
    ((text, before),) = learnt(everything, dialogue)
    whole = everything.tokenizer.apply_chat_template(dialogue, tokenize=False).rstrip()
    assert before + text == whole
    scored = learnt(everything, dialogue, training=False)
    assert [text for text, _ in scored] == ["At ten.<|im_end|>Never.<|im_end|>"], "scores are of replies alone"


def test_a_template_s_refusal_is_one_sentence():
    recipe = recipe_with("no system")
    with pytest.raises(DataError, match="refuses the dialogue that starts 'Hi': no system messages, please"):
        recipe.encode({"messages": [said("Hi", "Hello", system="Be brief")]})


def test_what_ends_a_turn_ends_what_the_model_writes():
    assert recipe_with("none").writer.generation()["eos_token_id"] == 0
    marked = recipe_with("marked turns")
    end = marked.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert marked.writer.generation()["eos_token_id"] == [end, marked.tokenizer.eos_token_id]


def test_check_shows_a_dialogue_with_what_is_learnt_of_it_marked(tiny_llama, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"messages": said("Hi", "Hello")}) + "\n" for _ in range(30)))
    made = CliRunner().invoke(main, ["check", "chat", f"dataset={file}", f"model={tiny_llama}"])
    assert "<|user|>\nHi<|end|>\n<|assistant|>\n⟦Hello<|end|>⟧" in made.output


# --- too long --------------------------------------------------------------------------------------------------------


def test_a_dialogue_that_is_too_long_is_cut_behind_a_reply_and_counted(tiny_llama, caplog):
    recipe = recipe_with("marked turns")
    turns = [f"Turn number {place}" for place in range(12)]
    whole = recipe.encode({"messages": [said(*turns)]})
    recipe.max_length = whole["length"][0] // 2
    features = recipe.encode({"messages": [said(*turns), said("Hi", "Hello")]})
    assert features["over_max_length"] == [True, False]
    text = recipe.tokenizer.decode(features["input_ids"][0])
    assert text.endswith("<|im_end|>")
    assert text.count("<|im_start|>assistant") == text.count("<|im_start|>user") > 1
    exchange = len(recipe.tokenizer("<|im_start|>user\nTurn number 9<|im_end|>\n")["input_ids"]) * 2 + 2
    assert features["length"][0] > recipe.max_length - exchange, "one more would not fit"
    rows = [{"messages": said(*(f"{turn} of {place}" for turn in turns))} for place in range(30)]
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("chat", dataset=rows, model=tiny_llama, max_length=64)
    assert "train: 27 rows" in caplog.text
    assert caplog.text.count("truncated at max_length=64") == 2, "once for train, once for validation"
    assert "train: 27 of 27 rows (100 %) truncated at max_length=64 (rows 0, 1, 2" in caplog.text


def test_before_the_last_reply_the_oldest_turns_go_and_the_system_message_stays():
    recipe = recipe_with("marked turns", train_on="last")
    dialogue = said(*(f"Turn number {place}" for place in range(12)), system="Be brief.")
    recipe.max_length = 60
    features = recipe.encode({"messages": [dialogue]})
    text = recipe.tokenizer.decode(features["input_ids"][0])
    assert features["over_max_length"] == [True]
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user")
    assert text.endswith("Turn number 11<|im_end|>")
    recipe.max_new_tokens = 10
    (prompt,) = asked(recipe, dialogue)
    assert len(prompt) <= 50
    assert recipe.tokenizer.decode(prompt).startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user")
    assert recipe.tokenizer.decode(prompt).endswith("Turn number 10<|im_end|>\n<|im_start|>assistant\n")


def test_a_dialogue_of_which_nothing_fits_is_left_out_of_training_and_said(tiny_llama, quick, tmp_path, caplog):
    rows = [{"messages": said(f"Hi {place}", "Hello")} for place in range(30)]
    rows[3] = {"messages": said("word " * 300, "Hello")}
    settings = {**quick, "model": tiny_llama, "max_length": 64, "max_steps": 1, "generated_rows": 0}
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.run("chat", dataset={"train": rows, "validation": rows[5:9]}, output_dir=tmp_path / "run", **settings)
    assert "train: 1 row left out, too long for max_length=64" in caplog.text


def test_exchanges_are_dropped_from_the_front():
    left = shortened_dialogues(said("a", "b", "c", "d", "e", system="s"))
    assert ["".join(turn["content"] for turn in one) for one in left] == ["sabcde", "scde", "se"]
    assert shortened_dialogues(said("a", "b")) == [said("a", "b")]
    tools = [{"role": role, "content": role[0]} for role in ("user", "assistant", "tool", "assistant", "user")]
    assert [[turn["role"] for turn in one] for one in shortened_dialogues(tools)][1:] == [["user"]]


# --- packing ---------------------------------------------------------------------------------------------------------


def test_a_packed_dialogue_has_the_logits_that_it_has_alone(tiny_llama):
    from transformers import AutoModelForCausalLM

    recipe = recipe_with("none", packing=True, max_length=128)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama).eval()
    features = recipe.encode_for_training({"messages": [row["messages"] for row in Chat.samples]})
    names = ("input_ids", "labels", "position_ids", "length")
    packed_rows = packing.pack(in_memory(pa.table({name: features[name] for name in names})), 128, seed=1)
    batch = recipe.collator(model)([packed_rows[index] for index in range(len(packed_rows))])
    assert len(batch["input_ids"]) < len(features["row"])
    assert "attention_mask" not in batch
    with torch.no_grad():
        packed = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
        seen = 0
        for logits, ids, places in zip(packed, batch["input_ids"], batch["position_ids"], strict=True):
            starts = [place for place in range(len(places)) if places[place] == 0]
            for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
                alone = model(input_ids=ids[start:stop][None]).logits[0]
                assert torch.allclose(logits[start:stop], alone, atol=1e-4)
                seen += 1
    assert seen >= len(features["row"])


def test_packed_and_padded_batches_teach_the_same(tiny_llama, tmp_path):
    def weights(packing: bool) -> torch.Tensor:
        trainer = hfrecipes.build(
            "chat",
            model=tiny_llama,
            dataset={"train": [dict(Chat.samples[place % 4]) for place in range(16)]},
            splits={"validation": None},
            output_dir=tmp_path / str(packing),
            packing=packing,
            per_device_train_batch_size=16,  # all dialogues, in whatever rows they are
            gradient_accumulation_steps=1,
            max_steps=2,
            optim="sgd",
            learning_rate=0.05,
            warmup_steps=0,
            bf16=False,
            train_sampling_strategy="sequential",
        )
        trainer.train()
        return torch.cat([one.detach().flatten() for one in trainer.model.parameters()])

    assert torch.allclose(weights(True), weights(False), atol=1e-5)


# --- learning --------------------------------------------------------------------------------------------------------

WORDS = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "owl", "pig", "ram", "yak"]


def exchanges(number: int, seed: int, answer) -> list[dict]:
    generator = random.Random(seed)
    rows = []
    for _ in range(number):
        turns = []
        for _ in range(generator.randint(1, 2)):
            words = generator.sample(WORDS, generator.randint(1, 3))
            turns += [" ".join(words), " ".join(answer(words))]
        rows.append({"messages": said(*turns)})
    return rows


def backwards(words: list[str]) -> list[str]:
    return words[::-1]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> hfrecipes.Result:
    """A model that learnt to say words backwards."""
    return trained(tmp_path_factory.mktemp("chat"), "full", backwards, learning_rate=5e-3, num_train_epochs=5)


def trained(folder: Path, name: str, answer, model: str = "", **more) -> hfrecipes.Result:
    pieces = [" ".join([*WORDS, *backwards(WORDS)])] * 20
    model = model or save_llama(make_pieces(pieces + WORDS * 9), folder / "model", size=64, layers=2)
    train = exchanges(1800, 0, answer)
    seen = {row["messages"][-2]["content"] for row in train}
    test = [row for row in exchanges(900, 1, answer) if row["messages"][-2]["content"] not in seen][:60]
    return hfrecipes.run(
        "chat",
        model=model,
        dataset={"train": train, "test": test},
        output_dir=folder / name,
        per_device_train_batch_size=32,
        gradient_accumulation_steps=1,
        max_length=128,
        max_new_tokens=24,
        generated_rows=60,
        bf16=False,
        **more,
    )


def exact(result: hfrecipes.Result) -> float:
    lines = [json.loads(line) for line in (result.path / "predictions.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["split"] == "test"]
    assert len(lines) >= 40
    right = [line["prediction"]["generated_text"] == line["messages"][-1]["content"] for line in lines]
    return sum(right) / len(right)


@pytest.mark.long
def test_a_small_model_learns_to_answer_and_to_stop(toy):
    assert exact(toy) > 0.8
    assert toy.metrics["test"]["at_limit"] == 0
    assert toy.metrics["test"]["rougeL"] > 90 > 50 > toy.scores["test"]["rougeL"].baseline


@pytest.mark.long
def test_an_adapter_learns_another_answer_and_is_the_same_after_reload(toy, tmp_path):
    lora = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
    other = trained(tmp_path, "lora", sorted, str(toy.path), lora=lora, learning_rate=1e-2, num_train_epochs=3)
    assert exact(other) > 0.8
    rows = exchanges(10, 5, sorted)
    assert hfrecipes.load(other.path).predict(rows) == other.predict(rows)


@pytest.mark.long
def test_replies_are_those_of_the_pipeline_on_the_saved_folder(toy):
    from transformers import pipeline

    chat = pipeline("text-generation", str(toy.path))
    for row in exchanges(5, 7, backwards):
        asked = row["messages"][:-1]
        assert toy.predict({"messages": asked})["generated_text"] == chat(asked)[0]["generated_text"][-1]["content"]


@pytest.mark.long
def test_a_text_a_dialogue_and_one_with_its_reply_are_all_answered(toy):
    alone = toy.predict("cat dog")
    assert alone["generated_text"] == "dog cat"
    assert alone == toy.predict({"messages": said("cat dog")}) == toy.predict([{"prompt": "cat dog"}])[0]
    answered = toy.predict({"messages": said("cat dog", "dog cat")})
    assert answered["generated_text"] == "dog cat"
    assert answered["tokens"] > alone.get("tokens", 0) == 0


@pytest.mark.long
def test_the_terminal_answers_line_by_line(toy):
    made = CliRunner().invoke(main, ["chat", str(toy.path)], input="cat dog\n owl yak \n\nbee fox\n")
    assert made.exit_code == 0
    assert made.output.split("\n")[:4] == ["dog cat", "yak owl", "(new dialogue)", "fox bee"]


def test_the_terminal_refuses_a_model_for_another_task(tiny_bert, quick, tmp_path):
    from conftest import opinions

    hfrecipes.run("text-classification", dataset=opinions(40), output_dir=tmp_path / "run", **quick)
    made = CliRunner().invoke(main, ["chat", str(tmp_path / "run")])
    assert made.exit_code == 2
    assert "is a model for text-classification, not for chat" in made.output


@pytest.mark.long
def test_scores_of_replies_are_those_of_the_scorers(toy):
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import CHRF

    lines = [json.loads(line) for line in (toy.path / "predictions.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["split"] == "validation" and "generated_text" in line["prediction"]]
    assert len(lines) == 60
    texts, wanted = (
        [one["prediction"]["generated_text"] for one in lines],
        [one["messages"][-1]["content"] for one in lines],
    )
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    rouge = [scorer.score(reference, text)["rougeL"].fmeasure for reference, text in zip(wanted, texts, strict=True)]
    assert toy.metrics["validation"]["rougeL"] == pytest.approx(100 * sum(rouge) / 60)
    assert toy.metrics["validation"]["chrf"] == pytest.approx(CHRF().corpus_score(texts, [wanted]).score)


@pytest.mark.long
def test_the_loss_is_that_of_the_model_on_the_tokens_of_replies(toy):
    from transformers import AutoModelForCausalLM

    model, recipe = AutoModelForCausalLM.from_pretrained(toy.path).eval(), toy.predictor.recipe
    rows = exchanges(20, 9, backwards)
    losses = tokens = 0
    for ids, labels in zip(
        *(recipe.encode({"messages": [row["messages"] for row in rows]})[name] for name in ("input_ids", "labels")),
        strict=True,
    ):
        count = sum(label >= 0 for label in labels)
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
        losses, tokens = losses + float(loss) * count, tokens + count
    assert hfrecipes.load(toy.path).evaluate(rows).metrics["loss"] == pytest.approx(losses / tokens, rel=1e-3)


def test_a_score_of_written_replies_cannot_pick_the_checkpoint():
    rows = [{"messages": said(f"Hi {place}", "Hello")} for place in range(30)]
    with pytest.raises(ConfigError, match="no score rougeL; there are loss, perplexity, accuracy"):
        hfrecipes.check("chat", dataset=rows, metric_for_best_model="rougeL")


# --- what broke once -------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    "template", ["thoughts", "opened thought", "asked with a blank", "text at the end", "no header"]
)
def test_what_a_template_adds_is_no_part_of_the_reply(template, tmp_path):
    templates = {
        **TEMPLATES,
        "text at the end": (
            "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}[over]\n{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}"
        ),
        "no header": "{% for m in messages %}{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}",
    }
    tokenizer = make_pieces([" ".join([*WORDS, "<think>", "[over]"])] * 20 + WORDS * 9)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = templates[template]
    rows = [{"messages": said(word, f"{word} too")} for word in WORDS[:4]] * 30
    result = hfrecipes.run(
        "chat",
        model=save_llama(tokenizer, tmp_path / "model", size=64, layers=2),
        dataset=rows,
        output_dir=tmp_path / "run",
        learning_rate=5e-3,
        num_train_epochs=6,
        max_new_tokens=24,
        max_length=128,
        bf16=False,
    )
    assert result.predict("cat")["generated_text"] == "cat too"
    assert result.metrics["validation"]["rougeL"] == pytest.approx(100)
    said_in_terminal = CliRunner().invoke(main, ["chat", str(result.path)], input="dog\n").output
    assert said_in_terminal == "dog too\n"


def test_long_dialogues_are_shortened_in_few_steps():
    recipe = recipe_with("thoughts", train_on="last", max_length=64)
    rendered = []
    render = recipe.template.render
    recipe.template.render = lambda *given, **how: rendered.append(1) or render(*given, **how)
    dialogue = said(*(f"Turn number {place}" for place in range(400)))
    assert recipe.encode({"messages": [dialogue]})["length"][0] <= 64
    assert len(rendered) < 30


def test_what_the_user_says_behind_the_last_reply_is_left_out():
    recipe = recipe_with("marked turns")
    dialogue = said("Hi", "Hello", "bye")
    assert recipe.reference({"messages": dialogue}) == "Hello"
    assert asked(recipe, dialogue, scored=True) == asked(recipe, dialogue[:1])
    assert asked(recipe, dialogue, scored=False) != asked(recipe, dialogue[:1])
    assert learnt(recipe, dialogue) == learnt(recipe, dialogue[:2])


def test_where_nothing_fits_the_option_to_raise_is_named(tiny_llama):
    rows = [{"messages": said("word " * 60, f"Hello {place}")} for place in range(20)]
    with pytest.raises(
        DataError, match="train: no row fits into max_length=16, so there is nothing to train on: increase max_length"
    ):
        hfrecipes.check("chat", dataset=rows, model=tiny_llama, max_length=16)


@pytest.mark.parametrize("rows", [[{"role": "user", "content": "Hi"}], {"messages": [{"role": "ai", "content": "Hi"}]}])
def test_rows_to_predict_that_are_no_dialogues_are_refused(toy, rows):
    with pytest.raises(DataError, match=r"messages|expected turns of user and assistant"):
        toy.predict(rows)


def test_settings_of_the_base_model_do_not_change_what_is_written(tiny_llama, quick, tmp_path):
    import shutil

    shutil.copytree(tiny_llama, tmp_path / "model")
    file = tmp_path / "model" / "generation_config.json"
    own = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}
    file.write_text(json.dumps({**json.loads(file.read_text()), **own}))
    settings = {**quick, "model": str(tmp_path / "model")}
    for temperature, drawn, top in ((0, False, 50), (1.0, True, 0)):
        folder = tmp_path / str(drawn)
        trainer = hfrecipes.build("chat", dataset=CHATS, output_dir=folder, temperature=temperature, **settings)
        found = trainer.model.generation_config
        assert (found.do_sample, found.top_k, found.top_p, found.repetition_penalty) == (drawn, top, 1.0, 1.0)


CHATS = [{"messages": said(f"Hi {place}", "Hello")} for place in range(30)]


def test_metrics_of_texts_are_refused_where_none_is_written():
    with pytest.raises(ConfigError, match="cannot score this task"):
        hfrecipes.check("chat", dataset=CHATS, metrics=["accuracy"], generated_rows=0)


def test_a_template_that_is_broken_is_the_model_s_fault(tiny_llama, tmp_path):
    import shutil

    from hfrecipes.errors import ModelError

    shutil.copytree(tiny_llama, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] + 1 }}{% endfor %}")
    with pytest.raises(ModelError, match="the model's chat template cannot be used"):
        hfrecipes.check("chat", dataset=CHATS, model=str(tmp_path / "model"))
