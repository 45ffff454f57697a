"""Template: a file that Keras has written, to be filled with other values of the same variables.

Keras can save a model only while it is not trained, and takes several times what the bytes need. What it has
written once tells where the value of each variable is; all else in it stays the same, but for the
configuration and the date, which are asked for anew.
"""

from __future__ import annotations

import io
import sys
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from outlast.storage.disk import direct
from outlast.storage.disk.files import exhaust

_ENTRIES = ["metadata.json", "config.json", "model.weights.h5"]
_LARGEST = 2**31 - 1  # of an entry that old readers of archives can read
_PART = 4 << 20
_MOST = 10_000  # layers in a list

Value = Callable[[Any], Any]  # of a variable, as a NumPy array


@dataclass(frozen=True)
class Template:
    """What is the same in each file.

    Args:
        entries: of the archive; none if the file has the weights alone.
        known: the variables of the model, and its layers, as often as they are kept somewhere.
        places: the bytes before each value, and the variable that has it.
        tail: the bytes behind the last.
    """

    entries: Sequence[zipfile.ZipInfo]
    known: Sequence[Any]
    places: Sequence[tuple[bytes, Any]]
    tail: bytes

    def fits(self, model: Any) -> bool:
        """Whether the model has the same variables still, and the same layers in the same places."""
        now = _known(model)
        return len(now) == len(self.known) and all(map(_is, now, self.known))

    def filled(self, model: Any, value: Value) -> Filled:
        """The file of the model as it is now.

        Args:
            model: that the template was made of.
            value: gives that of a variable; nobody may change it until the file is written.
        """
        values = [(before, _bytes(value(variable))) for before, variable in self.places]
        weights = [*(one for pair in values for one in pair), self.tail]
        texts = _texts(model) if self.entries else []
        return Filled(self.entries, texts, weights)


class Filled:
    """Makes the file at the path that it is called with.

    Args:
        entries: of the archive.
        texts: what its first entries hold.
        weights: what its last entry holds, or the file if it is no archive.
    """

    def __init__(
        self, entries: Sequence[zipfile.ZipInfo], texts: Sequence[str], weights: Sequence[Any]
    ) -> None:
        self._entries, self._texts, self._weights = entries, texts, weights
        self._archive: Sequence[Any] = ()

    @property
    def needed(self) -> int:
        """Bytes that the file will take, or a few less."""
        return _size(self._weights) + _size(self._texts)

    def pieces(self) -> Iterable[Any]:
        """The bytes of the file; the first pieces are empty, while the checksum of the weights is made."""
        return self._archived() if self._entries else self._weights

    def _archived(self) -> Iterator[Any]:
        if not self._archive:
            stream: Any = _Stream()
            is_large = _size(self._weights) > _LARGEST
            with zipfile.ZipFile(stream, "w") as archive:
                for entry, content in zip(map(_anew, self._entries), [*self._texts, None], strict=True):
                    pieces = self._weights if content is None else [content.encode()]
                    with archive.open(entry, "w", force_zip64=is_large) as file:
                        for piece in _in_parts(pieces):
                            file.write(piece)
                            yield b""
            self._archive = stream.pieces
        yield from self._archive

    def __call__(self, path: str) -> None:
        """Write it."""
        exhaust(direct.write(path, self))


class _Stream(io.RawIOBase):
    """A file in memory, as ``zipfile`` writes one: it goes back to correct one piece, and large ones stay."""

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self._starts: dict[int, int] = {}
        self._at = 0

    def write(self, data: Any) -> int:
        size = len(data)
        if size:
            if self._at in self._starts:
                self.pieces[self._starts[self._at]] = data
            else:
                self._starts[self._at] = len(self.pieces)
                self.pieces.append(data)
        self._at += size
        return size

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset
        return offset

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True


@dataclass
class Recorded:
    """What Keras has saved.

    Args:
        variables: by the names of their places; None where code of others put a value.
        parts: how many layers, optimizers and the like were saved.
        saves_itself: one of them has a way of its own, which may save more the next time.
    """

    variables: dict[str, Any] = field(default_factory=dict)
    parts: int = 0
    saves_itself: bool = False


_WAYS = ("save_own_variables", "save_assets")  # of a layer, and whatever else Keras saves
_patched = threading.Lock()


@contextmanager
def recorded() -> Iterator[Recorded]:
    """Note what Keras puts into files meanwhile."""
    from keras.src.saving import saving_lib

    found, here, at = Recorded(), threading.get_ident(), saving_lib.H5IOStore
    with _patched:  # two threads would put back what the other had put there
        put, save = at.__setitem__, saving_lib._save_state

        def noting(self: Any, key: str, value: Any) -> None:
            put(self, key, value)
            if threading.get_ident() == here:  # another thread may save another model
                found.variables[self._h5_entry_group[key].name] = _variable(sys._getframe(1), key, value)

        def looking(part: Any, *others: Any, **named: Any) -> Any:
            if threading.get_ident() == here:
                found.parts += 1
                found.saves_itself |= not all(is_kerass(getattr(part, way, put)) for way in _WAYS)
            return save(part, *others, **named)

        at.__setitem__, saving_lib._save_state = noting, looking
        try:
            yield found
        finally:
            at.__setitem__, saving_lib._save_state = put, save


