"""`reverie networks test`: how well a network hears another data set."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import print_json
from bridge.cli.networks_told import print_heard, print_keys
from bridge.cli.shared_options import JsonOption
from bridge.cli.train_options import DataOption, open_data
from bridge.errors import InputError, nearest_names

if TYPE_CHECKING:
    from dream_core.training.learner import Judged
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
    """Test a network on another data set: accuracy, confusion, and how far to believe its probabilities.

    One that hears notes is tested frame by frame: precision, recall and F1 of the keys that are down.
    """
    from dream_core.training.hearing import OTHER
    from dream_core.training.key_evaluation import HeardKeys

    sides = ["train", "validation", "test", "all"]
    if split not in sides:
        raise InputError(f"--split {split}: {nearest_names(split, sides)}")
    with tempfile.TemporaryDirectory() as scratch:
        segments = open_data(data, Path(scratch))
        heard = _hear(name, data, segments, split, sides.index(split))
    if isinstance(heard, HeardKeys):
        print_keys(name, heard, as_json)
        return
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
    print_heard(heard, names)


def _hear(name: str, data: Path, segments: Segments, split: str, side: int) -> Judged:
    import numpy as np

    from dream_core.networks.registry import load_network
    from dream_core.training.hearing import hear_segments
    from dream_core.training.key_hearing import hear_keys

    rows = np.flatnonzero((segments.splits == side) | (split == "all"))
    if not len(rows):
        raise InputError(f"{data} has no segments in its {split} part")
    network = load_network(name)
    if network.card.keys_layer and segments.notes is not None:
        return hear_keys(network, segments, rows)
    return hear_segments(network, segments, rows)
