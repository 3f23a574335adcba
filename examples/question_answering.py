"""Find answers in a text, or say that it has none: fine-tune, look at the scores, predict.

python examples/question_answering.py
"""

import hfrecipes

# 1. Train. Files in the shape of SQuAD, or rows with question, context and answers can be the dataset.
result = hfrecipes.run("question-answering/manuals", output_dir="runs/answers")

# 2. Scores on data that the model never saw, in percent: over all questions, and over those that have an answer.
for name in ("f1", "HasAns_f1", "NoAns_f1"):
    score = result.scores["test"][name]
    print(f"test {name} {score['value']:.1f} {score['ci95']}, always saying nothing gives {score['baseline']:.1f}")

# 3. Predict, now or later: hfrecipes.load(result.path).predict(...)
context = "The hut opens at seven. Breakfast costs eight euros; dogs must stay on the porch."
for question in ("How much is breakfast?", "Who built the hut?"):
    found = result.predict({"question": question, "context": context})
    print(question, found["answer"] or "(no answer)", found["start"], found["end"])
