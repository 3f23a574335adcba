"""Dialogues in published shapes: transcripts, trees of messages, personas, turns and texts without speakers."""

from __future__ import annotations

import json

import pytest

import hfrecipes
from hfrecipes.data.numbered_dialogues import dialogue_reader
from hfrecipes.data.opening import open_source
from hfrecipes.data.prepare import load_data
from hfrecipes.data.shapes.transcripts import turns_of
from hfrecipes.errors import DataError
from hfrecipes.training.configuration import configure


def dialogues(rows: object) -> list[list[tuple]]:
    """Role and content of each turn of each row."""
    config, recipe = configure("chat", {"dataset": {"train": rows, "validation": rows}})
    train = load_data(config, recipe)[0].splits["train"]
    return [[(turn["role"], turn["content"]) for turn in messages] for messages in train["messages"][:]]


TWO = [("user", "Tea?"), ("assistant", "Yes."), ("user", "Milk?"), ("assistant", "No.")]
TRANSCRIPTS = {
    "\n\nHuman: Tea?\n\nAssistant: Yes.\n\nHuman: Milk?\n\nAssistant: No.": TWO,
    "### Human: Tea?### Assistant: Yes.### Human: Milk?### Assistant: No.": TWO,
    "USER: Tea? ASSISTANT: Yes.</s>USER: Milk? ASSISTANT: No.</s>": TWO,
    "<human>: Tea?\n<bot>: Yes.\n<human>: Milk?\n<bot>: No.": TWO,
    "<|im_start|>user\nTea?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n": TWO[:2],
    "<s>[INST] Tea? [/INST] Yes. </s><s>[INST] Milk? [/INST] No. </s>": TWO,
    "Tea? __eou__ Yes. __eou__ Milk? __eou__ No. __eou__": TWO,
    "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nTea? [/INST] Yes.": [("system", "Be brief."), *TWO[:2]],
    "A task.\n\n### Instruction:\nAdd\n\n### Input:\n1, 2\n\n### Response:\n3": [
        ("system", "A task."),
        ("user", "Add\n\n1, 2"),
        ("assistant", "3"),
    ],
}


@pytest.mark.parametrize("text", TRANSCRIPTS)
def test_a_transcript_is_its_turns(text, caplog):
    assert dialogues([{"text": text}] * 6)[0] == TRANSCRIPTS[text]
    assert "text holds dialogues as texts, read as turns by their marks" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["What does 'Human: hi' mean?", "Continue:\nHuman: a\nAssistant: b\nHuman: c", "### Human: only", "", "Tea?"],
)
def test_a_request_that_quotes_a_dialogue_stays_one(text):
    assert turns_of(text) is None


def test_the_chosen_dialogue_of_preferences_is_learnt_alone():
    text = "\n\nHuman: Tea?\n\nAssistant: "
    rows = [{"chosen": f"{text}Yes {row}.", "rejected": f"{text}No."} for row in range(6)]
    assert dialogues(rows)[1] == [("user", "Tea?"), ("assistant", "Yes 1.")]


def test_a_prompt_that_ends_where_the_assistant_speaks_is_followed_by_its_reply():
    rows = [{"prompt": f"\n\nHuman: Tea {row}?\n\nAssistant:", "completion": "Yes."} for row in range(6)]
    assert dialogues(rows)[1] == [("user", "Tea 1?"), ("assistant", "Yes.")]


def test_a_rendered_text_beside_its_parts_is_not_read():
    rows = [
        {"instruction": f"Add {row}", "output": "3", "text": "### Instruction: a\n### Response: b"} for row in range(6)
    ]
    assert dialogues(rows)[2] == [("user", "Add 2"), ("assistant", "3")]


@pytest.mark.parametrize("name", ["turns.json", "turns.jsonl"])
def test_lists_of_texts_are_dialogues(name, tmp_path):
    lists = [["Tea?", "Yes."] if row % 2 else ["Tea?", "Yes.", "Milk?", "No."] for row in range(8)]
    text = json.dumps(lists) if name == "turns.json" else "\n".join(map(json.dumps, lists))
    (tmp_path / name).write_text(text)
    assert dialogues(str(tmp_path / name))[0] == TWO
    with pytest.raises(DataError):
        hfrecipes.check("text-classification", dataset=str(tmp_path / name))


@pytest.mark.parametrize(
    "row",
    [
        {"id": "7", "data": ["Tea?", "Yes.", "Milk?", "No."]},
        {"messages": [{"message": content, "attrs": []} for _, content in TWO]},
    ],
)
def test_turns_without_speakers_take_turns(row, caplog):
    assert dialogues([row] * 6)[0] == TWO
    assert "user and assistant in turn, the user first" in caplog.text


def test_a_persona_is_a_system_message_and_the_last_candidate_the_reply():
    utterances = [
        {"candidates": ["No.", "Yes."], "history": ["Tea?"]},
        {"candidates": ["Ten.", "No."], "history": ["Tea?", "Yes.", "Milk?"]},
    ]
    persona = ["i like tea .", "i row ."]
    system = ("system", "i like tea . i row .")
    assert dialogues([{"personality": persona, "utterances": utterances}] * 6)[0] == [system, *TWO]
    flat = [{"personality": persona, **utterance} for utterance in utterances] * 3
    assert dialogues(flat)[:2] == [[system, *TWO[:2]], [system, *TWO]]


