"""What is written of a network that the user trained: in its card, and as Markdown beside it."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from dataclasses import replace

from dream_core.networks.card import NetworkCard, head_sizes
from dream_core.training.evaluation import Heard
from dream_core.training.key_evaluation import HeardKeys
from dream_core.training.learner import Judged
from dream_core.training.model_card import model_card, model_text
from dream_core.training.run_folder import RunRecord

__all__ = ["describe", "run_card"]

_SPLIT = """A group, such as a recording or an instrument, is on one side alone: learnt from, used to choose
the epoch, or heard once in the end. The accuracy that counts is that on groups it never heard. The other is
of segments it never heard, of groups it did hear; the distance between the two is what an accuracy is
overestimated by where a data set is split by segments."""


def describe(card: NetworkCard, unheard: Judged, heard: Judged, *, is_tested: bool) -> NetworkCard:
    """Return a card that says how well the network hears.

    Args:
        card: Its own.
        unheard: What it takes groups it never heard for.
        heard: What it takes unheard segments of groups it learnt from for.
        is_tested: Whether the first are test groups, or those that chose the epoch.
    """
    kind = "groups it never heard" if is_tested else "groups that chose its epoch (there are no test groups)"
    if isinstance(unheard, HeardKeys):
        return replace(card, description=f"{_frames_line(unheard)} on {kind}.")
    leak = f", {heard.accuracy:.0%} of new segments of groups it learnt from" if len(heard.rows) else ""
    n_classes = head_sizes(card)[0]
    text = (
        f"Hears {unheard.accuracy:.0%} of {kind} right, a mean over {n_classes} classes{leak}; "
        f"chance is {1.0 / n_classes:.0%}."
    )
    return replace(card, description=text)


def _frames_line(heard: HeardKeys) -> str:
    precision, recall, f1 = heard.scores()
    return f"Keys in frames: F1 {f1:.3f} (precision {precision:.3f}, recall {recall:.3f})"


def run_card(card: NetworkCard, unheard: Judged, heard: Judged, record: RunRecord, sha256: str) -> str:
    """Write the model card with both confusion matrices, or with how keys are heard in frames.

    Args:
        card: The network's own.
        unheard: What it takes groups it never heard for.
        heard: What it takes unheard segments of groups it learnt from for.
        record: The run's.
        sha256: Of the file.
    """
    data, run, result = record["data"], record["run"], record["result"]
    kind = "Groups it never heard" if result["is_tested"] else "Groups that chose its epoch"
    settings = ", ".join(f"{key} {json.dumps(value)}" for key, value in record["settings"].items())
    options = ", ".join(f"{key} {value}" for key, value in record["options"].items()) or "as they come"
    told = {
        "data": (
            f"{data['segments']} segments of {len(data['classes'])} classes at {data['sample_rate']} Hz, "
            f"data set `{data['sha256']}`, licence {data['licence'] or 'unknown'}. Kind `{run['kind']}`"
            f"{', from ' + run['from'] if run['from'] else ''}, options {options}; settings: {settings}. "
            f"Epoch {result['best_epoch']} of {result['epochs']}."
        ),
        "command": _command(record),
        "made_on": dt.date.today().isoformat(),
        "sha256": sha256,
    }
    leaking = "New segments of groups it learnt from"
    if isinstance(unheard, HeardKeys):
        judged = {kind: unheard, leaking: heard} if len(heard.rows) else {kind: unheard}
        lines = [
            f"- {what}: {_frames_line(one)}" for what, one in judged.items() if isinstance(one, HeardKeys)
        ]
        return model_text(card, "\n".join(lines), split=_SPLIT, **told)
    assert isinstance(heard, Heard)
    confusions = {f"{kind}: the accuracy": unheard.confusion}
    if len(heard.rows):
        confusions[f"{leaking}: the accuracy that leaks"] = heard.confusion
    split = f"{_SPLIT}\n\nMean distance of confidence from accuracy: {unheard.calibration_error:.3f}."
    return model_card(card, confusions, split=split, things="segments", **told)


def _command(record: RunRecord) -> str:
    name = record["run"]["name"]
    return shlex.join(["reverie", "networks", "train", "--run", "run.toml", "--data", "DATA", "--name", name])
