"""PyTorch programs that are killed for real: what they begin and end with, and how they are run.

A program gets its folder as its first argument. It makes ``run``, and calls ``train(loss, *arrays)`` in each
step, which kills it after step ``until``, and ``tell()`` in the end.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tests import forking

BEGIN = """
import hashlib, os, random, signal, sys
import numpy as np, torch, outlast

folder = sys.argv[1]
torch.manual_seed(0), np.random.seed(0), random.seed(0), torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
done = 0


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 70

    def __getitem__(self, index):
        return torch.full((4,), float(index)) + torch.randn(4) * random.random() * np.random.rand()


def train(loss, *seen):
    global done
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    run.log(loss=loss)
    before = run.extra.get("seen", "").encode()
    run.extra["seen"] = hashlib.sha256(b"".join([before, *(one.tobytes() for one in seen)])).hexdigest()
    if done == until:
        run.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    done += 1


def tell():
    sha = hashlib.sha256(run.extra["seen"].encode())
    for one in [*model.parameters(), *(s[k] for s in optimizer.state.values() for k in sorted(s))]:
        sha.update(one.detach().numpy().tobytes())
    for state in (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()):
        sha.update(repr(state).encode())
    print(sha.hexdigest(), run.history["loss"])


"""


def trained(program: str, folder: Path, *arguments: Any, killed: bool) -> str:
    """The last line that a program prints; nothing of one that SIGKILL ended."""
    done = forking.run("-c", BEGIN + program, str(folder), *map(str, arguments), imports=forking.TORCH)
    assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr
    return "" if killed else done.stdout.splitlines()[-1]
