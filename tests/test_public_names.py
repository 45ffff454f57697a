"""The public names are one list, wherever it is written: the lazy table, the types, the errors."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import outlast
from outlast import exceptions

SOURCE = Path(outlast.__file__).read_text("utf-8")
TYPED = (Path(__file__).parent / "typing" / "api.py").read_text("utf-8")

PUBLIC = """
ArgumentError Batches Best CSVLogger Callback CallbackList CapabilityError DamagedFile Decision EarlyStopping
FileError History LambdaCallback LearningRateScheduler MetricError Metrics MissingExtra ModelCheckpoint
OutlastError OutlastWarning ProgressLine ReduceLROnPlateau Run RunChanged RunLocked TemplateError
TerminateOnNaN TimeLimit UnknownArgument UnknownDirection UnknownFormat UsageError open_run plot_history
""".split()


def names_for_type_checkers() -> dict[str, str]:
    """Each name that is imported under TYPE_CHECKING, and the module that it comes from."""
    (block,) = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def test_the_public_names_are_these() -> None:
    assert sorted(outlast.__all__) == PUBLIC
    assert sorted(dir(outlast)) == sorted([*PUBLIC, "__version__"])


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    homes = {name: f"outlast.{home}" for name, home in outlast._HOMES.items()}
    assert names_for_type_checkers() == homes


def test_each_public_name_loads() -> None:
    for name in PUBLIC:
        assert getattr(outlast, name).__name__ == name


def test_the_file_of_types_uses_every_public_name_and_no_other() -> None:
    assert set(re.findall(r"\boutlast\.([A-Za-z]\w*)", TYPED)) - {"testing"} == set(PUBLIC)


def test_every_error_and_warning_is_public() -> None:
    classes = inspect.getmembers(exceptions, inspect.isclass)
    own = {name for name, one in classes if one.__module__ == exceptions.__name__}
    assert {name for name, home in outlast._HOMES.items() if home == "exceptions"} == own


def test_the_tree_of_errors_in_the_docstring_is_the_real_one() -> None:
    tree = (exceptions.__doc__ or "").partition("The tree::")[2]
    for name, home in outlast._HOMES.items():
        if home == "exceptions":
            line = next(line for line in tree.splitlines() if re.search(rf"\b{name}\b", line))
            bases = set(re.findall(r"\w+", (re.search(r"\((.*?)\)", line) or [""])[0]))
            built_in = {
                base.__name__ for base in getattr(outlast, name).__bases__ if base.__module__ == "builtins"
            }
            assert bases == built_in - {"Exception"}, name


def test_each_callback_of_keras_is_public_here_or_answered_with_what_to_use() -> None:
    import keras

    theirs = {name for name, one in inspect.getmembers(keras.callbacks, inspect.isclass)}
    assert theirs - set(PUBLIC) == set(outlast._KERAS_ONLY)


@pytest.mark.parametrize("name", [name for name in outlast._KERAS_ONLY if name != "BackupAndRestore"])
def test_a_callback_of_keras_that_works_beside_ours_is_named(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(outlast, name)
    hint = f"Use keras.callbacks.{name}, in the same list of callbacks."
    assert str(caught.value) == f"module 'outlast' has no attribute '{name}'. {hint}"


def test_a_run_does_what_backup_and_restore_does() -> None:
    with pytest.raises(AttributeError, match=r"A Run does that: pass fit outlast\.Run\(folder, callbacks\)"):
        outlast.BackupAndRestore  # noqa: B018
