"""Translate texts: fine-tune, look at the scores, predict.

python examples/translation.py
python examples/translation.py google-t5/t5-small
"""

import sys

import hfrecipes

# 1. Train. The dataset can have rows {"translation": {"en": …, "de": …}}, two columns, or two line-aligned files.
model = sys.argv[1] if len(sys.argv) > 1 else "Helsinki-NLP/opus-mt-en-de"
result = hfrecipes.run("translation/neighbours", model=model, output_dir="runs/neighbours")

# 2. Score on the test split, with the signature that should be reported with BLEU.
bleu = result.scores["test"]["bleu"]
print(f"test BLEU {bleu.value:.1f} {bleu.ci95}, {bleu.signature}")

# 3. Predict. In another process: hfrecipes.load(path).predict(...)
print(result.predict("The baker opens at seven on weekdays.")["translation_text"])
