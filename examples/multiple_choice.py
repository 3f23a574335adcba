"""Choose the correct one of several answers: fine-tune, look at the scores, predict.

python examples/multiple_choice.py
"""

import hfrecipes

# 1. Train. The choices can be in one column each or in a list; the label can be a number, a letter or a text.
result = hfrecipes.run("multiple-choice/replies", output_dir="runs/choices")

# 2. Score on the test split, with its 95 % interval. The baseline always picks the most frequent position.
accuracy = result.scores["test"]["accuracy"]
print(f"test accuracy {accuracy.value:.2f} {accuracy.ci95}, baseline {accuracy.baseline:.2f}")

# 3. Predict. In another process: hfrecipes.load(path).predict(...)
row = {"question": "Can you lend me a ladder?", "choices": ["Half past nine.", "Yes, it is in the garage."]}
print(result.predict(row)["choice"])
