"""Gives random bytes, led by what they reach in the code, to what reads texts; `make fuzz` tries all of it.

python tests/hostile/fuzz.py recipe -runs=100000
"""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import atheris

SECONDS = 5  # that one text may take
SEEDS = {
    "recipe": b"task: text-classification\nmodel: m\ndataset: d.jsonl\ntraining: {seed: 1}\noptions: &a {x: !!int 1}\n",
    "words": b"model=m\ndataset=[a, b]\nlora.r=8\ncolumns={text: a}\nlearning_rate=1e-5",
    "standard_input": b'{"text": "a"}\n{"text": "b", "label": [1, {"a": null}]}\n',
    "jsonl": b'{"text": "a", "label": 1}\n{"text": "b", "label": [1.5, null, {"a": true}]}\n',
    "json": b'[{"text": "a", "label": 1}, {"text": "b", "label": 2}]',
    "csv": b'text,label\n"a, ""b""",1\nc,2\n',
    "tsv": b"text\tlabel\na\t1\n",
    "txt": b"a line\n\nanother\n",
    "conll": b"# id = 1\nEU B-ORG\nrejects O\n\nGerman B-MISC\n",
}

SEEDS |= {f"{name}_alone": SEEDS[name] for name in ("recipe", "words")}
# One million texts: most for what is quick.
RUNS = {"standard_input": 300_000, "recipe_alone": 200_000, "words_alone": 200_000, "recipe": 50_000, "words": 50_000}
RUNS_OF_FILES = 25_000

with atheris.instrument_imports(include=["hfrecipes", "yaml", "ruamel", "json", "csv"]):
    from hostile.targets import FOLDER, TARGETS, try_on


def main() -> None:
    """Try one target; libFuzzer's options follow its name. Without a name, try all, each in a process of its own."""
    if len(sys.argv) == 1:
        for name in TARGETS:
            runs = RUNS.get(name, RUNS_OF_FILES)
            print(f"{name}: {runs} texts", flush=True)
            subprocess.run([sys.executable, __file__, name, f"-runs={runs}", "-verbosity=0"], check=True)
        return
    name = sys.argv.pop(1)
    if name not in TARGETS:
        sys.exit(f"no target {name}: {', '.join(TARGETS)}")
    logging.disable()
    seeds = FOLDER / "seeds"
    seeds.mkdir()
    (seeds / "seed").write_bytes(SEEDS.get(name, b""))
    # The libraries that it needs are imported before any clock runs; peft is only for some settings.
    importlib.import_module("peft")
    try_on(name, SEEDS.get(name, b""))
    atheris.Setup([*sys.argv, f"-timeout={SECONDS}", str(seeds)], lambda content: try_on(name, content))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
