"""What a dialogue holds besides texts is shown and learnt, or named: tools, thoughts, marks, speakers."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
from click.testing import CliRunner
from conftest import make_pieces, save_llama

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.data.shapes.dialogues import column_normalizer, messages, wrong_order
from hfrecipes.errors import ConfigError, DataError
from hfrecipes.tasks.chat import Chat

# --- templates, in the manner of well-known ones ---------------------------------------------------------------------

HEAD = "<|im_start|>{{ m.role }}\n"
ASKED = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TOOLS_FIRST = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
)
THOUGHT = "{% if loop.last and m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"
CALLS = "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}"
TURNS = "{% for m in messages %}" + HEAD + THOUGHT + "{{ m.content }}" + CALLS + "<|im_end|>\n{% endfor %}" + ASKED
PLAIN_TURNS = "{% for m in messages %}" + HEAD + "{{ m.content }}<|im_end|>\n{% endfor %}" + ASKED
TEMPLATES = {
    "qwen": TOOLS_FIRST + TURNS,
    # Arguments are joined to a text.
    "deepseek": (
        "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant\n"
        "{% for c in m.tool_calls or [] %}{{ c['function']['name'] + ' ' + c['function']['arguments'] }}{% endfor %}"
        "{{ m.content }}<|im_end|>\n{% else %}" + HEAD + "{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}" + ASKED
    ),
    "mistral": (
        "{% for m in messages %}{% if m.role == 'assistant' and m.tool_calls %}<|im_start|>assistant\n"
        "{% for c in m.tool_calls %}{% if c.id is not defined or c.id | length != 9 %}"
        "{{ raise_exception('ids of 9 characters, please') }}{% endif %}{{ c.function.name + c.id }}{% endfor %}"
        "<|im_end|>{% else %}"
        + HEAD
        + "{% if m.role == 'tool' %}{{ m.tool_call_id }}: {% endif %}{{ m.content }}<|im_end|>"
        "{% endif %}\n{% endfor %}" + ASKED
    ),
    # A reply that calls a tool ends with a token of its own.
    "gpt-oss": (
        "{% for m in messages %}{% if m.tool_calls %}<|im_start|>assistant\n{{ m.tool_calls[0].function.name }}<|call|>"
        "{% else %}" + HEAD + "{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}" + ASKED
    ),
    "gemma": "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + PLAIN_TURNS,
    "tagged answers": PLAIN_TURNS.replace(
        "{{ m.content }}",
        "{% if m.role == 'tool' %}<tool_response>\n{{ m.content }}\n</tool_response>"
        "{% else %}{{ m.content }}{% endif %}",
    ),
    "turns alone": PLAIN_TURNS,
    "calls beside tools": TURNS.replace("in m.tool_calls or []", "in (m.tool_calls if tools else []) or []"),
    # A prompt opens a thought, which the reply closes.
    "opened thought": (
        "{% for m in messages %}" + HEAD + "{% if m.role == 'assistant' and loop.last %}<think>\n"
        "{{ m.reasoning_content or '' }}</think>{% endif %}{{ m.content }}" + CALLS + "<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    ),
}
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|call|>"]


def tokenizer_with(template: str):
    tokenizer = make_pieces(["How warm is it in Rome? It is mild. look town"] * 9)
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.chat_template = TEMPLATES[template]
    return tokenizer


def recipe_with(template: str, **options) -> Chat:
    from transformers import LlamaConfig

    recipe = Chat(**options)
    recipe.tokenizer = tokenizer_with(template)
    recipe.adapt_to_model(LlamaConfig())
    return recipe


@pytest.fixture
def model_with(tmp_path):
    return lambda template: str(save_llama(tokenizer_with(template), tmp_path / "model"))


# --- rows ------------------------------------------------------------------------------------------------------------

SCHEMA = {"name": "look", "parameters": {"type": "object", "properties": {"town": {"type": "string"}}}}
WRAPPED = {"type": "function", "function": SCHEMA}
ARGUMENTS = {"town": "Rome", "at": 41.90278349876}


def turn(role: str, content: str | None, **more) -> dict:
    return {"role": role, "content": content, **more}


def call(arguments=ARGUMENTS, **more) -> dict:
    return {"type": "function", "function": {"name": "look", "arguments": arguments}, **more}


def asked(*, content: str | None = "", **more) -> list[dict]:
    """A request, a call, what the tool answers, and a reply."""
    return [
        turn("user", "How warm is it in Rome?"),
        turn("assistant", content, tool_calls=[call(id="call_7")], **more),
        turn("tool", "12", tool_call_id="call_7"),
        turn("assistant", "It is mild."),
    ]


def read(row: dict, **options) -> dict:
    """The row in the columns of the task, of a file of JSON lines."""
    columns = dict.fromkeys(row, datasets.Json())
    batch = column_normalizer(columns, **options)({name: [cell] for name, cell in row.items()})
    return {name: cells[0] for name, cells in batch.items()}


def learnt(recipe: Chat, row: dict) -> list[str]:
    """What is learnt, a text for each example that the row makes."""
    batch = {name: [cell] for name, cell in row.items()}
    texts = []
    for labels in recipe.encode_for_training(batch)["labels"]:
        ids = [label for label in labels if label >= 0]
        texts.append(recipe.tokenizer.decode(ids, clean_up_tokenization_spaces=False))
    return texts


def dataset_of(row: dict) -> datasets.Dataset:
    """A dataset of one row, stored as rows of the task are."""
    features = dict.fromkeys(row, datasets.Value("string"))
    features["messages"] = datasets.List(datasets.Json())
    cells = {name: [cell] for name, cell in row.items()}
    return datasets.Dataset.from_dict(cells, features=datasets.Features(features))


def findings(recipe: Chat, row: dict) -> list[str]:
    return [finding.sentence for finding in recipe.check(dataset_of(row))]


# --- tools -----------------------------------------------------------------------------------------------------------

PUBLISHED = {
    "openai": {"messages": asked(content=None), "tools": [WRAPPED], "parallel_tool_calls": False},
    "empty text": {"messages": asked(content=""), "tools": [WRAPPED]},
    "arguments as text": {
        "messages": [
            *asked()[:1],
            turn("assistant", None, tool_calls=[call(json.dumps(ARGUMENTS), id="call_7")]),
            *asked()[2:],
        ],
        "tools": [SCHEMA],
    },
    "function_call": {
        "messages": [
            *asked()[:1],
            turn("assistant", None, function_call={"name": "look", "arguments": json.dumps(ARGUMENTS)}),
            turn("function", "12", name="look"),
            *asked()[3:],
        ],
        "functions": [SCHEMA],
    },
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": "How warm is it in Rome?"},
            {"from": "function_call", "value": json.dumps({"name": "look", "arguments": ARGUMENTS})},
            {"from": "observation", "value": "12"},
            {"from": "gpt", "value": "It is mild."},
        ],
        "tools": json.dumps([SCHEMA]),
    },
    "calls as text": {
        "messages": [*asked()[:1], turn("assistant", "", tool_calls=json.dumps([call()])), *asked()[2:]],
        "tools": json.dumps([WRAPPED]),
    },
    "prompt and completion": {"prompt": asked()[:1], "completion": asked()[1:], "tools": [WRAPPED]},
}


@pytest.mark.parametrize("shape", PUBLISHED)
def test_calls_and_schemas_of_every_published_shape_are_shown_and_calls_are_learnt(shape):
    recipe = recipe_with("qwen")
    row = read(PUBLISHED[shape])
    assert wrong_order(row["messages"]) is None
    call_text = f"<tool_call>{json.dumps({'name': 'look', 'arguments': ARGUMENTS})}</tool_call><|im_end|>"
    assert "".join(learnt(recipe, row)) == f"{call_text}It is mild.<|im_end|>"
    (ids, *_) = recipe.encode({name: [cell] for name, cell in row.items()})["input_ids"]
    assert recipe.tokenizer.decode(ids).startswith(f"<|im_start|>system\n{json.dumps(WRAPPED)}\n<|im_end|>")


def test_keys_that_a_table_filled_in_are_no_arguments():
    rows = [
        {"messages": [turn("user", "Hi"), turn("assistant", "", tool_calls=[call(given)])]}
        for given in ({"a": 1}, {"b": 2})
    ]
    table = datasets.Dataset.from_list(rows)
    read_batch = column_normalizer(table.features)(table[:])
    written = [dialogue[1]["tool_calls"][0]["function"]["arguments"] for dialogue in read_batch["messages"]]
    assert written == ['{"a": 1}', '{"b": 2}']


def test_an_argument_may_be_null():
    (_, read_call, *_) = read({"messages": [*asked()[:1], turn("assistant", "", tool_calls=[call({"day": None})])]})[
        "messages"
    ]
    assert read_call["tool_calls"][0]["function"]["arguments"] == '{"day": null}'


def test_a_text_beside_a_call_is_learnt_with_it():
    row = read({"messages": asked(content="Let me look.")})
    assert learnt(recipe_with("qwen"), row)[0].startswith('Let me look.<tool_call>{"name": "look"')


def test_a_template_gets_arguments_as_text_where_it_joins_them_to_text():
    row = read({"messages": asked()})
    assert learnt(recipe_with("deepseek"), row)[0].startswith(f"look {json.dumps(ARGUMENTS)}<|im_end|>")


@pytest.mark.parametrize("given", ["call_7", None])
def test_calls_are_numbered_where_the_template_wants_short_ids_and_this_is_printed(given):
    dialogue = asked()
    dialogue[1]["tool_calls"][0]["id"] = dialogue[2]["tool_call_id"] = given
    recipe, row = recipe_with("mistral"), read({"messages": dialogue})
    (ids,) = recipe.encode({"messages": [row["messages"]]})["input_ids"]
    text = recipe.tokenizer.decode(ids)
    assert "look000000001<|im_end|>" in text
    assert "<|im_start|>tool\n000000001: 12<|im_end|>" in text
    assert "tool calls are numbered" in findings(recipe, row)[0]


def test_a_reply_that_ends_with_a_token_of_its_own_is_learnt_to_that_end():
    recipe, row = recipe_with("gpt-oss"), read({"messages": asked()})
    assert learnt(recipe, row) == ["look<|call|>", "It is mild.<|im_end|>"]
    ends = recipe.tokenizer.convert_ids_to_tokens(recipe.writer.generation()["eos_token_id"])
    assert {"<|im_end|>", "<|call|>"} <= set(ends)


@pytest.mark.parametrize("template", ["turns alone", "calls beside tools"])
def test_rows_whose_calls_the_template_does_not_show_are_named(template, model_with):
    rows = [{"messages": [turn("user", f"Hi {number}"), turn("assistant", "Hello")]} for number in range(20)]
    rows[4] = {"messages": asked()}
    settings = {"dataset": {"train": rows, "validation": rows[5:8]}, "model": model_with(template)}
    with pytest.raises(DataError, match=r"train: the chat template does not show tool calls .* in 1 row \(4, counted"):
        hfrecipes.check("chat", **settings)
    assert hfrecipes.check("chat", **settings, drop_invalid=True)["rows"] == {"train": 19, "validation": 3}


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({"messages": [*asked()[:1], turn("assistant", "", tool_calls="look!")]}, "a tool call cannot be read"),
        ({"messages": [*asked()[:1], turn("assistant", "", tool_calls=[call("Rome")])]}, "a tool call cannot be read"),
        ({"messages": asked(), "tools": "look!"}, "tools cannot be read"),
        ({"messages": asked(), "chat_template_kwargs": "yes"}, "chat_template_kwargs cannot be read"),
    ],
)
def test_calls_and_tools_that_cannot_be_read_are_named(row, wrong):
    assert findings(Chat(), read(row))[0].startswith(wrong)


def test_a_tool_may_answer_nothing_or_any_value():
    for content, text in (("", ""), (None, ""), ({"warm": True}, '{"warm": true}'), ([1, 2], "[1, 2]"), (7, "7")):
        dialogue = asked()
        dialogue[2]["content"] = content
        row = read({"messages": dialogue})
        assert row["messages"][2]["content"] == text
        assert wrong_order(row["messages"]) is None


def test_tools_that_the_system_message_describes_are_not_shown_twice():
    system = turn("system", f"<tools>{json.dumps(SCHEMA)}</tools>")
    row = read({"messages": [system, *asked()], "tools": json.dumps([SCHEMA])})
    (ids, *_) = recipe_with("qwen").encode({name: [cell] for name, cell in row.items()})["input_ids"]
    assert recipe_with("qwen").tokenizer.decode(ids).count('"look", "parameters"') == 1
    assert "the system message lists the tools" in findings(Chat(), row)[0]


@pytest.mark.parametrize("template", ["tagged answers", "turns alone"])
def test_tags_around_an_answer_are_shown_once(template):
    """As in the data of Hermes, where calls and answers are texts in tags."""
    talk = [
        {"from": "human", "value": "Warm?"},
        {"from": "gpt", "value": "<tool_call>\n{}\n</tool_call>"},
        {"from": "tool", "value": "<tool_response>\n12\n</tool_response>\n"},
        {"from": "gpt", "value": "Mild."},
    ]
    recipe, row = recipe_with(template), read({"conversations": talk})
    (ids,) = recipe.encode({"messages": [row["messages"]]})["input_ids"]
    assert recipe.tokenizer.decode(ids).count("<tool_response>") == 1
    assert learnt(recipe, row) == ["<tool_call>\n{}\n</tool_call><|im_end|>Mild.<|im_end|>"]
    changed = ["<tool_response> around what tools answer is left out, because the chat template adds it,"]
    assert findings(recipe, row) == (changed if template == "tagged answers" else [])


def test_tools_that_the_template_does_not_show_are_named():
    row = read({"messages": asked()[:1] + asked()[3:], "tools": [SCHEMA]})
    assert findings(recipe_with("turns alone"), row) == [
        "the chat template does not show 'tools', so nothing of it is learnt,"
    ]


def test_keywords_of_the_template_are_given_to_it():
    from transformers import LlamaConfig

    recipe = Chat()
    recipe.tokenizer = tokenizer_with("turns alone")
    recipe.tokenizer.chat_template += "{% if enable_thinking is false %}<no thought>{% endif %}"
    recipe.adapt_to_model(LlamaConfig())
    row = read({"messages": asked()[:1], "chat_template_kwargs": {"enable_thinking": False}})
    prompts = recipe.writer.prompts(dataset_of(row), scored=False)
    assert recipe.tokenizer.decode(prompts[0].input_ids).endswith("<no thought>")


def test_a_loaded_model_predicts_with_the_tools_and_scores_calls_as_it_writes_them(model_with, tmp_path):
    rows = [{"messages": asked()[:2], "tools": [SCHEMA]} for _ in range(12)]
    settings = {"max_steps": 1, "generated_rows": 2, "max_new_tokens": 4, "bf16": False}
    splits = {"train": rows, "validation": rows[:3], "test": rows[:3]}
    result = hfrecipes.run("chat", model=model_with("qwen"), dataset=splits, output_dir=tmp_path / "run", **settings)
    loaded = hfrecipes.load(result.path)
    row = {"messages": asked()[:1], "tools": [SCHEMA]}
    shown: list[str] = []
    assert loaded.predict(row) == result.predict(row)
    assert loaded.stream(row, shown.append) == loaded.predict(row)["generated_text"] == "".join(shown)
    assert loaded.predict(row) != loaded.predict({"messages": asked()[:1]})
    assert loaded.evaluate(rows[:3]).metrics["loss"] == pytest.approx(result.metrics["test"]["loss"])
    line = json.loads((result.path / "predictions.jsonl").read_text().splitlines()[0])
    written = f"<tool_call>{json.dumps({'name': 'look', 'arguments': ARGUMENTS})}</tool_call>"
    assert loaded.recipe.reference(line) == written


# --- thoughts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_thoughts_are_learnt_of_each_reply_as_the_last_one(key):
    dialogue = [
        turn("user", "Hi"),
        turn("assistant", "Hello", **{key: "a greeting"}),
        turn("user", "Warm?"),
        turn("assistant", "Mild.", **{key: "it is 12"}),
    ]
    recipe, row = recipe_with("qwen"), read({"messages": dialogue})
    assert learnt(recipe, row) == [
        "<think>a greeting</think>Hello<|im_end|>",
        "<think>it is 12</think>Mild.<|im_end|>",
    ]
    assert recipe.reference(row) == "<think>it is 12</think>Mild."
    assert findings(recipe, row) == []


def test_a_thought_that_the_prompt_opens_is_learnt_from_its_first_character_on():
    dialogue = [turn("user", "Hi"), turn("assistant", "<b>Hello</b>", reasoning_content="<thin ice")]
    recipe = recipe_with("opened thought")
    assert learnt(recipe, read({"messages": dialogue})) == ["<thin ice</think><b>Hello</b><|im_end|>"]
    assert learnt(recipe, read({"messages": asked(reasoning_content="<tool?")}))[0].startswith(
        "<tool?</think><tool_call>"
    )


def test_calls_are_learnt_where_a_template_shows_them_beside_tools_alone():
    row = read({"messages": asked(), "tools": [SCHEMA]})
    assert learnt(recipe_with("calls beside tools"), row)[0].startswith("<tool_call>")
    assert findings(recipe_with("calls beside tools"), row) == []


def test_thoughts_that_the_template_does_not_show_are_named(model_with, caplog):
    rows = [{"messages": [turn("user", f"Hi {number}"), turn("assistant", "Hello")]} for number in range(20)]
    rows[4]["messages"][1] |= {"reasoning_content": "a greeting", "mood": "good"}
    with caplog.at_level("INFO", "hfrecipes"):
        settings = {"dataset": {"train": rows, "validation": rows[5:8]}, "model": model_with("turns alone")}
        hfrecipes.check("chat", **settings)
    for key in ("reasoning_content", "mood"):
        assert (
            f"train: the chat template does not show '{key}', so nothing of it is learnt, in 1 row (4, counted from 0)"
            in caplog.text
        )


# --- turns that are not learnt ---------------------------------------------------------------------------------------

MARKS = [{"weight": 0}, {"train": False}, {"training": False}, {"loss": False}, {"weight": 0.0}, {"train": "false"}]


@pytest.mark.parametrize("mark", MARKS)
def test_a_turn_that_is_marked_is_read_and_not_learnt(mark):
    (name,) = mark
    learn = {name: 1 if name == "weight" else True}
    dialogue = [
        turn("user", "Hi"),
        turn("assistant", "Helo", **mark),
        turn("user", "Warm?"),
        turn("assistant", "Mild.", **learn),
    ]
    recipe, row = recipe_with("turns alone"), read({"messages": dialogue})
    assert learnt(recipe, row) == ["Mild.<|im_end|>"]
    (ids,) = recipe.encode({"messages": [row["messages"]]})["input_ids"]
    assert "Helo" in recipe.tokenizer.decode(ids)
    assert findings(Chat(), row) == [
        "turns that are marked as not to be learnt (weight 0, train or loss false) are read only,"
    ]


def test_the_last_reply_is_the_last_one_that_is_learnt():
    dialogue = [
        turn("user", "Hi"),
        turn("assistant", "Hello"),
        turn("user", "Warm?"),
        turn("assistant", "Helo", weight=0),
    ]
    recipe, row = recipe_with("turns alone", train_on="last"), read({"messages": dialogue})
    assert learnt(recipe, row) == ["Hello<|im_end|>"]
    assert recipe.reference(row) == "Hello"


WRONG_MARKS = {
    "all replies are marked as not to be learnt": [turn("user", "Hi"), turn("assistant", "Hello", weight=0)],
    "a turn has weight 0.5, expected 0 or 1": [turn("user", "Hi"), turn("assistant", "Hello", weight=0.5)],
}


@pytest.mark.parametrize("sentence", WRONG_MARKS)
def test_marks_that_leave_nothing_to_learn_are_named(sentence):
    assert findings(Chat(), read({"messages": WRONG_MARKS[sentence]}))[0] == sentence


def test_marks_and_training_on_everything_exclude_each_other():
    dialogue = [turn("user", "Hi"), turn("assistant", "Helo", weight=0), turn("user", "Hi"), turn("assistant", "Hello")]
    assert "set train_on=assistant" in findings(Chat(train_on="all"), read({"messages": dialogue}))[0]


def test_a_mark_to_learn_what_the_user_says_is_not_passed_over():
    dialogue = [turn("user", "Hi", train=True), turn("assistant", "Hello", train=True)]
    assert "train_on=all" in findings(Chat(), read({"messages": dialogue}))[0]


def test_a_loss_that_somebody_measured_is_no_mark():
    assert messages([turn("assistant", "Hello", loss=0.37)]) == [turn("assistant", "Hello", loss=0.37)]


# --- speakers, alternatives, system messages -------------------------------------------------------------------------


def test_speakers_with_names_of_their_own_get_roles():
    talk = [{"speaker": "A", "message": "Warm?"}, {"speaker": "B", "message": "Mild."}]
    assert read({"conversation": talk}, roles={"A": "user", "B": "assistant"})["messages"] == [
        turn("user", "Warm?"),
        turn("assistant", "Mild."),
    ]
    assert messages({"speaker": 0, "text": "Warm?"}, roles={"0": "user"}) == [turn("user", "Warm?")]
    rows = [{"conversation": talk}] * 12
    for more in ({}, {"drop_invalid": True}):
        with pytest.raises(DataError, match=r"speakers are 'A', 'B'.*options.roles.A=user options.roles.B=assistant"):
            hfrecipes.check("chat", dataset=rows, **more)
    settings = {"dataset": rows, "options": {"roles": {"A": "user", "B": "assistant"}}}
    assert hfrecipes.check("chat", **settings)["rows"]["train"]
    with pytest.raises(ConfigError, match=r"roles\.A: found 'bot', expected user, assistant, system or tool"):
        hfrecipes.check("chat", dataset=rows, options={"roles": {"A": "bot"}})


@pytest.mark.parametrize("before", [["Warm?"], ["Shall we go?", "Is it warm?"], ["Hi", "Hello", "Warm?"]])
def test_of_alternative_replies_the_first_is_learnt_and_all_are_references(before):
    recipe = recipe_with("turns alone")
    columns = {"prompt": datasets.List(datasets.Value("string")), "completion": datasets.List(datasets.Value("string"))}
    replies = ["Mild.", "Cold.", "Hot."]
    batch = column_normalizer(columns)({"prompt": [before], "completion": [replies]})
    row = {name: cells[0] for name, cells in batch.items()}
    assert wrong_order(row["messages"]) is None
    assert [said["role"] for said in row["messages"][-2:]] == ["user", "assistant"]
    assert learnt(recipe, row)[-1].endswith("Mild.<|im_end|>")
    assert not any("Shall we go" in text or "Cold" in text for text in learnt(recipe, row))
    assert recipe.reference(row) == replies
    predictions = [{"generated_text": "Hot.", "tokens": 1, "correct": 1, "loss": 0.0}]
    import numpy as np

    assert recipe.measure(predictions, [replies])(np.ones((1, 1)))["rougeL"].tolist() == [100.0]


def test_alternatives_in_one_split_alone_are_references_there():
    from hfrecipes.data.prepare import load_data
    from hfrecipes.training.configuration import configure

    train = [{"prompt": f"Warm on day {number}?", "completion": "Mild."} for number in range(12)]
    test = [{"prompt": "Warm?", "completion": ["Mild.", "Cold."]}]
    config, recipe = configure("chat", {"dataset": {"train": train, "test": test}})
    data, _ = load_data(config, recipe)
    assert recipe.reference(data.splits["test"][0]) == ["Mild.", "Cold."]
    assert recipe.reference(data.splits["train"][0]) == "Mild."


def test_texts_without_speakers_are_given_to_user_and_assistant_which_is_printed(caplog):
    rows = [{"dialogue": [f"Warm on day {number}?", "Mild."]} for number in range(12)]
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("chat", dataset=rows)
    assert "dialogue holds texts without speakers: user and assistant in turn, the user first" in caplog.text


def test_a_list_of_replies_that_comes_late_is_refused():
    change = column_normalizer(dict.fromkeys(("prompt", "completion"), datasets.Value("string")))
    with pytest.raises(DataError, match="holds a text in its first rows, and a list of 2 texts later"):
        change({"prompt": ["Warm?"], "completion": [["Mild.", "Cold."]]})


def test_a_reply_that_repeats_its_request_is_read_once():
    talk = [turn("user", "Warm?"), turn("assistant", "Mild.")]
    assert read({"prompt": "Warm?", "chosen": talk})["messages"] == talk


def test_a_reply_that_is_an_object_is_learnt_as_json():
    assert read({"prompt": "Warm?", "completion": {"town": "Rom", "at": 12}})["messages"][1] == turn(
        "assistant", '{"town": "Rom", "at": 12}'
    )


def test_earlier_turns_may_be_a_list_of_texts():
    row = read({"instruction": "Warm?", "output": "Mild.", "history": ["Hi", "Hello"]})
    assert [said["role"] for said in row["messages"]] == ["user", "assistant", "user", "assistant"]


def with_system(number: int) -> dict:
    return {"messages": [turn("system", "Be brief."), turn("user", f"Hi {number}"), turn("assistant", "Hello")]}


def test_a_template_without_system_messages_names_the_rows_and_the_edit(model_with):
    rows = [{"messages": with_system(number)["messages"][1:]} for number in range(20)]
    rows[6] = with_system(6)
    splits = {"train": rows, "validation": rows[8:11]}
    model = model_with("gemma")
    with pytest.raises(
        DataError, match=r"no system message \(no system; options.system=merge .* in 1 row \(6, counted"
    ):
        hfrecipes.check("chat", dataset=splits, model=model)
    assert hfrecipes.check("chat", dataset=splits, model=model, drop_invalid=True)["rows"]["train"] == 19
    for system, text in (("merge", "Be brief.\n\nHi 6"), ("drop", "user\nHi 6")):
        settings = {"dataset": {"train": rows[6:9], "validation": rows[10:12]}, "options": {"system": system}}
        assert text in hfrecipes.check("chat", model=model, **settings)["example"]


@pytest.mark.parametrize("kind", ["system", "tool calls"])
def test_where_the_template_refuses_every_row_the_reason_is_printed_and_dropping_them_is_not_offered(kind, model_with):
    rows = [with_system(number) for number in range(12)]
    if kind == "tool calls":
        call = {"function": {"name": "hours", "arguments": {"day": "today"}}}
        for row in rows:
            row["messages"] = [turn("user", "Open?"), {**turn("assistant", "Let me look."), "tool_calls": [call]}]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    checked = CliRunner().invoke(main, ["check", "chat", "dataset=rows.jsonl", f"model={model_with('gemma')}"])
    reasons = {"system": "options.system=merge puts it before", "tool calls": "does not show tool calls"}
    errors = [line for line in checked.stdout.splitlines() if line.startswith("error")]
    assert [reasons[kind] in line for line in errors] == [True], checked.output
    assert checked.exit_code == 2
    assert "drop_invalid" not in checked.stdout


def test_dropped_rows_are_named_by_their_numbers_in_the_data(model_with, caplog):
    rows = [{"messages": with_system(number)["messages"][1:]} for number in range(30)]
    rows[17] = with_system(17)
    rows[3] = {"messages": [turn("user", " "), turn("assistant", "Hello")]}
    with caplog.at_level("INFO", "hfrecipes"):
        report = hfrecipes.check("chat", dataset=rows, model=model_with("gemma"), drop_invalid=True)
    assert sum(report["rows"].values()) == 28
    assert "(17, counted from 0)" in caplog.text
    assert "(3, counted from 0)" in caplog.text


def test_a_reloaded_model_treats_system_messages_and_speakers_as_training_did(model_with, tmp_path):
    rows = [
        {"talk": [turn("system", "Be brief."), turn("A", f"Hi {number}"), turn("B", "Hello")]} for number in range(12)
    ]
    options = {"system": "merge", "roles": {"A": "user", "B": "assistant"}, "generated_rows": 0, "max_new_tokens": 4}
    settings = {"columns": {"messages": "talk"}, "options": options, "max_steps": 1, "bf16": False}
    result = hfrecipes.run("chat", model=model_with("gemma"), dataset=rows, output_dir=tmp_path / "run", **settings)
    predicted = hfrecipes.load(result.path).predict({"talk": rows[0]["talk"][:2]})
    assert predicted["prompt"] == "Be brief.\n\nHi 0"


def test_the_terminal_does_not_take_a_system_message_that_would_be_dropped(model_with, tmp_path):
    options = {"system": "drop", "generated_rows": 0, "max_new_tokens": 4}
    rows = [with_system(number) for number in range(12)]
    settings = {"options": options, "max_steps": 1, "bf16": False}
    result = hfrecipes.run("chat", model=model_with("gemma"), dataset=rows, output_dir=tmp_path / "run", **settings)
    answered = CliRunner().invoke(main, ["chat", str(result.path), "--system", "Be brief."])
    assert answered.exit_code == 2
    assert "leave --system out" in answered.output


@pytest.mark.parametrize(
    "part", [{"type": "image"}, {"type": "input_audio", "input_audio": {}}, {"type": "thinking", "thinking": "hm"}]
)
def test_parts_that_are_no_text_are_named(part):
    dialogue = [turn("user", [{"type": "text", "text": "What is it?"}, part]), turn("assistant", "Rome.")]
    row = read({"messages": dialogue})
    assert wrong_order(row["messages"]) == f"a turn has {part['type']!r} among its parts, expected text"
