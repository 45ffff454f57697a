"""The house keeps its layers: a file imports from its own row and the rows above, and nothing in a circle.

The imports are read from the source, those inside functions too, so nothing needs to be installed.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
PYPROJECT = ROOT / "pyproject.toml"

LAYERS = (
    "exceptions",
    "core",
    "storage.disk",
    "storage.format",
    "storage",
    "inspect",
    "views",
    "frameworks.base",
    "callbacks",
    "frameworks",
    "run",
    "rehearse",
    "demo",
    "cli",
)
OUTSIDE = {"", "testing", "__main__"}
USERS = {"demo", "cli"}  # of the public names, as anybody's program is
ALLOWED_IN = {
    "core": {"core", "exceptions"},
    "views": {"views", "inspect", "storage.disk", "core", "exceptions"},
}

NOT_PURE = {
    *("asyncio", "ctypes", "datetime", "http", "logging", "mmap", "multiprocessing", "os"),
    *("pathlib", "pickle", "random", "secrets", "shutil", "signal", "socket", "sqlite3", "ssl"),
    *("subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "warnings"),
}
WAIVED = {"outlast.core.metrics imports pandas"}  # Metrics.to_pandas(), when somebody calls it
EFFECTS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}


class Import(NamedTuple):
    """Who imports what; ``deferred`` if it happens only when a function is called."""

    importer: str
    imported: str
    deferred: bool


Sources = dict[str, str]  # a module's full name to its text


def read_sources() -> Sources:
    return {name_of(path): path.read_text("utf-8") for path in SOURCE.rglob("*.py")}


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(sources: Sources) -> list[Import]:
    return [
        Import(importer, imported, deferred)
        for importer, text in sources.items()
        for node, deferred in import_statements(ast.parse(text))
        for imported in modules_named(node, sources)
    ]


def import_statements(
    tree: ast.AST, deferred: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, deferred
        else:
            in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from import_statements(node, deferred or in_function or is_for_types(node))


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def modules_named(node: ast.Import | ast.ImportFrom, sources: Sources) -> list[str]:
    """``from outlast.core import stopping`` names the submodule, not the package."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, f"relative import of {node.module}: write it in full"
    assert node.module is not None
    submodules = [f"{node.module}.{alias.name}" for alias in node.names]
    return [name if name in sources else node.module for name in submodules]


def room(module: str) -> str:
    """``outlast.core.stopping`` is in ``core``; storage has rooms within it."""
    inside = module.partition(".")[2]
    if inside in {"frameworks", "frameworks.base"}:
        return "frameworks.base"
    for inner in ("storage.disk", "storage.format"):
        if inside == inner or inside.startswith(inner + "."):
            return inner
    return inside.partition(".")[0]


def may_import(importer: str, imported: str) -> bool:
    """Whether the layers let a room import another."""
    if importer in OUTSIDE:
        return True
    if imported in OUTSIDE:
        return imported == "" and importer in USERS
    if importer in ALLOWED_IN:
        return imported in ALLOWED_IN[importer]
    return LAYERS.index(imported) <= LAYERS.index(importer)


def is_ours(module: str) -> bool:
    return module.partition(".")[0] == "outlast"


def wrong_layers(sources: Sources) -> list[str]:
    return [
        f"{it.importer} imports {it.imported}"
        for it in imports(sources)
        if is_ours(it.imported)
        and (not may_import(room(it.importer), room(it.imported)) or is_another_framework(it))
    ]


def is_another_framework(it: Import) -> bool:
    """Whether one framework's file imports another's."""
    names = [name.removeprefix("outlast.frameworks.") for name in (it.importer, it.imported)]
    return len({*names}) == 2 and FRAMEWORKS.issuperset(names)


def cycle(sources: Sources) -> list[str]:
    """One circle of imports, or nothing."""
    graph: dict[str, set[str]] = {name: set() for name in sources}
    for it in imports(sources):
        if is_ours(it.imported):
            graph[it.importer].add(it.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def early_foreign_imports(sources: Sources) -> list[str]:
    """Packages that are imported with our modules, not when something of ours is called."""
    return [
        f"{it.importer} imports {it.imported}"
        for it in imports(sources)
        if not (it.deferred or is_ours(it.imported) or is_standard(it.imported))
        and room(it.importer) != "frameworks"
    ]


def is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def impurities(sources: Sources) -> list[str]:
    """What ``core`` does beyond computing: files, clocks, threads, packages."""
    core = {name: text for name, text in sources.items() if room(name) == "core"}
    impure_imports = [
        f"{it.importer} imports {it.imported}"
        for it in imports(core)
        if not is_ours(it.imported)
        and (it.imported.partition(".")[0] in NOT_PURE or not is_standard(it.imported))
    ]
    return impure_imports + [
        f"{name} calls {ast.unparse(node.func)}"
        for name, text in core.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in EFFECTS
    ]


FRAMEWORKS = {
    *("flax", "jax", "keras", "lightgbm", "lightning", "ray", "sklearn", "tensorflow", "tf_keras", "torch"),
    *("transformers", "xgboost"),
}


def framework_names(sources: Sources) -> list[str]:
    """Where code outside ``frameworks/`` names a framework: in imports, names, or text that is no prose."""
    return [
        f"{module} names {name}"
        for module, text in sources.items()
        if room(module) not in ("frameworks", "frameworks.base", "demo")
        for node in ast.walk(ast.parse(text))
        for name in names_in(node)
        if not FRAMEWORKS.isdisjoint(name.split("."))
    ]


def names_in(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module, names):
            return [f"{module}.{alias.name}" for alias in names]
        case ast.Name(name) | ast.Attribute(attr=name):
            return [name]
        case ast.Constant(str(text)) if not text.startswith("."):
            return [text]
    return []


def named_extras(sources: Sources) -> set[str]:
    """What calls of ``MissingExtra`` tell people to install."""
    return {
        ast.literal_eval(keyword.value)
        for text in sources.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("MissingExtra")
        for keyword in node.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Constant)
    }


