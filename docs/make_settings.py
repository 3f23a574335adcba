"""Write docs/all-settings.md and the schema of recipe files from the code; `make settings` runs it."""

from __future__ import annotations

from pathlib import Path

from hfrecipes.registry import shipped_tasks
from hfrecipes.schema.files import SCHEMA, schema_text
from hfrecipes.schema.json_schema import json_schema
from hfrecipes.schema.page import page

PAGE = Path(__file__).with_name("all-settings.md")

if __name__ == "__main__":
    tasks = shipped_tasks()
    SCHEMA.write_text(schema_text(json_schema(tasks)), encoding="utf-8")
    PAGE.write_text(page(tasks), encoding="utf-8")
