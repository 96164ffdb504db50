"""Tests of slowfast_mlp."""

import os

# Before torch is imported, which happens in conftest.py: several workers with a thread for every core each
# would wait for the cores longer than they compute. What tests start inherits it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