def test_every_file_stands_in_a_room_of_the_plan() -> None:
    assert {room(name) for name in read_sources()} <= {*LAYERS, *OUTSIDE}


def test_a_file_imports_only_from_its_own_row_and_the_rows_above() -> None:
    assert wrong_layers(read_sources()) == []


def test_nothing_is_imported_in_a_circle() -> None:
    assert cycle(read_sources()) == []


def test_core_computes_and_nothing_else() -> None:
    assert set(impurities(read_sources())) == WAIVED


def test_an_extra_that_an_error_names_exists() -> None:
    extras = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    assert named_extras(read_sources()) <= set(extras)


def test_a_framework_is_named_in_frameworks_alone() -> None:
    assert framework_names(read_sources()) == []


@pytest.mark.parametrize(
    "text",
    [
        "from outlast.frameworks import torch",
        "from outlast.frameworks.torch import load",
        "def f():\n    import keras.ops",
        "sys.modules['jax']",
        "outlast.frameworks.xgboost.callbacks",
    ],
)
def test_a_framework_that_is_named_elsewhere_is_found(text: str) -> None:
    assert len(framework_names({"outlast.run.x": text})) == 1
    assert framework_names({"outlast.frameworks.torch": text}) == []


def test_packages_are_imported_when_needed_except_by_their_own_adapter() -> None:
    assert early_foreign_imports(read_sources()) == []


@pytest.mark.parametrize(
    ("importer", "statement"),
    [
        ("outlast.core.stopping", "import outlast.storage.disk.files"),
        ("outlast.core.stopping", "from outlast.frameworks import base"),
        ("outlast.storage.output", "from outlast.callbacks.base import Callback"),
        ("outlast.views.table", "from outlast.frameworks.base import Adapter"),
        ("outlast.frameworks.base", "def find():\n    import outlast.frameworks.keras"),
        ("outlast.callbacks.base", "from outlast.frameworks import keras"),
        ("outlast.frameworks.keras", "from outlast.run.run import Run"),
        ("outlast.frameworks.torch", "from outlast.frameworks import keras"),
        ("outlast.views.table", "from outlast.storage import commit"),
        ("outlast.demo", "from outlast import cli"),
        ("outlast.cli", "from outlast.testing import drive"),
        ("outlast.exceptions", "import outlast"),
    ],
)
def test_an_import_from_a_row_below_is_found(importer: str, statement: str) -> None:
    names = ["outlast.frameworks.keras", "outlast.cli", "outlast.storage.commit"]
    sources = dict.fromkeys(names, "")
    assert len(wrong_layers({**sources, importer: statement})) == 1


def test_a_circle_is_found_wherever_the_imports_stand() -> None:
    sources = {
        "outlast.core.a": "from outlast.core import b",
        "outlast.core.b": "def f():\n    from outlast.core.c import g",
        "outlast.core.c": "if TYPE_CHECKING:\n    import outlast.core.a",
    }
    assert set(cycle(sources)) == set(sources)
    assert cycle({**sources, "outlast.core.c": ""}) == []


@pytest.mark.parametrize(
    "text", ["import time", "def f():\n    import numpy", "io.open('x')", "from os.path import join"]
)
def test_an_effect_in_core_is_found(text: str) -> None:
    assert len(impurities({"outlast.core.x": text})) == 1


def test_an_early_import_of_a_package_is_found() -> None:
    early, late = "import numpy", "def f():\n    import numpy"
    assert early_foreign_imports({"outlast.callbacks.x": early}) == ["outlast.callbacks.x imports numpy"]
    assert early_foreign_imports({"outlast.callbacks.x": late}) == []
    assert early_foreign_imports({"outlast.frameworks.torch": early}) == []


def foreign_modules_after(statement: str) -> set[str]:
    """What a fresh interpreter imports for a statement, beside outlast and the standard library."""
    program = f"""
import json, sys
before = set(sys.modules)
{statement}
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return {name for name in json.loads(run.stdout) if not (is_ours(name) or is_standard(name))}


@pytest.mark.parametrize(
    "statement",
    [
        "import outlast",
        "import outlast; [getattr(outlast, name) for name in outlast.__all__]",
    ],
)
def test_importing_outlast_and_naming_all_it_has_imports_no_package(statement: str) -> None:
    assert foreign_modules_after(statement) == set()


def test_an_import_of_a_package_would_be_seen() -> None:
    assert "numpy" in foreign_modules_after("import outlast, numpy")
