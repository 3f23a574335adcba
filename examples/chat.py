"""An assistant of your own: fine-tune on dialogues, look at the scores, talk.

python examples/chat.py
python examples/chat.py HuggingFaceTB/SmolLM2-135M-Instruct
"""

import sys

import hfrecipes

# 1. Train. Messages, ShareGPT, Alpaca, or requests with their replies can be the dataset.
model = sys.argv[1] if len(sys.argv) > 1 else "Qwen/Qwen2.5-0.5B-Instruct"
result = hfrecipes.run("chat/library", model=model, output_dir="runs/library")

# 2. Scores on dialogues that the model never saw.
rouge = result.scores["test"]["rougeL"]
print(f"test ROUGE-L {rouge['value']:.1f}, always the same reply gives {rouge['baseline']:.1f}")

# 3. Talk, from the folder that the run left; `hfrecipes chat runs/library` does it in the terminal.
dialogue = [{"role": "user", "content": "When do you open on Saturday?"}]
print(hfrecipes.load(result.path).predict({"messages": dialogue})["generated_text"])
