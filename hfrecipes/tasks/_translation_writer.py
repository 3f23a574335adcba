"""How translations are generated: length, beams, and the language that the model is to write."""

from __future__ import annotations

from typing import Any

from ..metrics._languages import language
from ._language_codes import language_codes
from ._seq2seq import Seq2SeqWriter


class TranslationWriter(Seq2SeqWriter):
    """Generates translations; models of many languages start from the code of the target language."""

    def __init__(self, recipe: Any) -> None:
        super().__init__(recipe)
        self.languages: list[str] = []
        for code in (recipe.source_lang, recipe.target_lang):
            known = language(code) if code else ""
            if known and known not in self.languages:
                self.languages.append(known)

    def generation(self) -> dict[str, Any]:
        """Length, number of beams, and the code of the target language."""
        settings, tokenizer = super().generation(), self.recipe.tokenizer
        if not language_codes(tokenizer):
            return settings
        # M2M100 writes the tokens of its codes differently from the codes themselves.
        lookup = getattr(tokenizer, "get_lang_id", tokenizer.convert_tokens_to_ids)
        code = lookup(self.recipe.target_lang)
        # The first mBART has the code at the end of a text, and its decoder was trained to start from it.
        ends_with_code = tokenizer(text_target="a")["input_ids"][-1] == code
        settings["forced_bos_token_id"] = None
        settings["decoder_start_token_id" if ends_with_code else "forced_bos_token_id"] = code
        return settings
