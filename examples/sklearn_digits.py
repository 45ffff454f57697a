"""A perceptron of scikit-learn's on the digits, with callbacks in a run. Kill it, start it again: it goes on.

pip install "outlast[sklearn]"
"""

from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import outlast

x, y = load_digits(return_X_y=True)
x_train, x_valid, y_train, y_valid = train_test_split(x / 16, y, test_size=0.3, random_state=0, stratify=y)

model = MLPClassifier((32,), learning_rate_init=0.01, random_state=0)
run = outlast.Run(
    "runs/sklearn",
    [
        outlast.EarlyStopping(patience=5, restore_best_weights=True),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.ReduceLROnPlateau(patience=2, factor=0.5),
        outlast.CSVLogger(),
    ],
    model=model,
    save_every=10,
)
batches = outlast.Batches(x_train, y_train, batch_size=64, seed=0)
for _ in run.epochs(30):
    for inputs, targets in run.batches(batches):
        model.partial_fit(inputs, targets, classes=range(10))
        run.log(loss=model.loss_)
    run.log(val_loss=log_loss(y_valid, model.predict_proba(x_valid)))
print(run.best)
print(f"{len(run.history.rows)} epochs, {model.score(x_valid, y_valid):.3f} right")
