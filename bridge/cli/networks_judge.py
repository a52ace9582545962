"""`reverie networks test`: how well a network hears another data set."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import print_json, print_table, say
from bridge.cli.shared_options import JsonOption
from bridge.cli.train_options import DataOption, open_data
from bridge.errors import InputError, nearest_names

if TYPE_CHECKING:
    from dream_core.training.evaluation import Heard
    from dream_core.training.segments import Segments

__all__ = ["judge_command"]


def judge_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A network, e.g. mine.")],
    data: DataOption,
    split: Annotated[
        str, typer.Option("--split", metavar="SIDE", help="all, train, validation or test.")
    ] = "all",
    as_json: JsonOption = False,
) -> None:
    """Test a network on another data set: accuracy, confusion, and how far to believe its probabilities."""
    from dream_core.training.hearing import OTHER

    sides = ["train", "validation", "test", "all"]
    if split not in sides:
        raise InputError(f"--split {split}: {nearest_names(split, sides)}")
    with tempfile.TemporaryDirectory() as scratch:
        segments = open_data(data, Path(scratch))
        heard = _hear(name, data, segments, split, sides.index(split))
    names = [*segments.classes, OTHER]
    if as_json:
        print_json(
            {
                "network": name,
                "segments": len(heard.rows),
                "accuracy": heard.accuracy,
                "confusion": {"classes": names, "counts": heard.confusion.tolist()},
                "calibration_error": heard.calibration_error,
                "calibration": [list(one) for one in heard.calibration],
            }
        )
        return
    _print_heard(heard, names)


def _hear(name: str, data: Path, segments: Segments, split: str, side: int) -> Heard:
    import numpy as np

    from dream_core.networks.registry import load_network
    from dream_core.training.hearing import hear_segments

    rows = np.flatnonzero((segments.splits == side) | (split == "all"))
    if not len(rows):
        raise InputError(f"{data} has no segments in its {split} part")
    return hear_segments(load_network(name), segments, rows)


def _print_heard(heard: Heard, names: Sequence[str]) -> None:
    confusion = heard.confusion
    say(f"accuracy {heard.accuracy:.1%}, a mean over the classes, of {len(heard.rows)} segments")
    shown = [index for index in range(len(names)) if confusion[:, index].any() or index < len(names) - 1]
    print_table(
        ("truth / heard", *(names[index] for index in shown), "right"),
        [
            (
                names[row],
                *(int(confusion[row, index]) for index in shown),
                f"{confusion[row, row] / max(1, confusion[row].sum()):.0%}",
            )
            for row in range(len(names) - 1)
        ],
    )
    say(f"mean distance of confidence from accuracy {heard.calibration_error:.3f}")
    print_table(
        ("confidence", "right", "segments"),
        [(f"{said:.0%}", f"{is_so:.0%}", count) for said, is_so, count in heard.calibration],
    )
