# %% [markdown]
# # Chinese reviews
#
# Reviews of restaurants, good or bad. The rows and the model are made here, so that nothing is downloaded; use
# `hfl/chinese-roberta-wwm-ext` for yours.

# %% [markdown]
# Rows: a list of dictionaries, or a csv file (also in GB18030). Columns may have Chinese names.

# %%
import itertools
import random

places = ["这家店", "楼下的饭馆", "新开的餐厅", "学校食堂"]
things = ["面条", "服务", "环境", "包子", "点心", "火锅"]
good, bad = ["很好", "非常满意", "下次还来", "味道不错"], ["很差", "太失望了", "再也不来", "难吃"]
rows = []
for place, thing in itertools.product(places, things):
    rows += [{"文本": f"{place}的{thing}{word}。", "标签": "好评"} for word in good]
    rows += [{"文本": f"{place}的{thing}{word}。", "标签": "差评"} for word in bad]
random.Random(0).shuffle(rows)
len(rows), rows[:2]

# %% [markdown]
# A small encoder with random weights, and a tokenizer that reads one character as one token. It knows no Chinese
# before.

# %%
from pathlib import Path

from hfrecipes.contract.tiny_models import save_encoder, word_tokenizer

characters = sorted({character for row in rows for character in row["文本"]})
MODEL = save_encoder(word_tokenizer(characters), Path("models/small"))

# %%
import hfrecipes

result = hfrecipes.run(
    "text-classification",
    dataset=rows,
    model=MODEL,
    learning_rate=1e-2,
    num_train_epochs=4,
    output_dir="runs/reviews",
)
result

# %%
model = hfrecipes.load("runs/reviews")
[model.predict(text)["label"] for text in ("新开的餐厅的火锅很好。", "学校食堂的面条难吃。")]
