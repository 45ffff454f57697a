"""``outlast ls``, ``show`` and ``verify``, as a person and a script meet them: on runs of every kind."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.storage.tap import tapped

from outlast import CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, Run, cli
from outlast.inspect import verification
from outlast.inspect.checks import Verdict
from outlast.inspect.status import Status
from outlast.inspect.verification import verify
from outlast.inspect.wording import reason
from outlast.storage import resume_points
from outlast.storage.blobs import Blob
from outlast.storage.commit import Bundle, Committed, commit
from outlast.storage.disk import files
from outlast.storage.format import layout, limits, tensors
from outlast.storage.logs import Lines
from outlast.testing import FakeAdapter

SOURCE = str(Path(__file__).parent.parent / "src")

NOBODY = 65534

Answer = tuple[int, str, str]  # exit code, output, errors
Ask = Callable[..., Answer]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """The command line in this process."""

    def asked(*words: object) -> Answer:
        code = cli.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return asked


def outlast(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    env = {**os.environ, "PYTHONPATH": SOURCE, **options.pop("env", {})}
    command = [*options.pop("program", [sys.executable, "-m", "outlast"]), *map(str, words)]
    return subprocess.run(command, env=env, capture_output=True, text=True, **options)


def train(folder: Path, epochs: int = 10, *, best: int = 3, until: int | None = None, **options: Any) -> Path:
    """A run whose ``val_loss`` is best in epoch ``best``, and which is left in epoch ``until``."""
    default = [
        EarlyStopping(patience=3),
        ModelCheckpoint(save_best_only=True),
        CSVLogger(),
        ReduceLROnPlateau(patience=2),
    ]
    adapter = FakeAdapter({"w": [0.0, 1.5]})
    with Run(folder, options.pop("callbacks", default), adapter=adapter, seed=0, **options) as run:
        for epoch in run.epochs(epochs):
            if epoch == until:
                break
            adapter.weights["w"][0] += 1
            run.log(val_loss=abs(epoch - best) + 0.5)
    return folder


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "KEPT_LINES", 4)
        patch.setattr(limits, "REMAINING_LINES", 2)
        return train(tmp_path_factory.mktemp("once") / "digits", best=5)


@pytest.fixture
def run(trained_once: Path, tmp_path: Path) -> Path:
    """A finished run with every class of file: models, old lines, views, logs."""
    return Path(shutil.copytree(trained_once, tmp_path / "digits"))


def everything(folder: Path) -> dict[str, tuple[int, int, bytes | None]]:
    """What must not change: each name with its time, kind and content."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return {
        str(path): (
            os.lstat(path).st_mtime_ns,
            os.lstat(path).st_mode,
            path.read_bytes() if path.is_file() and not path.is_symlink() else None,
        )
        for path in paths
    }


def flip(path: Path, place: int | None = None) -> None:
    """Change a bit: of a resume point in its first array, of another file at its end."""
    data = bytearray(path.read_bytes())
    if place is None:
        is_point = path.name.startswith("resume-")
        place = 8 + int.from_bytes(data[:8], "little") if is_point else -1
    data[place] ^= 1
    path.write_bytes(data)


def newest(run: Path) -> Path:
    return run / layout.resume_name(resume_points.numbers(str(run))[0])


def of_class(run: Path, kind: str) -> Path:
    """A file of each class of which a run is made."""
    one = {
        "the newest resume point": newest(run),
        "the resume point before": run / layout.resume_name(resume_points.numbers(str(run))[1]),
        "a model": next(run.glob("blob-0*")),
        "old lines": next(run.glob("blob-rows-*")),
        "the best model's copy": run / "best.txt",
        "the table": run / "history.csv",
        "the journal": run / "journal.jsonl",
        "the settings": run / "run.json",
    }
    return one[kind]


CLASSES = [
    *("the newest resume point", "the resume point before", "a model", "old lines"),
    *("the best model's copy", "the table", "the journal"),
]


@contextmanager
def held_by_somebody_else(path: Path) -> Iterator[None]:
    """A lock of which another process says what stands in the file."""
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def begun(folder: Path) -> Iterator[Run]:
    """A run that somebody has open, and in which nothing is saved yet."""
    with Run(folder, adapter=FakeAdapter({"w": [0.0]})) as run:
        yield run


