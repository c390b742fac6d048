"""Tests. Each process computes in one thread, because pytest-xdist runs two of them.

It is set here, before numpy and torch are loaded. ``OMP_NUM_THREADS`` overrides it.
"""

import os

_threads = os.environ.setdefault("OMP_NUM_THREADS", "1")
for _name in ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, _threads)
