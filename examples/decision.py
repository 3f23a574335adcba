"""Answer typed questions about a text with a probability for each option: fine-tune, look at the scores, predict.

python examples/decision.py
python examples/decision.py HuggingFaceTB/SmolLM2-135M-Instruct
"""

import sys

import hfrecipes

# 1. Train. Rows are requests with several questions and their answers, or one question a row.
model = sys.argv[1] if len(sys.argv) > 1 else "Qwen/Qwen2.5-0.5B-Instruct"
result = hfrecipes.run("decision/desk", model=model, output_dir="runs/desk")

# 2. Score on the test split, of all questions and by type. The baseline is the most frequent answer of each question.
for name in ("accuracy", "accuracy[choice]", "accuracy[score]", "accuracy[noul]"):
    accuracy = result.scores["test"][name]
    print(f"test {name} {accuracy.value:.2f} {accuracy.ci95}, baseline {accuracy.baseline:.2f}")

# 3. Predict. In another process: hfrecipes.load(path).predict(...), or pipeline("decision", path) of transformers.
row = {"state": "There is a wasp nest over our bed!", "question": "Who should go?", "options": ["cook", "caretaker"]}
print(result.predict(row)["scores"])
