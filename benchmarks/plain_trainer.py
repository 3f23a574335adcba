"""The usual tutorial: text classification with the Trainer alone, to set beside `hfrecipes run`.

    python benchmarks/plain_trainer.py MODEL FOLDER TEXT_COLUMN LEARNING_RATE EPOCHS

FOLDER holds train, validation and test as csv or parquet, with a column `label`.
"""

import sys
import time
from pathlib import Path

import numpy as np
from datasets import load_dataset
from sklearn.metrics import accuracy_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


def main(name: str, folder: str, column: str, learning_rate: str, epochs: str) -> None:
    start = time.perf_counter()
    files = {split: str(next(Path(folder).glob(f"{split}.*"))) for split in ("train", "validation", "test")}
    rows = load_dataset(Path(files["train"]).suffix[1:], data_files=files)
    labels = sorted(set(rows["train"]["label"]))
    tokenizer = AutoTokenizer.from_pretrained(name)

    def encode(batch: dict) -> dict:
        return {**tokenizer(batch[column], truncation=True), "labels": [labels.index(one) for one in batch["label"]]}

    encoded = rows.map(encode, batched=True, remove_columns=rows["train"].column_names)
    arguments = TrainingArguments(
        output_dir="plain-trainer",
        learning_rate=float(learning_rate),
        per_device_train_batch_size=16,
        per_device_eval_batch_size=16,
        num_train_epochs=float(epochs),
        weight_decay=0.01,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
    )
    trainer = Trainer(
        AutoModelForSequenceClassification.from_pretrained(name, num_labels=len(labels)),
        arguments,
        train_dataset=encoded["train"],
        eval_dataset=encoded["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda result: {
            "accuracy": accuracy_score(result.label_ids, np.argmax(result.predictions, axis=1))
        },
    )
    trainer.train()
    accuracy = trainer.predict(encoded["test"]).metrics["test_accuracy"]
    print(f"plain Trainer: test accuracy {accuracy:.3f}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
