"""Summarize texts: fine-tune, look at the scores, predict.

python examples/summarization.py
python examples/summarization.py google/flan-t5-small
"""

import sys

import hfrecipes

# 1. Train. The dataset can be any table with a document and a summary in each row.
model = sys.argv[1] if len(sys.argv) > 1 else "google-t5/t5-small"
result = hfrecipes.run("summarization/minutes", model=model, output_dir="runs/minutes")

# 2. Score on the test split. The baseline is the first three sentences of each document.
rouge = result.scores["test"]["rougeL"]
print(f"test ROUGE-L {rouge.value:.1f} {rouge.ci95}, baseline {rouge.baseline:.1f}")

# 3. Predict. In another process: hfrecipes.load(path).predict(...)
print(result.predict("The heating failed on Monday. It will be mended by Thursday.")["summary_text"])
