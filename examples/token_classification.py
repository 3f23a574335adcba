"""Find named entities in texts: fine-tune, look at the scores, predict.

python examples/token_classification.py
python examples/token_classification.py lora
"""

import sys

import hfrecipes

# 1. Train. The dataset can be CoNLL or CoNLL-U files, lists of tokens and tags, or texts with character spans.
result = hfrecipes.run(
    "token-classification/notices", lora="lora" in sys.argv, output_dir=f"runs/{'-'.join(['tags', *sys.argv[1:]])}"
)

# 2. Score on the test split, over whole entities. The baseline gives each word its most frequent tag.
f1 = result.scores["test"]["f1"]
print(f"test F1 {f1.value:.2f} {f1.ci95}, baseline {f1.baseline:.2f}")

# 3. Predict. In another process: hfrecipes.load(path).predict(...)
for entity in result.predict("Ask Amina at the boat club, or come to Mill Lane on Sunday at noon.")["entities"]:
    print(entity["label"], entity["start"], entity["end"], entity["text"])
