"""Adapt a model to the language of a domain, then fine-tune the adapted model for another task.

python examples/fill_mask.py
"""

import hfrecipes

# 1. Adapt. Plain text is enough: one document per line, paragraph or file.
adapted = hfrecipes.run("fill-mask/help_articles", output_dir="runs/adapted")
perplexity = adapted.scores["test"]["perplexity"]
print(f"test perplexity {perplexity.value:.0f}, token frequencies alone give {perplexity.baseline:.0f}")

# 2. The most likely words for a gap.
(candidates,) = adapted.predict("Your [MASK] will be paid back within five days.")["fills"]
print([candidate["token_str"] for candidate in candidates])

# 3. Fine-tune the adapted model.
result = hfrecipes.run("text-classification/quickstart", model=str(adapted.path), output_dir="runs/after-adapting")
print(result)
