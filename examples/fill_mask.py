"""Adapt a model to the language of a domain, then fine-tune the adapted model for another task.

python examples/fill_mask.py
"""

import hfrecipes

# 1. Adapt. Plain text is enough: a document a line, a paragraph or a file.
adapted = hfrecipes.run("fill-mask/help_articles", output_dir="runs/adapted")
perplexity = adapted.scores["test"]["perplexity"]
print(f"test perplexity {perplexity['value']:.0f}, word frequencies alone give {perplexity['baseline']:.0f}")

# 2. Look at what it learnt: the best words for a gap.
(gap,) = adapted.predict("Your [MASK] will be paid back within five days.")["fills"]
print([guess["token_str"] for guess in gap])

# 3. Go on from the adapted model.
result = hfrecipes.run("text-classification/quickstart", model=str(adapted.path), output_dir="runs/after-adapting")
print(result)
