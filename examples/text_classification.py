"""Classify texts: fine-tune, look at the scores, predict.

python examples/text_classification.py
python examples/text_classification.py lora
"""

import sys

import hfrecipes

# 1. Train. Any csv, json or parquet file, folder, DataFrame or Hub dataset can be the dataset.
result = hfrecipes.run(
    "text-classification/quickstart", lora="lora" in sys.argv, output_dir=f"runs/{'-'.join(['example', *sys.argv[1:]])}"
)

# 2. Scores on data that the model never saw, each with its 95 % interval.
accuracy = result.scores["test"]["accuracy"]
print(f"test accuracy {accuracy['value']:.2f} {accuracy['ci95']}, the majority class gives {accuracy['baseline']:.2f}")

# 3. Predict, now or later: hfrecipes.load(result.path).predict(...)
print(result.predict("The zip was broken when I opened the bag.")["label"])
