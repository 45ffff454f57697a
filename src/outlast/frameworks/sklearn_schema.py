"""Schema: what skops writes of an object, without addresses; and a file of skops's from that again.

skops names objects and arrays by their addresses in memory, so that two dumps of one object differ. Here
arrays are named by their places, and of objects those that are met more than once are numbered.
"""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from outlast.exceptions import CapabilityError, MissingExtra

_ID, _CONTENT, _LOADER, _FILE = "__id__", "content", "__loader__", "file"
VIEWS = "views"  # of the root: which of its arrays share memory
_FORM = "form"  # of an array, beside its file: transposed, raw, or the number itself
_VALUES = ("JsonNode", "TypeNode", "TupleNode", "FunctionNode")  # nobody asks which object they are
_INSIDE = frozenset({_CONTENT, "__reduce__", "args"})  # of a node, without a name of its own
_NAME = re.compile(r"[\w.]+")
_NONE = {
    "__class__": "str",
    "__module__": "builtins",
    _LOADER: "JsonNode",
    _CONTENT: "null",
    "is_json": True,
}

Hidden = Mapping[int, Collection[str]]


def dumped(thing: Any, hidden: Hidden = MappingProxyType({})) -> bytes:
    """What ``skops.io.dumps`` writes.

    Raises:
        CapabilityError: something in it cannot be stored; the text names the attribute.
    """
    try:
        data: bytes = skops().dumps(thing)
    except MissingExtra:
        raise
    except Exception as error:  # skops, and what an object says to it, raise many kinds
        where, told = culprit(thing, skops().dumps, hidden) or (type(thing).__name__, error)
        why = "it contains itself" if isinstance(told, RecursionError) else f"{type(told).__name__}: {told}"
        raise CapabilityError(
            f"{where} cannot be stored: {why}. Keep what is no number, text, array, list, dict or estimator "
            "outside of the estimator, or make it from those when it is needed."
        ) from error
    return data


def culprit(
    thing: Any, attempt: Callable[[Any], object], hidden: Hidden, path: str = ""
) -> tuple[str, Exception] | None:
    """The attribute that an attempt fails with when it is made with it alone, and what it says then."""
    for name, value in getattr(thing, "__dict__", {}).items():
        if name in hidden.get(id(thing), ()):
            continue
        where = f"{path}.{name}" if path else name
        try:
            attempt(value)
        except Exception as error:
            inner = None if isinstance(error, RecursionError) else culprit(value, attempt, hidden, where)
            return inner or (f"{where}, of the type {type(value).__name__},", error)
    return None


class Written(NamedTuple):
    """What skops has written of an object.

    Args:
        texts: of its attributes.
        arrays: in it.
        by_attributes: the ``id`` of each object in it that is made anew by its attributes.
        ways: the types in it, and how each is made.
    """

    texts: dict[str, str]
    arrays: dict[str, Any]
    by_attributes: frozenset[int]
    ways: frozenset[str]


