# %% [markdown]
# # Chat, with LoRA
#
# Dialogues of a library, learnt by an adapter. The model has random weights, so that nothing is downloaded: its
# replies are nonsense. Use `Qwen/Qwen2.5-0.5B-Instruct` for yours, on a GPU.

# %%
import json
from importlib.resources import files
from pathlib import Path

import hfrecipes
from hfrecipes.contract.tiny_models import byte_tokenizer, save_decoder

lines = files("hfrecipes._data").joinpath("library/train.jsonl").read_text(encoding="utf-8").splitlines()
rows = [json.loads(line) for line in lines]
rows[0]

# %%
MODEL = save_decoder(byte_tokenizer(lines, size=800), Path("models/small"), size=64, layers=2)

# %%
result = hfrecipes.run(
    "chat",
    dataset=rows[:60],
    model=MODEL,
    lora={"r": 8},
    max_length=256,
    max_new_tokens=16,
    generated_rows=1,
    learning_rate=1e-2,
    num_train_epochs=2,
    output_dir="runs/library",
)
result

# %% [markdown]
# The folder has the merged model, and `adapter/` the adapter alone.

# %%
sorted(path.name for path in Path("runs/library").iterdir())

# %%
model = hfrecipes.load("runs/library")
model.predict({"messages": [{"role": "user", "content": "When do you open on Saturday?"}]})
