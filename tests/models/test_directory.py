"""Which model a run starts from, read once from any of the forms that users may write."""

from __future__ import annotations

import pytest

from hfrecipes.errors import ConfigError
from hfrecipes.settings import ModelSettings


def test_a_name_and_keywords_with_a_name_are_the_same_thing():
    assert ModelSettings.of("me/model") == ModelSettings.of({"path": "me/model"}) == ModelSettings("me/model", {})


def test_keywords_tell_what_is_done_with_the_model():
    given = {"path": "me/model", "revision": "v1", "dtype": "bfloat16", "trust_remote_code": True}
    settings = ModelSettings.of(given)
    assert settings.path == "me/model"
    assert settings.shared_keywords == {"revision": "v1", "trust_remote_code": True}
    assert settings.trust_remote_code
    assert not settings.is_quantized
    assert ModelSettings.of({"path": "me/model", "quantization_config": {"load_in_4bit": True}}).is_quantized
    assert "path" in given, "what the user gave stays as it is"


@pytest.mark.parametrize(
    ("model", "message"),
    [(None, "no model: add model="), ("", "no model: add model="), ({"dtype": "auto"}, "add model.path=")],
)
def test_a_model_without_a_name_is_refused(model, message):
    with pytest.raises(ConfigError, match=message):
        ModelSettings.of(model)
