"""The usual tutorial: text classification with the Trainer alone, to set beside `hfrecipes run`.

    python benchmarks/plain_trainer.py MODEL FOLDER TEXT_COLUMN [learning_rate] [epochs]

FOLDER holds train, validation and test as parquet, with a `label` of ids.
"""

import sys
import time

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


def main(name: str, folder: str, column: str, learning_rate: str = "5e-5", epochs: str = "3") -> None:
    start = time.perf_counter()
    splits = ("train", "validation", "test")
    rows = load_dataset("parquet", data_files={split: f"{folder}/{split}.parquet" for split in splits})
    tokenizer = AutoTokenizer.from_pretrained(name)
    encoded = rows.map(lambda batch: tokenizer(batch[column], truncation=True), batched=True)
    labels = len(set(rows["train"]["label"]))
    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=labels)
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
        model,
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
    metrics = trainer.predict(encoded["test"]).metrics
    print(f"test accuracy {metrics['test_accuracy']:.4f}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
