"""Rewrite texts: fine-tune, look at the scores, predict.

python examples/text2text_generation.py
python examples/text2text_generation.py google-t5/t5-small
"""

import sys

import hfrecipes

# 1. Train. Input and output, instructions, or questions with their answers can be the dataset.
model = sys.argv[1] if len(sys.argv) > 1 else "google/flan-t5-small"
result = hfrecipes.run("text2text-generation/polite", model=model, output_dir="runs/polite")

# 2. Scores on notes that the model never saw.
f1 = result.scores["test"]["f1"]
print(f"test F1 of the words {f1['value']:.1f} {f1['ci95']}")

# 3. Predict, now or later: hfrecipes.load(result.path).predict(...)
print(result.predict("train late, start w/o me")["generated_text"])
