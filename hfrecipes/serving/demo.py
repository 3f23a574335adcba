"""A page to try a saved model in a browser, made with Gradio: its boxes and its pictures follow from the task."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..characters import visible_json
from ..errors import HFRecipesError, require_packages
from ..recipe import Row, text_column
from ..run_folder.writing import finite
from .boxes import boxes_of, example_rows, row_of
from .conversation import Conversation, first_messages
from .views import STYLE, escape, problem, view

if TYPE_CHECKING:
    from ..explaining.explainer import Explainer
    from ..predictor import Predictor
    from ..saved.rows import InputRows

# Nothing is sent anywhere; this is read when Gradio and the client of the Hub are imported, and later again.
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_RUN_HISTORY": "False"}
LONGEST = 100_000  # characters of a box
WIDTH = ".gradio-container { max-width: 54rem !important; width: 100% !important; margin: 0 auto !important; }"


def make_demo(predictor: Predictor) -> Any:
    """The page, as `gradio.Blocks`.

    Args:
        predictor: The model, as `hfrecipes.load` gives it.

    Raises:
        MissingPackageError: Gradio is not installed.

    Example:
        >>> make_demo(hfrecipes.load("runs/quickstart")).launch()  # doctest: +SKIP
    """
    require_packages("a demo", "gradio")
    os.environ.update(QUIET)
    return _chat_page(predictor) if "messages" in predictor.recipe.columns else _page(predictor)


def launch(demo: Any, host: str, port: int, *, share: bool) -> str | None:
    """Start to show a page, from threads of their own.

    Args:
        demo: What `make_demo` gives.
        host: Address to listen on.
        port: Number of the port.
        share: Whether Gradio makes a public link, through its own servers.

    Returns:
        The public link.
    """
    import gradio

    plain = gradio.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    _, _, link = demo.launch(
        server_name=host,
        server_port=port,
        share=share,
        theme=plain,
        css=STYLE + WIDTH,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        quiet=True,
        inbrowser=False,
        prevent_thread_lock=True,
    )
    return link or None


# --- a page for rows ---------------------------------------------------------------------------------------------


def _page(predictor: Predictor) -> Any:
    import gradio

    boxes = boxes_of(predictor.recipe, predictor.reads)
    rows = example_rows(predictor)
    with gradio.Blocks(title=name_of(predictor), analytics_enabled=False) as page:
        gradio.HTML(_heading(predictor))
        inputs = []
        for box in boxes:
            inputs.append(gradio.Textbox(label=box.label, lines=box.lines, max_lines=20, max_length=LONGEST))
        button = gradio.Button("Predict", variant="primary")
        picture = gradio.HTML(min_height=40)
        model = _Model(predictor)
        if model.explainer is not None:
            why, reasons = gradio.Button("Why?", size="sm"), gradio.HTML()
            why.click(model.explain, inputs, reasons, api_name="explain")
        with gradio.Accordion("As JSON", open=False):
            plain = gradio.Code(language="json", interactive=False, show_label=False)
        examples = []
        for row in rows:
            examples.append([box.written(_cell(row, box.column)) for box in boxes])
        gradio.Examples(examples, inputs, label="Examples", cache_examples=False)
        button.click(model.predict, inputs, [picture, plain], api_name="predict")
        if len(inputs) == 1:
            inputs[0].submit(model.predict, inputs, [picture, plain], api_visibility="private")
    return page


class _Model:
    """What the buttons do: what was typed -> what is shown."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.boxes = boxes_of(predictor.recipe, predictor.reads)
        self.explainer: Explainer | None = None
        # Not all tasks can be explained, and captum may not be installed: then there is no button for it.
        with contextlib.suppress(HFRecipesError):
            self.explainer = predictor.explainer()
        self.lock = threading.Lock()  # torch and tokenizers are used by one thread at a time

    def predict(self, *texts: str) -> tuple[str, str]:
        """Picture and JSON."""
        try:
            with self.lock:
                row, given = self._read(texts)
                (prediction,) = self.predictor.predicted(given)[:1]
            shown = {**{name: given.rows[0].get(name) for name in given.rows.column_names}, **row}
            return view(shown, prediction, self.predictor.recipe.prediction), _as_json(prediction)
        except Exception as error:
            return _shown_problem(error), ""

    def explain(self, *texts: str) -> str:
        """The text, with the words coloured that speak for the prediction and against it."""
        if self.explainer is None:
            return ""
        try:
            with self.lock:
                _, given = self._read(texts)
                explanation = next(self.predictor.explained(given, self.explainer, limit=1))
            return problem("nothing was typed") if explanation is None else explanation.as_html()
        except Exception as error:
            return _shown_problem(error)

    def _read(self, texts: Sequence[str]) -> tuple[Row, InputRows]:
        row = row_of(self.boxes, texts)
        return row, self.predictor.read(_as_read(self.predictor, row), needs_text=False)


