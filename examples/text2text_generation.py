"""Rewrite texts: fine-tune, look at the scores, predict.

python examples/text2text_generation.py
python examples/text2text_generation.py google-t5/t5-small
"""

import sys

import hfrecipes

# 1. Train. The dataset can have inputs and outputs, instructions, or questions with answers.
model = sys.argv[1] if len(sys.argv) > 1 else "google/flan-t5-small"
result = hfrecipes.run("text2text-generation/polite", model=model, output_dir="runs/polite")

# 2. Score on the test split.
f1 = result.scores["test"]["f1"]
print(f"test F1 of the words {f1.value:.1f} {f1.ci95}")

# 3. Predict. In another process: hfrecipes.load(path).predict(...)
print(result.predict("train late, start w/o me")["generated_text"])
