"""Runs as text for the terminal: a table of many, a page about one, the result of a verification.

A run's folder may come from anybody, so every text from it is escaped, and cut to a sensible length.
"""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from outlast.inspect.details import Details, Point
from outlast.inspect.status import Outlook, RunStatus, Status
from outlast.inspect.verification import Verification
from outlast.views.table import labelled, table
from outlast.views.text import ago, clipped, escaped, shown, size, text_width

_LONGEST = 500  # characters of a text
_WHY = 100  # characters of a reason in a table
_LEAST_REASON = 22  # a narrower column of reasons is useless
_LEAST_NAME = 12
_HEADERS = ("run", "status", "epochs", "best (epoch)", "written")
_RESULTS, _REASONS = "results", "why it stopped"
_MODELS = ("file", "epoch", "value", "why")
_FEW = 10  # decisions and events, unless --all is given
_DEPTH = 3  # levels of nested settings
_INDENT = "  "


def overview(runs: Sequence[RunStatus], folder: str, *, now: float, width: int | None = None) -> str:
    """A table of runs: status, epochs, best epoch, and why each stopped.

    Args:
        runs: the status of each.
        folder: where they were found; their names are shown relative to it.
        now: the time, in seconds since 1970.
        width: the terminal's width in characters. If it is too narrow for a column of reasons,
            that column is left out, and only problems are listed, below the table. None: no limit.
    """
    names = [_brief(os.path.relpath(run.folder, folder)) for run in runs]
    headers = (*_HEADERS, *[_RESULTS] * any(run.results for run in runs))
    facts = [
        (run.status.value, _epochs(run, "/"), _best(run), _ago(run, now), _results(run))[: len(headers) - 1]
        for run in runs
    ]
    spare = sys.maxsize if width is None else width - _width_of([*facts, headers[1:]])
    reasons = [clipped(_brief(run.why), _WHY) for run in runs]
    if spare < max(map(text_width, names), default=0) + _LEAST_REASON:
        rows = [(_tail(name, spare), *fact) for name, fact in zip(names, facts, strict=True)]
        wrong = [f"{name}: {run.problem}" for name, run in zip(names, runs, strict=True) if run.problem]
        below = ["", *(clipped(_brief(text), width or _LONGEST) for text in wrong)]
        return "\n".join([table(rows, headers, width=width), *(below if wrong else [])])
    lines = zip(names, facts, reasons, strict=True)
    return table([(name, *fact, why) for name, fact, why in lines], (*headers, _REASONS), width=width)


def page(run: Details, *, now: float, width: int | None = None, everything: bool = False) -> str:
    """A page with everything about one run.

    Args:
        run: the run.
        now: the time, in seconds since 1970.
        width: the terminal's width in characters. None: no limit.
        everything: show all decisions and events, not only the last ten.
    """
    most = 0 if everything else _FEW  # 0: all
    room = width and width - len(_INDENT)
    decisions, events = run.decisions[-most:], run.events[-most:]
    points = table(map(_point, run.points), width=room)
    sections = {
        _counted("Decisions", len(decisions), len(run.decisions)): _wrapped(
            (one.sentence for one in decisions), room
        ),
        "Kept models": table(_models(run), _MODELS, width=room) if run.checkpoints else "",
        "Files": table([(_brief(one.name), _size(one.size), one.what) for one in run.files], width=room),
        _counted("Events", len(events), len(run.events)): table(map(_event, events), width=room),
        "Resume": f"{points}\n{_wrapped(_resume(run.outlook, run.run), room)}",
    }
    head = f"{_brief(run.run.folder)}: {run.run.status.value}"
    blocks = [f"{head}\n\n{labelled(_facts(run, now), width)}"]
    blocks += [f"{title}\n{_indented(text)}" for title, text in sections.items() if text]
    return "\n\n".join(blocks)


