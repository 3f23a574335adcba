"""Choose the right one of several answers: fine-tune, look at the scores, predict.

python examples/multiple_choice.py
"""

import hfrecipes

# 1. Train. Endings in columns of their own, lists of choices, labels as number, letter or text: all can be the dataset.
result = hfrecipes.run("multiple-choice/replies", output_dir="runs/choices")

# 2. Scores on data that the model never saw, with their 95 % interval.
accuracy = result.scores["test"]["accuracy"]
print(f"test accuracy {accuracy['value']:.2f} {accuracy['ci95']}, the most frequent place {accuracy['baseline']:.2f}")

# 3. Predict, now or later: hfrecipes.load(result.path).predict(...)
row = {"question": "Can you lend me a ladder?", "choices": ["Half past nine.", "Yes, it is in the garage."]}
print(result.predict(row)["choice"])
