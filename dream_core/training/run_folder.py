"""A run's folder: what was asked, how it went, and what came of it; every file is whole or not there."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dream_core.errors import SettingError
from dream_core.files import read_regular, remove_leftovers, write_whole

__all__ = [
    "CHECKPOINT",
    "HISTORY",
    "RunRecord",
    "check_free_folder",
    "log_events",
    "read_run",
    "read_state",
    "write_history",
    "write_run",
    "write_text",
]

CHECKPOINT = "checkpoint.safetensors"
"""What a finished run's network is called."""

HISTORY = (
    "epoch",
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "heard_accuracy",
    "learning_rate",
    "seconds",
)
"""Columns of history.csv; `heard_accuracy` is of unheard segments of groups that are learnt from."""

RunRecord = dict[str, dict[str, Any]]
"""Tables of run.toml: values are text, numbers, truth values and lists of text."""


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with write_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_run(folder: Path, record: RunRecord) -> None:
    """Write run.toml."""
    lines = []
    for table, values in record.items():
        # JSON's texts, numbers, truth values and lists of these are TOML's.
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    write_text(folder / "run.toml", "\n".join(lines))


def read_run(folder: Path) -> RunRecord:
    """Read run.toml.

    Raises:
        SettingError: It is absent or damaged.
    """
    path = folder / "run.toml"
    try:
        record = tomllib.loads(read_regular(path, 1 << 20).decode())
    except (OSError, ValueError) as error:
        raise SettingError(
            f"{path} cannot be read ({error}); it is no training run, or a damaged one"
        ) from None
    wanted = ("run", "settings", "options", "data")
    if missing := [table for table in wanted if not isinstance(record.get(table), dict)]:
        raise SettingError(f"{path} lacks [{missing[0]}]; it is damaged or was written by another version")
    return record


def check_free_folder(folder: Path, *, resume: bool) -> Path | None:
    """Return the state that a run goes on from, if there is one; what a killed process left goes.

    Raises:
        SettingError: The folder holds a run that is not to be gone on with.
    """
    remove_leftovers(folder)
    state = folder / "state.pt"
    if not state.exists():
        return None
    if not resume:
        raise SettingError(f"{folder} holds a run already; --resume goes on with it, --overwrite begins anew")
    return state


def write_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write history.csv, a line an epoch."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, HISTORY, lineterminator="\n")
    writer.writeheader()
    for row in history:
        writer.writerow({key: f"{row[key]:.6g}" for key in HISTORY})
    write_text(folder / "history.csv", stream.getvalue())


def read_state(path: Path) -> dict[str, Any]:
    """Read a run's state: plain tensors and numbers, nothing that could run.

    Raises:
        SettingError: It is damaged.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise SettingError(
            f"{path} cannot be read ({type(error).__name__}); begin anew with --overwrite"
        ) from None
    if not isinstance(state, dict) or "fingerprint" not in state:
        raise SettingError(f"{path} holds no training run; begin anew with --overwrite")
    return state


def log_events(folder: Path, row: Mapping[str, float]) -> None:
    """Write an epoch as TensorBoard's events, where that is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return
    writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder / "events"))
    for key in HISTORY[1:]:
        writer.add_scalar(key, row[key], int(row["epoch"]))
    writer.close()
