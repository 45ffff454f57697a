"""One folder for several trainings of a program: refused, and not taken for one that is finished."""

from __future__ import annotations

import gc
import runpy
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from outlast import Run, UsageError, open_run
from outlast.testing import FakeAdapter


def fold(folder: Path, weight: float, epochs: int = 2, **options: str) -> tuple[list[int], float]:
    return go_through(folder, FakeAdapter({"w": [weight]}, learning_rate=0.1), epochs, **options)


def go_through(
    folder: Path, training: FakeAdapter, epochs: int = 2, **options: str
) -> tuple[list[int], float]:
    """The epochs that are trained, and the weight in the end."""
    run = Run(folder, adapter=training, check_resume="never", **options)
    begun: list[int] = []
    note = begun.append  # a start names the lists that a loop fills
    for epoch in run.epochs(epochs):
        note(epoch)
        training.weights["w"][0] += 1
        run.log(loss=1.0)
    return begun, training.weights["w"][0]


# In a script, whose frame goes on from one fold to the next.

BEGIN = """
import sys
from outlast import open_run
from outlast.testing import FakeAdapter
from tests.run.test_folds import fold, go_through
folder = sys.argv[1]
"""
ANOTHER = (
    "run was finished by this program already, with another model: nothing would be trained, and this model "
    "would get that one's weights. Give each training a folder of its own, for folds such as "
    "f'runs/cv/{fold}', or begin again with resume='never'. outlast.open_run("
)
THE_SAME = (
    "run was finished by this program already, with this model, and nothing is left to train: ask for more "
    "epochs (epochs counts those of all calls together), or train everything in one fit or loop. "
    "outlast.open_run("
)


def run_script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run it as a file of its own, in a process of its own."""
    script = folder.with_name("script.py")
    script.write_text(f"import sys; sys.path[:0] = {sys.path!r}\n{BEGIN}{text}", "utf-8")
    return subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False
    )


def test_data_in_pieces_go_on_after_a_kill_in_a_later_piece(folder: Path) -> None:
    """The first pieces are found finished, by the same model, which the script goes on to train."""
    chunks = (
        "one = FakeAdapter({'w': [0.0]})\nfor total in 2, 4, 6: print(go_through(folder, one, total)[0])\n"
    )
    killed = chunks.replace("2, 4, 6", "2, 4, 5")
    assert run_script(folder, killed).stdout.splitlines()[::2] == ["[0, 1]", "[2, 3]", "[4]"]
    done = run_script(folder, chunks)
    assert [line for line in done.stdout.splitlines() if line[0] == "["] == ["[]", "[]", "[5]"], done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fold(folder, 0.0)\nfold(folder, 5.0)", ANOTHER),
        ("def main():\n    fold(folder, 0.0)\n    fold(folder, 5.0)\nmain()", ANOTHER),
        ("for _ in range(2): fold(folder, 0.0)", ANOTHER),
        ("one = FakeAdapter({'w': [0.0]})\nfor _ in range(3): go_through(folder, one, 1)", THE_SAME),
    ],
    ids=["two lines", "two lines of a function", "a loop with the same weights", "chunks"],
)
def test_a_script_that_comes_again_to_a_run_it_has_finished_is_refused(
    folder: Path, text: str, told: str
) -> None:
    done = run_script(folder, text)
    assert f"UsageError: {folder.parent}/{told}{str(folder)!r}) shows a finished run." in done.stderr
    assert done.returncode == 1
    assert len(open_run(folder).history.epochs) == (1 if told == THE_SAME else 2)
    again = run_script(folder, text)  # the first finds it finished by another process
    assert told in again.stderr


def test_a_script_may_ask_for_more_look_begin_again_and_use_another_folder(folder: Path) -> None:
    text = """
