"""What every test run fixes: one thread a process, so that float32 sums are always ordered alike."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

collect_ignore = ["bench"]
"""Programs that measure; they are run by hand."""
