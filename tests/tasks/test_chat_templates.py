"""What is learnt of a reply continues the very prompt of prediction, whatever the template, tokenizer and reply."""

from __future__ import annotations

import functools
import json

import pytest
from conftest import make_tokenizer, save_llama

import hfrecipes
from hfrecipes.tasks.chat import Chat

# --- tokenizers ------------------------------------------------------------------------------------------------------

MARKS = ["<|im_start|>", "<|im_end|>", "<|User|>", "<|Assistant|>", "<|channel|>", "<|message|>"]
TEXTS = [
    "user: When do you open? assistant: At ten. system: Be brief. And on Sunday? Never, I fear. Thank you.",
    "<table> <b>Bold</b> <think>\nhm\n</think>\n\nAt ten. [INST] [/INST] 24 7 zQ | QVX",
    "几点开门？十点。🙂 Hello\n\n",
] * 4
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# How Llama 3 splits texts: line breaks stay together, and with the punctuation before them.
LLAMA3 = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def finished(backend):
    from transformers import PreTrainedTokenizerFast

    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **special)
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    return tokenizer


def byte_level(*, regex: str = "", add_prefix_space: bool = False, trim_offsets: bool = False):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=not regex)
    if regex:
        split = pre_tokenizers.Split(Regex(regex), "isolated")
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, backend.pre_tokenizer])
    backend.post_processor = processors.ByteLevel(trim_offsets=trim_offsets, add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    return finished(backend)


def sentence_pieces(scheme: str):
    """As converted from sentencepiece: blanks are `▁`, what is unknown is spelled in bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if scheme == "normalizer":  # Llama 2
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>", "<s>", "</s>", *BYTES], show_progress=False)
    backend.train_from_iterator([text.replace("\n", " ") for text in TEXTS], trainer)
    settings = json.loads(backend.to_str())
    settings["added_tokens"] = [token for token in settings["added_tokens"] if token["content"] not in BYTES]
    return finished(Tokenizer.from_str(json.dumps(settings)))


def unigram():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    return finished(backend)


def word_pieces():
    """Drops blanks and capitals, so that a text cannot be read off its tokens."""
    tokenizer = make_tokenizer("十点。🙂")
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>", "additional_special_tokens": MARKS})
    return tokenizer


TOKENIZERS = {
    "byte-level": byte_level,
    "byte-level, trimmed offsets": functools.partial(byte_level, trim_offsets=True),
    "byte-level, prefix space": functools.partial(byte_level, add_prefix_space=True, trim_offsets=True),
    "byte-level, line breaks together": functools.partial(byte_level, regex=LLAMA3),
    "sentence pieces, first": functools.partial(sentence_pieces, "first"),
    "sentence pieces, always": functools.partial(sentence_pieces, "always"),
    "sentence pieces, normalizer": functools.partial(sentence_pieces, "normalizer"),
    "unigram": unigram,
    "word pieces": word_pieces,
}


@functools.cache
def tokenizer_of(name: str):
    return TOKENIZERS[name]()


# --- templates, in the shape of well-known ones ----------------------------------------------------------------------

TURN = "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
TURNS = "{% for m in messages %}" + TURN + "{% endfor %}"
ASKED = "{% if add_generation_prompt %}<|im_start|>assistant\nOPENED{% endif %}"
THOUGHT_APART = (
    "{% set parts = m['content'].split('</think>') %}"
    "{% set thought = parts[0].split('<think>')[-1].strip() if parts | length > 1 else '' %}"
)
QWEN3 = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}" + THOUGHT_APART + "<|im_start|>assistant\n"
    "{% if loop.last %}<think>\n{{ thought }}\n</think>\n\n{% endif %}{{ parts[-1].lstrip('\n') }}<|im_end|>\n"
    "{% else %}" + TURN + "{% endif %}{% endfor %}"
)
MARKED = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}REPLY{% else %}" + TURN + "{% endif %}{% endfor %}"
) + ASKED.replace("OPENED", "")
CLOSED_AT_ONCE = "<think>\n{% if enable_thinking is false %}{{ '\n</think>\n\n' }}{% endif %}"
TEMPLATES = {
    "chatml": TURNS + ASKED.replace("OPENED", ""),
    "llama 2": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'].strip() "
        "+ ' [/INST]' }}{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "llama 3": (
        "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}<|message|>\n\n{{ m['content'] | trim }}"
        "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant<|message|>\n\n{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% for m in messages %}<|im_start|>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
        "{{ m['content'] | trim }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + '[/INST]' }}"
        "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    ),
    "zephyr": (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    "deepseek r1": (
        "{% for m in messages %}{% if m['role'] == 'user' %}<|User|>{{ m['content'] }}{% else %}"
        "<|Assistant|>{{ m['content'].split('</think>')[-1] }}</s>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
    ),
    "deepseek v3": (
        "{% for m in messages %}{% if m['role'] == 'user' %}<|User|>{{ m['content'] }}{% else %}"
        "<|Assistant|></think>{{ m['content'] }}</s>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|Assistant|><think>{% endif %}"
    ),
    "qwen3": QWEN3 + ASKED.replace("OPENED", ""),
    "qwen3 thinking": QWEN3 + ASKED.replace("OPENED", "<think>\n"),
    "qwen3 not thinking": QWEN3 + ASKED.replace("OPENED", "{{ '<think>\n\n</think>\n\n' }}"),
    "opened thought": TURNS + ASKED.replace("OPENED", "<think>\n"),
    "opened thought that can be closed": TURNS + ASKED.replace("OPENED", CLOSED_AT_ONCE),
    "marks": MARKED.replace(
        "REPLY", "<|im_start|>assistant\n{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    ),
    "marks around the role": MARKED.replace("REPLY", "{% generation %}" + TURN + "{% endgeneration %}"),
    "marks without an end": MARKED.replace(
        "REPLY", "<|im_start|>assistant\n{% generation %}{{ m['content'] }}{% endgeneration %}{{ '<|im_end|>\n' }}"
    ),
    "blank at the end of a prompt": (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    ),
    "no end": (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    ),
    "plain": None,
}
REPLIES = [
    "At ten.",
    "<table>",
    "<b>Bold</b>",
    "<think>\nhm\n</think>\n\nAt ten.",
    "<think>hm</think>At ten.",
    "  Never, I fear. ",
    "\nNever",
    "Never\n\n",
    "24 / 7",
    "十点。",
    "🙂",
    "<",
    "<think>",
    "zQ",
]


def recipe_of(template: str | None, tokenizer: str = "byte-level", **options) -> Chat:
    from transformers import LlamaConfig

    recipe = Chat(max_length=512, **options)
    recipe.tokenizer = tokenizer_of(tokenizer)
    recipe.tokenizer.chat_template = TEMPLATES.get(template, template)
    recipe.adapt_to_model(LlamaConfig())
    return recipe


def said(*turns: str) -> list[dict]:
    """A dialogue that the user begins."""
    return [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(turns)]


def decoded(recipe: Chat, ids: list[int]) -> str:
    return recipe.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def learnt(recipe: Chat, dialogue: list[dict]) -> dict[int, list[tuple[list[int], list[int]]]]:
    """For each reply the prompt of prediction, and what is learnt right after it, in every piece that has both."""
    features = recipe.encode_for_training({"messages": [dialogue]})
    pieces = list(zip(features["input_ids"], features["labels"], strict=True))
    pairs: dict[int, list[tuple[list[int], list[int]]]] = {}
    tokens = 0
    for index in range(1, len(dialogue), 2):
        prompt = recipe.template.prompt(dialogue[:index], 512)
        size = len(prompt)
        pairs[index] = []
        for ids, labels in pieces:
            if ids[:size] == prompt and labels[size - 1] < 0 <= labels[size]:
                end = next((at for at in range(size, len(ids)) if labels[at] < 0), len(ids))
                assert labels[size:end] == ids[size:end]
                pairs[index].append((prompt, ids[size:end]))
                tokens += end - size
    for _, labels in pieces:
        tokens -= sum(label >= 0 for label in labels)
    assert tokens == 0, "something else is learnt"
    return pairs


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_every_reply_is_learnt_once_right_after_the_prompt_of_prediction(template, tokenizer):
    recipe = recipe_of(template, tokenizer)
    for start in range(0, len(REPLIES), 3):
        turns = []
        for reply in REPLIES[start : start + 3]:
            turns += ["When do you open?", reply]
        dialogue = said(*turns)
        for index, pairs in learnt(recipe, dialogue).items():
            assert len(pairs) == 1, dialogue[index]
            prompt, ids = pairs[0]
            assert ids[-1] in recipe.template.ends
            if tokenizer != "word pieces" and recipe.tokenizer.unk_token_id not in ids:
                check_text(recipe, dialogue[: index + 1], decoded(recipe, prompt), decoded(recipe, [*prompt, *ids]))


def check_text(recipe: Chat, dialogue: list[dict], prompt: str, text: str) -> None:
    """What is learnt is the template's own rendering, where that goes on from the prompt, and lacks no letter."""
    assert text.startswith(prompt)
    after = text[len(prompt) :]
    asked, shown = recipe.template.render(dialogue[:-1], prompt=True), recipe.template.render(dialogue)
    if shown.startswith(asked) and recipe.template.end_of_turn is not None:
        assert after
        assert shown[len(asked) :].startswith(after)
    reply, shown = ("".join(part.split()) for part in (dialogue[-1]["content"], shown))
    if reply in shown:
        assert reply in "".join(text[len(prompt) - len("<think>\n") :].split())
    if not reply.startswith("<think>"):
        assert dialogue[-1]["content"].strip() in after


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_last_reply_alone_is_learnt_right_after_its_prompt(template):
    recipe = recipe_of(template, train_on="last")
    for reply in REPLIES:
        dialogue = said("When do you open?", reply, "And on Sunday?", reply)
        pairs = learnt(recipe, dialogue)
        assert [len(pairs[index]) for index in (1, 3)] == [0, 1]


@pytest.mark.parametrize("template", TEMPLATES)
def test_where_everything_is_learnt_no_turn_is_learnt_twice(template):
    recipe = recipe_of(template, train_on="all")
    features = recipe.encode_for_training({"messages": [said("eel", "fox", "gnu", "hen", "owl", "pig")]})
    text = ""
    for labels in features["labels"]:
        text += decoded(recipe, [label for label in labels if label >= 0])
    assert [text.count(word) for word in ("eel", "fox", "gnu", "hen", "owl", "pig")] == [1] * 6


# --- prompts that open a thought -------------------------------------------------------------------------------------

OPENED = {
    # The reply is whole behind the opened thought, whatever letters it shares with that.
    ("opened thought", "At ten."): "At ten.<|im_end|>",
    ("opened thought", "<table>"): "<table><|im_end|>",
    ("opened thought", "<b>Bold</b>"): "<b>Bold</b><|im_end|>",
    ("opened thought", "<think> is a tag"): "<think> is a tag<|im_end|>",
    ("opened thought", "  Never"): "  Never<|im_end|>",
    ("deepseek r1", "<table>"): "<table></s>",
    ("deepseek r1", "\nNever"): "\nNever</s>",
    # A thought of its own goes on from the opened one.
    ("opened thought", "<think>\nhm\n</think>\nAt ten."): "hm\n</think>\nAt ten.<|im_end|>",
    ("opened thought", "<think>hm</think>At ten."): "hm</think>At ten.<|im_end|>",
    ("qwen3 thinking", "<think>hm</think>At ten."): "hm\n</think>\n\nAt ten.<|im_end|>",
    # It is closed as the template itself closes an empty one; else the reply stands as it is shown.
    ("qwen3 thinking", "<table>"): "\n</think>\n\n<table><|im_end|>",
    ("opened thought that can be closed", "<table>"): "\n</think>\n\n<table><|im_end|>",
    ("opened thought that can be closed", "<think>hm</think>At ten."): "hm</think>At ten.<|im_end|>",
    ("deepseek v3", "<table>"): "</think><table></s>",
    ("deepseek r1", "<think>hm</think>At ten."): "At ten.</s>",
    # One that is closed already is left alone.
    ("qwen3 not thinking", "<think>hm</think>At ten."): "<think>\nhm\n</think>\n\nAt ten.<|im_end|>",
    ("qwen3 not thinking", "At ten."): "At ten.<|im_end|>",
}


@pytest.mark.parametrize("case", OPENED)
def test_the_reply_to_a_prompt_that_opens_a_thought(case):
    template, reply = case
    recipe = recipe_of(template)
    ((_, ids),) = learnt(recipe, said("When do you open?", reply))[1]
    assert decoded(recipe, ids) == OPENED[case]


def test_that_a_prompt_opens_a_thought_is_printed():
    from transformers import LlamaConfig

    recipe = recipe_of("opened thought that can be closed")
    (sentence,) = recipe.adapt_to_model(LlamaConfig())
    assert "prompts end with '<think>\\n', which is not rendered before replies" in sentence
    assert "'\\n</think>\\n\\n' and then the reply" in sentence
    assert recipe_of("qwen3").adapt_to_model(LlamaConfig()) == []


def test_rows_that_the_template_shows_in_part_are_counted(tmp_path, caplog):
    tokenizer = tokenizer_of("byte-level")
    tokenizer.chat_template = TEMPLATES["deepseek r1"]
    model = save_llama(tokenizer, tmp_path / "model")
    rows = [{"messages": said(f"Number {number}?", "At ten.", "Sure?", "Yes.")} for number in range(20)]
    rows += [{"messages": said(f"Row {number}?", "<think>hm</think>At ten.")} for number in range(3)]
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("chat", dataset={"train": rows, "validation": rows[:5]}, model=model)
    assert "train: in 3 of 23 rows the chat template leaves out text" in caplog.text
    assert "validation: " in caplog.text
    assert "of 5 rows are shown" not in caplog.text


@pytest.mark.parametrize(
    ("template", "reply", "whole"),
    [
        ("qwen3", "<think>hm</think>At ten.", True),  # with other line breaks, and in the last turn alone
        ("chatml", " At ten.\n", True),
        ("llama 3", " At ten.\n", True),
        ("deepseek r1", "<think>hm</think>At ten.", False),
        ("deepseek r1", "<table>", True),
    ],
)
def test_a_row_is_whole_where_every_reply_is_shown_as_the_last_turn(template, reply, whole):
    dialogue = said("Open?", reply, "Sure?", "Yes.")
    assert set(recipe_of(template).encode({"messages": [dialogue]})["hidden"]) == {not whole}


def test_a_system_message_that_is_left_out_is_noticed():
    system = {"role": "system", "content": "Be brief."}
    dialogue = [system, *said("Open?", "At ten.")]
    assert recipe_of("chatml").encode({"messages": [dialogue]})["hidden"] == [False]
    assert recipe_of("mistral").encode({"messages": [dialogue]})["hidden"] == [True]


# --- earlier turns that are shown otherwise --------------------------------------------------------------------------


def test_a_prompt_that_shows_earlier_turns_otherwise_is_followed_by_the_reply_alone():
    """As Mistral's, which puts the system message into the turn of the user, while that is the last one."""
    template = (
        "{{ bos_token }}{% for m in messages if m['role'] != 'system' %}{% if m['role'] == 'user' %}[INST] "
        "{% if loop.last %}{{ messages[0]['content'] + '\n\n' }}{% endif %}{{ m['content'] + '[/INST]' }}"
        "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    )
    recipe = recipe_of(template)
    dialogue = [{"role": "system", "content": "Be brief."}, *said("Open?", "At ten.", "Sure?", "[Yes]")]
    features = recipe.encode_for_training({"messages": [dialogue]})
    shown = []
    for ids, labels in zip(features["input_ids"], features["labels"], strict=True):
        size = sum(label < 0 for label in labels)
        shown.append((decoded(recipe, ids[:size]), decoded(recipe, labels[size:])))
    assert shown == [
        ("<s>[INST] Be brief.\n\nOpen?[/INST]", " At ten.</s>"),
        ("<s>[INST] Open?[/INST] At ten.</s>[INST] Be brief.\n\nSure?[/INST]", " [Yes]</s>"),
    ]
    assert features["hidden"] == [False, False]


def test_tokens_that_change_with_what_follows_keep_replies_apart():
    """GPT-2 joins two line breaks at the end of a text, and keeps them apart before a word."""
    dialogue = said("When do you open?", "Hello", "And on Sunday?", "Hello")
    lines = {name: recipe_of("llama 3", name) for name in ("byte-level", "byte-level, line breaks together")}
    assert len(lines["byte-level"].encode({"messages": [dialogue]})["length"]) == 2
    assert len(lines["byte-level, line breaks together"].encode({"messages": [dialogue]})["length"]) == 1


def test_a_long_dialogue_is_rendered_a_few_times_for_each_reply():
    recipe = recipe_of("opened thought")
    recipe.max_length = 100_000
    rendered = []
    render = recipe.template.render
    recipe.template.render = lambda *given, **how: rendered.append(1) or render(*given, **how)
    recipe.encode({"messages": [said(*(f"Turn number {number}" for number in range(160)))]})
    assert len(rendered) < 80 * 3 + 10


# --- {% generation %} marks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["marks", "marks around the role"])
def test_marks_are_read_as_transformers_reads_them(template):
    recipe = recipe_of(template)
    dialogue = said("When do you open?", "<table>", "And on Sunday?", "Never.")
    theirs = recipe.tokenizer.apply_chat_template(dialogue, return_dict=True, return_assistant_tokens_mask=True)
    features = recipe.encode({"messages": [dialogue]})
    (ids,), (labels,) = features["input_ids"], features["labels"]
    assert ids == theirs["input_ids"][: len(ids)]
    ours = [index for index, label in enumerate(labels) if label >= 0]
    marked = [index for index, mark in enumerate(theirs["assistant_masks"][: len(ids)]) if mark]
    assert set(ours) <= set(marked)
    # What the marks have besides is what prompts end with, and the line break after a turn.
    beside = decoded(recipe, [ids[index] for index in marked if index not in ours])
    assert beside in ("", "<|im_start|>assistant\n\n<|im_start|>assistant\n")


def test_what_the_marks_leave_out_is_not_learnt_but_the_end_is():
    recipe = recipe_of(
        MARKED.replace(
            "REPLY",
            THOUGHT_APART + "<|im_start|>assistant\n{{ '<think>' + thought + '</think>' }}"
            "{% generation %}{{ parts[-1] }}{% endgeneration %}{{ '<|im_end|>\n' }}",
        )
    )
    features = recipe.encode({"messages": [said("When do you open?", "<think>hm</think>At ten.")]})
    assert decoded(recipe, [label for label in features["labels"][0] if label >= 0]) == "At ten.<|im_end|>"


def test_marks_hold_where_the_tokenizer_drops_blanks():
    recipe = recipe_of("marks", "word pieces")
    dialogue = said("Open?", "  at ten \n", "Sure?", "\nyes")
    (labels,) = recipe.encode({"messages": [dialogue]})["labels"]
    text = decoded(recipe, [label for label in labels if label >= 0])
    assert text.replace(" ##", "") == "at ten <|im_end|> yes <|im_end|>"


def test_that_marks_are_used_is_printed():
    from transformers import LlamaConfig

    (sentence,) = recipe_of("marks").adapt_to_model(LlamaConfig())
    assert "{% generation %} marks" in sentence


# --- what is shown of a written text ---------------------------------------------------------------------------------


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_written_reply_is_given_back_whole(template):
    recipe = recipe_of(template)
    for reply in ("At ten.", "<table>", "<b>Bold</b>", "<", "十点。", "Reply", "zQ7other"):
        ((_, ids),) = learnt(recipe, said("Open?", reply))[1]
        written = recipe.writer.decode(hfrecipes.recipe.Prompt("Open?", []), ids)
        assert written["generated_text"] == reply


def test_what_the_template_puts_around_a_reply_is_not_shown_even_where_it_has_special_tokens():
    recipe = recipe_of(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}{% if m['role'] == 'assistant' %}<|channel|>final{% endif %}"
        "<|message|>{{ m['content'] }} [over]<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
    )
    ((_, ids),) = learnt(recipe, said("Open?", "At ten."))[1]
    prompt = hfrecipes.recipe.Prompt("Open?", [])
    assert decoded(recipe, ids) == "<|channel|>final<|message|>At ten. [over]<|im_end|>"
    assert recipe.writer.decode(prompt, ids)["generated_text"] == "At ten."


def test_letters_that_the_template_begins_with_are_shown_once_nothing_more_comes():
    recipe = recipe_of("qwen3")
    prompt = hfrecipes.recipe.Prompt("Open?", [])
    ids = recipe.template.ids("<")
    assert recipe.writer.decode(prompt, ids)["generated_text"] == ""
    assert recipe.writer.decode(prompt, [*ids, recipe.template.end_of_turn])["generated_text"] == "<"


def test_a_line_break_ends_no_turn_though_the_tokenizer_has_it_as_an_added_token():
    tokenizer = byte_level()
    tokenizer.add_tokens(["\n"])
    tokenizer.chat_template = TEMPLATES["no end"]
    from transformers import LlamaConfig

    recipe = Chat()
    recipe.tokenizer = tokenizer
    recipe.adapt_to_model(LlamaConfig())
    assert recipe.template.ends == [tokenizer.eos_token_id]


def test_each_form_of_a_dialogue_is_rendered_once_while_it_is_read(monkeypatch, tiny_llama):
    from transformers import AutoTokenizer, LlamaConfig

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    recipe = Chat()
    recipe.tokenizer = tokenizer
    recipe.adapt_to_model(LlamaConfig())
    rendered = []
    render = type(tokenizer).apply_chat_template

    def counted(self, dialogue, **options):
        rendered.append(repr((dialogue, options)))
        return render(self, dialogue, **options)

    monkeypatch.setattr(type(tokenizer), "apply_chat_template", counted)
    dialogue = Chat.samples[0]["messages"]
    recipe.encode_for_training({"messages": [dialogue]})
    assert len(rendered) == len(set(rendered)) == 4, "two prompts, and what is shown after each reply"
