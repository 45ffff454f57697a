"""The documentation is true: its code runs, its commands and files exist, its tables are complete."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import re
import signal
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.test_architecture import LAYERS, SOURCE

import outlast
from outlast import cli, exceptions

ROOT = Path(__file__).parent.parent
PATHS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted(PATHS)}
README, RUN, CALLBACKS = PAGES["README.md"], PAGES["docs/run.md"], PAGES["docs/callbacks.md"]
ARCHITECTURE, CONTRIBUTING = PAGES["ARCHITECTURE.md"], PAGES["CONTRIBUTING.md"]
DIFFERENCES = PAGES["docs/keras-differences.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# Pages whose code is run here, each in one folder from top to bottom. Other tests run the README's three
# scripts and its training without epochs (below), and the reader in docs/format.md
# (tests/storage/test_format.py); those of tests/frameworks run the pages on other loops and Hugging Face.
RUN_HERE = [
    *("docs/getting-started.md", "docs/run.md", "docs/callbacks.md", "docs/jax.md", "docs/sklearn.md"),
    *("docs/lightgbm.md", "docs/xgboost.md", "docs/lightning.md"),
]
RUN_ELSEWHERE = {
    **{"README.md": 4, "docs/format.md": 1, "docs/exact.md": 1, "docs/other-loops.md": 4},
    "docs/huggingface.md": 1,
}

Names = dict[str, Any]


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def table(page: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading, by what stands in their first cell."""
    section = re.split(rf"^#+ {re.escape(heading)}$", page, maxsplit=1, flags=re.MULTILINE)[1]
    first = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert first, heading
    rows = [re.split(r"(?<!\\)\|", line.strip("|\n")) for line in first[0].splitlines()[2:]]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in rows}


def quoted(cells: Any) -> set[str]:
    """Names in backticks, without what stands in brackets after them."""
    return {name for cell in cells for name in re.findall(r"`(\w+)[`(]", cell)}


