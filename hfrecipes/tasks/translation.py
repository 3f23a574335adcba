"""Write a text in another language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ConfigError
from ..metrics._languages import is_name, language, parse
from ..recipe import Batch, Column, Measure, Recipe, Row
from . import _seq2seq, _tokens

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig


# Distances of codes, as langcodes has them.
SAME = 1  # of languages: zh and cmn are 0, no and nb 1, hr and bs 8, Ukrainian and Russian 20
NEAR = 10  # of what is written: zh-CN and zho_Hans are 0, pt-BR and pt-PT 5, zh-CN and zh-TW 54


@dataclass(kw_only=True)
class Translation(Recipe):
    """Text in one language in, text in another out."""

    max_length: int = 256
    """Tokens kept of each text, special ones included; at most what the model reads."""
    max_target_length: int = 256
    """Tokens of a translation at most, learnt or generated."""
    num_beams: int = 1
    """Beams that translations are searched with; 4 costs more and often reads better."""
    source_lang: str | None = None
    """Language to translate from: a key of the data, and the code of models that need one; the first where null."""
    target_lang: str | None = None
    """Language to translate to, likewise; the second where null."""
    prefix: str | None = None
    """Text before each source, as T5 was trained with; read from the model where null."""

    task: ClassVar[str] = "translation"
    auto_model: ClassVar[str] = "AutoModelForSeq2SeqLM"
    columns: ClassVar[dict[str, Column]] = {
        "source": Column(("src", "source_text", "text", "input", "原文")),
        "target": Column(("tgt", "target_text", "output", "译文"), reference=True),
        "references": Column(reference=True, optional=True, passthrough=True, kind=["string"]),
    }
    defaults: ClassVar[dict[str, Any]] = _seq2seq.DEFAULTS
    lora: ClassVar[str | None] = "SEQ_2_SEQ_LM"
    trainer: ClassVar[str] = "Seq2SeqTrainer"
    cut_by: ClassVar[dict[str, str]] = _seq2seq.CUT_BY
    refused: ClassVar[dict[str, str]] = _seq2seq.REFUSED
    text: ClassVar[str | None] = "source"
    percent: ClassVar[tuple[str, ...]] = ("bleu", "chrf", "exact_match")
    packages: ClassVar[tuple[str, ...]] = ("sacrebleu", "langcodes")
    samples: ClassVar[list[Row]] = [
        {"source": "The bus leaves at ten.", "target": "Der Bus fährt um zehn."},
        {"source": "Where is the key?", "target": "Wo ist der Schlüssel?"},
        {"source": "We meet at the gate.", "target": "Wir treffen uns am Tor."},
        {"source": "It rains a lot in May.", "target": "Im Mai regnet es viel."},
    ]
    usage: ClassVar[str] = """\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = AutoModelForSeq2SeqLM.from_pretrained("{path}")
