"""The rules of the root conftest.py: what is left out in CI is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).parent.parent / "conftest.py"

LEFT_OUT = {
    "a missing framework": "import pytest\ndef test(): pytest.importorskip('no_such_framework')",
    "one missing for a whole file": "import pytest\npytest.importorskip('no_such_framework')",
    "a mark": "import pytest\n@pytest.mark.skip(reason='not today')\ndef test(): pass",
    "an example": "def f():\n    '''>>> 1  # doctest: +SKIP\n    2'''",
}
NOT_LEFT_OUT = {
    "has no meaning here": "import pytest\ndef test(): pytest.skip('only on torch')",
    "known to fail": "import pytest\n@pytest.mark.xfail(strict=True)\ndef test(): assert False",
}


def outcomes(pytester: pytest.Pytester, test: str) -> dict[str, int]:
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(test)
    return pytester.runpytest_inprocess("--doctest-modules").parseoutcomes()


@pytest.mark.parametrize("test", LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_skip_is_an_error_in_ci(
    test: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    found = outcomes(pytester, test)
    assert set(found) <= {"failed", "errors"} and found, found


@pytest.mark.parametrize("test", LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_skip_is_a_skip_elsewhere(
    test: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert set(outcomes(pytester, test)) == {"skipped"}


@pytest.mark.parametrize("test", NOT_LEFT_OUT.values(), ids=NOT_LEFT_OUT)
def test_what_has_no_meaning_here_or_is_known_to_fail_is_no_error_in_ci(
    test: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    assert set(outcomes(pytester, test)) <= {"skipped", "xfailed"}