def run(code: str, names: Names) -> str:
    """What the code prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "the documentation", "exec"), names)
    return printed.getvalue()


@pytest.mark.parametrize("changed", blocks("diff"), ids=["xgboost", "lightning", "huggingface"])
def test_what_the_readme_changes_other_loops_to_is_in_an_example(changed: str) -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "examples").glob("*.py")]
    lines = [line[1:] for line in changed.splitlines() if line[0] != "-"]
    assert any("callbacks=" in line for line in lines)
    assert any(all(f"\n{line}\n" in text for line in lines) for text in texts)


def keras_names() -> Names:
    """What a reader has who trains with Keras: a compiled model and data."""
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    return {"model": model, "x": x, "y": y, "xv": x, "yv": y}


def torch_names() -> Names:
    """What a reader has who trains with PyTorch: the parts of a loop."""
    import torch

    model = torch.nn.Linear(2, 1)
    x, y = torch.ones(8, 2), torch.ones(8, 1)

    def train_epoch(model: Any, optimizer: Any, loader: Any) -> float:
        for x, y in loader:
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        return evaluate(model)

    def evaluate(model: Any) -> float:
        with torch.no_grad():
            return torch.nn.functional.mse_loss(model(x), y).item()

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return {
        "model": model,
        "optimizer": optimizer,
        "loader": [(x, y)],
        "train_epoch": train_epoch,
        "evaluate": evaluate,
        "loss_fn": torch.nn.functional.mse_loss,
    }


def a_readers_names(code: str) -> Names:
    """What a reader has who comes to a block that is not a whole script."""
    if "fit(" in code:
        return keras_names()
    return torch_names() if re.search(r"\b(model|evaluate)\b", code) else {}


@pytest.mark.parametrize("page", RUN_HERE)
def test_the_code_of_a_page_runs_and_prints_what_stands_below_it(page: str) -> None:
    pattern = r"^```python\n(.*?)^```$(?:\n\n((?:    [^\n]*\n)+))?"
    for code, shown in re.findall(pattern, PAGES[page], re.DOTALL | re.MULTILINE):
        printed = run(code, a_readers_names(code))
        assert not shown or printed == textwrap.dedent(shown), code


def test_no_python_block_is_left_unrun() -> None:
    elsewhere = {page: len(blocks("python", text)) for page, text in PAGES.items() if page not in RUN_HERE}
    assert {page: count for page, count in elsewhere.items() if count} == RUN_ELSEWHERE


def start(script: str) -> subprocess.Popen[str]:
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    Path("train.py").write_text(script)
    return subprocess.Popen(
        [sys.executable, "-u", "train.py"], env=environment, text=True, stdout=subprocess.PIPE
    )


def until_epoch_5(training: subprocess.Popen[str]) -> None:
    assert training.stdout
    assert any(line.startswith("Epoch 5/") for line in training.stdout)
    training.kill()


def until_the_end(training: subprocess.Popen[str]) -> None:
    assert training.stdout
    assert training.stdout.read() == ""


SCRIPTS: dict[str, tuple[str, str, str, Callable[[Any], None]]] = {
    # folder, what is put into the script so that it is killed early, how it is watched
    "keras": ("runs/digits", "", "", until_epoch_5),
    "pytorch": (
        "runs/torch",
        "    scheduler.step()\n",
        "    scheduler.step()\n    if epoch == 4: os.kill(os.getpid(), 9)\n",
        until_the_end,
    ),
    "jax": (
        "runs/jax",
        "    run.log(val_loss=loss_fn(",
        "    if epoch == 4: os.kill(os.getpid(), 9)\n    run.log(val_loss=loss_fn(",
        until_the_end,
    ),
}


CHECKED = r"(?: \(epoch \d+ trained again as a check: identical\))"


@pytest.mark.parametrize("which", SCRIPTS)
def test_a_script_of_the_readme_is_killed_and_goes_on_as_the_readme_says(which: str) -> None:
    scripts = [block for block in blocks("python") if block.startswith(("import ", "from "))]
    script = scripts[[*SCRIPTS].index(which)]
    folder, line, killing, watch = SCRIPTS[which]
    with start("import os\n" + script.replace(line, killing) if line else script) as first:
        watch(first)
    assert first.returncode == -signal.SIGKILL
    with start(script) as second:
        said, _ = second.communicate()
    assert second.returncode == 0
    found = re.search(
        rf"^outlast: resumed {folder} at epoch (\d){CHECKED}, resume point (\d)\b", said, re.MULTILINE
    )
    assert found and int(found[1]) == int(found[2]) + 1 <= 5
    best = outlast.open_run(Path(folder).absolute()).best
    assert best and said.endswith(f"{best}\n")


def test_the_readmes_training_without_epochs_runs_below_the_script_above_it() -> None:
    script, steps = blocks("python")[1:3]
    names: Names = {}
    said = run(script.replace("epochs(100)", "epochs(2)") + steps.replace("5_000", "1_000"), names)
    assert [len(names["run"].history.rows), names["run"].step] == [2, 1000]
    assert "exact" not in said and "anew" not in said


def test_the_line_at_a_resume_that_the_readme_shows_is_for_the_epoch_that_keras_shows() -> None:
    (shown,) = [block for block in blocks("console") if "resumed" in block]
    epoch, point = re.findall(rf"at epoch (\d+){CHECKED}, resume point (\d+)\n", shown)[0]
    assert int(epoch) == int(point) + 1
    assert shown.count(f"Epoch {epoch}/100\n") == 2


def recipe(target: str) -> list[str]:
    """A target's lines in the Makefile, as a person would type them."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (lines,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    python = makefile.partition("python = ")[2].partition("\n")[0]
    typed = lines.replace("$(python)", python).splitlines()
    return [re.sub(r" \$\(\w+\)$", "", line).strip("\t@") for line in typed]


def test_there_are_exactly_two_commands_and_without_make_the_lines_behind_them() -> None:
    assert blocks("sh") == ["make demo\nmake test\n"]
    (lines,) = blocks("sh", CONTRIBUTING)
    assert [line for line in lines.splitlines() if line] == [*recipe("demo"), *recipe("test")]


def test_every_command_that_is_named_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES.values():
        assert set(re.findall(r"\bmake (\w+)(?=`|\n| {2})", page)) <= targets


def accepted(arguments: list[str]) -> bool:
    try:
        cli._parser().parse_args(arguments)
    except SystemExit:
        return False
    return True


def test_every_line_of_the_command_line_is_understood() -> None:
    text = "\n".join(PAGES.values())
    lines = re.findall(r"^(?:    |\$ )outlast ((?:\S+ ?)+)", text, re.MULTILINE)
    assert len(lines) > 10
    assert [line for line in lines if not accepted(line.split())] == []


def test_the_exit_codes_are_those_of_the_help() -> None:
    rows = table(PAGES["docs/command-line.md"], "Exit codes")
    for code in cli.CODES.partition("exit codes: ")[2].split("; "):
        number, _, meaning = code.partition(" (")[0].partition(" ")
        assert rows[number][0].startswith(meaning), code


def test_every_name_of_ours_exists() -> None:
    for page in PAGES.values():
        for name in re.findall(r"\boutlast\.([A-Za-z]\w*)", page):
            assert hasattr(outlast, name), name