def messages_of(tree: int) -> list[dict]:
    rows = []
    for name, parent, role, text, rank in (
        ("a", None, "prompter", "Tea?", None),
        ("b", "a", "assistant", "No.", 1),
        ("c", "a", "assistant", "Yes.", 0),
        ("d", "c", "prompter", "Milk?", 0),
        ("e", "d", "assistant", "No.", 0),
    ):
        parent_id = parent and f"{parent}{tree}"
        rows.append({"message_id": f"{name}{tree}", "parent_id": parent_id, "role": role, "text": text, "rank": rank})
    return rows


def test_messages_that_answer_each_other_become_the_dialogue_of_the_best_replies(caplog):
    rows = [row for tree in range(5) for row in messages_of(tree)]
    rows.sort(key=lambda row: row["message_id"])
    assert dialogues(rows) == [TWO] * 5
    assert "25 messages with the one that each answers: 20 of them are read, as 5 dialogues" in caplog.text


def test_trees_of_replies_are_read_alike():
    replies = [{"role": "assistant", "text": "No.", "rank": 1, "replies": []}]
    replies.append({"role": "assistant", "text": "Yes.", "rank": 0, "replies": []})
    rows = [
        {"message_tree_id": str(row), "prompt": {"role": "prompter", "text": "Tea?", "replies": replies}}
        for row in range(6)
    ]
    assert dialogues(rows)[0] == TWO[:2]


PARLAI = {
    "1 your persona: I have {n} cats.\n2 Tea?\tYes.\t\tno|Yes.\n3 Milk?\tNo {n}.\t\tNo {n}.|yes\n": [
        ("system", "your persona: I have {n} cats."),
        *TWO[:3],
        ("assistant", "No {n}."),
    ],
    "1 Mary has tea {n}.\n2 John has milk.\n3 Who has milk? \tJohn\t2\n": [
        ("user", "Mary has tea {n}.\nJohn has milk.\nWho has milk?"),
        ("assistant", "John"),
    ],
    "text:your persona: I have {n} cats.\\nTea?\tlabels:Yes.|Sure.\ntext:Milk?\tlabels:No.\tepisode_done:True\n": [
        ("system", "your persona: I have {n} cats."),
        *TWO,
    ],
}


@pytest.mark.parametrize("lines", PARLAI)
def test_numbered_lines_of_parlai_are_dialogues(lines, tmp_path, caplog):
    file = tmp_path / "train.txt"
    file.write_text("".join(lines.replace("{n}", str(number)) for number in range(6)), encoding="utf-8")
    read = dialogues(str(file))
    assert len(read) == 6
    assert read[3] == [(role, text.replace("{n}", "3")) for role, text in PARLAI[lines]]
    assert "read as ParlAI dialogues" in caplog.text


def test_a_numbered_list_is_no_dialogue(tmp_path):
    file = tmp_path / "train.txt"
    file.write_text("".join(f"{number} Tea\tor milk?\n" for number in range(1, 9)), encoding="utf-8")
    assert dialogue_reader(open_source(str(file), None)) is None


@pytest.mark.parametrize("more", [{}, {"prompt": "Tea?"}, {"id": "0"}])
@pytest.mark.parametrize("number", [1, 6])
def test_data_is_a_dialogue_also_in_a_file_of_one_row_and_beside_its_request(more, number, tmp_path):
    texts = [text for _, text in TWO]
    messages = [{"role": role, "content": text} for role, text in TWO]
    for data in (texts, messages):
        file = tmp_path / f"{type(data[0]).__name__}.jsonl"
        file.write_text(f"{json.dumps({**more, 'data': data})}\n" * number, encoding="utf-8")
        assert dialogues(str(file)) == [TWO] * number


@pytest.mark.parametrize("keys", [("human", "assistant"), ("question", "answer"), ("instruction", "output")])
def test_a_list_of_requests_with_their_replies_is_a_dialogue(keys, caplog):
    exchanges = [dict(zip(keys, ("Tea?", "Yes."), strict=True)), dict(zip(keys, ("Milk?", "No."), strict=True))]
    assert dialogues([{"conversation": exchanges}] * 6)[0] == TWO
    assert f"{keys[0]} is the user's turn, and {keys[1]} that of the assistant" in caplog.text


@pytest.mark.parametrize("reply", ["No.", {"from": "gpt", "value": "No."}, [{"role": "assistant", "content": "No."}]])
def test_a_reply_in_a_column_of_its_own_ends_the_dialogue(reply, caplog):
    turns = [{"role": role, "content": text} for role, text in TWO[:3]]
    assert dialogues([{"conversations": turns, "chosen": reply, "rejected": "Never."}] * 6)[0] == TWO
    assert "chosen is the reply to conversations, which all end with the user" in caplog.text


def test_a_column_beside_whole_dialogues_is_no_reply_to_them():
    turns = [{"role": role, "content": text} for role, text in TWO]
    assert dialogues([{"messages": turns, "answer": "Other."}] * 6)[0] == TWO


def test_target_is_the_reply_to_an_input():
    assert dialogues([{"kind": "QA", "input": "Tea?", "target": "Yes."}] * 6)[0] == TWO[:2]


@pytest.mark.parametrize("name", ["system", "system_prompt", "system_message"])
def test_a_column_of_system_messages_comes_first(name):
    rows = [{name: "Be brief.", "question": "Tea?", "response": "Yes."}] * 6
    assert dialogues(rows)[0] == [("system", "Be brief."), *TWO[:2]]


def test_replies_that_are_marked_as_wanted_or_not_are_named(caplog):
    rows = [{"prompt": "Tea?", "completion": "Yes.", "label": row % 2 == 0} for row in range(6)]
    assert dialogues(rows)[0] == TWO[:2]
    assert "label is not read: replies where it is false are trained on like the others" in caplog.text
