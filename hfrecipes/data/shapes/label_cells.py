"""Cells that hold labels in another form than a name or a list of names: written lists, 0 and 1, ids, placeholders."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...characters import composed
from ...errors import ConfigError
from .cells import parse_list
from .labels import MULTI, ProblemType, any_list, are_indicators, is_missing, label_name, ordered

WRITTEN = "written"  # form of cells that hold lists as Python or JSON writes them
_CHOICES = "choices"  # form of cells of Label Studio: a single choice as a text, several as {"choices": […]}
# What separates the labels of a cell, and what is also part of many names, so that it is only asked about.
_SEPARATORS = ("|", ";", "；")
_COMMA = ","
_ASKED_ABOUT = (_COMMA, "，", "、", "#", "&", "+", "/")
_SHARE = 0.5  # of the cells with a separator must be made of labels that other cells have too
# What data writes where there is no label; lower case.
_PLACEHOLDERS = frozenset(
    ("", "-", "--", "?", "n/a", "na", "#n/a", "nan", "<na>", "nat", "null", "nil", "none", "tbd", "todo", "unk")
)
_UNLABELLED = frozenset(("unlabeled", "unlabelled", "no label"))
_MAY_BE_MEANT = frozenset(("-1",))  # as well as these, which are a label as often
_NUMBERS = re.compile(r"([\[\]\d\s.,eE+-]|\b(True|False|true|false)\b)+")  # as vectors are written
_PRINTED = re.compile(r"((np|numpy|torch)\.)?(array|tensor)\(\[")
_SHOWN_NAMES = 6
_SHOWN = 60  # characters of a cell in a sentence


@dataclass(frozen=True)
class LabelReader:
    """Reads the cells of a column of labels."""

    form: str = ""
    """How text holds several labels: `written`, or what separates them; empty where a text is one label. `choices`
    where each cell holds several, a text too."""
    are_vectors: bool = False
    """Whether lists hold 0 or 1 for each label, and not the labels."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Id -> name."""
    ignored: list[str] = field(default_factory=list)
    """Labels that mean that there is none."""

    def read(self, value: Any) -> Any:
        """A name, a number, or a list of them; None where there is no label."""
        if is_missing(value):
            return None
        value = unpacked(value, self.form)
        if not isinstance(value, list):
            label = self._named(value)
            return None if self.is_ignored(label) else label
        if self.are_vectors and len(value) == len(self.names):
            value = _ones(value, self.names)
        labels = []
        for cell in value:
            label = self._named(cell)
            if is_missing(label) or not self.is_ignored(label):
                labels.append(label)
        return labels

    def is_ignored(self, label: Any) -> bool:
        """Whether the label is one of those that mean that there is none."""
        return bool(self.ignored) and not isinstance(label, list | dict) and label_name(label) in self.ignored

    def _named(self, cell: Any) -> Any:
        if not self.names or isinstance(cell, list | dict) or is_missing(cell):
            return cell
        return named(cell, self.names)


def named(label: Any, names: Mapping[str, str]) -> Any:
    """The name of an id; anything else as it is.

    Example:
        >>> named(1, {"0": "no", "1": "yes"}), named(True, {"0": "no", "1": "yes"}), named("yes", {"0": "no"})
        ('yes', 'yes', 'yes')
    """
    key = label_name(int(label) if isinstance(label, bool) else label)
    return names.get(key, label)


def names_of(given: Any) -> dict[str, str]:
    """Id -> name, from names in the order of their ids, names by id, or ids by name.

    Example:
        >>> names_of(["no", "yes"]), names_of({"yes": 1, "no": 0})
        ({'0': 'no', '1': 'yes'}, {'0': 'no', '1': 'yes'})
    """
    if isinstance(given, Mapping):
        pairs = [(_stripped(key), _stripped(value)) for key, value in given.items()]
        if not all(key.isdigit() for key, _ in pairs):
            pairs = [(value, key) for key, value in pairs]
        return dict(sorted(pairs, key=_id_of))
    if isinstance(given, str):  # a file that was not read
        return {}
    return {str(index): _stripped(name) for index, name in enumerate(given or ())}


