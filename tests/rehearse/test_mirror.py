"""The mirror: what a script finds there, and what becomes of what it writes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from outlast.exceptions import FileError
from outlast.rehearse import mirror as module
from outlast.rehearse.mirror import Mirror, Size, mirror, too_large


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a folder with data beside it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").write_text("1,2")
    (tmp_path / "project" / "package").mkdir(parents=True)
    (tmp_path / "project" / "package" / "model.py").write_text("width = 3")
    (tmp_path / "project" / "final.pt").write_text("of fifty epochs")
    return tmp_path / "project"


def made(tmp_path: Path, *folders: Path) -> Mirror:
    (tmp_path / "own").mkdir()
    found = mirror(str(tmp_path / "own" / "copy"), map(str, folders))
    found.make()
    return found


def inside(found: Mirror, path: Path) -> Path:
    return Path(found.inside(str(path)))


def test_what_is_beside_the_project_is_found_and_what_is_in_it_is_copied(
    project: Path, tmp_path: Path
) -> None:
    copy = inside(made(tmp_path, project), project)
    assert (copy / ".." / "data" / "x.csv").read_text() == "1,2"
    assert (copy.resolve().parents[0] / "data" / "x.csv").read_text() == "1,2"
    (copy / "package" / "model.py").write_text("changed")
    with (copy / "final.pt").open("a") as file:
        file.write("changed")
    assert (project / "package" / "model.py").read_text() == "width = 3"
    assert (project / "final.pt").read_text() == "of fifty epochs"


def test_of_a_copy_only_what_was_changed_is_taken(project: Path, tmp_path: Path) -> None:
    (project / "link").symlink_to("package")
    found = made(tmp_path, project)
    copy = inside(found, project)
    (copy / "final.pt").write_text("of three")
    (copy / "package" / "__pycache__").mkdir()
    (copy / "package" / "__pycache__" / "model.cpython-311.pyc").touch()
    (copy / "plots").mkdir()
    (copy / "plots" / "loss.png").touch()
    (tmp_path / "try").mkdir()
    found.take(str(tmp_path / "try"))
    taken = sorted(str(path.relative_to(tmp_path / "try")) for path in (tmp_path / "try").rglob("*"))
    assert taken == ["files", "files/final.pt", "files/plots", "files/plots/loss.png"]
    assert not os.path.exists(found.root)


def test_the_script_s_folder_is_copied_too_if_it_lies_elsewhere(project: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    found = made(tmp_path, project, tmp_path / "elsewhere", project / "package")
    assert set(found.folders) == {str(project), str(tmp_path / "elsewhere")}
    (inside(found, tmp_path / "elsewhere") / "out.txt").touch()
    (tmp_path / "try").mkdir()
    found.take(str(tmp_path / "try"))
    taken = {str(path.relative_to(tmp_path / "try")) for path in (tmp_path / "try").rglob("out.txt")}
    assert len(taken) == 1 and not list((tmp_path / "elsewhere").iterdir())


def test_links_stay_links_and_what_is_neither_file_nor_folder_is_linked(
    project: Path, tmp_path: Path
) -> None:
    (project / "relative").symlink_to("final.pt")
    (project / "absolute").symlink_to(tmp_path / "data")
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(project)
        one.bind("socket")
        copy = inside(made(tmp_path, project), project)
    (copy / "relative").write_text("changed")
    assert (project / "final.pt").read_text() == "of fifty epochs"
    assert (copy / "absolute" / "x.csv").read_text() == "1,2"
    assert os.readlink(copy / "socket") == str(project / "socket")


def test_what_is_too_large_or_a_tool_s_is_linked(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 4)
    (project / "images").mkdir()
    for number in range(4):
        (project / "images" / f"{number}.png").touch()
    (project / ".git").mkdir()
    (project / "env").mkdir()
    (project / "env" / "pyvenv.cfg").touch()
    found = made(tmp_path, project)
    assert found.linked == {str(project / name) for name in ("images", ".git", "env")}
    copy = inside(found, project)
    assert os.readlink(copy / "images") == str(project / "images")
    assert not (copy / "package").is_symlink()


def test_the_largest_is_linked_first_by_bytes_and_by_number() -> None:
    sizes = {"many": Size(0, 4_800), "large": Size(7 * 10**8, 1), "small": Size(2 * 10**8, 500)}
    assert too_large(sizes) == ["many"]
    assert too_large({**sizes, "huge": Size(10**10, 1)}) == ["many", "huge"]


def test_the_rehearsal_s_own_folder_is_not_copied_into_itself(tmp_path: Path) -> None:
    copy = inside(made(tmp_path, tmp_path), tmp_path)
    assert list(copy.iterdir()) == []


def test_a_copy_that_cannot_be_made_is_told(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*paths: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", full)
    with pytest.raises(FileError, match=r"Cannot copy .*project to .*own.*: No space left on device"):
        made(tmp_path, project)
