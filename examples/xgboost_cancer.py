"""XGBoost on the breast cancer set, with callbacks in a run. Kill it, start it again: it goes on.

pip install "outlast[xgboost]" scikit-learn
"""

import xgboost as xgb
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import outlast

x, y = load_breast_cancer(return_X_y=True)
x_train, x_valid, y_train, y_valid = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
train, valid = xgb.DMatrix(x_train, y_train), xgb.DMatrix(x_valid, y_valid)

run = outlast.Run(
    "runs/xgboost",
    [
        outlast.EarlyStopping(patience=10, restore_best_weights=True),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.ReduceLROnPlateau(patience=4, factor=0.5),
        outlast.CSVLogger(),
    ],
)
booster = xgb.train(
    {"objective": "binary:logistic", "max_depth": 3, "subsample": 0.8, "seed": 0},
    train,
    num_boost_round=200,
    evals=[(train, "train"), (valid, "valid")],
    verbose_eval=False,
    callbacks=outlast.frameworks.xgboost.callbacks(run),
)
right = (booster.predict(valid) > 0.5) == y_valid
print(run.best)
print(f"{booster.num_boosted_rounds()} rounds, {right.mean():.3f} right")
