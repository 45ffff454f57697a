"""How long `import outlast` takes, beyond the interpreter's own start: the budget is 50 ms.

    python bench/import_time.py

Each figure is the median of fresh interpreters; what is imported lazily is timed by its first use.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median

RUNS = 21
STATEMENTS = ("import outlast", "import outlast; outlast.EarlyStopping", "import numpy")


def seconds(statement: str) -> float:
    program = f"from time import perf_counter as t; a = t(); {statement}; print(t() - a)"
    return float(subprocess.check_output([sys.executable, "-c", program]))


for statement in STATEMENTS:
    times = [seconds(statement) for _ in range(RUNS)]
    print(f"{1000 * median(times):7.1f} ms  (best {1000 * min(times):.1f})  {statement}")
