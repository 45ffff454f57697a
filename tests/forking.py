"""Runs Python programs that begin with an import of PyTorch or Keras, without the seconds it takes.

``run("-c", code, imports=["torch"])`` does what ``subprocess.run([sys.executable, "-c", code])`` does. A
server has imported the modules before, and forks a process for each program; so a program still is a process
of its own, which ends, and is killed, as any other. Two servers take turns: two processes in a row have
neither equal hashes of texts nor equal addresses, as two fresh ones have not.

No import may start a thread that does not outlive a fork. JAX starts its threads with its first array.
"""

from __future__ import annotations

import atexit
import gc
import itertools
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn

JAX = ("jax", "jax.numpy", "optax")
TORCH = ("torch", "torch._dynamo")  # the second is imported with the first optimizer
_READ_AT_IMPORT = ("KERAS", "OMP", "TF", "XLA", "JAX", "PYTHON", "TORCH", "MKL", "OPENBLAS", "CUDA", "LC_")
_LENGTH = 8  # of the number that comes before a request


class Process:
    """A program that runs; like ``subprocess.Popen``."""

    def __init__(self, status: IO[str]) -> None:
        self._status = status
        self.returncode: int | None = None
        said = status.readline()
        assert said, "the server that forks has ended"
        self.pid = int(said)

    def wait(self) -> int:
        if self.returncode is None:
            with self._status:
                self.returncode = int(self._status.readline())
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def run(
    *arguments: str, imports: Sequence[str], env: Mapping[str, str] | None = None, cwd: Any = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it says is in the result.

    Args:
        arguments: as Python's: ``-c``, ``-m`` or a script, and the program's own.
        imports: what the program begins with.
        env: the program's environment.
        cwd: its folder.
    """
    with (
        open(os.devnull) as nothing,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        process = start(*arguments, imports=imports, env=env, cwd=cwd, files=(nothing, out, err))
        try:
            process.wait()
        finally:
            process.kill()
        said = [(file.seek(0), file.read())[1] for file in (out, err)]
    return subprocess.CompletedProcess(list(arguments), process.wait(), *said)


def start(
    *arguments: str,
    imports: Sequence[str],
    files: tuple[IO[Any], IO[Any], IO[Any]],
    env: Mapping[str, str] | None = None,
    cwd: Any = None,
) -> Process:
    """Begin to run a program whose standard input, output and errors are these files."""
    environment = dict(os.environ if env is None else env)
    read = {name: value for name, value in environment.items() if name.startswith(_READ_AT_IMPORT)}
    server = next(_servers(tuple(imports), json.dumps(read, sort_keys=True)))
    request = {"arguments": arguments, "environment": environment, "folder": os.fspath(cwd or os.getcwd())}
    ours, theirs = os.pipe()
    try:
        _send(server, request, [*(file.fileno() for file in files), theirs])
    finally:
        os.close(theirs)
    return Process(os.fdopen(ours))


@cache
def _servers(modules: tuple[str, ...], environment: str) -> Iterator[socket.socket]:
    """Two that take turns, each begun when it is first needed."""
    read = json.loads(environment)
    others = {name: value for name, value in os.environ.items() if not name.startswith(_READ_AT_IMPORT)}
    return (_server(modules, json.dumps({**others, **read}), turn) for turn in itertools.cycle((0, 1)))


@cache
def _server(modules: tuple[str, ...], environment: str, turn: int) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno()), *modules],
            pass_fds=[theirs.fileno()],
            env=json.loads(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # before: what was registered last is called first
    return ours


def _send(server: socket.socket, request: Any, files: list[int]) -> None:
    content = json.dumps(request).encode()
    socket.send_fds(server, [b"%*d" % (_LENGTH, len(content))], files)
    server.sendall(content)


# In the server.


def _serve(requests: socket.socket) -> tuple[Any, list[int]]:
    """Fork a process for each request; returns in that process alone."""
    while True:
        length, files, _, _ = socket.recv_fds(requests, _LENGTH, 4)
        if not length:
            os._exit(0)
        content = b""
        while len(content) < int(length):
            content += requests.recv(int(length) - len(content))
        waiting = os.fork()
        if not waiting:
            requests.close()
            child = os.fork()
            if not child:
                return json.loads(content), files
            _wait(child, files)
        for file in files:
            os.close(file)
        _reap()


def _wait(child: int, files: list[int]) -> NoReturn:
    """In a process that does nothing else: tell the tests when the program has ended, and how."""
    *standard, status = files
    for file in standard:
        os.close(file)
    os.write(status, b"%d\n" % child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.write(status, b"%d\n" % code)
    os._exit(0)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become(request: Any, files: list[int]) -> None:
    """Make this process look as one that Python began with these arguments."""
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # PyTorch begins with a fixed seed; Python's own sees a fork
    sys.orig_argv = [sys.executable, *request["arguments"]]


def _execute(what: str, *arguments: str) -> None:
    """Run ``-c code``, ``-m module`` or a script, as the program."""
    program = sys.modules["__main__"] = types.ModuleType("__main__")
    vars(program)["__builtins__"] = __builtins__
    if what == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = list(arguments)
        runpy._run_module_as_main(arguments[0])  # type: ignore[attr-defined]
    elif what == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *arguments[1:]]
        exec(compile(arguments[0], "<string>", "exec"), vars(program))
    else:
        sys.path.insert(0, os.path.dirname(os.path.realpath(what)))
        sys.argv = [what, *arguments]
        program.__file__ = os.path.abspath(what)
        exec(compile(Path(what).read_bytes(), program.__file__, "exec"), vars(program))


def _end() -> NoReturn:
    """What Python does in the end, but for the deletion of every module of the server's."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file
    globals()["__name__"] = "forking"
    for module in sys.argv[2:]:
        import_module(module)
    gc.freeze()  # else the first collection in each program copies all that it shares with this process
    try:
        asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    except KeyboardInterrupt:  # the tests have heard it, too
        os._exit(0)
    _become(*asked)
    _execute(*asked[0]["arguments"])
    _end()
