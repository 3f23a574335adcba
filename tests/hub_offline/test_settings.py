"""The settings of a push as a typed value, and what is refused without a request to the Hub."""

from __future__ import annotations

import pytest

from hfrecipes.config.blocks import PushSettings
from hfrecipes.config.run_config import RunConfig
from hfrecipes.errors import ConfigError
from hfrecipes.hub.settings import problems


def test_a_bare_name_and_a_block_make_the_same_settings():
    assert PushSettings.of("me/x") == PushSettings.of({"repo_id": "me/x"}) == PushSettings(repo_id="me/x")


@pytest.mark.parametrize("nothing", [None, {}])
def test_without_settings_nothing_is_pushed(nothing):
    assert PushSettings.of(nothing) is None
    assert problems(RunConfig(task="chat", hub=nothing), None) == []
    with pytest.raises(ConfigError, match="found no repository to push to; add hub="):
        PushSettings.required(nothing)


def test_only_what_was_given_reaches_the_calls_of_the_hub():
    given = {
        "repo_id": "me/x",
        "private": False,
        "region": "eu",
        "revision": "trial",
        "commit_message": "",
        "tag": "v1",
    }
    settings = PushSettings.required(given)
    assert settings.create_keywords() == {"private": False, "region": "eu"}
    assert settings.upload_keywords() == {"revision": "trial", "commit_message": ""}
    assert settings.as_dict() == given
    assert PushSettings.of(settings.as_dict()) == settings


def test_the_block_of_the_card_survives():
    given = {"repo_id": "me/x", "card": {"license": "mit"}}
    assert PushSettings.required(given).as_dict() == given


@pytest.mark.parametrize(
    ("given", "private"),
    [
        ({}, None),
        ({"private": True}, True),
        ({"private": False}, False),
        ({"visibility": "private"}, True),
        ({"visibility": "public"}, False),
        ({"private": True, "visibility": "public"}, True),
    ],
)
def test_both_spellings_of_private_are_understood(given, private):
    assert PushSettings("me/x", **given).wants_private() is private


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"repo_id": "me/x", "privat": True}, r"unknown setting hub\.privat \(did you mean private\?\)"),
        ({"repo_id": "me/x", "private": "no"}, r"hub\.private: found 'no' \(str\), expected true or false"),
        ({"repo_id": "me/x", "tag": 1.0}, r"hub\.tag: found 1\.0 \(float\), expected a text; put a number in quotes"),
        ({"repo_id": 5}, r"hub\.repo_id: found 5 \(int\), expected a text"),
        ({"private": True}, "hub: found keywords without a name; add hub.repo_id="),
    ],
)
def test_what_makes_no_settings_is_refused_with_the_sentence_of_the_check(given, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        PushSettings.of(given)
    assert problems(RunConfig(task="chat", hub=given), None) == error.value.problems


def test_every_problem_is_listed():
    given = {"privat": True, "tag": 1, "every": "epoch", "model": "all", "card": {"model_name": "x", "licence": "mit"}}
    config = RunConfig(task="chat", hub=given, training={"save_only_model": True})
    starts = [sentence.partition(":")[0].partition(" (")[0] for sentence in problems(config, None)]
    assert starts == [
        "unknown setting hub.privat",
        "hub.tag",
        "hub",
        "hub.card.model_name",
        "unknown setting hub.card.licence",
        "hub.every",
        "save_only_model",
        "hub.model",
    ]


@pytest.mark.parametrize(
    ("lora", "wanted", "base", "sentence"),
    [
        (False, "both", None, "found both, but this run trains no adapter: add lora=true, or remove hub.model"),
        ({"peft_type": "PROMPT_TUNING"}, "merged", "me/base", "found merged, but PROMPT_TUNING cannot be merged into"),
        (True, "adapter", None, "an adapter cannot be used without its base model, and /data/base is a local folder"),
        (True, "merged", None, ""),
        (True, "both", "me/base", ""),
    ],
)
def test_an_adapter_is_pushed_only_where_others_can_use_it(lora, wanted, base, sentence):
    hub = {"repo_id": "me/x", "model": wanted}
    sentences = problems(RunConfig(task="chat", model=base or "/data/base", lora=lora, hub=hub), base)
    assert len(sentences) == bool(sentence)
    assert sentence in "".join(sentences)
