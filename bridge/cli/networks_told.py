"""What `reverie networks train`, `search` and `test` tell of a run, of a trial and of what was heard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli.console import minutes as show_minutes
from bridge.cli.console import note, print_json, print_table, say

if TYPE_CHECKING:
    from dream_core.training.evaluation import Heard
    from dream_core.training.key_evaluation import HeardKeys
    from dream_core.training.loop import Trained
    from dream_core.training.run import EpochReport
    from dream_core.training.search import TrialReport

__all__ = ["epoch_line", "print_heard", "print_keys", "print_trained", "trial_lines"]


def epoch_line(told: EpochReport) -> str:
    """Return one line of an epoch."""
    return (
        f"epoch {told.epoch:3d}/{told.epochs}  loss {told.train_loss:.3f}  unheard groups "
        f"{told.validation_accuracy:.1%}  heard groups {told.heard_accuracy:.1%}  "
        f"{show_minutes(told.seconds)}{'  best' if told.is_best else ''}"
    )


def trial_lines(told: TrialReport) -> list[str]:
    """Return the lines of a trial of a search."""
    values = ", ".join(f"{key} {value:.4g}" for key, value in told.values.items())
    line = (
        f"trial {told.number:3d}/{told.trials}  {told.state:8}  unheard groups {told.accuracy:.1%}  best "
        f"{told.best:.1%}  ({values})"
    )
    return [*(f"  {remark}" for remark in told.remarks), line]


def print_trained(trained: Trained, name: str, place: Path, as_json: bool) -> None:
    """Say where a network is and how well it hears."""
    accuracies = {"unheard_groups": trained.unheard.accuracy, "heard_groups": trained.heard.accuracy}
    if as_json:
        print_json(
            {
                "network": name,
                "path": str(place),
                "run": str(trained.path.parent),
                "sha256": trained.sha256,
                "epochs": trained.epochs,
                "best_epoch": trained.best_epoch,
                "is_tested": trained.is_tested,
                "accuracy": accuracies,
            }
        )
        return
    say(str(place))
    what = "groups it never heard" if trained.is_tested else "groups that chose its epoch (no test groups)"
    note(
        f"{trained.unheard.accuracy:.1%} of {what}; {trained.heard.accuracy:.1%} of new segments of groups "
        f"it learnt from; epoch {trained.best_epoch} of {trained.epochs}"
    )
    note(f"confusion and settings: {trained.path.parent / 'card.md'}")
    note(f"dream with it: reverie render STEM --preset PRESET --set dream.network={name}")


def print_heard(heard: Heard, names: Sequence[str]) -> None:
    """Print what segments are taken for."""
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


def print_keys(name: str, heard: HeardKeys, as_json: bool) -> None:
    """Print how well keys are heard in frames, at every threshold."""
    from dream_core.training.key_evaluation import THRESHOLDS

    precision, recall, f1 = heard.scores()
    if as_json:
        rows = {f"{threshold:g}": list(heard.scores(threshold)) for threshold in THRESHOLDS}
        print_json({"network": name, "segments": len(heard.rows), "accuracy": f1, "thresholds": rows})
        return
    say(
        f"F1 of keys in frames {f1:.3f}, precision {precision:.3f}, recall {recall:.3f}, of "
        f"{len(heard.rows)} segments"
    )
    print_table(
        ("probability from", "F1", "precision", "recall"),
        [
            (f"{threshold:g}", *(f"{score:.3f}" for score in (f1, precision, recall)))
            for threshold in THRESHOLDS
            for precision, recall, f1 in (heard.scores(threshold),)
        ],
    )