def verdict(run: Verification) -> str:
    """The result of a verification: a summary, then a line for each file that is not simply whole."""
    lines = [f"{_brief(run.run.folder)}: {_summary(run)}"]
    odd = [check for check in run.checks if check.detail or not check.verdict.good]
    files = table([(_brief(one.file), one.verdict.value, _brief(one.detail)) for one in odd])
    lines += [_indented(files)] if odd else []
    if run.checks:
        lines += map(_INDENT.__add__, _resume(run.outlook, run.run))
    if run.leftovers:
        lines.append(f"{_INDENT}It deletes leftover files: {_brief(', '.join(run.leftovers))}.")
    if run.foreign:
        lines.append(f"{_INDENT}It sets files of another run aside: {_brief(', '.join(run.foreign))}.")
    return "\n".join(lines)


def _summary(run: Verification) -> str:
    count = len(run.checks)
    writer = f"; {_holder(run.run)} is writing it" if run.run.status is Status.RUNNING else ""
    if not count:
        nothing = "its files change faster than they can be checked" if run.untold else "nothing is saved yet"
        return _brief(run.run.problem) or f"{nothing}{writer}"
    if not run.holds:
        wrong = sum(not check.verdict.good for check in run.checks)
        if not wrong:  # whoever wrote it wrote nonsense
            return f"DAMAGED, though all {count} files are what was written: {_brief(run.run.problem)}"
        return f"DAMAGED, {wrong} of {count} files damaged, changed or missing"
    if run.untold:
        more = f"{len(run.untold)} more changed before that"
        return f"all {count} files that could be checked are intact; {more}{writer}"
    return f"all {count} files are intact{writer}"


def _resume(outlook: Outlook | None, run: RunStatus) -> Iterator[str]:
    """Sentences that say what a resume would do."""
    if outlook is None:
        yield "A resume would be refused; it would change nothing."
        return
    if outlook.point is None:
        yield "A resume starts from the beginning: nothing is saved."
    elif outlook.finished:
        yield f"A resume takes resume point {outlook.point}: the training is finished."
    else:
        of = "" if run.requested is None else f" of {run.requested}"
        inside = "" if outlook.batch is None else f" after batch {outlook.batch}"
        next_one = f"epoch {outlook.epoch + 1}{of}{inside}"
        yield f"A resume takes resume point {outlook.point} and continues with {next_one}."
    for name, source in outlook.mends.items():
        yield f"It restores {_brief(name)} from {_brief(source)}."
    for lost in outlook.loses:
        yield f"It loses {_brief(lost)}."
    if outlook.point is not None and not outlook.loses:
        yield "It loses nothing."


def _facts(run: Details, now: float) -> dict[str, list[str]]:
    """The top of a page: labels, with the lines for each."""
    status, settings = run.run, dict(run.settings)
    callbacks = settings.pop("callbacks", {})
    facts = {
        "problem": status.problem,
        status.unit: _epochs(status, " of "),
        "best": _best_in_words(status),
        "results": _results(status, _LONGEST),
        "stopped": status.stop.sentence if status.stop else "" if status.problem else status.why,
        "written": _written(status, now),
        "open in": "" if status.holder is None else _holder(status),
        "command": " ".join(run.command),
        "versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        **{
            str(name).replace("_", " "): _plain(value)
            for name, value in settings.items()
            if value is not None
        },
        **(callbacks if isinstance(callbacks, Mapping) else {}),
    }
    return {
        _brief(label): [_brief(_plain(value))] for label, value in facts.items() if value not in ("", None)
    }


def _width_of(rows: Iterable[Sequence[str]]) -> int:
    """The width of these columns, with a gap after each."""
    return sum(max(map(text_width, column)) + len(_INDENT) for column in zip(*rows, strict=True))


def _tail(name: str, room: int) -> str:
    """The name, cut at its start if it is too long: the ends of names tell runs apart."""
    room = max(room, _LEAST_NAME)
    return name if text_width(name) <= room else f"...{name[3 - room :]}"


def _ago(run: RunStatus, now: float) -> str:
    return "" if run.written is None else ago(now - run.written)


