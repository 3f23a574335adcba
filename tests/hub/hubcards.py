"""Rules for the front matter of a README.md, with the sentences of the Hub as far as they are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

LICENSE_IDS = """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0
    bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
    cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0
    eupl-1.1 eupl-1.2 fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 h-research intel-research isc
    lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl
    odc-by ofl-1.1 open-mdw openrail openrail++ osl-3.0 other pddl postgresql unknown unlicense wtfpl zlib
"""
TASK_NAMES = """
    any-to-any audio-classification audio-text-to-text audio-to-audio automatic-speech-recognition depth-estimation
    document-question-answering feature-extraction fill-mask graph-ml image-classification image-feature-extraction
    image-segmentation image-text-to-text image-to-3d image-to-image image-to-text image-to-video keypoint-detection
    mask-generation multiple-choice object-detection other question-answering reinforcement-learning robotics
    sentence-similarity summarization table-question-answering table-to-text tabular-classification tabular-regression
    tabular-to-text text-classification text-generation text-ranking text-retrieval text-to-3d text-to-audio
    text-to-image text-to-speech text-to-video text2text-generation time-series-forecasting token-classification
    translation unconditional-image-generation video-classification video-text-to-text video-to-video
    visual-document-retrieval visual-question-answering voice-activity-detection zero-shot-classification
    zero-shot-image-classification zero-shot-object-detection
"""
# As texts, since lists of these would fill pages.
LICENSES, TASKS = LICENSE_IDS.split(), TASK_NAMES.split()
LANGUAGE = "It must be an ISO 639-1, 639-2 or 639-3 code (two/three letters), or a special value like"
NO_METADATA = "empty or missing yaml metadata in repo card"


class Strict(yaml.SafeLoader):
    """The Hub reads YAML in JavaScript, where a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"duplicated mapping key: {twice[0]}", node.start_mark)
        return super().construct_mapping(node, deep)


def front_matter(text: str) -> dict[str, Any] | None:
    """The YAML block on top of a card, None where there is none.

    Raises:
        ValueError: It is no YAML, or no mapping.
    """
    block = re.match(r"\ufeff?\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", text, re.S | re.M)
    try:
        data = yaml.load(block[1], Strict) if block else None
    except yaml.YAMLError as error:
        raise ValueError(f"YAML parse error: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict | None):
        raise ValueError('"value" must be of type object')
    return data


def validate(text: str) -> tuple[list[str], list[str]]:
    """Errors and warnings of a card."""
    try:
        data = front_matter(text)
    except ValueError as error:
        return [str(error)], []
    if not data:
        return [], [NO_METADATA]
    errors = [error for key, rule in RULES.items() if key in data for error in rule(data[key])]
    task = data.get("pipeline_tag")
    wrong_task = isinstance(task, str) and task not in TASKS
    warning = f'The pipeline tag "{task}" is not in the official list: {", ".join(TASKS)}'
    return errors, [warning] if wrong_task else []


def strings(key: str, rule: Callable[[str], str | None], single: bool = True) -> Callable[[Any], Iterator[str]]:
    """Rule for a list of strings, or for a single string; `rule` tells what is wrong with a string."""

    def check(value: Any) -> Iterator[str]:
        if not isinstance(value, list) and not single:
            yield f'"{key}" must be an array'
            return
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            name = f'"{key}[{index}]"' if isinstance(value, list) else f'"{key}"'
            if not isinstance(item, str):
                yield f"{name} must be a string"
            elif not item:
                yield f"{name} is not allowed to be empty"
            elif (wrong := rule(item)) is not None:
                yield f"{name} {wrong}"

    return check


def hub_id(value: str) -> str | None:
    known = re.fullmatch(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]{0,95}", value)
    return None if known else f'with value "{value}" is not valid. Use a model id from https://hf.co/models.'


def language(value: str) -> str | None:
    known = value in ("code", "multilingual") or re.fullmatch(r"[a-z]{2,3}", value)
    return None if known else f'with value "{value}" is not valid. {LANGUAGE} "code", "multilingual".'


def license_id(value: str) -> str | None:
    return None if value in LICENSES else f"must be one of [{', '.join(LICENSES)}]"


def anything(value: str) -> None:
    return None


def task(value: Any) -> Iterator[str]:
    if not isinstance(value, str):
        yield '"pipeline_tag" must be a string'


def model_index(value: Any) -> Iterator[str]:
    """Each model has a name and results; each result has a task, a dataset and metrics."""
    if not isinstance(value, list):
        yield '"model-index" must be an array'
        return
    for index, model in enumerate(value):
        here = f"model-index[{index}]"
        yield from missing(model, here, "name", "results")
        for number, result in enumerate(model.get("results") or [] if isinstance(model, dict) else []):
            yield from result_errors(result, f"{here}.results[{number}]")


def result_errors(result: Any, here: str) -> Iterator[str]:
    yield from missing(result, here, "task", "dataset", "metrics")
    if isinstance(result, dict):
        yield from missing(result.get("task", {"type": ""}), f"{here}.task", "type")
        yield from missing(result.get("dataset", {"type": "", "name": ""}), f"{here}.dataset", "type", "name")
        for number, metric in enumerate(result.get("metrics") or []):
            yield from missing(metric, f"{here}.metrics[{number}]", "type", "value")


def missing(value: Any, here: str, *keys: str) -> Iterator[str]:
    """Required keys that a mapping does not have."""
    if not isinstance(value, dict):
        yield f'"{here}" must be of type object'
        return
    yield from (f'"{here}.{key}" is required' for key in keys if value.get(key) is None)


RULES: dict[str, Callable[[Any], Iterator[str]]] = {
    "license": strings("license", license_id),
    "base_model": strings("base_model", hub_id),
    "language": strings("language", language),
    "tags": strings("tags", anything, single=False),
    "datasets": strings("datasets", anything),
    "metrics": strings("metrics", anything),
    "pipeline_tag": task,
    "model-index": model_index,
}
