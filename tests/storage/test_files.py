"""Files are whole or not there, and an error leaves what was."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.storage.tap import tapped

from outlast import CallbackList, CSVLogger
from outlast.exceptions import FileError
from outlast.storage.disk import files
from outlast.storage.disk.calls import calls
from outlast.storage.disk.reading import crc32_file, open_regular
from outlast.storage.disk.temporary import claim_name, is_temporary, temporary_name
from outlast.storage.output import LooseOutput
from outlast.testing import FakeAdapter


def fail(number: int) -> Callable[..., Any]:
    def failing(*arguments: object) -> Any:
        raise OSError(number, os.strerror(number))

    return failing


def test_a_published_file_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "best.keras"
    path.write_bytes(b"the old model")
    files.publish_bytes(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["best.keras"]


def test_the_saver_gets_a_hidden_name_beside_the_target_with_all_its_suffixes(
    tmp_path: Path,
) -> None:
    seen = []

    def save(path: str) -> None:
        seen.append(path)
        Path(path).write_bytes(b"x")

    files.publish(str(tmp_path / "w.weights.h5"), save)
    (temporary,) = seen
    folder, name = os.path.split(temporary)
    assert folder == str(tmp_path)
    assert name.startswith(".w.") and name.endswith(".weights.h5")
    assert is_temporary(name)


@pytest.mark.parametrize("name", ["best.keras", "w.weights.h5", "model", ".hidden.pt", "a-0.5.keras"])
def test_temporary_names_are_told_from_those_of_people(name: str) -> None:
    assert is_temporary(temporary_name(name))
    assert not is_temporary(name)
    assert Path(temporary_name(name)).suffix == Path(name).suffix or name == "model"


def test_a_long_name_has_a_temporary_name_that_file_systems_take(tmp_path: Path) -> None:
    name = "ü" * 120 + ".keras"
    files.publish_bytes(str(tmp_path / name), b"x")
    assert os.listdir(tmp_path) == [name]


def test_two_temporary_names_for_one_file_differ() -> None:
    assert temporary_name("a.txt") != temporary_name("a.txt")


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_saver_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def save(temporary: str) -> None:
        Path(temporary).write_text("half")
        raise error

    with pytest.raises(type(error)):
        files.publish(str(path), save)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_is_told_with_the_bytes_needed_and_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    monkeypatch.setattr(calls, "write", fail(errno.ENOSPC))
    with pytest.raises(FileError, match=r"a: No space left.* 5,000 bytes are needed, [\d,]+ bytes"):
        files.publish_bytes(str(path), b"x" * 5000)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_keeps_the_number_and_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "fsync", fail(errno.EIO))
    with pytest.raises(FileError) as caught:
        files.publish_bytes(str(tmp_path / "a"), b"x")
    assert caught.value.errno == errno.EIO
    assert caught.value.filename == str(tmp_path / "a")
    assert isinstance(caught.value.__cause__, OSError)


def test_a_folder_at_the_path_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="Please specify a non-directory filepath") as caught:
        files.publish_bytes(str(tmp_path), b"x")
    assert caught.value.errno == errno.EISDIR


def test_a_symbolic_link_is_replaced_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "best").symlink_to(tmp_path / "precious")
    files.publish_bytes(str(tmp_path / "best"), b"new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "best").is_symlink()


def test_a_sealed_name_is_given_once(tmp_path: Path) -> None:
    path = str(tmp_path / "resume-1")
    files.seal(path, files.Content(b"first"))
    with pytest.raises(FileError) as caught:
        files.seal(path, files.Content(b"second"))
    assert caught.value.errno == errno.EEXIST
    assert Path(path).read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["resume-1"]


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_where_links_are_missing_a_name_is_still_given_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    monkeypatch.setattr(calls, "link", fail(refusal))
    path = str(tmp_path / "resume-1")
    files.seal(path, files.Content(b"first"))
    with pytest.raises(FileError) as caught:
        files.seal(path, files.Content(b"second"))
    assert caught.value.errno == errno.EEXIST
    assert Path(path).read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["resume-1"]


def test_where_links_are_missing_an_error_leaves_no_torn_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "link", fail(errno.EPERM))
    monkeypatch.setattr(calls, "rename", fail(errno.EIO))
    with pytest.raises(FileError):
        files.seal(str(tmp_path / "a"), files.Content(b"x"))
    assert os.listdir(tmp_path) == []


def test_where_links_are_missing_readers_see_no_file_or_the_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "link", fail(errno.EPERM))
    path, seen = tmp_path / "resume-1", []

    def look(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        seen.append(path.read_bytes() if path.exists() else None)
        return real(*arguments)

    with tapped(look):
        files.seal(str(path), files.Content(b"whole" * 1000))
    assert set(seen) <= {None, b"whole" * 1000} and path.read_bytes() == b"whole" * 1000


def test_where_links_are_missing_the_claim_of_a_killed_writer_goes_with_its_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "link", fail(errno.EPERM))
    path = str(tmp_path / "resume-1")
    Path(claim_name(path)).touch()
    with pytest.raises(FileError):
        files.seal(path, files.Content(b"x"))
    files.clear_temporary(str(tmp_path))
    files.seal(path, files.Content(b"x"))
    assert os.listdir(tmp_path) == ["resume-1"]


def test_a_link_that_fails_for_another_reason_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "link", fail(errno.EIO))
    with pytest.raises(FileError):
        files.seal(str(tmp_path / "a"), files.Content(b"x"))
    assert os.listdir(tmp_path) == []


def test_lines_are_appended_in_one_write(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    writes: list[bytes] = []

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if name == "write":
            writes.append(bytes(arguments[1]))
        return real(*arguments)

    with tapped(hook):
        files.append(str(path), b"1,2\n")
        files.append(str(path), b"3,4\n")
    assert path.read_bytes() == b"1,2\n3,4\n"
    assert writes == [b"1,2\n", b"3,4\n"]


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "write", lambda fd, data: os.write(fd, bytes(data)[:3]))
    files.append(str(tmp_path / "a"), b"12345678\n")
    assert (tmp_path / "a").read_bytes() == b"12345678\n"


def test_an_append_that_fails_half_way_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old\n")
    taken: list[int] = []

    def write(fd: int, data: bytes) -> int:
        if taken:
            raise OSError(errno.ENOSPC, "full")
        taken.append(os.write(fd, bytes(data)[:3]))
        return taken[0]

    monkeypatch.setattr(calls, "write", write)
    with pytest.raises(FileError):
        files.append(str(path), b"new line\n")
    assert path.read_bytes() == b"old\n"


def test_folders_are_made_with_their_parents_each_name_synced_before_the_next(
    tmp_path: Path,
) -> None:
    log: list[str] = []
    opened: dict[int, str] = {}

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        result = real(*arguments)
        if name == "open":
            opened[result] = os.path.relpath(arguments[0], tmp_path)
        elif name == "fsync":
            log.append(f"sync {opened[arguments[0]]}")
        elif name == "mkdir":
            log.append(f"make {os.path.relpath(arguments[0], tmp_path)}")
        return result

    with tapped(hook):
        files.make_folder(str(tmp_path / "a" / "b"))
    assert log == ["sync ..", "make a", "sync .", "make a/b", "sync a"]


def test_a_folder_that_is_there_is_synced_in_its_parent_all_the_same(tmp_path: Path) -> None:
    synced: list[str] = []

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if name == "open":
            synced.append(arguments[0])
        return real(*arguments)

    with tapped(hook):
        files.make_folder(str(tmp_path))
    assert synced == [str(tmp_path.parent)]


def test_a_file_where_a_folder_shall_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(FileError, match=r"a/b: a file is|a: a file is"):
        files.make_folder(str(tmp_path / "a" / "b"))


def test_a_folder_that_cannot_be_written_is_found_out_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.probe_writable(str(tmp_path))
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(calls, "open", fail(errno.EROFS))
    with pytest.raises(FileError, match=r"Cannot write in .*Read-only") as caught:
        files.probe_writable(str(tmp_path))
    assert caught.value.errno == errno.EROFS


def test_what_killed_writers_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    temporary = os.path.basename(temporary_name("best.keras"))
    for name in [temporary, ".hidden", "best.keras", ".git.keras"]:
        (tmp_path / name).write_text("")
    assert files.clear_temporary(str(tmp_path)) == [temporary]
    assert sorted(os.listdir(tmp_path)) == [".git.keras", ".hidden", "best.keras"]


def test_nothing_is_overwritten_when_something_moves_aside(tmp_path: Path) -> None:
    moved = []
    for content in "abc":
        (tmp_path / "x").write_text(content)
        moved.append(Path(files.move_aside(str(tmp_path / "x"), ".conflict")))
    assert [path.name for path in moved] == ["x.conflict", "x.conflict.1", "x.conflict.2"]
    assert [path.read_text() for path in moved] == ["a", "b", "c"]


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    files.remove(str(tmp_path / "nothing"))


def test_a_copy_does_not_share_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"model")
    files.exhaust(files.copy(str(tmp_path / "a"), str(tmp_path / "b")))
    with open(tmp_path / "b", "r+b") as file:
        file.write(b"M")
    assert (tmp_path / "a").read_bytes() == b"model"
    assert (tmp_path / "b").read_bytes() == b"Model"


def test_a_folder_that_its_file_system_cannot_sync_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "fsync", fail(errno.EINVAL))
    files.sync_folder(str(tmp_path))
    monkeypatch.setattr(calls, "fsync", fail(errno.EIO))
    with pytest.raises(OSError):
        files.sync_folder(str(tmp_path))


def test_the_checksum_of_a_file_is_zlibs(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123456789")
    assert crc32_file(str(tmp_path / "a")) == 0xCBF43926


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "link":
        path.symlink_to("/etc/hostname")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OSError), open_regular(str(path)):
        pass


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device of our own, as ``/dev/null`` is one: what goes wrong here spoils nobody's."""
    path = tmp_path / "null"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.write_bytes(b"")
    except PermissionError:
        pytest.skip("only who may make devices")
    return path


def test_a_device_is_written_into_and_stays_what_it_is(device: Path) -> None:
    files.publish_bytes(str(device), b"taken")
    files.replace(str(device), files.Content(b"taken"))
    callbacks = CallbackList([CSVLogger(device)], adapter=FakeAdapter())
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0, {"loss": 1.0})
    callbacks.on_epoch_end(1, {"loss": 1.0, "late": 2.0})
    callbacks.on_train_end()
    LooseOutput().remove(str(device))
    assert stat.S_ISCHR(device.stat().st_mode) and device.read_bytes() == b""
    assert [one.name for one in device.parent.iterdir()] == ["null"]


def test_a_pipe_is_refused_before_training(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    callbacks = CallbackList([CSVLogger(tmp_path / "pipe")], adapter=FakeAdapter())
    with pytest.raises(FileError, match="is a pipe, a socket or a disk, and no file"):
        callbacks.on_train_begin()
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
