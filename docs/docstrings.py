"""How mkdocstrings reads the docstrings of hfrecipes, for the page on the Python API (mkdocs.yml names this file)."""

from __future__ import annotations

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Sections `Example:` with code; griffe knows them as `Examples:` alone, and would show `>>>` as quotations."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section of each object that is read."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
