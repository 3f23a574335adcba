"""How much a server takes on, and what it says when that is exceeded."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import HFRecipesError


@dataclass(frozen=True)
class Limits:
    """How much a server takes on at once. Memory and waiting time stay bounded, whatever clients send."""

    body_bytes: int = 8 << 20
    """Size of the body of a request."""
    rows: int = 1_000
    """Rows of a request."""
    characters: int = 100_000
    """Characters of all texts of a row; a model reads a few thousand of them at most."""
    waiting_rows: int = 5_000
    """Rows of all requests that wait; further requests are refused."""
    waiting_characters: int = 20_000_000
    """Characters of these rows."""
    large_bodies: int = 16
    """Bodies of more than 100 kB that are read at the same time; the others arrive once there is room."""
    seconds: float = 60.0
    """Time until a request is answered."""
    upload_seconds: float = 30.0
    """Time until the whole body of a request has arrived."""
    batch_rows: int | None = None
    """Rows that are predicted together; by default 64, or 8 where the model generates texts."""
    batch_characters: int = 200_000
    """Characters that are predicted together: a few long texts take as long as many short ones."""


class RefusedError(HFRecipesError):
    """A request that gets no predictions.

    Attributes:
        status: Status code of HTTP.
        retry_after: Seconds after which the request may succeed; None where it will not.
    """

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