def written(data: bytes, hidden: Hidden, views: Mapping[str, Any]) -> Written:
    """The texts of an object's attributes, its arrays, and which objects are in it.

    Args:
        data: a file of skops's.
        hidden: by the ``id`` of an object, names of its attributes that are left out; they are None then.
        views: of its arrays, which are noted.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        writer = _Writer(file, hidden)
        root = writer.written(json.loads(file.read("schema.json")), "")
    writer.number()
    root.pop("_skops_version", None)
    texts = {name: _text(one) for name, one in _taken_apart(root).items()}
    texts = {"": _text({**root, VIEWS: views}), **texts}
    return Written(texts, writer.arrays, frozenset(writer.by_attributes), frozenset(writer.ways))


def way(node: Mapping[str, Any]) -> str:
    """How the object of a node is made, and its type; of a ``functools.partial`` its function, too."""
    found = f"{node[_LOADER]} {_name(node)}"
    return f"{found} of {_name(node[_CONTENT]['func'])}" if node[_LOADER] == "PartialNode" else found


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['__module__']}.{node['__class__']}"


class _Writer:
    """Rewrites a schema, and takes its arrays.

    Args:
        archive: skops's.
        hidden: names of attributes that are left out, by the ``id`` of their object.
    """

    def __init__(self, archive: zipfile.ZipFile, hidden: Hidden) -> None:
        self._archive, self._hidden = archive, hidden
        self._files: dict[str, dict[str, Any]] = {}  # where the arrays are, by skops's names
        self._objects: list[tuple[int, dict[str, Any]]] = []  # what has an address, and that
        self._global = id(global_generator())
        self.arrays: dict[str, Any] = {}
        self.by_attributes: set[int] = set()
        self.ways: set[str] = set()

    def written(self, node: Any, place: str) -> Any:
        """A node of the schema, whose objects still have their addresses."""
        if isinstance(node, list):
            return [self.written(one, _joined(place, str(index))) for index, one in enumerate(node)]
        if not isinstance(node, dict):
            return node
        address = node.get(_ID)
        if address == self._global:
            node = {**_marker(), _ID: address}
        if not isinstance(node.get(_LOADER), str):  # a dict of nodes
            return {name: self._inner(name, one, place) for name, one in node.items()}
        self.ways.add(way(node))
        if isinstance(address, int) and (names := self._hidden.get(address)):
            node = _without(node, names)
        if node[_LOADER] == "ObjectNode":
            self.by_attributes |= {address} if isinstance(address, int) else set()
            node = _in_order(node)
        if node[_LOADER] == "PartialNode":
            node = _without_empty(node)
        found = {name: self._inner(name, one, place) for name, one in node.items()}
        if isinstance(node.get(_FILE), str):
            found |= self._file(node[_FILE], place)
        if node[_LOADER] == "SetNode":  # in each process in another order
            found[_CONTENT] = sorted(found[_CONTENT], key=lambda one: _text(_anonymous(one)))
        if node[_LOADER] in _VALUES or found.get(_FILE) == "":
            found.pop(_ID, None)
        elif isinstance(address, int):
            self._objects.append((address, found))
        return found

    def number(self) -> None:
        """Have objects that are in the schema more than once a number, and no others anything."""
        counts = Counter(address for address, _ in self._objects)
        numbers: dict[int, int] = {}
        for address, node in self._objects:
            if counts[address] > 1:
                node[_ID] = numbers.setdefault(address, len(numbers) + 1)
            else:
                del node[_ID]

    def _inner(self, name: str, node: Any, place: str) -> Any:
        return self.written(node, place if name in _INSIDE else _joined(place, name))

    def _file(self, name: str, place: str) -> dict[str, Any]:
        """Where an array is; a single number is in the text."""
        if name not in self._files:
            content = _zeros() if name == _MARK else self._archive.read(name)
            self._files[name] = self._place(content, place)
        return self._files[name]

    def _place(self, content: bytes, place: str) -> dict[str, Any]:
        import numpy as np

        is_free = _NAME.fullmatch(place) and place not in self.arrays
        name = place if is_free else f"{len(self.arrays)}:"
        if not content.startswith(np.lib.format.MAGIC_PREFIX):  # a sparse matrix
            self.arrays[name] = np.frombuffer(content, "uint8")
            return {_FILE: name, _FORM: "raw"}
        array = np.load(io.BytesIO(content), allow_pickle=False)
        if not array.ndim:
            return {_FILE: "", _FORM: base64.b64encode(content).decode()}
        if array.dtype.kind not in "biufc":
            self.arrays[name] = np.frombuffer(_file_of(_without_padding(array)), "uint8")
            return {_FILE: name, _FORM: "raw"}
        is_transposed = array.flags.f_contiguous and not array.flags.c_contiguous
        self.arrays[name] = array.T if is_transposed else array
        return {_FILE: name, _FORM: "T" if is_transposed else ""}


def _without_padding(array: Any) -> Any:
    """An array of records, as those of trees, without what happens to be in memory between its fields."""
    import numpy as np

    if array.dtype.names is None:
        return array
    found = np.zeros(array.shape, array.dtype)  # zeros_like would leave the gaps as they are
    for name in array.dtype.names:
        found[name] = array[name]
    return found


def archive(frozen: Mapping[str, Any]) -> bytes:
    """A file of skops's from the tree of a :class:`Frozen`."""
    texts = frozen["texts"]
    root = json.loads(texts[""])
    attributes = _attributes(root)
    if attributes is not None:
        attributes |= {name: json.loads(text) for name, text in texts.items() if name}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        written: set[str] = set()
        _put_files(root, lambda node: _write_file(node, frozen["arrays"], archive, written))
        archive.writestr("schema.json", json.dumps(root))
    return buffer.getvalue()


def _put_files(node: Any, put: Callable[[dict[str, Any]], None]) -> None:
    if isinstance(node, dict) and isinstance(node.get(_FILE), str):
        put(node)
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _put_files(one, put)


