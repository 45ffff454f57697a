"""A plugin of pytest: Keras's own tests run with our callbacks in place of Keras's.

    pytest -p tests.parity.ours_in_keras .../keras/src/callbacks/early_stopping_test.py

The result of each test is written, as JSON, to the file that ``OUTCOMES`` names.
"""

from __future__ import annotations

import json
import os

import keras
import pytest

import outlast

NAMES = (
    "Callback",
    "CSVLogger",
    "EarlyStopping",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
)
outcomes: dict[str, str] = {}


def pytest_configure() -> None:
    """Before the tests are imported: under every name by which they reach the classes."""
    package = keras.src.callbacks
    for name in NAMES:
        setattr(package, name, getattr(outlast, name))
    package.callback.Callback = outlast.Callback


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    test = report.nodeid.rpartition("/")[2]
    if report.when == "call" or report.failed:
        outcomes[test] = "passed" if report.passed else str(report.longrepr)


def pytest_sessionfinish() -> None:
    with open(os.environ["OUTCOMES"], "w") as file:
        json.dump(outcomes, file)
