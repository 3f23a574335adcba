# %% [markdown]
# # Summaries
#
# Minutes of meetings, and the decision in one sentence. The model has random weights, so that nothing is
# downloaded: it shows the steps, and writes nonsense. Use `google-t5/t5-small` for yours, `google/mt5-small` for
# other languages; translation works in the same way.

# %%
from pathlib import Path

import hfrecipes
from hfrecipes.contract.tiny_models import ASCII, character_tokenizer, save_encoder_decoder

MODEL = save_encoder_decoder(character_tokenizer(ASCII), Path("models/small"))
DATA = "pkg://hfrecipes._data/minutes"

# %%
result = hfrecipes.run(
    "summarization",
    dataset=DATA,
    model=MODEL,
    limit={"train": 60, "validation": 8, "test": 8},
    max_length=256,
    max_target_length=48,
    learning_rate=3e-3,
    num_train_epochs=2,
    output_dir="runs/minutes",
)
result

# %% [markdown]
# The baseline is the first three sentences of the document; a model of use is better than that.

# %%
hfrecipes.load("runs/minutes").predict("The heating failed on Monday. It will be mended by Thursday.")