def _shown_problem(error: Exception) -> str:
    if isinstance(error, HFRecipesError):
        return problem(str(error))
    return problem(str(HFRecipesError(f"the model failed: {type(error).__name__}: {error}")))


def _as_read(predictor: Predictor, row: Row) -> list[Any]:
    """The row as `predict` takes it: a text where that is all that the model reads."""
    if list(row) == [text_column(predictor.recipe)]:
        return list(row.values())
    return [row]


def _cell(row: Row, column: str) -> Any:
    """The cell of a column; the only one of the row where a text stands for a list of words."""
    return row.get(column, next(iter(row.values())))


def _as_json(value: Any) -> str:
    return visible_json(json.dumps(finite(value), ensure_ascii=False, indent=2, default=str))


# --- a page for dialogues ----------------------------------------------------------------------------------------


def _chat_page(predictor: Predictor) -> Any:
    import gradio

    with gradio.Blocks(title=name_of(predictor), analytics_enabled=False) as page:
        gradio.HTML(_heading(predictor))
        turns = gradio.State([])
        # It reads HTML in texts, so they are escaped; Markdown could load pictures from elsewhere.
        shown = gradio.Chatbot(render_markdown=False, show_label=False, height=420, buttons=[], feedback_options=None)
        box = gradio.Textbox(show_label=False, placeholder="Message", submit_btn=True, max_length=LONGEST)
        with gradio.Row():
            stop = gradio.Button("Stop", size="sm", min_width=100)
            new = gradio.Button("New dialogue", size="sm", min_width=100)
        gradio.Examples(first_messages(example_rows(predictor)), box, label="Examples", cache_examples=False)
        talk = _talk_function(Conversation(predictor))
        talking = box.submit(talk, [box, turns], [box, shown, turns], api_visibility="private")
        # As in the terminal, neither the question nor half a reply becomes part of the dialogue.
        stop.click(_shown_turns, turns, shown, cancels=[talking], api_visibility="private")
        for emptied in (new.click, shown.clear):
            emptied(lambda: ([], []), None, [turns, shown], cancels=[talking], api_visibility="private")
    return page


def _talk_function(conversation: Conversation) -> Callable[[str, list[Row]], Iterator[tuple[Any, ...]]]:
    """The function of a message: message and turns -> empty box, turns as shown, turns."""
    import gradio

    unchanged = gradio.update()  # of the box, where the next message may be typed already

    def talk(message: str, turns: list[Row]) -> Iterator[tuple[Any, ...]]:
        if not message.strip():
            yield "", _shown_turns(turns), turns
            return
        asked, reply = [*turns, {"role": "user", "content": message}], ""
        yield "", _shown_turns(asked), turns
        for reply in conversation.reply(asked):
            yield unchanged, _shown_turns([*asked, {"role": "assistant", "content": reply}]), turns
        answered = [*asked, {"role": "assistant", "content": reply}]
        yield unchanged, _shown_turns(answered), answered

    return talk


def _shown_turns(turns: list[Row]) -> list[Row]:
    """The turns as HTML."""
    return [{"role": turn["role"], "content": escape(turn["content"])} for turn in turns]


def name_of(predictor: Predictor) -> str:
    """Name of the run."""
    return predictor.folder.name if predictor.folder is not None else predictor.recipe.task


def _heading(predictor: Predictor) -> str:
    return f'<h1 style="overflow-wrap: anywhere">{escape(name_of(predictor))}</h1><p>{predictor.recipe.task}</p>'
