"""Translate texts: fine-tune, look at the scores, predict.

python examples/translation.py
python examples/translation.py google-t5/t5-small
"""

import sys

import hfrecipes

# 1. Train. {"translation": {"en": …, "de": …}} a row, two columns, or two files of the same lines can be the dataset.
model = sys.argv[1] if len(sys.argv) > 1 else "Helsinki-NLP/opus-mt-en-de"
result = hfrecipes.run("translation/neighbours", model=model, output_dir="runs/neighbours")

# 2. Scores on sentences that the model never saw, and the signature that a BLEU must be quoted with.
bleu = result.scores["test"]["bleu"]
print(f"test BLEU {bleu['value']:.1f} {bleu['ci95']}, {bleu['signature']}")

# 3. Predict, now or later: hfrecipes.load(result.path).predict(...)
print(result.predict("The baker opens at seven on weekdays.")["translation_text"])