def _stripped(name: Any) -> str:
    return composed(str(name).strip())


def names_for(labels: set[str], given: Any) -> list[str]:
    """Names that the options give to ids, in the order of the ids; empty where they give none.

    Raises:
        ConfigError: A label has no name.
    """
    names = list(dict.fromkeys(names_of(given).values()))
    unnamed = ordered(labels - set(names))
    if names and unnamed:
        raise ConfigError(
            f"label_names: no name for label {unnamed[0]!r}, which train has; the names are "
            f"{', '.join(names[:_SHOWN_NAMES])}: give one for each id, or leave label_names out"
        )
    return names


def _id_of(pair: tuple[str, str]) -> tuple[bool, int, str]:
    key = pair[0]
    return not key.isdigit(), int(key) if key.isdigit() else 0, key


# --- lists in other forms --------------------------------------------------------------------------------------------


def unpacked(value: Any, form: str = "") -> Any:
    """The labels of a cell as a list, where a text or a dict holds several; anything else as it is.

    Example:
        >>> unpacked("a|b", "|"), unpacked("['a', 'b']", WRITTEN), unpacked({"a": 1, "b": 0}), unpacked("a, b")
        (['a', 'b'], ['a', 'b'], ['a'], 'a, b')
    """
    if isinstance(value, str) and form == _CHOICES:
        return [value]
    if isinstance(value, str) and form == WRITTEN:
        value = _written(value)
    elif isinstance(value, str) and form:
        return _parts(value, form)
    if isinstance(value, dict):
        return _from_dict(value)
    return value


def _ones(vector: list[Any], ids: Iterable[str]) -> list[str]:
    """Ids of the cells that are 1."""
    chosen = []
    for identity, cell in zip(ids, vector, strict=True):
        if label_name(cell) in ("1", "True"):
            chosen.append(identity)
    return chosen


def _parts(text: str, separator: str) -> list[str]:
    parts = []
    if separator == _COMMA:  # some write lists in brackets, and names without quotes
        text = text.strip().removeprefix("[").removesuffix("]")
    for part in text.split(separator):
        if part.strip():
            parts.append(part.strip())
    return parts


def _written(text: str) -> Any:
    """The list or dict that a text writes as Python or JSON; the text itself where it is a name, such as [Sport].

    Raises:
        DataError: It is a list that cannot be read, such as a printed array.
    """
    inner = text.strip()
    if _PRINTED.match(inner):
        return parse_list(inner)
    if len(inner) < 2 or inner[0] + inner[-1] not in ("[]", "{}", "()"):
        return text
    first = inner[1:-1].strip()[:1]
    if not first:
        return [] if inner[0] == "[" else text
    if inner[0] == "[" and (first in "'\"" or _NUMBERS.fullmatch(inner)):
        return parse_list(inner)
    if inner[0] in "{(" and first in "'\"":
        try:
            value = ast.literal_eval(inner)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return text
        return sorted(map(str, value)) if isinstance(value, set) else list(value) if isinstance(value, tuple) else value
    return text


def _from_dict(cell: dict[str, Any]) -> Any:
    """Names with a 1, or the choices that Label Studio writes; the dict itself where it is neither."""
    if set(cell) == {"choices"}:
        return cell["choices"]
    chosen = []
    for name, value in cell.items():
        if value not in (0, 1, None):
            return cell
        if value:
            chosen.append(name)
    return chosen if cell else None


# --- what the training rows show -------------------------------------------------------------------------------------


