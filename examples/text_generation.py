"""Continue texts: fine-tune on plain text, look at the scores, generate.

python examples/text_generation.py
python examples/text_generation.py distilbert/distilgpt2
"""

import sys

import hfrecipes

# 1. Train. The dataset can be a file with one text per line, a column of texts, or whole files.
model = sys.argv[1] if len(sys.argv) > 1 else "HuggingFaceTB/SmolLM2-135M"
result = hfrecipes.run("text-generation/bedtime", model=model, output_dir="runs/bedtime")

# 2. Score on the test split.
perplexity = result.scores["test"]["perplexity"]
print(f"test perplexity {perplexity.value:.1f}, token frequencies alone give {perplexity.baseline:.0f}")

# 3. Generate, with the saved model.
story = hfrecipes.load(result.path).predict("The little owl could not find her hat.")
print(story["prompt"] + story["generated_text"])
