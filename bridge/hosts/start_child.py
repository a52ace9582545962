"""A process of our own for a plugin: nothing of the working folder in it, no terminal key reaches it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from bridge.installation import safe_search_path

__all__ = ["start_child"]


def start_child(
    module: str,
    arguments: Sequence[str] = (),
    *,
    stderr: int = subprocess.DEVNULL,
    bufsize: int = -1,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a module of the project in a new process and session, with pipes to and from it.

    Args:
        module: Its full name.
        arguments: What it is told on its command line.
        stderr: Where its complaints go; a plugin's are nobody's business unless it dies.
        bufsize: Of the pipes, in bytes; 0 is none.
        pass_fds: Descriptors it inherits.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        bufsize=bufsize,
        pass_fds=pass_fds,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": safe_search_path()},
    )
