"""Find answers in a text, or say that it has none: fine-tune, look at the scores, predict.

python examples/question_answering.py
"""

import hfrecipes

# 1. Train. The dataset can be files in the format of SQuAD, or rows with question, context and answers.
result = hfrecipes.run("question-answering/manuals", output_dir="runs/answers")

# 2. Scores on the test split, from 0 to 100: over all questions, and over those with and without an answer. The
# baseline never gives an answer.
for name in ("f1", "HasAns_f1", "NoAns_f1"):
    score = result.scores["test"][name]
    print(f"test {name} {score.value:.1f} {score.ci95}, baseline {score.baseline:.1f}")

# 3. Predict. In another process: hfrecipes.load(path).predict(...)
context = "The hut opens at seven. Breakfast costs eight euros; dogs must stay on the porch."
for question in ("How much is breakfast?", "Who built the hut?"):
    prediction = result.predict({"question": question, "context": context})
    print(question, prediction["answer"] or "(no answer)", prediction["start"], prediction["end"])
