"""Many clients at once against a server, each of which waits for its answer before it asks again.

python tests/serving/load.py http://127.0.0.1:8000 --clients 500 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

WORDS = [
    "where",
    "is",
    "my",
    "parcel",
    "it",
    "was",
    "due",
    "on",
    "monday",
    "and",
    "the",
    "zip",
    "broke",
    "when",
    "i",
    "opened",
    "the",
    "bag",
    "can",
    "i",
    "return",
    "it",
]


@dataclass
class Outcome:
    """What the clients saw."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    lasted: float = 0.0

    @property
    def errors(self) -> int:
        return self.statuses.total() - self.statuses["200"]

    def percentile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        slowest = f"p50 {self.percentile(0.5):.2f} s, p99 {self.percentile(0.99):.2f} s, max {max(self.seconds):.2f} s"
        rate = len(self.seconds) / self.lasted
        return f"{self.statuses.total()} requests, {rate:.0f} a second, {slowest}, {dict(self.statuses)}"


def body_of(generator: random.Random) -> bytes:
    text = " ".join(generator.choices(WORDS, k=generator.randint(3, 25)))
    return json.dumps({"text": text}).encode()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> str:
    """Send a request on a connection that stays open, and read the answer to its end."""
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(headers.partition("content-length: ")[2].partition("\r\n")[0])
    answer = await reader.readexactly(length)
    status = headers.split()[1]
    return status if status != "200" or b'"label"' in answer else "no label"


async def client(host: str, port: int, number: int, end: float, outcome: Outcome) -> None:
    generator = random.Random(number)
    # People do not all come in the same millisecond.
    await asyncio.sleep(generator.random())
    try:
        reader, writer = await asyncio.open_connection(host, port)
        while time.monotonic() < end:
            started = time.monotonic()
            outcome.statuses[await ask(reader, writer, body_of(generator))] += 1
            outcome.seconds.append(time.monotonic() - started)
        writer.close()
    except (OSError, asyncio.IncompleteReadError) as error:
        outcome.statuses[type(error).__name__] += 1


async def load(address: str, clients: int, seconds: float) -> Outcome:
    """Let clients ask for some seconds; the last answers are waited for."""
    url, outcome, started = urlsplit(address), Outcome(), time.monotonic()
    asked = []
    for number in range(clients):
        asked.append(client(str(url.hostname), int(url.port or 80), number, started + seconds, outcome))
    await asyncio.gather(*asked)
    outcome.lasted = time.monotonic() - started
    return outcome


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address")
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    print(asyncio.run(load(given.address, given.clients, given.seconds)))
