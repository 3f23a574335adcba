"""Summarize texts: fine-tune, look at the scores, predict.

python examples/summarization.py
python examples/summarization.py google/flan-t5-small
"""

import sys

import hfrecipes

# 1. Train. A table with a document and a summary a row can be the dataset.
model = sys.argv[1] if len(sys.argv) > 1 else "google-t5/t5-small"
result = hfrecipes.run("summarization/minutes", model=model, output_dir="runs/minutes")

# 2. Scores on texts that the model never saw, beside those of the first three sentences.
rouge = result.scores["test"]["rougeL"]
print(f"test ROUGE-L {rouge['value']:.1f} {rouge['ci95']}, three sentences give {rouge['baseline']:.1f}")

# 3. Predict, now or later: hfrecipes.load(result.path).predict(...)
print(result.predict("The heating failed on Monday. It will be mended by Thursday.")["summary_text"])
