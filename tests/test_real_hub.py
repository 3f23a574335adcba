"""The Hub itself, for whoever has a token: a private model is pushed, loaded by its id in a fresh process, and deleted.

HFRECIPES_HUB_TOKEN=hf_... python -m pytest tests/test_real_hub.py
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest
from conftest import close, opinions
from processes import run_python

import hfrecipes

ROOT = Path(__file__).resolve().parents[1]
TOKEN = os.environ.get("HFRECIPES_HUB_TOKEN")
CODE = """
import json, sys
import hfrecipes
from huggingface_hub import HfApi

path, name, texts = json.loads(sys.stdin.read())
api = HfApi()
try:
    hfrecipes.push(path, name, private=True)
    first = api.repo_info(name).sha
    hfrecipes.push(path, name)
    made = hfrecipes.load(name).predict(texts)
    print(json.dumps([made, api.repo_info(name).sha == first, api.list_repo_files(name)]))
finally:
    api.delete_repo(name, missing_ok=True)
"""


@pytest.mark.hub
@pytest.mark.skipif(not TOKEN, reason="HFRECIPES_HUB_TOKEN is not set")
def test_a_model_is_pushed_to_the_hub_and_loaded_by_its_id(quick, tmp_path):
    result = hfrecipes.run("text-classification", dataset=opinions(60), output_dir=tmp_path / "run", **quick)
    texts, name = ["the film was great"], f"hfrecipes-test-{uuid.uuid4().hex[:8]}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home")}
    given = json.dumps([str(tmp_path / "run"), name, texts])
    made = run_python("-c", CODE, given=given, env=environment, cwd=ROOT)
    predictions, unchanged, files = json.loads(made.stdout.splitlines()[-1])
    assert close(result.predict(texts), predictions)
    assert unchanged, "the second push makes no commit"
    assert "model.safetensors" in files
    assert "predictions.jsonl" not in files
