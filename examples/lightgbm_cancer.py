"""LightGBM on the breast cancer set, with callbacks in a run. Kill it, start it again: it goes on.

pip install "outlast[lightgbm]" scikit-learn
"""

import lightgbm as lgb
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import outlast

x, y = load_breast_cancer(return_X_y=True)
x_train, x_valid, y_train, y_valid = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
train = lgb.Dataset(x_train, y_train)
valid = lgb.Dataset(x_valid, y_valid, reference=train)

run = outlast.Run(
    "runs/lightgbm",
    [
        outlast.EarlyStopping(patience=10, restore_best_weights=True),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.ReduceLROnPlateau(patience=4, factor=0.5),
        outlast.CSVLogger(),
    ],
)
settings = {"objective": "binary", "num_leaves": 7, "feature_fraction": 0.6, "seed": 0, "verbosity": -1}
booster = lgb.train(
    settings,
    train,
    num_boost_round=200,
    valid_sets=[train, valid],
    callbacks=outlast.frameworks.lightgbm.callbacks(run),
    **outlast.frameworks.lightgbm.resume_arguments(run),
)
right = (booster.predict(x_valid) > 0.5) == y_valid
print(run.best)
print(f"{booster.num_trees()} rounds, {right.mean():.3f} right")
