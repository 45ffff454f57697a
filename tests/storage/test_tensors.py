"""Arrays come back bit by bit, anybody can read them, and nothing is believed unverified."""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from outlast.exceptions import CapabilityError, DamagedFile
from outlast.run.buffers import Buffers
from outlast.storage.disk import direct
from outlast.storage.disk.calls import calls
from outlast.storage.format import limits, tensors
from outlast.storage.format import reader as tensor_reader
from outlast.storage.format.dtypes import Bits, bits_of

NATIVE = [
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
]
EXTENDED = [
    *("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float8_e4m3fnuz"),
    *("float8_e5m2fnuz", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "int4", "uint4"),
    *("int2", "float4_e2m1fn"),
]
SHAPES = [(), (0,), (3,), (2, 0, 3), (4, 5)]


def read(path: Path) -> dict[str, Any]:
    """All tensors of a file, verified."""
    with tensor_reader.opened(str(path)) as file:
        return {name: file.read(name) for name in file.places}


def there_and_back(folder: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    path = folder / "t.safetensors"
    path.unlink(missing_ok=True)
    tensors.write(str(path), arrays, {})
    return read(path)


def same(array: Any, other: Any) -> bool:
    """Equal in type, shape and every bit (byte order apart)."""
    if isinstance(other, Bits):
        other = other.numpy()
    array = np.asarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return bool(
        array.dtype == other.dtype and array.shape == other.shape and array.tobytes() == other.tobytes()
    )


@pytest.mark.parametrize("dtype", NATIVE)
def test_every_type_of_numpy_comes_back_in_every_shape(tmp_path: Path, dtype: str) -> None:
    random = np.random.default_rng(0)
    arrays = {str(shape): (random.random(shape) * 100).astype(dtype) for shape in SHAPES}
    back = there_and_back(tmp_path, arrays)
    assert list(back) == list(arrays)
    assert all(same(arrays[name], back[name]) for name in arrays)


@pytest.mark.parametrize("dtype", EXTENDED)
def test_every_type_that_numpy_lacks_comes_back_as_its_bits(tmp_path: Path, dtype: str) -> None:
    kind = getattr(ml_dtypes, dtype)
    arrays = {str(shape): np.ones(shape).astype(kind) for shape in SHAPES}
    back = there_and_back(tmp_path, arrays)
    assert all(isinstance(array, Bits) and array.dtype == dtype for array in back.values())
    assert all(same(arrays[name], back[name]) for name in arrays)
    again = there_and_back(tmp_path, back)
    assert all(same(arrays[name], again[name]) for name in arrays)


def test_a_bfloat16_tensor_of_torch_travels_as_bits_without_ml_dtypes(tmp_path: Path) -> None:
    tensor = torch.tensor([[1.0, -2.5], [float("inf"), 3e-8]], dtype=torch.bfloat16)
    bits = Bits("bfloat16", tensor.view(torch.uint16).numpy())
    back = there_and_back(tmp_path, {"t": bits})["t"]
    assert back.nbytes == 8
    assert torch.equal(torch.from_numpy(back.array).view(torch.bfloat16), tensor)


@given(
    array=hnp.arrays(
        dtype=st.sampled_from(["<f4", ">f4", "<f8", ">f8", ">i2", "<c8", ">c16", "?"]),
        shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    turn=st.sampled_from(
        [
            lambda a: a,
            lambda a: a.T,
            lambda a: a[..., ::-1] if a.ndim else a,
            lambda a: a[..., ::2] if a.ndim else a,
            lambda a: np.broadcast_to(a, (2, *a.shape)),
            np.asfortranarray,
        ]
    ),
)
@settings(max_examples=150, deadline=None)
def test_layout_and_byte_order_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, array: Any, turn: Callable[[Any], Any]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert same(turn(array), there_and_back(folder, {"a": turn(array)})["a"])


def test_the_library_reads_our_file(tmp_path: Path) -> None:
    arrays = {
        "transposed": np.arange(12.0).reshape(3, 4).T,
        "big": np.arange(5, dtype=">i4"),
        "empty": np.zeros((0, 2), np.float32),
        "zero-d": np.float64(3.5),
        "höhe\n\x00/\"'": np.ones(3, np.float16),
        "bf16": np.ones(3).astype(ml_dtypes.bfloat16),
        "complex": np.ones(2, np.complex128),
    }
    path = str(tmp_path / "t.safetensors")
    tensors.write(path, arrays, {"made_by": "a test"})
    theirs = safetensors.torch.load_file(path)
    assert theirs.keys() == arrays.keys()
    for name in ("transposed", "big", "empty", "zero-d", "höhe\n\x00/\"'"):
        ours = np.asarray(arrays[name])
        assert theirs[name].shape == ours.shape
        assert theirs[name].tolist() == ours.tolist()
    assert theirs["bf16"].dtype == torch.bfloat16
    assert theirs["complex"].dtype == torch.uint8 and theirs["complex"].shape == (2, 16)
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata()["made_by"] == "a test"
        assert file.metadata()["dtype.complex"] == "complex128"


def test_the_header_is_whole_pages_and_carries_the_checksums(tmp_path: Path) -> None:
    path = tmp_path / "t"
    tensors.write(str(path), {"a": np.arange(4, dtype="<i4")}, {})
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert (8 + length) % 4096 == 0
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    assert metadata["crc32.a"] == f"{zlib.crc32(np.arange(4, dtype='<i4').tobytes()):08x}"
    blank = data[: 8 + length].replace(metadata["header_crc32"].encode(), b"00000000", 1)
    assert metadata["header_crc32"] == f"{zlib.crc32(blank):08x}"
    assert len(data) == 8 + length + 16


@pytest.fixture
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_BUFFER", 8192)
    monkeypatch.setattr(direct, "_spare", [])


LARGE = {f"w{i}": np.random.default_rng(i).integers(0, 256, 3000 + 1777 * i, np.uint8) for i in range(9)}


def test_arrays_larger_than_the_buffer_come_back(tmp_path: Path, small_buffer: None) -> None:
    back = there_and_back(tmp_path, LARGE)
    assert all(same(LARGE[name], back[name]) for name in LARGE)
    theirs = safetensors.numpy.load_file(tmp_path / "t.safetensors")
    assert all(np.array_equal(LARGE[name], theirs[name]) for name in LARGE)


@pytest.mark.parametrize("size", [8192 - 4096, 8192, 8192 + 4096, 4095, 4097, 0, 1])
def test_no_size_is_special(tmp_path: Path, small_buffer: None, size: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    assert same(array, there_and_back(tmp_path, {"a": array})["a"])


def test_a_header_larger_than_the_buffer_is_written_in_parts(tmp_path: Path, small_buffer: None) -> None:
    arrays = {f"a rather long name for a tensor, number {i}": np.array(i) for i in range(100)}
    back = there_and_back(tmp_path, arrays)
    assert {name: array.item() for name, array in back.items()} == {
        name: array.item() for name, array in arrays.items()
    }


def test_where_o_direct_is_refused_the_page_cache_serves(
    tmp_path: Path, small_buffer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = calls.open

    def without(path: str, flags: int, mode: int = 0o666) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no O_DIRECT here")
        return real(path, flags, mode)

    monkeypatch.setattr(calls, "open", without)
    back = there_and_back(tmp_path, LARGE)
    assert all(same(LARGE[name], back[name]) for name in LARGE)


@pytest.mark.parametrize("when", [0, 1, 3])
def test_where_o_direct_is_refused_at_a_write_the_page_cache_takes_over(
    tmp_path: Path, small_buffer: None, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    import fcntl

    real, count = calls.pwrite, iter(range(1000))
    refused = []

    def refusing(fd: int, data: memoryview, offset: int) -> int:
        if next(count) >= when and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(offset)
            raise OSError(errno.EINVAL, "unaligned")
        return real(fd, data, offset)

    monkeypatch.setattr(calls, "pwrite", refusing)
    back = there_and_back(tmp_path, LARGE)
    assert len(refused) == 1
    assert all(same(LARGE[name], back[name]) for name in LARGE)


def test_a_short_write_is_completed(
    tmp_path: Path, small_buffer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = calls.pwrite
    monkeypatch.setattr(
        calls, "pwrite", lambda fd, data, offset: real(fd, data[: len(data) // 2 + 1], offset)
    )
    back = there_and_back(tmp_path, LARGE)
    assert all(same(LARGE[name], back[name]) for name in LARGE)


def test_the_buffers_are_used_again_and_what_was_in_them_is_not_seen(tmp_path: Path) -> None:
    back = [there_and_back(tmp_path, {"a": np.full(n, n % 256, np.uint8)}) for n in (9000, 3, 5000)]
    assert [array["a"].tolist() for array in back] == [[40] * 9000, [3] * 3, [136] * 5000]
    assert len(direct._spare) == 2  # one is filled while the other is written


def plain(array: Any) -> Any:
    return array.numpy() if isinstance(array, Bits) else array


def mixed(numbers: int) -> dict[str, Any]:
    """Arrays of several types and layouts, of about so many bytes."""
    made = np.random.default_rng(numbers)
    return {
        "flag": np.array(True),
        "bytes": made.integers(0, 255, 5, np.uint8),
        "weights": made.random(numbers // 8),
        "none": np.zeros((2, 0), np.float32),
        "transposed": made.random((7, 5)).astype(np.float32).T,
        "half": Bits("bfloat16", made.integers(0, 1000, (3, 3), np.uint16)),
    }


@pytest.mark.parametrize("size", [100, 4096, 300_000, (8 << 20) - 4096, (8 << 20) + 4096, 20_000_001])
def test_copies_are_written_from_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    staged = []
    put = direct.DirectFile.put
    monkeypatch.setattr(
        direct.DirectFile, "put", lambda self, data: (staged.append(data.size), put(self, data))[1]
    )
    buffers, live = Buffers(), mixed(size)
    for turn in range(2):
        copied = buffers.copy(live)
        path = tmp_path / str(turn)
        arrays = {**copied.arrays, "last": np.arange(3)}
        staged.clear()
        tensors.write(str(path), arrays, {"k": "v"}, memory=copied.memory)
        assert sum(staged) < 300_000 + 2 * 4096  # of a large state, what does not fill its last page
        with np.errstate(all="ignore"):
            live["weights"] += 1
        found = read(path)
        assert found.keys() == arrays.keys()
        assert all(same(plain(found[name]), arrays[name]) for name in arrays)
        assert not same(found["weights"], live["weights"])
        assert (
            safetensors.torch.load_file(str(path))["weights"].numpy().tobytes() == found["weights"].tobytes()
        )


def test_copies_with_the_highest_byte_first_are_turned_round_in_the_file(tmp_path: Path) -> None:
    copied = Buffers().copy({"a": np.arange(100_000, dtype=">f4"), "b": np.arange(3)})
    assert copied.memory is None
    tensors.write(str(tmp_path / "t"), copied.arrays, {}, memory=copied.memory)
    assert read(tmp_path / "t")["a"].tolist() == [*range(100_000)]


def test_a_state_that_grows_a_little_has_its_memory_already() -> None:
    buffers = Buffers()
    first = buffers.copy({"w": np.zeros(10_000), "seen": np.zeros(1, np.uint32)})
    second = buffers.copy({"w": np.ones(10_000), "seen": np.ones(900, np.uint32)})
    assert np.shares_memory(bits_of(first.arrays["w"]), bits_of(second.arrays["w"]))
    assert bits_of(second.arrays["seen"]).tolist() == [1] * 900
    third = buffers.copy({"w": np.ones(1_000_000)})
    assert not np.shares_memory(bits_of(first.arrays["w"]), bits_of(third.arrays["w"]))


def test_two_files_written_at_once_do_not_mix(tmp_path: Path) -> None:
    outer, inner = {"a": np.full(9000, 1, np.uint8)}, {"a": np.full(9000, 2, np.uint8)}

    def drain(pieces: Iterator[object]) -> None:
        next(pieces)
        tensors.write(str(tmp_path / "inner"), inner, {})
        tensors.exhaust(pieces)

    tensors.write(str(tmp_path / "outer"), outer, {}, drain)
    assert same(outer["a"], read(tmp_path / "outer")["a"])
    assert same(inner["a"], read(tmp_path / "inner")["a"])


def test_an_error_of_the_disk_is_not_taken_for_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: memoryview, offset: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(calls, "pwrite", full)
    with pytest.raises(OSError, match="full"):
        tensors.write(str(tmp_path / "t"), LARGE, {})


def test_the_heavy_part_comes_in_pieces(tmp_path: Path, small_buffer: None) -> None:
    pieces: list[object] = []

    def drain(work: Iterator[object]) -> None:
        pieces.extend(work)

    tensors.write(str(tmp_path / "t"), LARGE, {}, drain)
    assert len(pieces) > sum(array.nbytes for array in LARGE.values()) // 8192
    assert read(tmp_path / "t").keys() == LARGE.keys()


@pytest.mark.parametrize(
    "array", [np.array(["text"]), np.array([None]), np.array(["2026-01-01"], "datetime64[s]")]
)
def test_what_holds_no_numbers_is_refused(tmp_path: Path, array: Any) -> None:
    with pytest.raises(CapabilityError, match="no plain numbers"):
        tensors.write(str(tmp_path / "t"), {"a": array}, {})
    assert os.listdir(tmp_path) == []


def verified(path: Path) -> None:
    with tensor_reader.opened(str(path)) as file:
        for name in file.places:
            file.verify(name)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "t"
    tensors.write(str(path), {"a": np.arange(30.0), "b": np.float32(1)}, {"k": "v"})
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    used = len(whole[:header].rstrip())
    places = [*range(0, used), *range(used, header, 97), header - 1, *range(header, len(whole))]
    for place in places:
        for bit in (0, 3, 7):
            torn = bytearray(whole)
            torn[place] ^= 1 << bit
            path.write_bytes(torn)
            with pytest.raises(DamagedFile):
                verified(path)
            with pytest.raises(DamagedFile):
                read(path)
    path.write_bytes(whole)
    verified(path)


def test_every_cut_and_every_extra_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "t"
    tensors.write(str(path), {"a": np.arange(30.0)}, {})
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, 4095, 4096, 4097, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFile):
            verified(path)
        path.write_bytes(whole[:length] + bytes(len(whole) - length))
        with pytest.raises(DamagedFile):
            verified(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DamagedFile, match="bytes instead of"):
        verified(path)


def forged(path: Path, text: str, data: bytes = b"") -> Path:
    """A file whose header, right or wrong, has the right checksum."""
    text = text.replace("{", '{"__metadata__":{"header_crc32":"00000000",', 1)
    header = len(text.encode()).to_bytes(8, "little") + text.encode()
    path.write_bytes(tensors.sealed_header(header) + data)
    return path


def entry(shape: Any, offsets: Any, dtype: str = "U8") -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": offsets})


CRC = f'"crc32.a":"{zlib.crc32(bytes(8)):08x}"'


def test_a_forged_file_that_is_right_is_read(tmp_path: Path) -> None:
    path = forged(tmp_path / "t", "{" + CRC + f'}},"a":{entry([8], [0, 8])}}}', bytes(8))
    assert same(np.zeros(8, np.uint8), read(path)["a"])


@pytest.mark.parametrize(
    "rest",
    [
        f'}},"a":{entry([1 << 60], [0, 1 << 60])}}}',
        f'}},"a":{entry([9], [0, 8])}}}',
        f'}},"a":{entry([-8, -1], [0, 8])}}}',
        f'}},"a":{entry([8.0], [0, 8])}}}',
        f'}},"a":{entry([True, 8], [0, 8])}}}',
        f'}},"a":{entry("8", [0, 8])}}}',
        f'}},"a":{entry([8], [1, 9])}}}',
        f'}},"a":{entry([8], [0])}}}',
        f'}},"a":{entry([8], [0, 8], "U9")}}}',
        f'}},"a":{entry([8], [0, 8])},"a":{entry([8], [0, 8])}}}',
        f'}},"a":{entry([8], [0, 8])},"b":{entry([8], [0, 8])}}}',
        *(
            f',"dtype.a":"{dtype}"}},"a":{entry([1, 8], [0, 8])}}}'
            for dtype in ("complex128", "float64", "float32")
        ),
        '},"a":null}',
        '},"a":{}}',
        '},"a":' + "[" * 100_000 + "}",
        '},"a":' + '{"a":' * 3000 + "1" + "}" * 3001,
        f'}},"a":{{"dtype":"U8","shape":[{"9" * 5000}],"data_offsets":[0,8]}}}}',
        '},"a":NaN}',
        "}",
        "}" * 4,
    ],
)
def test_a_header_that_lies_takes_no_memory_and_is_damage(tmp_path: Path, rest: str) -> None:
    path = forged(tmp_path / "t", "{" + CRC + rest, bytes(8))
    with pytest.raises(DamagedFile):
        read(path)


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, limits.JSON_BYTES + 1])
def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "t"
    with open(path, "wb") as file:
        file.write(length.to_bytes(8, "little"))
        file.truncate(limits.JSON_BYTES + 100)  # sparse
    with pytest.raises(DamagedFile, match="too short for its header"):
        verified(path)


def test_a_file_of_the_librarys_own_is_not_taken_for_ours(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"a": np.ones(3)}, tmp_path / "t")
    with pytest.raises(DamagedFile):
        read(tmp_path / "t")


def test_a_file_that_shrinks_while_it_is_read_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "t"
    tensors.write(str(path), {"a": np.arange(1000.0)}, {})
    with tensor_reader.opened(str(path)) as file:
        os.truncate(path, 5000)
        with pytest.raises(DamagedFile, match="shorter"):
            file.read("a")


def test_a_buffer_that_another_thread_took_first_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look and a grip the other writer may have it: no look is needed."""

    class Taken(list[Any]):
        def __len__(self) -> int:
            return 1

        def pop(self, index: Any = -1) -> Any:
            raise IndexError("pop from empty list")

    monkeypatch.setattr(direct, "_spare", Taken())
    back = there_and_back(tmp_path, {"a": np.arange(9)})
    assert back["a"].tolist() == [*range(9)]
