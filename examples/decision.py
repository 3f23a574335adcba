"""Answer typed questions about a text with a probability for each option: fine-tune, look at the scores, predict.

python examples/decision.py
"""

import hfrecipes

# 1. Train. Rows are requests with several questions and their answers, or one question a row.
result = hfrecipes.run("decision/desk", output_dir="runs/desk")

# 2. Score on the test split, of all questions and by type. The baseline is the most frequent answer of each question.
for name in ("accuracy", "accuracy[choice]", "accuracy[score]", "accuracy[noul]"):
    accuracy = result.scores["test"][name]
    print(f"test {name} {accuracy.value:.2f} {accuracy.ci95}, baseline {accuracy.baseline:.2f}")

# 3. Predict. In another process: hfrecipes.load(path).predict(...), or pipeline("decision", path) of transformers.
row = {"state": "There is a wasp nest over our bed!", "question": "Who should go?", "options": ["cook", "caretaker"]}
print(result.predict(row)["scores"])
