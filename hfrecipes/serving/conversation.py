"""A dialogue in a demo: replies appear while they are written, and stop when nobody waits for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import HFRecipesError
from ..recipe import Row

if TYPE_CHECKING:
    from ..predictor import Predictor


class _Stopped(Exception):  # noqa: N818 - it is no error
    """Nobody waits for the rest of the reply."""


class Conversation:
    """Replies of a model, one at a time."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.lock = threading.Lock()

    def reply(self, messages: Sequence[Row]) -> Iterator[str]:
        """The reply to the last of some messages, as far as it is written; a sentence in brackets where there is none.

        Args:
            messages: Turns, as in a row.
        """
        row = {"messages": list(messages)}
        pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        is_over = threading.Event()
        thread = threading.Thread(target=self._write, args=(row, pieces, is_over), daemon=True)
        thread.start()
        text = ""
        try:
            while (piece := pieces.get()) is not None:
                text += piece
                yield text
        finally:
            is_over.set()
        if not text:
            yield "(The model wrote nothing.)"

    def _write(self, row: Row, pieces: queue.SimpleQueue[str | None], is_over: threading.Event) -> None:
        def show(piece: str) -> None:
            if is_over.is_set():
                raise _Stopped
            if piece:
                pieces.put(piece)

        try:
            with self.lock:
                self.predictor.stream(row, show)
        except _Stopped:
            pass
        except HFRecipesError as error:
            pieces.put(f"({error})")
        except Exception as error:
            pieces.put(f"({HFRecipesError(f'the model failed: {type(error).__name__}: {error}')})")
        finally:
            pieces.put(None)


def first_messages(rows: Sequence[Row]) -> list[str]:
    """What a user says first in some dialogues."""
    messages = []
    for row in rows:
        for turn in row.get("messages") or ():
            if turn.get("role") == "user" and isinstance(turn.get("content"), str):
                messages.append(turn["content"])
                break
    return list(dict.fromkeys(messages))
