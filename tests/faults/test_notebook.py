"""A notebook in a real kernel: interrupted, the cell run again, the kernel killed, all run again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest
from nbclient.exceptions import DeadKernelError
from tests.faults.training import committed_epoch, debris, views

EPOCHS = 12

BEGIN = """
import os, time
import numpy as np
import outlast

def callbacks():
    best = outlast.ModelCheckpoint(monitor="val_loss", mode="min", save_best_only=True)
    return [outlast.EarlyStopping(patience=50, restore_best_weights=True), best, outlast.CSVLogger()]

pace = 0.005  # seconds a batch: time enough for somebody to interrupt it
"""
TORCH = """
import torch

def train(folder):
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x = torch.randn(40, 4)
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
    loader = torch.utils.data.DataLoader(data, batch_size=5, shuffle=True)
    run = outlast.Run(folder, callbacks(), model=model, optimizer=optimizer)
    for epoch in run.epochs(12):
        for inputs, targets in run.batches(loader):
            time.sleep(pace)
            loss = (model(inputs) - targets).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log(loss=loss)
        run.log(val_loss=loss)
    print([weight.tolist() for weight in model.parameters()], run.history.rows)
"""
KERAS = """
import keras

def train(folder):
    keras.utils.set_random_seed(1)
    layers = [keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("adam", "mse")
    x = np.random.normal(size=(40, 4))
    run = outlast.Run(folder, callbacks())
    slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: time.sleep(pace))
    y = x.sum(1, keepdims=True)
    model.fit(x, y, batch_size=5, epochs=12, validation_data=(x, y), verbose=0, callbacks=[run, slow])
    print([weight.tolist() for weight in model.get_weights()], model.history.history)
"""
CELL = "train('run')"
UNDISTURBED = "pace = 0\ntrain('undisturbed')"


class Notebook:
    """A notebook that is run from its top in a kernel of its own."""

    def __init__(self, folder: Path, begin: str) -> None:
        self.folder = folder
        self._ended = threading.Event()
        cells = [
            nbformat.v4.new_code_cell(text)
            for text in (BEGIN + begin, "print(os.getpid())", CELL, UNDISTURBED)
        ]
        self._book = nbformat.v4.new_notebook(cells=cells)
        self._client = nbclient.NotebookClient(
            self._book,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            allow_errors=True,
        )

    @contextmanager
    def kernel(self) -> Iterator[int]:
        """Its process's number, after the first cells."""
        with self._client.setup_kernel():
            assert self.run(0) == []
            yield int(self.run(1)[0].text)

    def run(self, cell: int) -> list[Any]:
        """The outputs of the cell, run now."""
        outputs: list[Any] = self._client.execute_cell(self._book.cells[cell], cell).outputs
        return outputs

    def run_training(self, meanwhile: Callable[[], object] = lambda: None) -> list[Any]:
        """The outputs of the training's cell."""
        thread = threading.Thread(target=meanwhile)
        self._ended.clear()
        thread.start()
        try:
            return self.run(2)
        finally:
            self._ended.set()
            thread.join()

    def after_epoch(self, epoch: int, act: Callable[[], object]) -> Callable[[], None]:
        """Act when the epoch, counted from 0, is committed."""

        def wait() -> None:
            while committed_epoch(self.folder / "run") < epoch:
                if self._ended.wait(0.01):
                    return
            act()

        return wait


@pytest.mark.parametrize("begin", [TORCH, KERAS], ids=["torch", "keras"])
def test_interrupted_run_again_killed_and_run_again_a_notebook_ends_as_if_nobody_had_disturbed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    first = Notebook(tmp_path, begin)
    with pytest.raises(DeadKernelError), first.kernel() as process:
        interrupted = first.run_training(first.after_epoch(1, lambda: os.kill(process, signal.SIGINT)))
        assert [output.output_type for output in interrupted] == ["stream", "error"]
        told, error = interrupted
        assert told.name == "stdout" and told.text.startswith("outlast: Ctrl-C: ended ")
        assert error.ename == "KeyboardInterrupt", error.evalue
        assert "During handling" not in "".join(error.traceback)
        first.run_training(first.after_epoch(5, lambda: os.kill(process, signal.SIGKILL)))
    again = Notebook(tmp_path, begin)
    with again.kernel():
        resumed = again.run_training()
        undisturbed = again.run(3)
        once_more = again.run(2)
    assert {output.name for output in [*resumed, *undisturbed, *once_more]} == {"stdout"}, (
        "something is complained of"
    )
    said, result = "".join(output.text for output in resumed).splitlines()
    assert said.startswith("outlast: resumed run at epoch ")
    assert result == "".join(output.text for output in undisturbed).strip()
    finished, same = "".join(output.text for output in once_more).splitlines()
    assert finished.startswith("outlast: run is finished (all 12 epochs are done)")
    assert same == result
    assert views(tmp_path / "run").keys() == views(tmp_path / "undisturbed").keys()
    for name in ("history.csv", "journal.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    assert debris(tmp_path / "run") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "undisturbed"]
