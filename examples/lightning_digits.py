"""Digits with Lightning's Trainer, with callbacks in a run. Kill it, start it again: it goes on.

pip install "outlast[lightning]" scikit-learn
"""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import outlast

digits = load_digits()
data = TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target))
lightning.seed_everything(0, verbose=False)
train, valid = torch.utils.data.random_split(data, [0.7, 0.3])


class Digits(lightning.LightningModule):
    """A small network for images of 8 by 8 pixels."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        """The loss of a batch."""
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        """What is watched."""
        out = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(out, batch[1]))
        self.log("val_accuracy", (out.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        """Adam."""
        return torch.optim.Adam(self.parameters(), 1e-2)


run = outlast.Run(
    "runs/lightning",
    [
        outlast.EarlyStopping(patience=5, restore_best_weights=True),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.ReduceLROnPlateau(patience=2, factor=0.5),
        outlast.CSVLogger(),
    ],
)
model = Digits()
trainer = lightning.Trainer(
    max_epochs=20,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    callbacks=outlast.frameworks.lightning.callbacks(run),
)
trainer.fit(model, DataLoader(train, 128, shuffle=True), DataLoader(valid, 256))
print(run.best)
print(f"{len(run.history.rows)} epochs, {max(run.history['val_accuracy']):.3f} right")