def _write_file(
    node: dict[str, Any], arrays: Mapping[str, Any], archive: zipfile.ZipFile, written: set[str]
) -> None:
    """Write the array that a node names, once."""
    import numpy as np

    form, name = node.pop(_FORM), node[_FILE]
    if name == "":
        content, name = base64.b64decode(form), f"{len(written)}.number"
    else:
        array = np.asarray(arrays[name])
        content = array.tobytes() if form == "raw" else _file_of(array.T if form == "T" else array)
    node[_FILE] = f"{name}.npy"
    if name not in written:
        written.add(name)
        archive.writestr(node[_FILE], content)


def _file_of(array: Any) -> bytes:
    """A file of NumPy's, by hand: ``np.save`` writes whatever is in memory between the fields of records."""
    from numpy.lib import format

    buffer = io.BytesIO()
    format.write_array_header_1_0(buffer, format.header_data_from_array_1_0(array))
    numbers: bytes = array.tobytes("A")
    return buffer.getvalue() + numbers


def _attributes(root: Any) -> dict[str, Any] | None:
    """Of the schema of an object its attributes, of that of a dict its values; None if there are none."""
    inner = root[_CONTENT]
    if root[_LOADER] == "ObjectNode" and isinstance(inner, dict):
        inner = inner.get(_CONTENT)
    return inner if isinstance(inner, dict) else None


def _taken_apart(root: Any) -> dict[str, Any]:
    attributes = _attributes(root)
    if attributes is None:
        return {}
    found = dict(attributes)
    attributes.clear()
    return found


def _without(node: Any, hidden: Collection[str]) -> Any:
    """The schema of an object with None in place of some attributes."""
    attributes = _attributes(node)
    if attributes is None:
        return node
    kept = {name: _NONE if name in hidden else one for name, one in attributes.items()}
    return {**node, _CONTENT: {**node[_CONTENT], _CONTENT: kept}}


def _in_order(node: Any) -> Any:
    """The schema of an object with its attributes by name: another start may set them in another order."""
    attributes = _attributes(node)
    if attributes is None:
        return node
    return {**node, _CONTENT: {**node[_CONTENT], _CONTENT: dict(sorted(attributes.items()))}}


def _without_empty(node: Any) -> Any:
    """The schema of a ``functools.partial``: if it has no attributes, that is None or an empty dict."""
    content = node[_CONTENT]
    is_empty = not content["namespace"].get(_CONTENT)
    return {**node, _CONTENT: {**content, "namespace": _NONE}} if is_empty else node


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _text(node: Any) -> str:
    return json.dumps(node, separators=(",", ":"))


# NumPy's global generator is held by estimators without a random_state. It is no estimator's: what holds it
# is saved as holding one that no seed makes, of zeros alone, and the run saves the generator itself.

_MARK = "global.npy"


def global_generator() -> Any:
    """NumPy's global generator."""
    from sklearn.utils import check_random_state

    return check_random_state(None)


def is_mark(generator: Any) -> bool:
    """Whether a generator stands for NumPy's global one."""
    import numpy as np

    if type(generator) is not np.random.RandomState:
        return False
    return not generator.get_state(legacy=False)["state"]["key"].any()


def _marker() -> dict[str, Any]:
    import numpy as np

    generator = np.random.RandomState(0)
    state: Any = generator.get_state(legacy=False)
    generator.set_state({**state, "state": {"key": np.zeros(624, "uint32"), "pos": 0}})
    with zipfile.ZipFile(io.BytesIO(dumped(generator))) as archive:
        node: dict[str, Any] = json.loads(archive.read("schema.json"))

    def put(one: dict[str, Any]) -> None:
        one[_FILE] = _MARK

    _put_files(node, put)
    found: dict[str, Any] = _anonymous(node)
    return {name: one for name, one in found.items() if name not in ("protocol", "_skops_version")}


def _anonymous(node: Any) -> Any:
    """A schema without addresses."""
    if isinstance(node, list):
        return [_anonymous(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {name: _anonymous(one) for name, one in node.items() if name != _ID}


def _zeros() -> bytes:
    import numpy as np

    return _file_of(np.zeros(624, "uint32"))


def skops() -> Any:
    """The module ``skops.io``, imported when it is first needed: it takes longer than scikit-learn.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import skops.io
        import skops.io.exceptions
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("skops"):
            raise
        raise MissingExtra("skops", extra="sklearn", purpose="Saving an estimator") from error
    return skops.io
