"""Each training in Keras's fit: a resume is exact, or a message says what is not. Never neither."""

from __future__ import annotations

import re
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache, partial, partialmethod
from pathlib import Path

import keras
import numpy as np
import pytest
from tests.exact.keras_trainings import BACKEND, CASES, Shuffled, tf_dataset, torch_loader, train, two_phases
from tests.exact.trainings import Training

import outlast
from outlast import OutlastWarning

UNTIL = 3


def process(
    training: Training, folder: Path, until: int | None = None, *, anew: bool = True
) -> tuple[object, list[str]]:
    """What the program ends with, and what is said, as if a new process ran it, or the same again."""
    if anew:
        keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = training(folder, until)
    return ended, [str(one.message) for one in caught if issubclass(one.category, OutlastWarning)]


def is_short(name: str) -> bool:
    """Whether the training takes little time here, or needs TensorFlow."""
    return BACKEND != "tensorflow" or "tf_" in name or "tensorflow" in name


@cache
def uninterrupted(name: str) -> tuple[object, list[str]]:
    """What the training ends with that never stopped."""
    with tempfile.TemporaryDirectory() as place:
        return process(CASES[name].training, Path(place) / "run")


@pytest.mark.parametrize("name", CASES)
def test_a_resume_in_fit_is_exact_or_a_message_names_what_is_not(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    whole, nothing = uninterrupted(name)
    assert [text for text in nothing if case.text is None or case.text not in text] == []
    process(case.training, folder / "left", UNTIL)
    capsys.readouterr()
    resumed, warned = process(case.training, folder / "left")
    out = capsys.readouterr().out
    said = [line for line in out.splitlines() if "would not be exact" in line]
    finished, _ = process(case.training, folder / "left")
    assert finished == resumed
    if case.text is None:
        assert (resumed == whole, warned, said) == (True, [], [])
        assert "trained again as a check: identical" in out
    else:
        assert any(case.text in text for text in (*warned, *said)), (warned, said, resumed == whole)


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.text is None and is_short(name)]
)
def test_a_fit_that_is_left_with_one_resume_point_is_exact(folder: Path, name: str) -> None:
    """Nothing can be checked then, so nothing would be said."""
    training = CASES[name].training
    whole, _ = uninterrupted(name)
    process(training, folder / "left", 1)
    assert process(training, folder / "left") == (whole, [])


@pytest.mark.parametrize("name", [*filter(is_short, CASES)])
def test_a_resume_inside_an_epoch_is_exact_or_a_message_names_what_is_not(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    whole, _ = uninterrupted(name)
    monkeypatch.setattr(outlast.Run, "__init__", partialmethod(outlast.Run.__init__, save_every=1))
    _, first = process(case.training, folder / "left", UNTIL)
    said = capsys.readouterr().out
    wait_until_saved_inside(folder / "left")
    resumed, warned = process(case.training, folder / "left")
    out = capsys.readouterr().out
    if case.text is None:
        assert (resumed == whole, warned, "would not be exact" in out) == (True, [], False)
        assert "trained again as a check: identical" in out
    elif resumed != whole:
        assert "would not be exact" in said + out or any("exact" in text for text in (*first, *warned))


def wait_until_saved_inside(folder: Path) -> None:
    """A fit that was left may still be writing."""
    for _ in range(200):
        found = outlast.open_run(folder).committed
        if found is not None and found[1] is not None:
            return
        time.sleep(0.05)
    raise AssertionError(f"{folder} was not saved inside an epoch")


def test_a_cell_that_is_run_again_is_exact(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keras gives its optimizer another name, ``adam_2``."""

    def training(place: Path, until: int | None) -> object:
        run = outlast.Run(place, [outlast.ReduceLROnPlateau("loss", patience=1, min_delta=10.0)])
        return train(place, until, run=run)

    whole, _ = process(training, folder / "whole")
    process(training, folder / "left", UNTIL)
    assert process(training, folder / "left", anew=False) == (whole, [])
    assert "as a check: identical" in capsys.readouterr().out


# A kind of data does the same on each backend; TensorFlow traces each fit, which takes long.
SOURCES: dict[str, Callable[[], object]] = (
    {"tf.data": lambda: tf_dataset().batch(8)}
    if BACKEND == "tensorflow"
    else {"PyDataset": Shuffled, "DataLoader": torch_loader}
)


@pytest.mark.parametrize("until", [2, 3])  # before and after the first commit of the second phase
@pytest.mark.parametrize("kind", SOURCES)
def test_a_second_phase_with_the_same_data_is_exact(folder: Path, kind: str, until: int) -> None:
    def training(place: Path, until: int | None) -> object:
        return two_phases(place, until, SOURCES[kind]())

    whole, _ = process(training, folder / "whole")
    process(training, folder / "left", until)
    assert process(training, folder / "left") == (whole, [])


@pytest.mark.parametrize("kind", SOURCES)
def test_data_that_an_interrupted_fit_has_used_are_brought_back_or_named(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a notebook, where only the cell with the training is run again."""

    def training(place: Path, until: int | None, data: object = None) -> object:
        run = outlast.Run(place)
        return train(place, until, None, run.data(data or SOURCES[kind]()), run=run)

    whole, _ = process(training, folder / "whole")
    data = SOURCES[kind]()
    process(partial(training, data=data), folder / "left", UNTIL)
    capsys.readouterr()
    resumed, warned = process(partial(training, data=data), folder / "left")
    out = capsys.readouterr().out
    assert warned == []
    if kind != "DataLoader":  # the epoch that was left began an iterator; fit looks at a dataset before
        assert "was used for more epochs in this process than are saved" in out
    else:
        assert (resumed, "would not be exact" in out) == (whole, False)


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # what Keras says of every Dataset
def test_the_example_of_the_page_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "exact.md").read_text("utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((64, 2), "float32")
    tensorflow = pytest.importorskip("tensorflow")
    exec(example, {"outlast": outlast, "tf": tensorflow, "model": model, "x": x, "y": x[:, :1]})
    assert len(outlast.open_run("runs/digits").history.epochs) == 10
