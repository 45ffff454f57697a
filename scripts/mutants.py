"""Change core/ in one place at a time, and see which test catches it.

    python scripts/mutants.py [MODULE ...] [--jobs N] [--all]

Every comparison, boolean, arithmetic operator, constant, condition and return of the modules is
changed in turn; the module's own tests run against each change. A line a mutant: where, what, and
the test that caught it. Exit code 1 if one was caught by none and is not listed as equivalent, with
the reason, in scripts/equivalent_mutants.txt.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "src" / "outlast" / "core"
TESTS = ROOT / "tests" / "core"
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")
TIMEOUT = 60  # seconds; a change that makes a loop endless is caught by the clock

COMPARISONS: dict[type[ast.cmpop], list[type[ast.cmpop]]] = {
    ast.Lt: [ast.LtE, ast.Gt],
    ast.LtE: [ast.Lt, ast.GtE],
    ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.LtE],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str
    line: int
    before: str
    after: str
    tree: ast.Module

    @property
    def change(self) -> str:
        return f"{_first_line(self.before)}  ->  {_first_line(self.after)}"

    @property
    def name(self) -> str:
        return f"{self.module}: {self.change}"


def _first_line(code: str) -> str:
    return code.partition("\n")[0]


def mutants(path: Path) -> Iterator[Mutant]:
    """Every change of a module, one at a time."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    texts = _texts(tree)
    for index, node in enumerate(nodes):
        if node in texts:
            continue
        for change in range(_count(node)):
            changed = copy.deepcopy(tree)
            target = list(ast.walk(changed))[index]
            before = ast.unparse(target)
            _apply(target, change)
            after = ast.unparse(target)
            if after != before:
                yield Mutant(path.stem, node.lineno, before, after, ast.fix_missing_locations(changed))


def _texts(tree: ast.Module) -> set[ast.AST]:
    """What is no behaviour: docstrings, annotations, the words of messages, and zip's strict."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found |= {node, node.value}
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation is not None:
            found |= set(ast.walk(node.annotation))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns is not None:
            found |= set(ast.walk(node.returns))
        if isinstance(node, ast.keyword) and node.arg == "strict":  # a promise that holds by construction
            found |= set(ast.walk(node))
        if isinstance(node, ast.JoinedStr):
            found |= set(ast.walk(node))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):  # a type's alias
            found |= set(ast.walk(node.value)) if "Literal" in ast.unparse(node.value) else set()
    return found


def _count(node: ast.AST) -> int:
    """In how many ways a node can be changed."""
    if isinstance(node, ast.Compare):
        return sum(len(COMPARISONS.get(type(op), [])) for op in node.ops)
    if isinstance(node, (ast.BoolOp, ast.If, ast.IfExp, ast.Return)):
        return 1
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        return int(type(node.op) in ARITHMETIC)
    if isinstance(node, ast.UnaryOp):
        return int(isinstance(node.op, (ast.Not, ast.USub)))
    if isinstance(node, ast.Constant):
        return int(isinstance(node.value, (bool, int, float)))
    return 0


def _apply(node: ast.AST, change: int) -> None:
    if isinstance(node, ast.Compare):
        choices = [(i, new) for i, op in enumerate(node.ops) for new in COMPARISONS.get(type(op), [])]
        place, new = choices[change]
        node.ops[place] = new()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, (ast.If, ast.IfExp)):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Return):
        node.value = ast.Constant(None)
    elif isinstance(node, (ast.BinOp, ast.AugAssign)):
        node.op = ARITHMETIC[type(node.op)]()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else node.op
        if isinstance(node.op, ast.Not):
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1


class Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module of core in its changed form."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant, self.name = mutant, f"outlast.core.{mutant.module}"

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module):  # type: ignore[no-untyped-def]
        path = str(CORE / f"{self.mutant.module}.py")
        module.__file__ = path
        exec(compile(self.mutant.tree, path, "exec"), module.__dict__)


def verdict(mutant: Mutant) -> str | None:
    """The test that catches the mutant, None if none does; in a child, so that nothing stays."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run_tests(mutant, writer)
    os.close(writer)
    with open(reader) as pipe:
        found = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(found) if found else "the clock, or a crash"


def _run_tests(mutant: Mutant, writer: int) -> None:
    import pytest

    class Watch:
        caught: str | None = None

        def pytest_runtest_logreport(self, report):  # type: ignore[no-untyped-def]
            if report.failed and self.caught is None:
                self.caught = report.nodeid

        def pytest_collectreport(self, report):  # type: ignore[no-untyped-def]
            if report.failed and self.caught is None:
                self.caught = f"importing {report.nodeid}"

    signal.alarm(TIMEOUT)
    sys.meta_path.insert(0, Importer(mutant))
    watch = Watch()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pytest.main(
            ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:warnings", *tests_of(mutant.module)], [watch]
        )
    os.write(writer, json.dumps(watch.caught).encode())
    os._exit(0)


def tests_of(module: str) -> list[str]:
    """The module's own tests first, then all others of core."""
    own = sorted(str(path) for path in TESTS.glob("test_*.py") if module in path.stem)
    others = sorted(str(path) for path in TESTS.glob("test_*.py") if str(path) not in own)
    return [*own, *others]


def equivalents() -> dict[str, str]:
    """Changes that change nothing, with the reason."""
    if not EQUIVALENT.exists():
        return {}
    lines = (line for line in EQUIVALENT.read_text().splitlines() if line and not line.startswith("#"))
    return dict(tuple(line.split("  #  ", 1)) for line in lines)  # type: ignore[misc]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", help="such as stopping; all of core if left out")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    paths = [p for p in sorted(CORE.glob("*.py")) if p.stem != "__init__"]
    paths = [p for p in paths if not options.modules or p.stem in options.modules]
    import hypothesis  # noqa: F401  (before the forks, once)
    import pytest  # noqa: F401

    all_mutants = [mutant for path in paths for mutant in mutants(path)]
    known, left = equivalents(), []
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutant, caught in zip(all_mutants, pool.map(verdict, all_mutants), strict=True):
            excused = known.get(mutant.name)
            if caught is None and excused is None:
                left.append(mutant)
            by = caught or (f"equivalent: {excused}" if excused else "NOTHING")
            print(
                f"core/{mutant.module}.py:{mutant.line}  {mutant.before}  ->  {mutant.after}  |  {by}",
                flush=True,
            )
    print(f"{len(all_mutants)} mutants, {len(left)} left over")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
