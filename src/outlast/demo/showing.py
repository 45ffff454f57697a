"""What ``outlast demo`` does: it trains, shows the decisions, and proves what is on the disk."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec

from outlast.demo import EPOCHS, FOLDER, SEED, crashing, telling
from outlast.demo.crashing import KILLED, UNINTERRUPTED
from outlast.demo.ctrl_c import CtrlC
from outlast.demo.training import FILES, HISTORY, PICTURE, Result, evaluate, take_folder, train
from outlast.exceptions import ArgumentError, MissingExtra, nearest
from outlast.storage.disk import files
from outlast.storage.disk.temporary import is_temporary
from outlast.storage.format import layout
from outlast.views.plots import plot_history
from outlast.views.printing import say

DONE, BROKEN = 0, 1  # exit codes

# The backends of Keras that can train, and the extra of outlast that installs each.
_BACKENDS = {"jax": "demo", "torch": "torch", "tensorflow": "tensorflow"}


def run(folder: str = FOLDER, *, seed: int = SEED, epochs: int = EPOCHS, as_json: bool = False) -> int:
    """Train, show the decisions, and prove that the best model is on the disk.

    Args:
        folder: where the files go: a new or empty folder, or that of an earlier demo.
        seed: random seed, for the first weights and the order of the batches.
        epochs: how many epochs at most.
        as_json: print one JSON object at the end and nothing else.

    Returns:
        The exit code: 0, or 1 if the file of the best model does not hold the best model.

    Raises:
        ArgumentError: the folder has other files, or ``KERAS_BACKEND`` cannot train.
        FileError: the folder cannot be made or written to.
        MissingExtra: a package is not installed.
        KeyboardInterrupt: Ctrl-C was pressed; the files are whole, and the results so far were shown.
    """
    backend = _settle_backend()
    _clear(folder)
    tell = telling.nothing if as_json else say
    with CtrlC() as ctrl_c:
        tell(telling.beginning(folder, backend, seed, epochs))
        result = train(folder, seed, epochs, None if as_json else telling.tell, ctrl_c)
        try:
            _draw(result)
        finally:
            tell(telling.table(result))
        check = None if ctrl_c.noted else evaluate(result)
        if check is not None:
            tell(telling.proof(check))
        if as_json:
            say(json.dumps(telling.as_json(result, check, backend, seed), indent=2))
        ctrl_c.look()
    return DONE if check is None or check.holds else BROKEN


def crash(folder: str = FOLDER, *, seed: int = SEED, epochs: int = EPOCHS, as_json: bool = False) -> int:
    """Kill a training in the middle of a save, resume it, and compare it with one that ran through.

    Arguments and errors are those of :func:`run`. The exit code is 1 if the two differ.
    """
    _settle_backend()
    folder = f"{folder}-crash" if folder == FOLDER else folder
    compared = crashing.show(folder, seed, epochs, telling.nothing if as_json else say)
    if as_json:
        ends = {UNINTERRUPTED: compared.uninterrupted, KILLED: compared.killed}
        say(json.dumps({"folder": folder, "holds": compared.holds, **ends}, indent=2))
    return DONE if compared.holds else BROKEN


def _settle_backend() -> str:
    """Choose the backend of Keras, and check that every package that is needed is installed."""
    backend = os.environ.setdefault("KERAS_BACKEND", "jax")
    if backend not in _BACKENDS:
        raise ArgumentError(
            f"KERAS_BACKEND must be one that can train ({', '.join(_BACKENDS)}), but is {backend!r}."
            + nearest(backend, _BACKENDS)
        )
    needed = {"keras": "demo", "sklearn": "demo", "matplotlib": "demo", backend: _BACKENDS[backend]}
    for package, extra in needed.items():
        if find_spec(package) is None:
            raise MissingExtra(package, extra=extra, purpose="The demo")
    # Keras imports TensorFlow, if it is installed, to set its seed: keep its messages off the screen.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    return backend


def _clear(folder: str) -> None:
    """Make the folder, or remove the files of an earlier demo."""
    names = take_folder(folder, _is_of_demo, "a demo")
    files.clear_temporary(folder)
    for name in names:
        files.remove(os.path.join(folder, name))


def _is_of_demo(name: str) -> bool:
    return name in FILES or layout.is_of_run(name) or is_temporary(name)


def _draw(result: Result) -> None:
    if result.best is not None:
        source, picture = (os.path.join(result.folder, name) for name in (HISTORY, PICTURE))
        stopped = None if result.stop is None else result.stop.epoch
        plot_history(source, picture, best=result.best.epoch, stopped=stopped)
