"""Predictions as pictures in HTML: bars, marked texts, texts. What is shown follows from what a prediction holds.

Whatever comes from rows or from the model is escaped, so that it is shown as text.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..recipe import Row

SHOWN = 12  # bars of one prediction
_COLOURS = 8  # of labels; the classes c0, c1, … of the style

STYLE = """\
.hf { font-size: 1rem; line-height: 1.6; overflow-wrap: anywhere; }
.hf .text { white-space: pre-wrap; }
.hf .name { display: flex; justify-content: space-between; gap: 1rem; margin-top: .5rem; }
.hf .chosen { font-weight: 600; }
.hf .rail { height: .6rem; border-radius: .3rem; background: #8883; overflow: hidden; }
.hf .bar { height: 100%; border-radius: .3rem; background: #6b8fc9; }
.hf .chosen + .rail .bar { background: #1f5fbf; }
.hf .title, .hf .rest { opacity: .75; margin-top: .75rem; }
.hf mark { color: inherit; background: #1f5fbf33; border-radius: .25rem; padding: .1rem .25rem; }
.hf mark small { margin-left: .35rem; font-weight: 600; opacity: .85; }
.hf .word { display: inline-block; margin: 0 .35rem .35rem 0; text-align: center; }
.hf .word small { display: block; opacity: .7; line-height: 1.2; }
.hf .number { font-size: 2rem; }
.hf .problem { border-left: .25rem solid #c0392b; padding-left: .75rem; }
.hf .c0 { background: #1f5fbf33; } .hf .c1 { background: #c98a0044; } .hf .c2 { background: #2e8b5744; }
.hf .c3 { background: #a23bb044; } .hf .c4 { background: #c0392b33; } .hf .c5 { background: #0097a744; }
.hf .c6 { background: #7a5c2e44; } .hf .c7 { background: #66666644; }
"""


def view(row: Row, prediction: Row | None, reference: str | None) -> str:
    """What a prediction says about a row.

    Args:
        row: Under the column names of the task.
        prediction: As `predict` gives it.
        reference: Key of the prediction that is scored, where there is one.
    """
    if prediction is None:
        return problem("There is nothing to predict: the text is blank.")
    for of in (_entities, _tags, _span, _fills, _scores, _choices):
        shown = of(row, prediction)
        if shown is not None:
            doubt = '<div class="title">Not sure enough to answer.</div>' if prediction.get("abstained") else ""
            return f'<div class="hf">{doubt}{shown}</div>'
    return f'<div class="hf">{_value(prediction, reference)}</div>'


def problem(sentence: str) -> str:
    """A sentence on why there is no prediction."""
    return f'<div class="hf"><div class="problem">{escape(sentence)}</div></div>'


def escape(text: object) -> str:
    """A text as HTML that no template reads either.

    Example:
        >>> escape("<b>${1}")
        '&lt;b&gt;&#36;&#123;1&#125;'
    """
    # Half of a character cannot be sent to a browser.
    escaped = html.escape(str(text).encode(errors="replace").decode())
    for character in "${}`":
        escaped = escaped.replace(character, f"&#{ord(character)};")
    return escaped


# --- by what the prediction holds --------------------------------------------------------------------------------


def _entities(row: Row, prediction: Row) -> str | None:
    """Entities in characters of a text."""
    text, entities = row.get("text"), prediction.get("entities")
    if not isinstance(text, str) or not isinstance(entities, list):
        return None
    return marked(text, [(entity["start"], entity["end"], entity["label"]) for entity in entities])


def _tags(row: Row, prediction: Row) -> str | None:
    """A tag for each word."""
    tags = prediction.get("tags")
    words = next((cell for cell in row.values() if isinstance(cell, list) and tags and len(cell) == len(tags)), None)
    if words is None or not isinstance(tags, list):
        return None
    shown = []
    for word, tag in zip(words, tags, strict=True):
        shown.append(f'<span class="word">{escape(word)}<small>{escape(tag)}</small></span>')
    return "".join(shown)


def _span(row: Row, prediction: Row) -> str | None:
    """A part of a text of the row; no answer has no place in it."""
    if "start" not in prediction or "end" not in prediction:
        return None
    start, end = prediction["start"], prediction["end"]
    values = [value for value in prediction.values() if isinstance(value, str)]
    if start is None or end is None:
        return '<div class="chosen">The text has no answer.</div>'
    for text in row.values():
        if isinstance(text, str) and start < end and text[start:end] in values:
            return marked(text, [(start, end, _percent(prediction.get("score")))])
    return None


def _fills(row: Row, prediction: Row) -> str | None:
    """Words for each gap."""
    gaps = prediction.get("fills")
    if not isinstance(gaps, list):
        return None
    if not gaps:
        return "<div>The text has no gap: write the mask token in place of a word.</div>"
    shown = []
    for number, gap in enumerate(gaps, 1):
        title = f'<div class="title">Gap {number}</div>' if len(gaps) > 1 else ""
        scores = [(fill["token_str"], fill["score"]) for fill in gap]
        shown.append(title + bars(scores, [scores[0][0]]))
    return "".join(shown)


def _scores(row: Row, prediction: Row) -> str | None:
    """The probability of each label."""
    scores = prediction.get("scores")
    if not isinstance(scores, Mapping) or not scores:
        return None
    label = prediction.get("label")
    chosen = label if isinstance(label, list) else [label]
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    none = '<div class="title">No label is likely enough.</div>' if chosen == [] else ""
    return none + bars(ranked, chosen)


def _choices(row: Row, prediction: Row) -> str | None:
    """The probability of each choice of the row."""
    scores = prediction.get("scores")
    if not isinstance(scores, list):
        return None
    for cell in row.values():
        if isinstance(cell, list) and len(cell) == len(scores) > 0:
            pairs = list(zip(cell, scores, strict=True))
            return bars(pairs, [max(pairs, key=lambda pair: pair[1])[0]])
    return None


def _value(prediction: Row, reference: str | None) -> str:
    """The text that the model generated, or the number or label that it predicts."""
    value = prediction.get("generated_text", prediction.get(reference or ""))
    if isinstance(value, float):
        return f'<div class="number">{value:.4g}</div>'
    if isinstance(value, str | int):
        return f'<div class="text">{escape(value)}</div>' if value != "" else "<div>The model wrote nothing.</div>"
    lines = []
    for key, part in prediction.items():
        lines.append(f"<div><b>{escape(key)}</b> {escape(part)}</div>")
    return "".join(lines)


# --- pictures ----------------------------------------------------------------------------------------------------


def bars(scores: Sequence[tuple[Any, float]], chosen: Collection[Any]) -> str:
    """A bar for each score from 0 to 1; the chosen ones are emphasized."""
    shown = []
    for name, score in scores[:SHOWN]:
        kind = "name chosen" if name in chosen else "name"
        width = f'<div class="rail"><div class="bar" style="width: {max(0.0, min(1.0, score)):.1%}"></div></div>'
        shown.append(f'<div class="{kind}"><span>{escape(name)}</span><span>{_percent(score)}</span></div>{width}')
    if len(scores) > SHOWN:
        shown.append(f'<div class="rest">… and {len(scores) - SHOWN} more</div>')
    return "".join(shown)


def marked(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """A text with some of its parts marked; each label has its colour.

    Args:
        text: The text.
        spans: First character, end and label of each part.
    """
    shown, position = [], 0
    colours: dict[str, int] = {}
    for start, end, label in sorted(spans):
        if start < position:  # inside the part before it
            continue
        colour = colours.setdefault(label, len(colours) % _COLOURS)
        part = f"{escape(text[start:end])}<small>{escape(label)}</small>"
        shown += [escape(text[position:start]), f'<mark class="c{colour}">{part}</mark>']
        position = end
    return f'<div class="text">{"".join(shown)}{escape(text[position:])}</div>'


def _percent(score: Any) -> str:
    return f"{score:.1%}" if isinstance(score, float) else ""
