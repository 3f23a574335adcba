"""Classify texts: fine-tune, look at the scores, predict.

python examples/text_classification.py
python examples/text_classification.py lora
"""

import sys

import hfrecipes

# 1. Train. The dataset can be a csv, json or parquet file, a folder, a DataFrame or a Hub dataset.
result = hfrecipes.run(
    "text-classification/quickstart", lora="lora" in sys.argv, output_dir=f"runs/{'-'.join(['example', *sys.argv[1:]])}"
)

# 2. Score on the test split, with its 95 % interval. The baseline always predicts the most frequent label.
accuracy = result.scores["test"]["accuracy"]
print(f"test accuracy {accuracy.value:.2f} {accuracy.ci95}, baseline {accuracy.baseline:.2f}")

# 3. Predict. In another process: hfrecipes.load(path).predict(...)
print(result.predict("The zip was broken when I opened the bag.")["label"])