assert fold(folder, 0.0) == ([0, 1], 2.0)
assert list(open_run(folder).history.epochs) == [0, 1]
assert fold(folder, 0.0, epochs=3) == ([2], 3.0)
assert fold(folder, 5.0, resume="never") == ([0, 1], 7.0)
assert fold(folder + "-2", 5.0) == ([0, 1], 7.0)
"""
    done = run_script(folder, text)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_script_with_one_fold_a_folder_is_started_again_as_ever(folder: Path) -> None:
    text = "print([fold(f'{folder}/{one}', float(one)) for one in range(2)])"
    assert run_script(folder, text).stdout.endswith("[([0, 1], 2.0), ([0, 1], 3.0)]\n")
    assert run_script(folder, text).stdout.endswith("[([], 2.0), ([], 3.0)]\n")


# A cell that is run again, which has another frame.


@pytest.mark.parametrize("weight", [0.0, 5.0])
def test_a_cell_that_is_run_again_gets_the_finished_run(folder: Path, weight: float) -> None:
    cell = compile("result = fold(folder, weight)", "<cell 1>", "exec")
    names = {"fold": fold, "folder": folder, "weight": 0.0}
    exec(cell, names)
    assert names["result"] == ([0, 1], 2.0)
    for _ in range(2):
        names["weight"] = weight
        exec(cell, names)
        assert names["result"] == ([], 2.0)


def test_two_folds_in_a_cell_are_refused_each_time_it_is_run(folder: Path) -> None:
    names = {"fold": fold, "folder": folder}
    for _ in range(2):
        with pytest.raises(UsageError, match="with another model"):
            exec("fold(folder, 0.0)\nfold(folder, 0.0)", names)


def test_a_script_that_is_run_again_by_runpy_gets_the_finished_run(folder: Path) -> None:
    script = folder.with_name("cell.py")
    script.write_text("from tests.run.test_folds import fold\nresult = fold(folder, 0.0)\n", "utf-8")
    for begun in ([0, 1], []):
        assert runpy.run_path(str(script), {"folder": folder})["result"] == (begun, 2.0)


def test_what_the_callers_of_a_cell_hold_is_let_go_when_the_next_run_ends(folder: Path) -> None:
    class Large:
        pass

    def cell(name: str) -> weakref.ref[Large]:
        large = Large()
        exec("fold(folder, 0.0)", {"fold": fold, "folder": folder.with_name(name)})
        return weakref.ref(large)

    first = cell("first")
    fold(folder, 0.0)
    gc.collect()
    assert first() is None


# Where there is no such frame, as in a test of pytest's: the lines decide.


def test_a_second_model_for_a_finished_run_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"finished by this program already.*a folder of its own"):
        for weight in (0.0, 5.0):
            assert fold(folder, weight) == ([0, 1], 2.0)
    assert fold(folder.with_name("fold-2"), 5.0) == ([0, 1], 7.0)
    assert fold(folder, 5.0, resume="never") == ([0, 1], 7.0)


def test_another_line_of_the_program_may_load_a_finished_run(folder: Path) -> None:
    assert fold(folder, 0.0) == ([0, 1], 2.0)
    assert fold(folder, 5.0) == ([], 2.0)


def test_the_same_model_again_and_more_epochs_are_as_ever(folder: Path) -> None:
    fold(folder, 0.0)
    assert fold(folder, 0.0) == ([], 2.0)
    assert fold(folder, 5.0, epochs=3) == ([2], 3.0)


def test_a_run_that_another_process_finished_is_as_ever(folder: Path) -> None:
    script = f"""
from pathlib import Path
from tests.run.test_folds import fold
fold(Path({str(folder)!r}), 0.0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
    assert fold(folder, 5.0) == ([], 2.0)


def test_the_same_adapter_may_come_to_the_same_line_again(folder: Path) -> None:
    training = FakeAdapter({"w": [0.0]}, learning_rate=0.1)
    for begun in ([0, 1], [], []):
        assert go_through(folder, training) == (begun, 2.0)
