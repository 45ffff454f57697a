from __future__ import annotations

import gc
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from outlast.run import inside, script, source
from outlast.storage.format import layout

RUN = "0123abcd" * 4
_READERS = ("place_at", "look", "handed_over", "loaded", "states_set")  # of a loop's text
_random = layout.new_identity


@pytest.fixture(scope="session", autouse=True)
def one_identity() -> Iterator[None]:
    """Every new run has the same identity: its files have names that a test knows, and equal content."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "new_identity", lambda: RUN)
        yield


@pytest.fixture
def random_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it: each new run has an identity of its own."""
    monkeypatch.setattr(layout, "new_identity", _random)


@pytest.fixture(autouse=True)
def _every_save_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many saves there are inside an epoch does not depend on how fast the disk is."""
    monkeypatch.setattr(inside, "_PATIENCE", math.inf)


@pytest.fixture(scope="module", autouse=True)
def _what_is_old_is_no_garbage() -> None:
    """A collection takes most of a second where it looks at all that was imported and left before."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _each_loop_is_read_once() -> Iterator[None]:
    """The file of a test is long, and is started from often: what its text says is found out once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "_parsed", lru_cache(16)(source._parsed))
        for name in _READERS:
            patch.setattr(script, name, lru_cache(256)(getattr(script, name)))
        yield


@pytest.fixture
def each_loop_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it."""
    monkeypatch.setattr(source, "_parsed", source._parsed.__wrapped__)  # type: ignore[attr-defined]
    for name in _READERS:
        monkeypatch.setattr(script, name, getattr(script, name).__wrapped__)


@pytest.fixture(scope="session", autouse=True)
def _fast_list() -> Iterator[None]:
    """With FAST_LIST=1 every ``fit`` takes its callbacks in outlast's list instead of Keras's."""
    if not os.environ.get("FAST_LIST"):
        yield
        return
    import keras

    import outlast

    plain = keras.Model.fit

    def in_the_fast_list(self: Any, *args: Any, callbacks: Any = None, **options: Any) -> Any:
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = outlast.frameworks.keras.callbacks(callbacks)
        return plain(self, *args, callbacks=callbacks, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", in_the_fast_list)
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place for a run, in memory where there is such a disk: many small runs need no real one."""
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    yield place / "run"
    shutil.rmtree(place)
