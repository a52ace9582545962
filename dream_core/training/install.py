"""A trained network takes its place in the user's folder of networks, under a name that nobody has."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from dream_core.errors import SettingError
from dream_core.files import write_whole
from dream_core.networks.registry import list_networks
from dream_core.networks.weights import networks_folder

__all__ = ["check_name", "clear_run", "install", "runs_folder"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RUN_FILES = (
    *("run.toml", "history.csv", "state.pt", "checkpoint.safetensors", "card.md", "evaluation.csv"),
    *("search.journal", "search.csv", "search.png", "data.csv", ".lock"),
)
_RUN_FOLDERS = ("events", "trials", "data")


def runs_folder() -> Path:
    """Return the folder of training runs, beside that of networks.

    >>> runs_folder().name
    'runs'
    """
    return networks_folder().parent / "runs"


def check_name(name: str, *, may_replace: bool) -> Path:
    """Return the file that a network of a name gets.

    Args:
        name: Letters, digits, ``_`` and ``-``.
        may_replace: Whether one of that name in the user's folder may go.

    Raises:
        SettingError: The name cannot be used, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise SettingError(
            f"--name {name[:80]!r}: letters, digits, _ and - are accepted, 64 at most, such as my-drums"
        )
    path = networks_folder() / f"{name}.safetensors"
    if path.exists():
        if not may_replace:
            raise SettingError(f"{path} exists already; give another --name, or --overwrite")
    elif name in {card.name for card in list_networks()}:
        raise SettingError(f"--name {name}: a network has that name already; give another")
    return path


def install(checkpoint: Path, path: Path) -> None:
    """Copy a run's network to its place, whole or not at all."""
    with write_whole(path) as part:
        shutil.copyfile(checkpoint, part)


def clear_run(folder: Path) -> None:
    """Remove what a run or a search has written in its folder, and nothing else.

    Raises:
        SettingError: The folder holds neither.
    """
    if not folder.exists():
        return
    if not any((folder / name).exists() for name in ("run.toml", "search.journal")):
        raise SettingError(f"{folder} is there and holds no training run; give another --name")
    for name in _RUN_FILES:
        (folder / name).unlink(missing_ok=True)
    for lock in folder.glob("search.journal*"):
        lock.unlink(missing_ok=True)
    for name in _RUN_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
