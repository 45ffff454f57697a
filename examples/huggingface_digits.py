"""Hugging Face's Trainer on images of digits, with callbacks in a run. Kill it, start it again: it goes on.

pip install "outlast[huggingface]" scikit-learn
"""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from transformers import (
    PrinterCallback,
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    set_seed,
)

import outlast

x, y = load_digits(return_X_y=True)
images = torch.tensor(x / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
data = [{"pixel_values": image, "labels": int(label)} for image, label in zip(images, y, strict=True)]
train, valid = train_test_split(data, test_size=0.3, random_state=0)

set_seed(0)
size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
config = ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=10, **size)
run = outlast.Run(
    "runs/huggingface",
    [
        outlast.EarlyStopping(patience=2, restore_best_weights=True),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.CSVLogger(),
    ],
)
trainer = Trainer(
    model=ViTForImageClassification(config),
    args=TrainingArguments(
        num_train_epochs=4,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=256,
        learning_rate=1e-2,
        eval_strategy="epoch",
        save_strategy="no",  # the run saves
        report_to=[],
        disable_tqdm=True,
    ),
    train_dataset=train,
    eval_dataset=valid,
    compute_metrics=lambda given: {"accuracy": float((given[0].argmax(-1) == given[1]).mean())},
    callbacks=outlast.frameworks.huggingface.callbacks(run),
)
trainer.pop_callback(PrinterCallback)  # the run's history.csv has all of it
trainer.train()
print(run.best)
print(f"{run.history['val_accuracy'][run.best.epoch]:.3f} right")
