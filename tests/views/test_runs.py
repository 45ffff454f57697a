"""Runs for the terminal: what matters stays in view, however narrow it is, whatever the names are."""

from __future__ import annotations

import pytest

from outlast.core.decision import Action, Decision, Reason
from outlast.inspect.checks import FileCheck, Verdict
from outlast.inspect.details import Details, File, Point
from outlast.inspect.saved_run import Best, Checkpoint
from outlast.inspect.status import Outlook, RunStatus, Status
from outlast.inspect.verification import Verification
from outlast.views.runs import overview, page, verdict
from outlast.views.text import text_width

NOW = 1_000_000.0
STOP = Decision(
    "EarlyStopping",
    Action.STOP,
    Reason.PATIENCE,
    25,
    values={"monitor": "loss", "best": 0.06, "wait": 8},
)


def a_run(name: str = "digits", status: Status = Status.FINISHED, **options: object) -> RunStatus:
    known = {"epochs": 26, "requested": 100, "written": NOW - 7200}
    best = Best(17, "loss", 0.0607901, f"runs/{name}/best.keras")
    return RunStatus(f"runs/{name}", status, **{**known, "best": best, **options})


def fifty() -> list[RunStatus]:
    kinds = [
        {"stop": STOP},
        {"status": Status.RUNNING, "holder": {"pid": 7, "host": "here", "since": "noon"}},
        {"status": Status.INTERRUPTED, "requested": None, "best": None},
        {"status": Status.DAMAGED, "epochs": None, "best": None, "problem": "it is broken " * 20},
    ]
    return [a_run(f"exp-{i % 7}/lr-0.001-batch-64-seed-{i}", **kinds[i % 4]) for i in range(50)]


def lines(text: str) -> list[str]:
    return text.splitlines()


def test_a_table_has_a_line_a_run() -> None:
    assert overview([a_run(stop=STOP), a_run("mnist", Status.RUNNING)], "runs", now=NOW) == (
        "run     status    epochs  best (epoch)       written  why it stopped\n"
        "------  --------  ------  -----------------  -------  ------------------------------------------\n"
        "digits  finished  26/100  loss 0.06079 (18)  2 h ago  loss has not improved on 0.06 for 8 epochs\n"
        "mnist   running   26/100  loss 0.06079 (18)  2 h ago"
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"epochs": 1}, "1 epoch is done"),
        ({"epochs": 2}, "all 2 epochs are done"),
        ({"epochs": 2, "status": Status.INTERRUPTED}, ""),
        ({"epochs": 2, "stop": STOP}, "loss has not improved on 0.06 for 8 epochs"),
        ({"epochs": 2, "stop": STOP, "problem": "it is broken"}, "it is broken"),
    ],
)
def test_why_a_run_ended(options: dict[str, object], why: str) -> None:
    assert a_run(**options).why == why  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    assert max(map(text_width, lines(overview(fifty(), "runs", now=NOW, width=width)))) <= width


@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_names_statuses_epochs_and_values_stay_whole(width: int | None) -> None:
    runs = fifty()
    shown = lines(overview(runs, "runs", now=NOW, width=width))[2:52]
    for run, line in zip(runs, shown, strict=True):
        # By their ends runs differ; what is cut of a name is its beginning.
        assert run.folder.rpartition("-")[2] == line.split()[0].rpartition("-")[2]
        assert run.status.value in line
        assert run.best is None or width == 60 or "loss 0.06079 (18)" in line


def test_without_room_for_reasons_what_is_wrong_stands_below() -> None:
    text = overview(fifty(), "runs", now=NOW, width=80)
    assert "why it stopped" not in text
    below = lines(text)[53:]
    assert len(below) == 12
    assert below[0].startswith("exp-3/lr-0.001-batch-64-seed-3: it is broken it is broken")


def test_with_room_for_reasons_they_are_cut_to_it() -> None:
    text = overview(fifty(), "runs", now=NOW, width=122)
    assert len(lines(text)) == 52
    assert (
        "loss has not improved on 0.06 for 8 e..." in text
        and "  it is broken it is broken it is broke..." in text
    )


def test_a_reason_without_end_does_not_fill_the_screen() -> None:
    text = overview([a_run(problem="x" * 10**6)], "runs", now=NOW)
    assert len(text) < 1000


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_page_fits_the_terminal(width: int) -> None:
    run = Details(
        a_run(stop=STOP, problem="blob-00000001.keras is lost " * 9),
        settings={"callbacks": {"EarlyStopping": {"monitor": "val_loss", "patience": 8}}, "seed": None},
        decisions=(STOP,) * 12,
        checkpoints=(Checkpoint("runs/digits/best.keras", 17, 0.06, "it improved " * 20),),
        files=(
            File("best.keras", 9_000_000, "copy of blob-00000018.keras"),
            File("x" * 200, None, "a model"),
        ),
        events=({"event": "start", "time": 0.0, "changes": ["x" * 300]},),
        points=(Point(26, 26), Point(25, None, "it is too short " * 9)),
        outlook=Outlook(26, 26, True, (), {}),
    )
    shown = lines(page(run, now=NOW, width=width))
    assert max(map(text_width, shown)) <= width
    assert "Decisions, the last 10 of 12" in shown


@pytest.mark.parametrize(
    ("outlook", "sentences"),
    [
        (None, ["A resume would be refused; it would change nothing."]),
        (Outlook(None, 0, False, (), {}), ["A resume starts from the beginning: nothing is saved."]),
        (
            Outlook(None, 0, False, ("what resume point 1 had beyond epoch 0",), {}),
            [
                "A resume starts from the beginning: nothing is saved.",
                "It loses what resume point 1 had beyond epoch 0.",
            ],
        ),
        (
            Outlook(9, 9, False, (), {"blob-1": "best.keras"}),
            [
                "A resume takes resume point 9 and continues with epoch 10 of 100.",
                "It restores blob-1 from best.keras.",
                "It loses nothing.",
            ],
        ),
    ],
)
def test_what_a_resume_would_do_is_said(outlook: Outlook | None, sentences: list[str]) -> None:
    found = Verification(a_run(), (FileCheck("a", "model", Verdict.WHOLE),) * 2, outlook)
    assert lines(verdict(found)) == [
        "runs/digits: all 2 files are intact",
        *(f"  {sentence}" for sentence in sentences),
    ]


def test_damage_in_whole_files_does_not_contradict_itself() -> None:
    run = a_run(status=Status.DAMAGED, problem="its decisions make no sense")
    found = Verification(run, (FileCheck("a", "model", Verdict.WHOLE),) * 2)
    assert lines(verdict(found))[0] == (
        "runs/digits: DAMAGED, though all 2 files are what was written: its decisions make no sense"
    )


@pytest.mark.parametrize(
    ("whole", "text"),
    [
        (2, "all 2 files that could be checked are intact; 1 more changed before that"),
        (0, "its files change faster than they can be checked"),
    ],
)
def test_what_could_not_be_told_is_said(whole: int, text: str) -> None:
    run = a_run(status=Status.RUNNING, holder={})
    found = Verification(run, (FileCheck("a", "model", Verdict.WHOLE),) * whole, untold=("b",))
    assert lines(verdict(found))[0] == f"runs/digits: {text}; another process is writing it"


def test_settings_are_shown_to_a_depth_that_a_person_reads() -> None:
    nested = {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}
    settings = {"callbacks": {"A": {"separator": ",", "name": "val_loss", "off": None}}, "data": nested}
    text = page(Details(a_run(), settings=settings), now=NOW)
    assert "A              separator=',', name=val_loss\n" in text
    assert "data           a=b=c=d=...\n" in text