def resealed(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the header of a resume point so that its checksum fits."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = change(data[8:end].rstrip())
    header += b" " * (-(8 + len(header)) % tensors.PAGE)
    path.write_bytes(tensors.sealed_header(len(header).to_bytes(8, "little") + header) + data[end:])


def rewrite_version(run: Path, version: str) -> None:
    """As another outlast would have written the format."""
    for path in run.glob("resume-*"):
        resealed(path, lambda header: header.replace(b'"version":"2"', b'"version":"%s"' % version.encode()))


# A table of runs


def test_ls_is_a_table_of_how_each_run_stands(tmp_path: Path, ask: Ask) -> None:
    train(tmp_path / "digits")
    train(tmp_path / "mnist" / "seed-2", 200, until=2)
    train(tmp_path / "mnist" / "seed-10", 2)
    code, output, errors = ask("ls", tmp_path)
    lines = [re.sub(r"(now|\d+ s ago)", "now", line) for line in output.splitlines()]
    assert (code, errors) == (0, "")
    assert [re.split(r"  +", line) for line in lines[:1] + lines[2:]] == [
        ["run", "status", "epochs", "best (epoch)", "written", "why it stopped"],
        [
            "digits",
            "finished",
            "7/10",
            "val_loss 0.5 (4)",
            "now",
            "val_loss has not improved on 0.5 for 3 epochs",
        ],
        ["mnist/seed-2", "interrupted", "2/200", "val_loss 2.5 (2)", "now"],
        ["mnist/seed-10", "finished", "2/2", "val_loss 2.5 (2)", "now", "all 2 epochs are done"],
    ]


def test_ls_looks_here_if_it_is_not_told_where(run: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    assert ask("ls", "--json") == ask("ls", ".", "--json")
    assert [one["folder"] for one in json.loads(ask("ls", "--json")[1])["runs"]] == ["digits"]


def test_ls_of_a_run_lists_that_run(run: Path, ask: Ask) -> None:
    assert ask("ls", run)[1].splitlines()[2].startswith(".  ")


@pytest.mark.parametrize("inside", [[], ["notes.txt", "LOCK"], [".hidden/digits/resume-00000001"]])
def test_ls_says_so_if_there_are_no_runs(tmp_path: Path, ask: Ask, inside: list[str]) -> None:
    for name in inside:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    text = f"There are no runs in {tmp_path}, nor in folders up to 3 levels below it.\n"
    assert ask("ls", tmp_path) == (0, text, "")


def test_ls_looks_three_levels_deep_and_follows_no_link(tmp_path: Path, ask: Ask) -> None:
    elsewhere = train(tmp_path / "elsewhere" / "run", 1)
    here = tmp_path / "here"
    for place in ("a/b/c", "a/b/c/d", "e"):
        train(here / place, 1)
    (here / "link").symlink_to(elsewhere)
    (here / "links").symlink_to(elsewhere.parent)
    found = json.loads(ask("ls", here, "--json")[1])["runs"]
    assert [os.path.relpath(one["folder"], here) for one in found] == ["a/b/c", "e"]


def test_ls_does_not_list_what_is_beside_the_runs(run: Path, ask: Ask) -> None:
    (run / "models").mkdir()
    (run.parent / "data").mkdir()
    (run.parent / "data" / "run.json").write_text("{}")
    assert len(json.loads(ask("ls", run.parent, "--json")[1])["runs"]) == 1


def test_ls_of_no_folder_cannot_work(tmp_path: Path, ask: Ask) -> None:
    text = f"outlast: Cannot look for runs in {tmp_path}/x: No such file or directory.\n"
    assert ask("ls", tmp_path / "x") == (2, "", text)


def test_ls_lists_what_it_can_and_says_where_it_could_not_look(
    run: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.parent / "secret").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    code, output, errors = ask("ls", run.parent)
    assert (code, "digits" in output) == (0, True)
    assert errors == f"outlast: Cannot look for runs in {run.parent}/secret: Permission denied.\n"


def test_ls_shows_runs_of_every_status_with_what_is_wrong(tmp_path: Path, ask: Ask) -> None:
    train(tmp_path / "broken", 5)
    newest(tmp_path / "broken").write_bytes(b"")
    train(tmp_path / "new")
    rewrite_version(tmp_path / "new", "7")
    with begun(tmp_path / "now"):
        found = json.loads(ask("ls", tmp_path, "--json")[1])["runs"]
    assert [(one["status"], one["epochs"]) for one in found] == [
        ("damaged", 4),
        ("newer format", None),
        ("running", 0),
    ]
    assert found[0]["problem"] == "resume point 5: it is too short for its header"
    assert re.search("version 7 of the format, this outlast reads version 2", found[1]["problem"])
    assert found[2]["problem"] is None


# One run


def test_show_tells_all_about_a_run(run: Path, ask: Ask) -> None:
    code, output, errors = ask("show", run)
    assert (code, errors) == (0, "")
    for text in (
        f"{run}: finished\n",
        r"epochs +9 of 10\n",
        r"best +epoch 6, val_loss 0\.5, best\.txt\n",
        r"stopped +Epoch 9: EarlyStopping stops: val_loss has not improved on 0\.5 for 3 epochs\n",
        r"written +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, (now|\d+ s ago)\n",
        r"versions +python 3\.\d+\.\d+, outlast ",
        r"seed +0\n",
        r"EarlyStopping +monitor=val_loss, .*patience=3",
        r"Decisions, the last 10 of 11\n",
        r"Epoch 8: ReduceLROnPlateau cuts the learning rate to 0\.01: val_loss has been no better than 0\.5",
        r"Kept models\n  file .*\n.*\n  best\.txt +6 +0\.5  val_loss improved from 1\.5 to 0\.5\n",
        r"best\.txt +\d+ B  copy of blob-00000006-0123abcd\.txt\n",
        r"resume-00000009 +\d+\.\d kB  resume point\n",
        r"history\.csv +\d+ B  log\n",
        r"Events\n.*  start +resume=False\n.*  end +epoch=9\n",
        r"resume point 9  after epoch 9\n  resume point 8  after epoch 8\n",
        r"A resume takes resume point 9: the training is finished\.\n  It loses nothing\.\n",
    ):
        assert re.search(text, output), text


def test_show_says_who_holds_a_run_and_where_it_would_go_on(tmp_path: Path, ask: Ask) -> None:
    train(tmp_path / "digits", until=2)
    assert "open in" not in ask("show", tmp_path / "digits")[1]
    with begun(tmp_path / "digits"):
        code, output, _ = ask("show", tmp_path / "digits")
    assert code == 0
    assert f"{tmp_path}/digits: running\n" in output
    assert re.search(rf"open in +process {os.getpid()} on .+, since \d{{4}}-", output)
    assert "A resume takes resume point 2 and continues with epoch 3 of 10.\n" in output


def test_show_all_has_every_decision(run: Path, ask: Ask) -> None:
    output = ask("show", run, "--all")[1]
    assert "\nDecisions\n  Epoch 1: ModelCheckpoint saves best.txt: val_loss is 5.5, the first" in output


def test_show_of_a_run_that_has_saved_nothing_yet(tmp_path: Path, ask: Ask) -> None:
    with begun(tmp_path / "run"):
        pass
    code, output, _ = ask("show", tmp_path / "run")
    assert (code, "A resume starts from the beginning: nothing is saved.\n" in output) == (0, True)
    assert f"{tmp_path}/run: interrupted\n" in output


def test_show_lists_changes_and_findings_of_resumes(tmp_path: Path, ask: Ask) -> None:
    run = train(tmp_path / "digits", until=5, callbacks=[EarlyStopping(patience=7)])
    flip(newest(run), 60)
    train(run, until=6, callbacks=[EarlyStopping(patience=9)])
    output = ask("show", run)[1]
    assert "EarlyStopping.patience changed from 7 to 9" in output
    assert "resume point 5 was set aside" in output
    assert re.search(r"damaged-resume-00000005 +\d+\.\d kB  set aside: damaged\n", output)


def test_show_says_in_words_what_the_lock_and_a_loader_are(run: Path, ask: Ask) -> None:
    with open(run / "events.jsonl", "a") as file:
        file.write('{"event": "loader", "time": 1.0, "pid": 7, "turn": 0, "checksum": 133847107}\n')
    output = ask("show", run)[1]
    assert re.search(r" loader +a data loader was met\n", output) and "checksum" not in output
    assert re.search(r"LOCK +\d+ B +who has the run open\n", output), output


def test_show_keeps_going_without_run_json(run: Path, ask: Ask) -> None:
    (run / "run.json").write_text("{")
    code, output, _ = ask("show", run)
    assert code == 0
    assert re.search(r"EarlyStopping +monitor=val_loss", output)


def test_if_the_lines_that_tell_the_decisions_are_damaged_the_rest_is_shown(run: Path, ask: Ask) -> None:
    """Their size is right: only who reads them can tell."""
    for path in run.glob("blob-rows-*"):
        flip(path)
    assert json.loads(ask("ls", run, "--json")[1])["runs"][0]["status"] == "damaged"
    code, output, _ = ask("show", run)
    assert (code, "9 of 10" in output, "Decisions" in output) == (1, True, False)
    assert re.search(r"problem +\S+/blob-rows-\S+ is damaged: its checksum does not fit\.\n", output)


def test_damage_before_the_best_epoch_shows_when_all_decisions_are_asked_for(
    tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEPT_LINES", 2)
    monkeypatch.setattr(limits, "REMAINING_LINES", 1)
    run = train(tmp_path / "digits", 5, best=9)
    for path in run.glob("blob-rows-*"):
        flip(path)
    assert json.loads(ask("ls", run, "--json")[1])["runs"][0]["status"] == "finished"
    code, output, _ = ask("show", run)
    assert (code, "digits: damaged\n" in output) == (1, True)


def test_written_is_when_the_newest_of_its_files_was(run: Path, ask: Ask) -> None:
    for path in run.iterdir():
        os.utime(path, (0, 1000))
    os.utime(newest(run), (0, 86_400))
    assert json.loads(ask("show", run, "--json")[1])["written"] == "1970-01-02T00:00:00Z"


# Verification


def test_verify_of_a_whole_run_says_what_a_resume_takes(run: Path, ask: Ask) -> None:
    count = len(list(run.iterdir())) - 2  # LOCK and events.jsonl have no checksum
    assert ask("verify", run) == (
        0,
        f"{run}: all {count} files are intact\n"
        "  A resume takes resume point 9: the training is finished.\n"
        "  It loses nothing.\n",
        "",
    )


@pytest.mark.parametrize("kind", CLASSES)
def test_verify_finds_flipped_bits_wherever_a_checksum_stands(run: Path, ask: Ask, kind: str) -> None:
    path = of_class(run, kind)
    whole = path.read_bytes()
    places = range(0, len(whole), max(1, len(whole) // 20))
    for place in [*places, len(whole) - 1]:
        flip(path, place)
        code, output, _ = ask("verify", run)
        assert (code, f"\n  {path.name}" in output) == (1, True), place
        path.write_bytes(whole)
    assert ask("verify", run)[0] == 0


@pytest.mark.parametrize("kind", [*CLASSES, "the settings"])
@pytest.mark.parametrize("what", ["cut", "emptied", "removed", "a folder", "a pipe", "a link"])
def test_verify_finds_what_is_no_file_any_more(run: Path, ask: Ask, kind: str, what: str) -> None:
    path = of_class(run, kind)
    secret = run.parent / "secret"
    secret.write_bytes(path.read_bytes())
    if what == "cut":
        os.truncate(path, path.stat().st_size - 3)
    elif what == "emptied":
        os.truncate(path, 0)
    else:
        path.unlink()
        if what == "a folder":
            path.mkdir()
        elif what == "a pipe":
            os.mkfifo(path)
        elif what == "a link":
            path.symlink_to(secret)
    code, output, _ = ask("verify", run)
    told = path.name in output
    if what == "removed" and "resume point" in kind:
        # Nobody can tell that it was ever there: a kill before its commit leaves the same.
        assert code == 0 or told
    else:
        assert (code, told) == (1, True), output


def test_verify_says_what_is_lost_with_the_newest_resume_point(tmp_path: Path, ask: Ask) -> None:
    run = train(tmp_path / "digits", until=5, best=1)
    flip(newest(run))
    output = re.sub(r"'state/\S+'", "'state/...'", ask("verify", run)[1])
    assert output == (
        f"{run}: DAMAGED, 1 of 9 files damaged, changed or missing\n"
        "  resume-00000005  damaged  the checksum of 'state/...' does not fit\n"
        "  history.csv      ahead    newer than the last commit; a resume undoes it\n"
        "  journal.jsonl    ahead    newer than the last commit; a resume undoes it\n"
        "  A resume takes resume point 4 and continues with epoch 5 of 10.\n"
        "  It loses epoch 5, to be trained again.\n"
    )


def test_a_model_whose_copy_is_whole_is_made_again_and_nothing_is_lost(run: Path, ask: Ask) -> None:
    flip(of_class(run, "a model"))
    code, output, _ = ask("verify", run)
    assert code == 1
    assert "  blob-00000006-0123abcd.txt  damaged  its checksum does not match\n" in output
    assert "  It restores blob-00000006-0123abcd.txt from best.txt.\n  It loses nothing.\n" in output


def test_a_model_without_a_whole_copy_is_lost(run: Path, ask: Ask) -> None:
    flip(of_class(run, "a model"))
    flip(run / "best.txt")
    code, output, _ = ask("verify", run)
    assert (code, "  It loses best.txt.\n" in output) == (1, True)


def test_a_damaged_resume_point_before_the_newest_loses_nothing(run: Path, ask: Ask) -> None:
    flip(of_class(run, "the resume point before"), 60)
    code, output, _ = ask("verify", run)
    assert (code, "  resume-00000008  damaged  " in output) == (1, True)
    assert "A resume takes resume point 9: the training is finished.\n  It loses nothing.\n" in output


def test_each_model_is_read_once(run: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    really, read = Blob.fits, []

    def fits(blob: Blob, path: str) -> bool:
        read.append(path)
        return really(blob, path)

    monkeypatch.setattr(Blob, "fits", fits)
    assert verify(str(run)).holds
    assert len(read) == len(set(read)) > 5


def test_a_model_that_only_the_resume_point_before_needs_is_checked_too(tmp_path: Path, ask: Ask) -> None:
    run = train(tmp_path / "digits", 3, best=9)
    flip(run / "blob-00000002-0123abcd.txt")
    code, output, _ = ask("verify", run)
    assert (code, "  blob-00000002-0123abcd.txt  damaged  " in output) == (1, True)
    assert "It loses nothing." in output


def test_old_lines_stand_in_the_table_too(run: Path, ask: Ask) -> None:
    for name in run.glob("blob-rows-*"):
        flip(name)
    output = ask("verify", run)[1]
    assert re.search(r"It restores blob-rows-0+\d+\S* from history\.csv\.", output)
    assert "It loses old lines of rows.jsonl.\n" in output  # which are no file for people


def test_a_view_that_somebody_edited_is_written_anew(run: Path, ask: Ask) -> None:
    (run / "history.csv").write_text("epoch,loss\n0,1.0\n")
    code, output, _ = ask("verify", run)
    assert code == 1
    assert re.search(r"  history\.csv  changed  it has 17 bytes .*; a resume writes it again\n", output)
    assert "It loses nothing." in output


def test_if_no_resume_point_is_whole_a_resume_would_be_refused(run: Path, ask: Ask) -> None:
    for path in run.glob("resume-*"):
        flip(path, 60)
    code, output, _ = ask("verify", run)
    assert code == 1
    assert "A resume would be refused; it would change nothing.\n" in output
    assert ask("show", run)[0] == 1
    assert ask("ls", run)[0] == 0


@pytest.mark.parametrize("kind", CLASSES)
def test_what_verify_says_a_resume_does(run: Path, ask: Ask, kind: str) -> None:
    flip(of_class(run, kind))
    told = json.loads(ask("verify", run, "--json")[1])["runs"][0]["resume"]
    adapter = FakeAdapter({"w": [0.0, 1.5]})
    with Run(
        run, [EarlyStopping(patience=3), ModelCheckpoint(save_best_only=True), CSVLogger()], adapter=adapter
    ):
        pass
    resumed = json.loads((run / "events.jsonl").read_text().splitlines()[-1])
    assert (resumed["resume_point"], resumed["epoch"]) == (told["point"], told["epoch"])
    lost = [finding for finding in resumed["findings"] if "is lost" in finding]
    assert len(lost) == len([one for one in told["loses"] if "again" not in one])
    assert ask("verify", run)[0] == 0


# Nothing is changed, and nobody is in the way


@pytest.mark.parametrize("words", [["ls"], ["show"], ["verify"]])
@pytest.mark.parametrize("kind", [*CLASSES, None])
def test_nothing_is_changed(run: Path, ask: Ask, words: list[str], kind: str | None) -> None:
    if kind:
        flip(of_class(run, kind), 7)
    (run / files.temporary_name("best.txt")).write_bytes(b"torn")
    before = everything(run)
    ask(*words, run)
    ask(*words, run, "--json")
    assert everything(run) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_it_works_for_somebody_who_may_only_read(ask: Ask) -> None:
    with tempfile.TemporaryDirectory() as name:
        run = train(Path(name) / "digits")
        (run / "LOCK").write_bytes(b"{}")  # as a holder leaves it who was killed
        for path in [run.parent, run, *run.iterdir()]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        answers = [ask(word, run) for word in ("ls", "show", "verify")]
        os.seteuid(NOBODY)
        try:
            assert [ask(word, run) for word in ("ls", "show", "verify")] == answers
        finally:
            os.seteuid(0)
        assert [code for code, *_ in answers] == [0, 0, 0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_may_not_be_read_is_told_with_code_2(ask: Ask) -> None:
    with tempfile.TemporaryDirectory() as name:
        run = train(Path(name) / "digits")
        run.parent.chmod(0o755)
        newest(run).chmod(0)
        os.seteuid(NOBODY)
        try:
            answers = [ask(word, run) for word in ("show", "verify")]
            listed = json.loads(ask("ls", run, "--json")[1])["runs"]
        finally:
            os.seteuid(0)
        assert answers == [(2, "", f"outlast: Cannot read {newest(run)}: Permission denied.\n")] * 2
        assert [one["status"] for one in listed] == ["unreadable"]


def busy(folder: Path) -> None:
    """A training that does to its folder all that one can do: many files, a table that grows wider."""
    adapter = FakeAdapter({"w": [0.0]})
    with Run(folder, [ModelCheckpoint(keep_best=1, keep_last=2), CSVLogger()], adapter=adapter) as run:
        for epoch in run.epochs(4):
            adapter.weights["w"][0] += 1
            run.log({"val_loss": abs(epoch - 1.5), **({"late": 1.0} if epoch > 1 else {})})


def test_a_run_that_is_being_written_is_whole_at_every_instant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each call that changes the disk, in the writer's own thread; none of them is ours."""
    monkeypatch.setattr(limits, "KEPT_LINES", 3)
    monkeypatch.setattr(limits, "REMAINING_LINES", 1)
    seen = []

    def looked_at(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        seen.append(verify(str(tmp_path / "run")))
        return real(*arguments)

    with tapped(looked_at):
        busy(tmp_path / "run")
    assert len(seen) > 200
    assert [one.to_json() for one in seen if not (one.holds or one.run.status is Status.NO_RUN)] == []
    assert {one.run.status for one in seen[:-1]} == {Status.NO_RUN, Status.RUNNING}
    assert any(check.verdict is Verdict.AHEAD for one in seen for check in one.checks)
    assert [one.leftovers for one in seen if one.leftovers] == []  # it is at work on them


def test_a_run_that_was_killed_is_whole_whenever_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    """What a kill before each call leaves: a resume takes the last commit, and loses nothing."""
    monkeypatch.setattr(limits, "KEPT_LINES", 3)
    monkeypatch.setattr(limits, "REMAINING_LINES", 1)
    run, points = tmp_path / "run", []
    one_at_a_time = threading.Lock()  # files are synced together

    def looked_at(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if (run / "run.json").exists():
            with one_at_a_time:
                shutil.copytree(run, tmp_path / "killed")
                found = verify(str(tmp_path / "killed"))
                shutil.rmtree(tmp_path / "killed")
            assert found.holds, found.to_json()
            assert found.outlook is not None and not found.outlook.loses
            points.append((found.outlook.point or 0, found.run.status))
        return real(*arguments)

    with tapped(looked_at):
        busy(run)
    assert [point for point, _ in points] == sorted(point for point, _ in points)
    assert {status for point, status in points if point < 4} == {Status.INTERRUPTED}
    assert {status for point, status in points if point == 4} == {Status.FINISHED}


WRITER = """
import sys, outlast
adapter = outlast.testing.FakeAdapter({"w": [0.0] * 1000})
callbacks = [outlast.ModelCheckpoint(keep_last=2), outlast.CSVLogger()]
with outlast.Run(sys.argv[1], callbacks, adapter=adapter) as run:
    for epoch in run.epochs(10**6):
        adapter.weights["w"][0] += 1
        run.log(val_loss=-epoch)
        if epoch == 1:
            print(flush=True)
"""


def test_a_run_that_another_process_writes_is_never_found_damaged(tmp_path: Path, ask: Ask) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", WRITER, str(folder)]
    env = {**os.environ, "PYTHONPATH": SOURCE}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        answers = [ask(word, folder) for _ in range(25) for word in ("ls", "show", "verify")]
        writer.kill()
    assert {(code, errors) for code, _, errors in answers} == {(0, "")}
    assert all(" running " in output for _, output, _ in answers[::3])
    assert all(f"process {writer.pid} on " in output for _, output, _ in answers[1::3] + answers[2::3])
    assert ask("verify", folder)[0] == 0


def test_what_a_writer_deletes_meanwhile_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path / "digits", until=3, best=9)
    really, read = resume_points.verify, []

    def slowly(folder: str, number: int) -> Any:
        read.append(number)
        if len(read) == 2:  # the newest was read, and the one before is deleted now
            train(run, until=6, best=9)
        return really(folder, number)

    monkeypatch.setattr(resume_points, "verify", slowly)
    found = verify(str(run))
    assert found.holds and found.outlook is not None
    assert (read, found.outlook.point) == ([3, 2, 6, 5], 6)


@pytest.fixture
def always_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run whose writer commits an epoch during each look."""
    folder, really = tmp_path / "run", verification.look
    callbacks = [
        ModelCheckpoint("best.txt", save_best_only=True),
        ModelCheckpoint("models/{epoch}.txt", keep_last=1),
    ]
    with Run(folder, callbacks, adapter=FakeAdapter({"w": [0.0]})) as run:
        epochs = iter(run.epochs(1000))

        def go_on() -> None:
            run.log(val_loss=float(next(epochs)))

        def looked(*arguments: Any) -> Any:
            seen = really(*arguments)
            go_on(), go_on(), go_on()  # so that all that was seen is deleted by now
            return seen

        go_on(), go_on(), go_on()
        monkeypatch.setattr(verification, "look", looked)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        yield folder


def test_what_could_not_be_told_because_the_writer_is_faster_is_no_damage(
    always_faster: Path, ask: Ask
) -> None:
    code, output, errors = ask("verify", always_faster)
    assert (code, errors) == (0, "")
    assert re.search(r"files that could be checked are intact; \d more changed before", output), output
    assert f"; process {os.getpid()} on " in output and "It loses nothing." in output
    (told,) = json.loads(ask("verify", "--json", always_faster)[1])["runs"]
    assert (told["status"], told["holds"], told["problem"]) == ("running", True, None)
    assert all(name.endswith(".txt") or name.startswith("resume-") for name in told["untold"])
    assert told["resume"]["loses"] == []


@pytest.mark.parametrize("damage", ["the best model's copy", "a model", "the settings"])
def test_damage_is_told_though_the_writer_is_faster(always_faster: Path, ask: Ask, damage: str) -> None:
    if damage == "the settings":
        (always_faster / "run.json").write_text("{")
    elif damage == "a model":
        best = (always_faster / "best.txt").read_bytes()
        flip(next(path for path in always_faster.glob("blob-*") if path.read_bytes() == best))
    else:
        flip(always_faster / "best.txt")
    code, output, _ = ask("verify", always_faster)
    assert code == 1 and "DAMAGED, 1 of " in output, output


def test_a_step_of_a_commit_between_two_looks_is_no_damage(
    tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A better model is published after the blobs were listed, and before a new number shows it."""
    really, published = os.listdir, []
    callbacks = [ModelCheckpoint("best.txt", save_best_only=True)]
    folder = tmp_path / "run"
    with Run(folder, callbacks, adapter=FakeAdapter({"w": [0.0]})) as run:
        epochs = iter(run.epochs(10))
        for _ in range(2):
            run.log(val_loss=float(next(epochs)))
        run._store.flush()
        (model,) = folder.glob("blob-0*")
        copy = folder / "best.txt"

        def listed(path: str) -> list[str]:
            names = really(path)
            if not published and sys._getframe(1).f_code.co_name == "_published":
                better = folder / model.name.replace("00000001", "00000002")
                better.write_text("better")
                copy.write_text("better")
                published.append(better)
            return names

        monkeypatch.setattr(os, "listdir", listed)
        code, output, _ = ask("verify", folder)
        assert published and (code, "ahead" in output) == (0, True), output


def test_results_that_are_no_json_are_told_and_a_new_log_mends_them(tmp_path: Path, ask: Ask) -> None:
    folder = tmp_path / "run"

    def trained() -> None:
        with Run(folder, adapter=FakeAdapter({"w": [0.0]})) as run:
            for epoch in run.epochs(2):
                run.log(val_loss=float(epoch))
            run.log(accuracy=0.5)

    trained()
    (folder / "results.json").write_text("{")
    code, output, _ = ask("verify", folder)
    assert code == 1 and "it is not JSON; a resume sets it aside: log the results again" in output
    trained()
    assert ask("verify", folder)[0] == 0


# What is no run, or not one of ours


@pytest.mark.parametrize("word", ["show", "verify"])
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("nothing", "There is no run {0}: no such folder."),
        ("a file", "There is no run {0}: it is not a folder."),
        ("an empty folder", "There is no run in {0}: it is empty."),
        ("another folder", "There is no run in {0}: it has no files of a run."),
    ],
)
def test_what_is_no_run_is_told_in_a_line_with_code_3(
    tmp_path: Path, ask: Ask, word: str, kind: str, text: str
) -> None:
    path = tmp_path / "x"
    if kind == "a file":
        path.write_text("")
    elif kind != "nothing":
        path.mkdir()
        if kind == "another folder":
            (path / "history.csv").write_text("epoch,loss\n")
    assert ask(word, path) == (3, "", f"outlast: {text.format(path)}\n")
    code, output, errors = ask(word, path, "--json")
    told = json.loads(output)
    told = told["runs"][0] if word == "verify" else told
    assert (code, errors, told["status"], told["problem"]) == (3, "", "no run", text.format(path))


@pytest.mark.parametrize("word", ["show", "verify"])
@pytest.mark.parametrize(
    ("version", "status"), [("3", "newer format"), ("1", "older format"), ("x", "newer format")]
)
def test_another_format_is_refused_with_both_versions_and_code_4(
    run: Path, ask: Ask, word: str, version: str, status: str
) -> None:
    rewrite_version(run, version)
    before = everything(run)
    code, output, errors = ask(word, run)
    assert (code, output) == (4, "")
    text = f"{newest(run)} has version {version} of the format, this outlast reads version 2."
    assert errors.startswith(f"outlast: {text}") and errors.count("\n") == 1
    told = json.loads(ask(word, run, "--json")[1])
    assert (told["runs"][0] if word == "verify" else told)["status"] == status
    assert everything(run) == before


def test_verify_takes_many_runs_and_answers_for_the_worst(tmp_path: Path, ask: Ask) -> None:
    good, bad, new = (train(tmp_path / name, 2) for name in ("good", "bad", "new"))
    flip(newest(bad))
    rewrite_version(new, "9")
    nothing = tmp_path / "nothing"
    assert ask("verify", good, nothing)[0] == 3
    assert ask("verify", nothing, new, good)[0] == 4
    code, output, errors = ask("verify", nothing, new, bad, good)
    assert code == 1
    assert [line.split(":")[0] for line in output.splitlines() if line[0] != " "] == [str(bad), str(good)]
    assert errors.count("\n") == 2
    told = json.loads(ask("verify", good, bad, "--json")[1])
    assert (told["holds"], [one["holds"] for one in told["runs"]]) == (False, [True, False])


# What somebody made up


def test_names_move_no_cursor(tmp_path: Path, ask: Ask) -> None:
    evil = "a\x1b[2J\x1b]0;owned\x07\u202e\nb"
    adapter = FakeAdapter({"w": [0.0]})
    checkpoint = ModelCheckpoint(monitor=evil, mode="min", save_best_only=True)
    with Run(tmp_path / evil, [checkpoint, CSVLogger()], adapter=adapter) as run:
        for _ in run.epochs(1):
            run.log({evil: 1.0})
    (tmp_path / evil / f"{evil}.conflict").write_text("")
    (tmp_path / evil / "LOCK").write_text(json.dumps({"pid": evil, "host": evil, "since": evil}))
    flip(tmp_path / evil / "best.txt")
    with held_by_somebody_else(tmp_path / evil / "LOCK"):
        for words in (["ls", tmp_path], ["show", tmp_path / evil], ["verify", tmp_path / evil]):
            for more in ([], ["--json"]):
                _, output, errors = ask(*words, *more)
                assert all(line.isprintable() for line in (output + errors).split("\n")), words
    _, _, errors = ask("verify", tmp_path / f"{evil}2")
    assert errors.count("\n") == 1 and errors[:-1].isprintable()


def test_nothing_outside_is_opened(run: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = run.parent.with_name("outside")
    run.rename(outside)
    run.mkdir()
    for path in outside.iterdir():
        (run / path.name).symlink_to(path)
    (run / "resume-00000001").symlink_to(outside / "resume-00000009")
    (run / "LOCK.held").symlink_to(outside / "run.json")
    really, opened = os.open, []

    def watched(path: Any, *arguments: Any, **keywords: Any) -> int:
        fd = really(path, *arguments, **keywords)
        opened.append(os.readlink(f"/proc/self/fd/{fd}"))
        return fd

    monkeypatch.setattr(os, "open", watched)
    for words in (["ls", run.parent], ["show", run], ["verify", run]):
        ask(*words)
        ask(*words, "--json")
    monkeypatch.undo()
    inside = os.path.realpath(run)
    shown = json.loads(ask("verify", run, "--json")[1])["runs"][0]
    assert shown["status"] == "damaged"
    assert [path for path in opened if path.startswith(os.path.realpath(outside))] == []
    assert all(not path.startswith(inside + os.sep) for path in opened), "a link is no file of a run"


def test_a_problem_without_end_is_cut(run: Path, ask: Ask) -> None:
    name = b'"%s":' % (b"x" * 10**6)
    resealed(newest(run), lambda header: header.replace(b'"manifest":', name))
    problem = json.loads(ask("ls", run, "--json")[1])["runs"][0]["problem"]
    assert problem.startswith("resume point 9: its header makes no sense (") and len(problem) < 500
    assert reason("run", "it needs " + "blob-00000001.keras, " * 10**4).startswith("it needs blob")
    assert len(reason("run", "it needs " + "blob-00000001.keras, " * 10**4)) < 500


def test_a_folder_in_a_run_that_leads_out_is_not_entered(
    tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, outside = tmp_path / "digits", tmp_path / "outside"
    train(run, 2, callbacks=[ModelCheckpoint("models/best.txt", save_best_only=True)])
    (run / "models").rename(outside)
    (run / "models").symlink_to(outside)
    assert re.search(r"models/best\.txt +\? +copy of", ask("show", run)[1])
    code, output, _ = ask("verify", run)
    assert code == 1
    assert "  models/best.txt  changed  its path leaves the folder through a symbolic link\n" in output


def test_of_a_holder_is_told_what_a_holder_says(run: Path, ask: Ask) -> None:
    (run / "LOCK").write_text('{"pid": [7], "host": "here", "evil": {"a": 1}}')
    with held_by_somebody_else(run / "LOCK"):
        assert json.loads(ask("ls", run, "--json")[1])["runs"][0]["holder"] == {"host": "here"}
        assert re.search(r"open in +another process\n", ask("show", run)[1])


KEPT = b'"reason": "kept", '
MADE_UP: list[Any] = [
    None,
    7,
    {},
    {"progress": None},
    {"progress": {"epoch": "x", "epochs": 3, "stops": [], "finished": True}},
    {"progress": {"epoch": 1.5, "epochs": 3, "stops": [], "finished": True}},
    {"progress": {"epoch": 1, "epochs": [3], "stops": [], "finished": True}},
    {"progress": {"epoch": 1, "epochs": 3, "stops": 3, "finished": True}},
    {"progress": {"epoch": 1, "epochs": 3, "stops": [{"reason": "because"}], "finished": True}},
    {"callbacks": 7},
    {"callbacks": {"A": {"state": {"best": "x", "best_epoch": 1}}}},
    {"callbacks": {"A": {"state": {"best": [1], "best_epoch": {}}}}},
    {
        "settings": {"callbacks": {"A": {"monitor": "x" * 10**6}}},
        "callbacks": {"A": {"state": {"best": 1, "best_epoch": 1}}},
    },
    {"settings": {"callbacks": [[[[[[[[7]]]]]]]], "a" * 10**6: float("nan"), "\x1b[2J": ("\x1b[2J",)}},
    {"settings": None},
    {"journal": b"7\n"},
    {"journal": b'{"epoch": 0}\n'},
    {"journal": b"[" * 5000 + b"\n"},
    {"journal": b"\xff\n"},
    {
        "journal": b'{"epoch": 1e999, "batch": null, "callback": 7, "action": "save", '
        + KEPT
        + b'"values": {}}\n'
    },
    {
        "journal": b'{"epoch": 0, "batch": null, "callback": "A", "action": "save", '
        + KEPT
        + b'"values": 7}\n'
    },
    {"journal": b"x" * (2 << 20) + b"\n"},
    {"run.json": b"[]"},
    {"run.json": b"[" * 100_000},
    {"run.json": b'{"settings": 7, "command": 7, "versions": [7]}'},
    {
        "run.json": b'{"settings": {"a": '
        + b"[" * 900
        + b"]" * 900
        + b'}, "command": [[7]], "versions": {"a": NaN}}'
    },
    {"events.jsonl": b"7\n[]\n\xff\n{}\n" + b"[" * 5000},
    {"events.jsonl": b'{"event": {}, "time": 1e300}\n{"event": "\\u001b[2J", "time": "x"}\n{"time": NaN}\n'},
    {"events.jsonl": b'{"event": "start", "time": -1e18, "x": {"y": {"z": {"a": {"b": {"c": 1}}}}}}\n'},
]


@pytest.mark.parametrize("made_up", MADE_UP)
def test_what_somebody_made_up_is_answered_in_few_safe_lines(tmp_path: Path, ask: Ask, made_up: Any) -> None:
    """Every checksum fits; the values are nonsense."""
    state = {
        "progress": {"epoch": 1, "epochs": 3, "stops": [], "finished": False},
        "settings": {"callbacks": {"A": {"monitor": "loss"}}},
        "callbacks": {},
    }
    name = next(iter(made_up), "") if isinstance(made_up, dict) else ""
    content = {"run.json": b"{}", "events.jsonl": b"", "journal": b""}
    if name in content:
        content[name] = made_up[name]
    else:
        state = {**state, **made_up} if isinstance(made_up, dict) else made_up
    step = Bundle({}, {layout.JOURNAL: Lines(content["journal"])})
    (tmp_path / "run").mkdir()
    commit(str(tmp_path / "run"), Committed(), step, state)
    for file in ("run.json", "events.jsonl"):
        (tmp_path / "run" / file).write_bytes(content[file])
    for words in (["ls", tmp_path], ["show", tmp_path / "run", "--all"], ["verify", tmp_path / "run"]):
        code, output, errors = ask(*words)
        assert (code in (0, 1), errors) == (True, "")
        assert len(output) < 10_000
        assert all(line.isprintable() for line in output.split("\n"))
        code, output, errors = ask(*words, "--json")
        assert (code in (0, 1), errors) == (True, "")
        json.loads(output, parse_constant=pytest.fail)


def sparse(path: Path, size: int = 1 << 36) -> None:
    with open(path, "wb") as file:
        file.truncate(size)


def bomb(path: Path) -> None:
    """A resume point of 30 MB whose header fits its checksum, and would take a hundred times as much."""
    metadata = b'{"header_crc32":"00000000","format":"outlast resume point","version":"2"}'
    header = b'{"__metadata__":' + metadata + b',"x":[' + b"{}," * 10_000_000 + b"0]}"
    header += b" " * (-(8 + len(header)) % tensors.PAGE)
    path.write_bytes(tensors.sealed_header(len(header).to_bytes(8, "little") + header))


SWELLING: dict[str, Callable[[Path], object]] = {
    "a header of very many values": lambda run: bomb(run / "resume-00000099"),
    "a header of any length": lambda run: (run / "resume-00000099").write_bytes(b"\xff" * 7 + b"\0" * 9),
    "a resume point without end": lambda run: sparse(newest(run)),
    "a model without end": lambda run: sparse(of_class(run, "a model")),
    "old lines without end": lambda run: [sparse(path) for path in run.glob("blob-rows-*")],
    "views without end": lambda run: [
        sparse(run / name) for name in ("best.txt", "history.csv", "journal.jsonl")
    ],
    "settings without end": lambda run: sparse(run / "run.json"),
    "settings of very many values": lambda run: (run / "run.json").write_bytes(
        b"[" + b"{}," * 10_000_000 + b"0]"
    ),
    "events without end": lambda run: sparse(run / "events.jsonl"),
    "a holder without end": lambda run: sparse(run / "LOCK.held"),
}


@pytest.mark.parametrize("what", SWELLING)
def test_nothing_swells(run: Path, what: str) -> None:
    SWELLING[what](run)
    for word in ("ls", "show", "verify"):
        answer = outlast(word, run, program=[sys.executable, "-c", LIMITED])
        assert (answer.returncode in (0, 1), answer.stderr) == (True, ""), answer.stderr
        assert len(answer.stdout) < 10_000


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
from outlast.cli import main
sys.exit(main())
"""


def test_a_run_that_was_saved_inside_an_epoch_says_the_batch(tmp_path: Path, ask: Ask) -> None:
    folder = tmp_path / "run"
    with Run(folder, adapter=FakeAdapter(), save_every=2) as run:
        for _ in run.epochs(3):
            for batch in run.batches(range(9)):
                if batch == 5:
                    break
            break
    for command in ("show", "verify"):
        output = " ".join(ask(command, folder)[1].split())
        assert "takes resume point 2 and continues with epoch 1 of 3 after batch 4." in output
    found = json.loads(ask("show", folder, "--json")[1])
    assert found["resume"]["batch"] == 4
    assert [(point["epochs"], point["batch"]) for point in found["resume_points"]] == [(0, 4), (0, 2)]
    points = r"resume point 2  epoch 1 up to batch 4\n  resume point 1  epoch 1 up to batch 2\n"
    assert re.search(points, ask("show", folder)[1])


# As a script meets it


STANDING = {
    "folder": str,
    "status": str,
    "epochs": int,
    "asked": int,
    "best": {"epoch": int, "monitor": str, "value": float, "path": str},
    "stopped": str,
    "problem": None,
    "written": str,
    "holder": None,
}
RESUME = {"point": int, "epoch": int, "batch": None, "finished": bool, "loses": [], "mends": {}}
SHAPES: dict[str, dict[str, Any]] = {
    "ls": {"folder": str, "runs": [STANDING], "unread": {}},
    "show": {
        **STANDING,
        "settings": {
            "callbacks": dict,
            "learning_rate": {"fake": float},
            "seed": int,
            "steps": None,
            "batch_size": None,
        },
        "command": [str],
        "versions": {"python": str, "outlast": str},
        "decisions": [
            {
                "epoch": int,
                "batch": None,
                "callback": str,
                "action": str,
                "reason": str,
                "values": dict,
                "sentence": str,
            }
        ],
        "checkpoints": [{"path": str, "epoch": int, "value": float, "why": str}],
        "files": [{"name": str, "size": int, "what": str}],
        "events": [dict],
        "resume_points": [{"number": int, "epochs": int, "batch": None, "problem": None}],
        "resume": RESUME,
    },
    "verify": {
        "holds": bool,
        "runs": [
            {
                **STANDING,
                "holds": bool,
                "checks": [{"file": str, "what": str, "verdict": str, "detail": None}],
                "resume": RESUME,
                "leftovers": [],
            }
        ],
    },
}


def assert_shaped(value: Any, shape: Any, place: str) -> None:
    if isinstance(shape, dict) and shape:
        missing = shape.keys() - value.keys()
        extra = value.keys() - shape.keys()
        assert not missing and (not extra or place.endswith("versions")), (place, missing, extra)
        for name, inner in shape.items():
            assert_shaped(value[name], inner, f"{place}.{name}")
    elif isinstance(shape, list) and shape:
        assert value, place
        for one in value:
            assert_shaped(one, shape[0], f"{place}[]")
    elif isinstance(shape, type):
        assert isinstance(value, shape), (place, value)
    else:
        assert value == shape, (place, value)


@pytest.mark.parametrize("word", SHAPES)
def test_the_shape_of_json_is_stable(run: Path, ask: Ask, word: str) -> None:
    code, output, errors = ask(word, run, "--json")
    assert (code, errors) == (0, "")
    assert_shaped(json.loads(output), SHAPES[word], word)


def test_what_json_says_of_a_run(run: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    told = json.loads(ask("show", "digits", "--json")[1])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["written"])
    assert {name: told[name] for name in ("folder", "status", "epochs", "asked", "best", "stopped")} == {
        "folder": "digits",
        "status": "finished",
        "epochs": 9,
        "asked": 10,
        "best": {"epoch": 5, "monitor": "val_loss", "value": 0.5, "path": "digits/best.txt"},
        "stopped": "Epoch 9: EarlyStopping stops: val_loss has not improved on 0.5 for 3 epochs",
    }
    assert told["resume"] == {
        "point": 9,
        "epoch": 9,
        "batch": None,
        "finished": True,
        "loses": [],
        "mends": {},
    }
    assert told["decisions"][-1]["sentence"].startswith("Epoch 9: ")
    assert [one["number"] for one in told["resume_points"]] == [9, 8]
    with begun(run):
        holder = json.loads(ask("ls", "--json")[1])["runs"][0]["holder"]
    assert holder.keys() == {"pid", "host", "boot", "since"} and holder["pid"] == os.getpid()


def test_a_value_that_json_lacks_is_text(tmp_path: Path, ask: Ask) -> None:
    adapter = FakeAdapter({"w": [0.0]})
    with Run(tmp_path / "run", [ModelCheckpoint(save_best_only=True)], adapter=adapter) as run:
        for _ in run.epochs(1):
            run.log(val_loss=float("inf"))
    for word in SHAPES:
        json.loads(ask(word, tmp_path / "run", "--json")[1], parse_constant=pytest.fail)
    assert json.loads(ask("show", tmp_path / "run", "--json")[1])["best"]["value"] == "inf"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ls", "."], 0),
        (["show", "digits"], 0),
        (["verify", "digits"], 0),
        (["verify", "broken", "digits"], 1),
        (["ls", "nowhere"], 2),
        (["verify"], 2),
        (["show", "nowhere"], 3),
        (["verify", "new"], 4),
    ],
)
def test_the_exit_code_is_that_of_the_process(run: Path, words: list[str], code: int) -> None:
    shutil.copytree(run, run.parent / "broken")
    shutil.copytree(run, run.parent / "new")
    flip(newest(run.parent / "broken"))
    rewrite_version(run.parent / "new", "3")
    answer = outlast(*words, cwd=run.parent)
    assert answer.returncode == code
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("words", [["ls", "."], ["show", "digits"], ["verify", "digits"]])
def test_no_package_is_imported_to_look_at_runs(run: Path, words: list[str]) -> None:
    program = f"""
import sys
before = set(sys.modules)
from outlast.cli import main
assert main({words}) == main({[*words, "--json"]}) == 0
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(new - sys.stdlib_module_names - {{"outlast"}}, file=sys.stderr)
"""
    answer = outlast(program=[sys.executable, "-c", program], cwd=run.parent)
    assert answer.stderr == "set()\n"


PAGE = (Path(__file__).parent.parent / "docs" / "command-line.md").read_text("utf-8")


def keys_of(shape: Any) -> Iterator[str]:
    if isinstance(shape, dict):
        for name, inner in shape.items():
            yield name
            yield from keys_of(inner)
    elif isinstance(shape, list):
        for inner in shape:
            yield from keys_of(inner)


def test_the_page_tells_every_key_status_verdict_and_code() -> None:
    quoted = set(re.findall(r"`([^`\n]+)`", PAGE))
    inside = {"callbacks", "learning_rate", "fake", "seed", "steps", "batch_size", "python", "outlast"}
    assert set(keys_of(SHAPES)) - inside <= quoted
    assert {one.value for one in (*Status, *Verdict)} <= quoted
    for code in cli.CODES.partition("exit codes: ")[2].split("; "):
        number, _, meaning = code.partition(" ")
        assert re.search(rf"^\| {number} \| {re.escape(meaning.partition(', ')[0])}", PAGE, re.MULTILINE), (
            code
        )


def test_every_command_on_the_page_is_understood() -> None:
    lines = re.findall(r"^    outlast ((?:\S+ ?)+)", PAGE, re.MULTILINE)
    assert len(lines) == 11
    for line in lines:
        cli._parser().parse_args(line.split())


@pytest.mark.parametrize("word", SHAPES)
def test_help_says_what_a_command_does_and_answers(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([word, "--help"])
    assert exit_.value.code == 0
    assert cli.CODES in " ".join(capsys.readouterr().out.split())


# One run was asked for, and there are several; or several were asked for


@pytest.mark.parametrize(("count", "lie"), [(1, "1 run lies"), (2, "2 runs lie")])
@pytest.mark.parametrize("word", ["show", "verify"])
def test_a_folder_of_runs_is_answered_with_the_command_that_lists_them(
    tmp_path: Path, ask: Ask, word: str, count: int, lie: str
) -> None:
    for index in range(count):
        train(tmp_path / "sweep" / f"seed-{index}", 1)
    sweep = tmp_path / "sweep"
    text = f"outlast: There is no run in {sweep} itself, but {lie} below it: outlast ls {sweep}\n"
    assert ask(word, sweep) == (3, "", text)


def test_show_takes_many_runs_and_answers_for_the_worst(tmp_path: Path, ask: Ask) -> None:
    good, bad = train(tmp_path / "good", 2), train(tmp_path / "bad", 2)
    flip(newest(bad), 60)
    code, output, errors = ask("show", good, tmp_path / "nothing", bad)
    assert (code, errors) == (1, f"outlast: There is no run {tmp_path}/nothing: no such folder.\n")
    first, second = output.split("\n\n\n")
    assert first.startswith(f"{good}: finished\n") and second.startswith(f"{bad}: damaged\n")
    assert ask("show", tmp_path / "nothing", good)[0] == 3


def test_show_as_json_is_the_run_itself_or_a_list_of_many(tmp_path: Path, ask: Ask) -> None:
    good, bad = train(tmp_path / "good", 2), train(tmp_path / "bad", 2)
    one, other = (json.loads(ask("show", run, "--json")[1]) for run in (good, bad))
    assert json.loads(ask("show", good, bad, "--json")[1]) == {"runs": [one, other]}