inputs = tokenizer("{prefix}{source}", return_tensors="pt")
print(tokenizer.decode(model.generate(inputs["input_ids"])[0], skip_special_tokens=True))
"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _seq2seq.check(self)

    @property
    def formats(self) -> tuple[str, ...]:
        """Files of the same lines in two languages, told apart by their suffix."""
        return ("parallel",)

    @property
    def best_metric(self) -> tuple[str, bool]:
        """chrF, since BLEU stays at 0 as long as no four words are right in a row."""
        return "chrf", True

    @property
    def headline(self) -> tuple[str, ...]:
        """The usual scores, and how often translations were cut off."""
        return ("bleu", "chrf", "exact_match", "at_limit")

    # --- rows ----------------------------------------------------------------------------------------------------

    def normalize_columns(self, columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
        """Texts by language, in one column or in two, become source and target."""
        inside = columns.get("translation")
        nested: dict[str, Any] = inside if isinstance(inside, dict) else {}
        roles, inner = self._roles(columns), self._roles(nested)
        if all(inner) and not all(roles):
            return partial(_by_language, source=inner[0], target=inner[1], nested=True)
        asked = (self.source_lang, self.target_lang)  # a column `id` is Indonesian only where that is asked for
        keys = list(nested) or [name for name in columns if _is_language(name) or is_name(name) or name in asked]
        known = any(code and _matching(code, keys, any_script=True) for code in asked)
        if len(keys) > 2 and not known and not any(roles):
            raise ConfigError(f"found the languages {', '.join(keys)}: say which, source_lang=… target_lang=…")
        if all(roles) or not keys or not (nested or known or len(keys) == 2):
            return None
        source, target = self._direction(keys)
        return partial(_by_language, source=source, target=target, nested=bool(nested))

    def _roles(self, names: Iterable[str]) -> list[str | None]:
        """The names that say source and target themselves, and no language."""
        plain = {name.strip().lower(): name for name in names}
        roles = []
        for column in ("source", "target"):
            usual = (column, *self.columns[column].names)
            roles.append(next((plain[name] for name in usual if name in plain), None))
        return roles

    def _direction(self, keys: list[str]) -> tuple[str | None, str | None]:
        """The keys of source and target among those of the data; what is not given is guessed, and kept."""
        asked = {"source_lang": self.source_lang, "target_lang": self.target_lang}
        chosen = {name: _matching(code, keys, any_script=True) for name, code in asked.items()}
        unknown = [key for key in keys if not language(key) and key not in chosen.values()]
        for name, code in asked.items():
            if code is not None and chosen[name] is None and len(keys) > 1:
                if not unknown or len(keys) > 2:
                    raise ConfigError(f"{name}: no {code} in the data, which has {', '.join(keys)}")
                chosen[name] = unknown.pop(0)  # a key that names no language is in that of the option
        source, target = chosen.values()
        if source is not None and source == target:
            raise ConfigError(f"source_lang and target_lang are both {source}, expected two of {', '.join(keys)}")
        left = [key for key in keys if key not in (source, target)]
        source = source or (left.pop(0) if left else None)
        target = target or (left.pop(0) if left else None)
        self.source_lang, self.target_lang = self.source_lang or source, self.target_lang or target
        return source, target

    @classmethod
    def reference_columns(cls) -> list[str]:
        """The translation, and others of the same text."""
        return ["target", "references"]

    def reference(self, row: Row) -> Any:
        """All wanted translations; None where there is none."""
        return _seq2seq.wanted(row.get("target"), row.get("references")) or None

    def infer_labels(self, train: Dataset) -> list[str]:
        """Say the direction.

        Raises:
            ConfigError: A language is none that is known, and its texts do not show one.
        """
        said, some = [], _tokens.some(train)
        for name, code in (("source", self.source_lang), ("target", self.target_lang)):
            said += _look_at(name, code, _seq2seq.texts(some, name)) if code else []
        if self.source_lang and self.target_lang:
            said.append(f"from {self.source_lang} to {self.target_lang}; options.source_lang changes that")
        return said

    def adapt_to_model(self, model_config: PretrainedConfig) -> list[str]:
        """Prefix and language codes of the model.

        Raises:
            ConfigError: It needs a code that is not given.
        """
        codes, said = language_codes(self.tokenizer), []
        if codes:
            for name in ("source_lang", "target_lang"):
                given = getattr(self, name)
                code = _matching(given, codes)
                if code is None:
                    other = _matching(given, codes, any_script=True)
                    edit = f", which it knows in another script only ({name}={other} takes that)" if other else ""
                    raise ConfigError(
                        f"{name}: the model needs a language code, found {given}{edit}; it has {', '.join(codes)}"
                    )
                setattr(self, name, code)
            self.tokenizer.src_lang, self.tokenizer.tgt_lang = self.source_lang, self.target_lang
            said = [f"language codes of the model: {self.source_lang} to {self.target_lang}"]
        pair = "translation_{}_to_{}".format(
            *(code and language(code) for code in (self.source_lang, self.target_lang))
        )
        return [
            *said,
            *_seq2seq.infer_prefix(self, model_config, pair),
            *_seq2seq.fit_target_length(self, model_config),
        ]

    # --- rows to features, outputs to predictions ----------------------------------------------------------------

    def encode(self, batch: Batch) -> Batch:
        """Tokens of both texts."""
        return _seq2seq.encode(self, batch, "source", "target")

    def generation(self) -> dict[str, Any]:
        """Length and beams, and the code of the language to write."""
        settings = _seq2seq.generation(self)
        if language_codes(self.tokenizer):
            lookup = getattr(self.tokenizer, "get_lang_id", self.tokenizer.convert_tokens_to_ids)
            code = lookup(self.target_lang)
            behind = self.tokenizer(text_target="a")["input_ids"][-1] == code
            # Where the code stands behind a text, as in the first mBART, the decoder was taught to start from it.
            name = "decoder_start_token_id" if behind else "forced_bos_token_id"
            settings |= {"forced_bos_token_id": None, name: code}
        return settings

    collator = _seq2seq.collator
    loss_function = _seq2seq.loss_function

    @property
    def languages(self) -> list[str]:
        """Both, as ISO 639 has them."""
        known = [code and language(code) for code in (self.source_lang, self.target_lang)]
        return list(dict.fromkeys(code for code in known if code))

    def decode(self, outputs: Any, rows: Sequence[Row] | Dataset, encoded: Dataset) -> list[Row]:
        """`translation_text`, its number of `tokens`, and whether it ends `at_limit`."""
        return _seq2seq.decode(self, outputs, "translation_text")

    # --- scores --------------------------------------------------------------------------------------------------

    def baseline(self, train: Dataset) -> Callable[[Dataset], list[Row]]:
        """The source, copied."""
        return lambda rows: [{"translation_text": text} for text in rows["source"]]

    def metric_inputs(self, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
        """Translations, and the first gold one."""
        return [one["translation_text"] for one in predictions], [reference[0] for reference in references]

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """BLEU and chrF of the corpus, exact match, 0 to 100; tokens written, and the share that ends at the limit."""
        from ..metrics._text import Corpus, exact

        texts = [one["translation_text"] for one in predictions]
        corpus = Corpus(texts, references, self.target_lang or "")
        self.signatures = corpus.signatures
        best = [max(map(partial(exact, text), wanted)) for text, wanted in zip(texts, references, strict=True)]
        values = {"exact_match": 100 * np.array(best), **_seq2seq.lengths(predictions)}
        return lambda weights: {**corpus.measure(weights), **_seq2seq.means(values, weights)}


def _look_at(name: str, code: str, texts: list[str]) -> list[str]:
    """What is odd about the texts of a language, or its name.

    Raises:
        ConfigError: It is no language, and the texts do not show one.
    """
    from ..metrics._text import bleu_tokenizer, language_of

    shown = language_of(texts)
    if not language(code) and not shown:
        raise ConfigError(
            f"{name}_lang: {code} is no language that is known: say which it is, as {name}_lang=de for German"
        )
    if shown and bleu_tokenizer(code, []) == "13a":
        return [f"{name}_lang: {code}, but its texts look like {shown}, and count as that in BLEU"]
    return []


def language_codes(tokenizer: Any) -> list[str]:
    """Codes of which the model needs two; none for a model of one direction."""
    if not hasattr(tokenizer, "src_lang"):
        return []
    known = getattr(tokenizer, "lang_code_to_id", None) or [str(one) for one in tokenizer.all_special_tokens]
    return sorted(code for code in known if _is_language(code))


def _is_language(name: str) -> bool:
    """Whether it looks like a code: en, zh-CN, de_DE, eng_Latn."""
    return re.fullmatch(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?", name) is not None and name not in ("id", "src", "tgt", "key")


def _matching(code: str | None, known: Sequence[str], *, any_script: bool = False) -> str | None:
    """The one of the known codes that is meant, by the same language in another spelling; None where there is none.

    Args:
        code: Code or name of a language.
        known: Codes, or names.
        any_script: Whether the language may be in another script than `code` asks for: zh_CN for zh-TW.
    """
    if code is None or code in known:
        return code
    import langcodes

    wanted = parse(code)
    if wanted is None:
        return None
    fitting: dict[str, str] = {}
    for name in known:
        other = parse(name)
        if other is None or langcodes.tag_distance(wanted.language, other.language) > SAME:
            continue
        if any_script or _may_be_written_as(wanted, other):
            fitting.setdefault(other.to_tag(), name)
    nearest, _ = langcodes.closest_match(wanted.to_tag(), list(fitting), max_distance=NEAR)
    return fitting.get(nearest) or (next(iter(fitting.values())) if len(fitting) == 1 else None)


def _may_be_written_as(wanted: Any, other: Any) -> bool:
    """Whether both have one script; where the first leaves it open, any will do."""
    is_open = wanted.script is None and wanted.territory is None
    return is_open or wanted.maximize().script == other.maximize().script


def _by_language(batch: Batch, source: str | None, target: str | None, nested: bool) -> Batch:
    """Source and target out of a dict of texts, or of columns called like languages."""
    if nested:
        batch = {
            **batch,
            **{key: [(cell or {}).get(key) for cell in batch["translation"]] for key in (source, target) if key},
        }
    made = {name: values for name, values in batch.items() if name not in (source, target, "translation")}
    if source is not None:
        made["source"] = batch[source]
    return made if target is None or target not in batch else {**made, "target": batch[target]}
