"""The types of tensors: their names here, in safetensors files, and in NumPy.

NumPy alone has no bfloat16 and no float8. Such an array travels as ``Bits``:
its bits as unsigned integers, beside the true name of the type.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from outlast.exceptions import CapabilityError

if TYPE_CHECKING:
    from mmap import mmap

    import numpy as np
    import numpy.typing as npt

# The types that a safetensors file knows: our name (NumPy's and ml_dtypes'), its name.
SAFETENSORS = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
}
NAMES = {theirs: ours for ours, theirs in SAFETENSORS.items()}
NATIVE = {name for name in SAFETENSORS if not name.startswith(("bfloat", "float8"))} | {"complex128"}


@dataclass(frozen=True, eq=False)
class Bits:
    """An array of a type that NumPy lacks.

    Args:
        dtype: the type's name, as ml_dtypes and PyTorch call it: ``"bfloat16"``.
        array: the bits, as unsigned integers of the same width and shape.

    Example:
        >>> import numpy as np
        >>> one = Bits("bfloat16", np.array([0x3F80], np.uint16))
        >>> one.numpy()  # needs ml_dtypes, which JAX and TensorFlow bring
        array([1], dtype=bfloat16)
    """

    dtype: str
    array: npt.NDArray[Any]

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self.array.nbytes

    def numpy(self) -> npt.NDArray[Any]:
        """The same memory as an array of the true type; needs ml_dtypes."""
        import ml_dtypes

        return self.array.view(getattr(ml_dtypes, self.dtype))


Array: TypeAlias = "npt.NDArray[Any] | np.generic[Any] | Bits"


def as_array(data: bytes | mmap) -> npt.NDArray[Any]:
    """The bytes as an array, not copied."""
    import numpy as np

    return np.frombuffer(data, np.uint8)


def bits_of(array: Array) -> npt.NDArray[Any] | np.generic[Any]:
    """The array as NumPy holds it: itself, or the bits of one whose type NumPy lacks."""
    return array.array if isinstance(array, Bits) else array


def name_of(array: Array) -> str:
    """The name of the array's type, whatever its byte order.

    Raises:
        CapabilityError: the type holds no plain numbers (objects, text, dates).
    """
    if isinstance(array, Bits):
        return array.dtype
    return _name(array.dtype)


@lru_cache(256)  # NumPy makes the name anew each time
def _name(dtype: np.dtype[Any]) -> str:
    if dtype.name not in NATIVE and dtype.type.__module__ != "ml_dtypes":
        raise CapabilityError(f"an array of {dtype} cannot be stored: no plain numbers")
    return dtype.name


def axes_of(array: Array) -> list[int] | None:
    """The axes in the order of their steps in memory, the longest first; None if that is as they are.

    Sums go through memory in its order, so an array whose axes came back in another could give other sums.

    Example:
        >>> import numpy as np
        >>> axes_of(np.zeros((2, 3))), axes_of(np.zeros((2, 3)).T)
        (None, [1, 0])
    """
    held = bits_of(array)
    if held.flags.c_contiguous:
        return None
    axes = sorted(range(held.ndim), key=lambda axis: -abs(held.strides[axis]))
    return None if axes == [*range(held.ndim)] else axes


def transposed(array: Array, axes: list[int]) -> Array:
    """The array with its axes in another order, in the same memory."""
    import numpy as np

    if isinstance(array, Bits):
        return Bits(array.dtype, np.transpose(array.array, axes))
    return np.transpose(array, axes)


def from_bytes(raw: npt.NDArray[Any], dtype: str, width: int, shape: tuple[int, ...]) -> Array:
    """The array of type ``dtype``, ``width`` bytes an element, whose bytes are ``raw``.

    The bytes are little-endian and not copied.
    """
    import numpy as np

    if dtype in NATIVE:
        return raw.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return Bits(dtype, raw.view(f"<u{width}").reshape(shape))
