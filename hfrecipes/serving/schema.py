"""What a server takes and gives, for people and for programs: made of the columns of the task and its sample rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..recipe import Row, example, text_column

if TYPE_CHECKING:
    from ..predictor import Predictor

SAMPLES = 3  # rows that are shown
ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
REFUSALS = {
    "400": "The body is not JSON.",
    "408": "The body did not arrive in time.",
    "413": "The body, the list or a row is too large.",
    "415": "The body is of another type than application/json.",
    "422": "The model cannot read the rows.",
    "500": "The model failed.",
    "503": "Too many rows wait: try again after the seconds of Retry-After.",
    "504": "The answer took too long.",
}


def sample_rows(predictor: Predictor) -> list[Row]:
    """A few rows to predict, with the columns that the model reads."""
    rows = [example(predictor.recipe, predictor.reads)]
    for sample in predictor.recipe.samples:
        row = {name: sample[name] for name in predictor.reads if name in sample}
        if len(row) == len(predictor.reads) and row not in rows:
            rows.append(row)
    return rows[:SAMPLES]


def operation(predictor: Predictor, rows: list[Row], predictions: list[Any]) -> dict[str, Any]:
    """The entry of `/predict` in the OpenAPI document.

    Args:
        predictor: The model.
        rows: Sample rows.
        predictions: What the model gives for them.
    """
    known = predictions[0] if predictions else None
    of_row = {"anyOf": [_schema_of_value(known), {"type": "null"}]}
    responses: dict[str, Any] = {
        "200": {
            "description": "The prediction, or one for each row; null for a blank row.",
            "content": {
                "application/json": {
                    "schema": {"anyOf": [of_row, {"type": "array", "items": of_row}]},
                    "examples": {"row": {"value": known}, "list": {"value": predictions}},
                }
            },
        }
    }
    for status, meaning in REFUSALS.items():
        responses[status] = {"description": meaning, "content": {"application/json": {"schema": ERROR}}}
    return {"requestBody": _request_body(predictor, rows), "responses": responses}


def _request_body(predictor: Predictor, rows: list[Row]) -> dict[str, Any]:
    column = text_column(predictor.recipe)
    kinds = [_schema_of_row(predictor)]
    examples: dict[str, Any] = {"row": {"value": rows[0]}, "list": {"value": rows}}
    if column is not None:
        kinds.append({"type": "string"})
        text = rows[0].get(column)
        if isinstance(text, str):
            examples["text"] = {"value": text}
    schema = {"anyOf": [*kinds, {"type": "array", "items": {"anyOf": kinds}}]}
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}


def _schema_of_row(predictor: Predictor) -> dict[str, Any]:
    columns = predictor.recipe.columns
    properties = {name: _schema_of_kind(columns[name].kind) for name in predictor.reads}
    required = [name for name in properties if not columns[name].optional]
    return {"type": "object", "properties": properties, "required": required}


def _schema_of_kind(kind: Any) -> dict[str, Any]:
    """The schema of the cells of a column, by its type in `Column.kind`."""
    if isinstance(kind, list):
        return {"type": "array", "items": _schema_of_kind(kind[0])}
    if isinstance(kind, dict):
        return {"type": "object", "properties": {key: _schema_of_kind(inner) for key, inner in kind.items()}}
    names = {"string": "string", "int64": "integer", "float64": "number", "bool": "boolean"}
    return {"type": names[kind]} if kind in names else {}


def _schema_of_value(value: Any) -> dict[str, Any]:
    """The schema of a value, such as a prediction."""
    if isinstance(value, Mapping):
        return {"type": "object", "properties": {key: _schema_of_value(inner) for key, inner in value.items()}}
    if isinstance(value, list | tuple):
        return {"type": "array", "items": _schema_of_value(value[0]) if value else {}}
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if isinstance(value, kind):
            return {"type": name}
    return {}