def test_the_table_of_extras_is_complete() -> None:
    named = quoted(table(PAGES["docs/getting-started.md"], "Install"))
    assert named == set(PROJECT["optional-dependencies"]) - {"bench", "test"}


def public(base: type) -> set[str]:
    found = {name: getattr(outlast, name) for name in outlast.__all__}
    return {name for name, one in found.items() if isinstance(one, type) and issubclass(one, base)}


def test_the_tables_of_callbacks_are_complete() -> None:
    everything = public(outlast.Callback) | {"CallbackList", "Run"}
    assert quoted(table(CALLBACKS, "Callbacks")) == everything
    assert quoted(table(README, "All callbacks")) == everything - {"Callback", "CallbackList", "Run"}


def test_the_table_of_callbacks_has_each_argument_that_keras_lacks() -> None:
    import keras

    for name, cells in table(CALLBACKS, "Callbacks").items():
        ours = re.sub(r"\W.*", "", name.lstrip("[`"))
        theirs = getattr(keras.callbacks, ours, None)
        if theirs is not None:
            found = {*arguments(getattr(outlast, ours))} - {*arguments(theirs)}
            assert quoted(cells[1:]) == found, ours


def arguments(what: Any) -> list[str]:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [name for name, one in inspect.signature(what).parameters.items() if one.kind not in kinds]


def test_the_table_of_a_runs_arguments_is_complete() -> None:
    named = quoted(table(RUN, "Arguments"))
    assert named == {*arguments(outlast.Run)} - {"folder", "callbacks"}


def test_the_members_of_a_run_exist_and_open_run_has_those_that_are_marked() -> None:
    with outlast.Run("a", adapter=outlast.testing.FakeAdapter()) as run:
        for _ in run.epochs(1):
            run.log(loss=1.0)
    rows = table(RUN, "Members")
    with_state = outlast.Run(None, state={"w": 1.0})
    assert quoted(rows) - {*dir(run), *dir(with_state)} == set()
    marked = {name for name, cells in rows.items() if cells[1] == "yes"}
    assert quoted(marked) - {*dir(outlast.open_run("a"))} == set()


def test_the_table_of_errors_is_complete() -> None:
    named = quoted(table(RUN, "Errors")) | {"OutlastError"}
    classes = [one for one in vars(exceptions).values() if isinstance(one, type)]
    assert named == {one.__name__ for one in classes if issubclass(one, exceptions.OutlastError)}


def test_what_the_readme_says_is_proven_is_what_the_campaign_found() -> None:
    found = re.findall(r"^\| (.*?) \|.*\*\*(\d+) of (\d+)\*\*", PAGES["docs/crashes.md"], re.MULTILINE)
    sums = {"`outlast.Run`": [0, 0], "`save_every=3`": [0, 0], "own callbacks": [0, 0]}
    for training, same, killed in found:
        (who,) = [who for who in sums if who in training]
        sums[who] = [sums[who][0] + int(same), sums[who][1] + int(killed)]
    said = re.findall(r"\| (\d+) of (\d+) \|", README)
    assert [[int(same), int(killed)] for same, killed in said] == [*sums.values()]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_to_a_heading(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text("utf-8")), link


def test_the_picture_is_there_and_small() -> None:
    picture = (ROOT / "docs" / "history.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 100_000


def numbers_tested() -> set[str]:
    tree = ast.parse((ROOT / "tests/parity/test_differences.py").read_text("utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {name.split("_")[1] for name in names if name.startswith("test_")}


def test_each_difference_from_keras_has_a_test_and_each_test_stands_in_the_table() -> None:
    rows = re.findall(r"^\| (\d+) \|", DIFFERENCES, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == numbers_tested()


def test_the_page_of_the_house_has_the_layers_that_the_tests_hold() -> None:
    written = re.findall(r"^\| `([\w.<>]+?)/?` \|", ARCHITECTURE, re.MULTILINE)
    named = ["frameworks" if name == "frameworks.<name>" else name for name in written]
    assert named == list(LAYERS)


def test_every_file_that_the_page_of_the_house_names_exists() -> None:
    named = set(re.findall(r"`((?:src|tests|scripts|bench|docs)/[\w./]+)`", ARCHITECTURE))
    assert [path for path in named if not (ROOT / path).exists()] == []
    inside = set(re.findall(r"`((?:\w+/)+\w+\.py|\w+\.py)`", ARCHITECTURE)) - named
    assert [path for path in inside if not (SOURCE / "outlast" / path).exists()] == []


def test_the_changelog_begins_with_what_is_not_released() -> None:
    headings = re.findall(r"^## (.*)$", PAGES["CHANGELOG.md"], re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert PROJECT["version"] == outlast.__version__
