"""The page that shows people what to send, and sends it: without a script, a font or a picture from elsewhere."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..recipe import Row, text_column
from ..run_folder.writing import finite

if TYPE_CHECKING:
    from ..predictor import Predictor

SCRIPT = """\
const body = document.getElementById("body");
const answer = document.getElementById("answer");
const command = document.getElementById("command");
command.textContent = command.textContent.replace("<address>", location.origin);
for (const button of document.querySelectorAll("button[data-row]")) {
  button.addEventListener("click", () => { body.value = button.dataset.row; });
}
document.getElementById("send").addEventListener("click", async () => {
  answer.textContent = "…";
  try {
    const response = await fetch("predict", {
      method: "POST", headers: {"Content-Type": "application/json"}, body: body.value,
    });
    const text = await response.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it is */ }
    answer.textContent = `${response.status}\\n${shown}`;
  } catch {
    answer.textContent = "the server does not answer";
  }
});
"""

_STYLE = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
pre, textarea { font: 14px/1.5 ui-monospace, monospace; box-sizing: border-box; width: 100%; margin: 0;
  padding: .75rem; border: 1px solid #8886; border-radius: 6px; background: #8881; color: inherit;
  white-space: pre-wrap; overflow-wrap: anywhere; }
textarea { min-height: 8rem; resize: vertical; }
pre { max-height: 26rem; overflow: auto; }
button { font: inherit; padding: .4rem .9rem; margin: .5rem .3rem .5rem 0; border: 1px solid #8886; border-radius: 6px;
  background: #8881; color: inherit; cursor: pointer; }
#send { background: #1f5fbf; border-color: #1f5fbf; color: #fff; }
code { font: 14px ui-monospace, monospace; }
p { margin: .5rem 0; }
"""

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{name}</title>
<style>
{style}</style>
</head>
<body>
<h1>{name}</h1>
<p>A model for {task}. It reads {reads}.</p>
<h2>POST /predict</h2>
<p>The body is a row, or a list of rows, as JSON; the answer is a prediction, or a list of them.{text} A blank row gives
<code>null</code>. Errors are <code>{{"error": "…"}}</code>.</p>
<div>{buttons}</div>
<textarea id="body" aria-label="Body of the request" spellcheck="false">{first}</textarea>
<button id="send">Send</button>
<pre id="answer" aria-live="polite">{answer}</pre>
<h2>In a terminal</h2>
<pre id="command">{command}</pre>
<h2>More</h2>
<p><a href="health">GET /health</a>: whether the model is ready, and what it reads.</p>
<p><a href="openapi.json">GET /openapi.json</a>: all of this for programs.</p>
</body>
<script src="docs.js"></script>
</html>
"""


def docs_page(name: str, predictor: Predictor, rows: Sequence[Row], predictions: Sequence[Any]) -> str:
    """The page.

    Args:
        name: Name of the run.
        predictor: The model.
        rows: Sample rows.
        predictions: What the model gives for them.
    """
    buttons = []
    for label, sample in [*((f"Example {number}", row) for number, row in enumerate(rows, 1)), ("List", list(rows))]:
        buttons.append(f'<button data-row="{html.escape(_indented(sample))}">{label}</button>')
    row = json.dumps(rows[0], ensure_ascii=False).replace("'", "'\\''")
    command = f"curl <address>/predict -H 'Content-Type: application/json' -d '{row}'"
    filled = {
        "name": name,
        "task": predictor.recipe.task,
        "reads": " and ".join(predictor.reads),
        "first": _indented(rows[0]),
        "answer": f"200\n{_indented(predictions[0])}",
        "command": command,
    }
    escaped = {key: html.escape(text) for key, text in filled.items()}
    text = " A text alone is a row too." if text_column(predictor.recipe) else ""
    return _PAGE.format(**escaped, style=_STYLE, text=text, buttons="".join(buttons))


def _indented(value: Any) -> str:
    return json.dumps(finite(value), ensure_ascii=False, indent=2, default=str)
