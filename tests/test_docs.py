"""The documentation is true: its code runs, its commands and files exist, its tables are complete."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.test_architecture import LAYERS, SOURCE

import outlast
from outlast import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
PAGES = {path.name: path.read_text("utf-8") for path in ROOT.glob("*.md")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

Names = dict[str, Any]


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def block_with(text: str) -> str:
    (found,) = [block for block in blocks("python") if text in block]
    return found


def run(code: str, names: Names) -> str:
    """What the code prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), names)
    return printed.getvalue()


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


def test_the_lines_for_keras_run_and_leave_the_files_that_they_name() -> None:
    import keras

    names = keras_names()
    run(block_with("plot_history"), names)
    assert keras.saving.load_model("best.keras").count_params() == names["model"].count_params()
    assert Path("history.csv").read_text().startswith("epoch,learning_rate,loss,val_loss\n")
    assert Path("history.png").read_bytes().startswith(b"\x89PNG")


def test_the_lines_for_pytorch_run_and_leave_the_files_that_they_name() -> None:
    import torch

    names = torch_names()
    run(block_with("stop_training"), names)
    names["model"].load_state_dict(torch.load("best.pt", weights_only=True))
    assert Path("history.csv").read_text().startswith("epoch,learning_rate,loss,val_loss\n")


def test_the_lines_for_a_run_in_keras_run_and_show_the_best_epoch() -> None:
    names = keras_names()
    assert "epoch=" in run(block_with('"runs/digits"'), names)
    assert names["run"].history["val_loss"] == outlast.open_run("runs/digits").history["val_loss"]


def test_the_lines_for_a_run_in_pytorch_run_and_load_the_best_state() -> None:
    names = torch_names()
    run(block_with('"runs/mlp"'), names)
    assert names["best"].keys() == names["model"].state_dict().keys()


def test_the_lines_without_a_loop_print_what_stands_below_them() -> None:
    printed = run(block_with(".update("), {})
    assert f"```\n\n    {printed}" in README


def test_no_python_block_is_left_unrun() -> None:
    assert len(blocks("python")) == 5


def recipe(target: str) -> list[str]:
    """A target's lines in the Makefile, as a person would type them."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (lines,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    python = makefile.partition("python = ")[2].partition("\n")[0]
    typed = lines.replace("$(python)", python).splitlines()
    return [re.sub(r" \$\(\w+\)$", "", line).strip("\t@") for line in typed]


def test_there_are_exactly_two_commands_and_without_make_the_lines_behind_them() -> None:
    two, lines = blocks("sh")[:2]
    assert two == "make demo\nmake test\n"
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
    lines = re.findall(r"^    outlast ((?:\S+ ?)+)", README, re.MULTILINE)
    assert len(lines) > 3
    assert [line for line in lines if not accepted(line.split())] == []


def test_the_exit_codes_are_those_of_the_help() -> None:
    codes = cli.CODES.partition("exit codes: ")[2].split("; ")
    assert [code for code in codes if code.partition(" (")[0] not in README.replace("\n", " ")] == []


def test_every_name_of_ours_exists() -> None:
    for page in PAGES.values():
        for name in re.findall(r"\boutlast\.([A-Za-z]\w*)", page):
            assert hasattr(outlast, name), name


def test_the_table_of_extras_is_complete() -> None:
    section = README.partition("## Extras")[2].partition("\n## ")[0]
    firsts = re.findall(r"^\| (`\w+`.*?) \|", section, re.MULTILINE)
    named = {name for first in firsts for name in re.findall(r"`(\w+)`", first)}
    assert named == set(PROJECT["optional-dependencies"]) - {"test"}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", PAGES[page])
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_the_picture_is_there_and_small() -> None:
    picture = (ROOT / "docs" / "history.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 100_000


def numbers_tested() -> set[str]:
    tree = ast.parse((ROOT / "tests/parity/test_differences.py").read_text("utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {name.split("_")[1] for name in names if name.startswith("test_")}


def test_each_difference_from_keras_has_a_test_and_each_test_stands_in_the_table() -> None:
    section = README.partition("## Where we differ from Keras")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \|", section, re.MULTILINE)
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
