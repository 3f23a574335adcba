"""Your own assistant: fine-tune on dialogues, look at the scores, chat.

python examples/chat.py
python examples/chat.py HuggingFaceTB/SmolLM2-135M-Instruct
"""

import sys

import hfrecipes

# 1. Train. The dataset can have messages, ShareGPT or Alpaca rows, or requests with replies.
model = sys.argv[1] if len(sys.argv) > 1 else "Qwen/Qwen2.5-0.5B-Instruct"
result = hfrecipes.run("chat/library", model=model, output_dir="runs/library")

# 2. Scores on dialogues that were not used for training. The baseline gives the same reply to everybody.
rouge = result.scores["test"]["rougeL"]
print(f"test ROUGE-L {rouge.value:.1f}, baseline {rouge.baseline:.1f}")

# 3. Chat, with the saved model; `hfrecipes chat runs/library` does the same in the terminal.
dialogue = [{"role": "user", "content": "When do you open on Saturday?"}]
print(hfrecipes.load(result.path).predict({"messages": dialogue})["generated_text"])
