"""Find names in texts: fine-tune, look at the scores, predict.

python examples/token_classification.py
python examples/token_classification.py lora
"""

import sys

import hfrecipes

# 1. Train. CoNLL files, CoNLL-U, lists of tokens and tags, or texts with spans of characters can be the dataset.
result = hfrecipes.run(
    "token-classification/notices", lora="lora" in sys.argv, output_dir=f"runs/{'-'.join(['tags', *sys.argv[1:]])}"
)

# 2. Scores on data that the model never saw: all of it counts, and of entities whose tags are not quite right.
f1 = result.scores["test"]["f1"]
print(f"test F1 {f1['value']:.2f} {f1['ci95']}, the tag that each word mostly has gives {f1['baseline']:.2f}")

# 3. Predict, now or later: hfrecipes.load(result.path).predict(...)
for entity in result.predict("Ask Amina at the boat club, or come to Mill Lane on Sunday at noon.")["entities"]:
    print(entity["label"], entity["start"], entity["end"], entity["text"])