def is_kerass(method: Any) -> bool:
    """Whether a method is Keras's own."""
    return str(getattr(method, "__module__", "")).startswith("keras.")


def _variable(hook: FrameType, key: str, value: Any) -> Any:
    """The variable whose value Keras's code has stored; an optimizer stores its own by their numbers."""
    import keras

    if not hook.f_globals.get("__name__", "").startswith("keras."):
        return None
    owner = hook.f_locals.get("self")
    return owner.variables[int(key)] if isinstance(owner, keras.optimizers.Optimizer) else value


def of(path: str, model: Any, recorded: Recorded, value: Value) -> Template | None:
    """The template that a file is; None if it cannot be one.

    Args:
        path: of the file.
        model: that Keras has saved there; it has not changed since.
        recorded: what Keras has put there.
        value: gives the value of a variable.
    """
    if not recorded.parts or recorded.saves_itself:
        return None
    try:
        return _of(path, model, recorded.variables, value)
    except Exception:  # another Keras, with files of another kind: each of them takes longer, and that is all
        return None


def _of(path: str, model: Any, recorded: Mapping[str, Any], value: Value) -> Template | None:
    entries: list[zipfile.ZipInfo] = []
    with open(path, "rb") as file:
        weights = file.read()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            is_usual = [one.filename for one in entries] == _ENTRIES
            if not is_usual or archive.read(_ENTRIES[1]).decode() != _texts(model)[1]:
                return None
            weights = archive.read(_ENTRIES[2])
    own = set(map(id, _variables(model)))
    places, end = [], 0
    for name, start, size in _places(weights):
        variable = recorded[name]
        if id(variable) not in own or _bytes(value(variable)).tobytes() != weights[start : start + size]:
            return None
        places.append((weights[end:start], variable))
        end = start + size
    return Template(entries, _known(model), places, weights[end:]) if places else None


def _places(weights: bytes) -> list[tuple[str, int, int]]:
    """The name, start and size of each array, in the order in which they stand in the file."""
    import h5py  # type: ignore[import-untyped]

    found: list[tuple[str, int, int]] = []

    def note(name: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset) and one.nbytes:
            start, size = one.id.get_offset(), one.id.get_storage_size()
            if start is None or size != one.nbytes:
                raise ValueError(f"{name} is not stored as it is")
            found.append((one.name, start, size))

    with h5py.File(io.BytesIO(weights), "r") as file:
        file.visititems(note)
    return sorted(found, key=lambda place: place[1])


def _texts(model: Any) -> list[str]:
    """What the first entries of an archive hold now: the date, and the configuration."""
    from keras.src.saving import saving_lib

    configuration, metadata = saving_lib._serialize_model_as_json(model)
    return [metadata, configuration]


def _variables(model: Any) -> list[Any]:
    optimizer = getattr(model, "optimizer", None)
    of_optimizer = () if optimizer is None else optimizer.variables
    return [*model.variables, *of_optimizer, *getattr(model, "metrics_variables", ())]


def _known(model: Any) -> list[Any]:
    """What has a place in the file: the variables, and each layer wherever another one keeps it."""
    layers = [model, *model._flatten_layers()]
    kept = (one for layer in layers for value in vars(layer).values() for one in _parts_in(value))
    return [*_variables(model), *layers, *kept]


def _parts_in(value: Any, depth: int = 8) -> Iterator[Any]:
    """Layers and the like, in containers too; of a long one, which holds data, the container itself."""
    from keras.src.saving.keras_saveable import KerasSaveable

    if isinstance(value, KerasSaveable):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        if len(value) > _MOST or not depth:
            yield value
            return
        for one in value.values() if isinstance(value, dict) else value:
            yield from _parts_in(one, depth - 1)


def _bytes(array: Any) -> Any:
    """An array's bytes, in C order; a view of it where that can be."""
    import numpy as np

    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _anew(entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """An entry of the same name and kind, without a size yet."""
    new = zipfile.ZipInfo(entry.filename, entry.date_time)
    new.external_attr = entry.external_attr
    return new


def _size(pieces: Iterable[Any]) -> int:
    return sum(map(len, pieces))


def _in_parts(pieces: Iterable[Any]) -> Iterator[Any]:
    """The same in parts that are quickly done."""
    return (piece[start : start + _PART] for piece in pieces for start in range(0, len(piece), _PART))


def _is(one: Any, other: Any) -> bool:
    return one is other
