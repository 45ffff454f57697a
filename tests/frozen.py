"""Imported last by a process that forks: no collection in its children copies what they share with it."""

import gc

gc.collect()
gc.freeze()