def _models(run: Details) -> list[tuple[Any, ...]]:
    folder = run.run.folder
    return [
        (_brief(os.path.relpath(one.path, folder)), one.epoch + 1, _number(one.value), _brief(one.why))
        for one in run.checkpoints
    ]


def _point(point: Point) -> tuple[str, str, str]:
    return f"resume point {point.number}", _place(point), _brief(point.problem)


def _place(point: Point) -> str:
    """What is trained there; "" if that is unknown."""
    if point.epochs is None:
        return ""
    if point.batch is None:
        return f"after epoch {point.epochs}"
    return f"epoch {point.epochs + 1} up to batch {point.batch}"


def _event(event: Mapping[str, Any]) -> tuple[str, str, str]:
    known = ("event", "time", "pid")
    if event.get("event") == "loader":  # its turn and checksum are for a resume
        return _clock(event.get("time")), "loader", "a data loader was met"
    rest = {name: value for name, value in event.items() if name not in known and value != []}
    return _clock(event.get("time")), _brief(str(event.get("event"))), _brief(_plain(rest))


def _epochs(run: RunStatus, of: str) -> str:
    if run.epochs is None:
        return ""
    return str(run.epochs) if run.requested is None else f"{run.epochs}{of}{run.requested}"


def _best(run: RunStatus) -> str:
    if run.best is None:
        return ""
    return f"{_brief(run.best.monitor)} {shown(run.best.value)} ({run.best.epoch + 1})"


def _results(run: RunStatus, room: int = _WHY) -> str:
    """What was logged after the training; cut where there is little room."""
    return clipped(_brief(", ".join(f"{name} {_plain(value)}" for name, value in run.results.items())), room)


def _best_in_words(run: RunStatus) -> str:
    if run.best is None:
        return ""
    file = "" if run.best.path is None else f", {os.path.relpath(run.best.path, run.folder)}"
    return f"epoch {run.best.epoch + 1}, {run.best.monitor} {shown(run.best.value)}{file}"


def _written(run: RunStatus, now: float) -> str:
    return "" if run.written is None else f"{_clock(run.written)}, {_ago(run, now)}"


def _holder(run: RunStatus) -> str:
    who = run.holder or {}
    if "pid" not in who:
        return "another process"
    return _brief(f"process {who['pid']} on {who.get('host', '?')}, since {who.get('since', '?')}")


def _clock(seconds: Any) -> str:
    """A time in the local time zone; a question mark if ``seconds`` is not a time."""
    with suppress(TypeError, ValueError, OverflowError, OSError):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    return "?"


def _plain(value: Any, depth: int = 0) -> str:
    """A setting as a person would write it; settings that are None are left out."""
    if isinstance(value, Mapping | list | tuple) and depth > _DEPTH:
        return "..."
    if isinstance(value, Mapping):
        given = {name: one for name, one in value.items() if one is not None}
        return ", ".join(f"{name}={_plain(one, depth + 1)}" for name, one in given.items())
    if isinstance(value, list | tuple):
        return "; ".join(_plain(one, depth + 1) for one in value)
    if isinstance(value, str) and depth and not value.replace("_", "").isalnum():
        return repr(value)
    return shown(value) if isinstance(value, float) else str(value)


def _number(value: Any) -> float | None:
    return value if isinstance(value, float) else None


def _size(count: int | None) -> str:
    return f"{'?' if count is None else size(count):>8}"


def _counted(title: str, count: int, total: int) -> str:
    return title if count == total else f"{title}, the last {count} of {total:,}"


def _brief(text: str) -> str:
    text = escaped(text[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _wrapped(texts: Iterable[str], room: int | None) -> str:
    """One text a line; what does not fit is continued below, indented."""
    return "\n".join(
        textwrap.fill(_brief(text), max(room or sys.maxsize, 20), subsequent_indent=_INDENT * 2)
        for text in texts
    )


def _indented(text: str) -> str:
    return "\n".join(_INDENT + line for line in text.splitlines())