def infer_reader(
    cells: Sequence[Any], problem_type: ProblemType | None, names: Mapping[str, str], ignored: Iterable[Any] | None
) -> tuple[LabelReader, list[str]]:
    """How to read the labels, from all cells of the training rows, and a sentence for each guess.

    Args:
        cells: Those that are not missing.
        problem_type: What the options say; None to guess.
        names: Names of ids.
        ignored: Labels that mean that there is none.
    """
    form, are_vectors = "", False
    sentences: list[str] = []
    if problem_type in (None, MULTI):
        # A text among lists is a mistake, which the checks name.
        if not any_list(cells):
            form, sentences = _form_of(cells, asked=problem_type is None)
        are_vectors = are_indicators(unpacked(cell, form) for cell in cells)
    return LabelReader(form, are_vectors, names, list(map(label_name, ignored or ()))), sentences


def _form_of(cells: Sequence[Any], *, asked: bool) -> tuple[str, list[str]]:
    """How texts hold several labels, and a sentence on that; `asked` where the options leave it open."""
    if any(isinstance(cell, dict) and set(cell) == {"choices"} for cell in cells):
        return _CHOICES, []
    written = [cell for cell in cells if isinstance(cell, str)]
    texts = [text.strip() for text in dict.fromkeys(written)]
    for text in texts:
        if isinstance(_written(text), list | dict) and _written(text):
            return WRITTEN, [f"labels: cells such as {text[:_SHOWN]!r} are lists written as text and are read as lists"]
    for separator in (*_SEPARATORS, *_ASKED_ABOUT):
        joined = _joined_by(separator, texts)
        if not joined:
            continue
        shown = repr(joined[0][:_SHOWN])
        is_sure = separator in _SEPARATORS or not asked
        must_be_shared = asked or separator not in (*_SEPARATORS, _COMMA)
        are_labels = not must_be_shared or _are_shared(texts, joined, separator)
        if are_labels and is_sure:
            other = "; options.problem_type=single_label_classification reads each as one label" if asked else ""
            return separator, [f"labels: cells such as {shown} are read as lists, separated by {separator!r}{other}"]
        if are_labels or separator in _SEPARATORS:  # the others may well be a part of a name
            several = f"options.problem_type={MULTI} reads such cells as lists, separated by {separator!r}"
            return "", [f"labels: each cell is one label, {shown} too; {several}"]
    return "", []


def _joined_by(separator: str, texts: Iterable[str]) -> list[str]:
    """Texts with several parts."""
    return [text for text in texts if len(_parts(text, separator)) > 1]


def _are_shared(texts: Iterable[str], joined: Sequence[str], separator: str) -> bool:
    """Whether the parts of most joined texts occur in other texts too, as labels do, and parts of names do not."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(_parts(text, separator)))
    shared = 0
    for text in joined:
        shared += min(counts[part] for part in _parts(text, separator)) > 1
    return shared >= _SHARE * len(joined)


def may_mean_none(name: str) -> bool:
    """Whether data writes such a label where there is none.

    Example:
        >>> may_mean_none("-"), may_mean_none("None"), may_mean_none("neutral")
        (True, True, False)
    """
    return is_placeholder(name) or name.strip() in _MAY_BE_MEANT


def is_placeholder(name: str) -> bool:
    """Whether a label is hardly ever more than a word for none, unlike `-1`, which is a label as often."""
    return name.strip().casefold() in _PLACEHOLDERS | _UNLABELLED


def not_a_name(value: Any) -> str:
    """Why a cell, or a list in it, cannot be a label; empty where it can.

    Example:
        >>> not_a_name([0.2, 0.8])[:26], not_a_name(["a", "b"])
        ('label is a list of numbers', '')
    """
    if isinstance(value, dict):
        return (
            "label is a dict: expected a name, a list of names, or 0 and 1 for each name; probabilities are not learnt"
        )
    if not isinstance(value, list):
        return ""
    if any(isinstance(cell, list | dict) for cell in value):
        return "label is a list of lists or dicts: expected a list of names"
    if any(isinstance(cell, float) and cell % 1 > 0 for cell in value):
        return (
            "label is a list of numbers: expected names; neither probabilities nor several numbers are learnt: give "
            "the names of the labels that apply, or a single number"
        )
    return ""
