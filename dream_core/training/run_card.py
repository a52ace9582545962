"""What is written of a network that the user trained: in its card, and as Markdown beside it."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from dataclasses import replace

from dream_core.networks.card import NetworkCard
from dream_core.training.evaluation import Heard
from dream_core.training.model_card import model_card
from dream_core.training.run_folder import RunRecord

__all__ = ["describe", "run_card"]

_SPLIT = """A group, such as a recording or an instrument, is on one side alone: learnt from, used to choose
the epoch, or heard once in the end. The accuracy that counts is that on groups it never heard. The other is
of segments it never heard, of groups it did hear; the distance between the two is what an accuracy is
overestimated by where a data set is split by segments."""


def describe(card: NetworkCard, unheard: Heard, heard: Heard, *, is_tested: bool) -> NetworkCard:
    """Return a card that says how well the network hears.

    Args:
        card: Its own.
        unheard: What it takes groups it never heard for.
        heard: What it takes unheard segments of groups it learnt from for.
        is_tested: Whether the first are test groups, or those that chose the epoch.
    """
    kind = "groups it never heard" if is_tested else "groups that chose its epoch (there are no test groups)"
    leak = f", {heard.accuracy:.0%} of new segments of groups it learnt from" if len(heard.rows) else ""
    text = (
        f"Hears {unheard.accuracy:.0%} of {kind} right, a mean over {len(card.classes)} classes{leak}; "
        f"chance is {1.0 / len(card.classes):.0%}."
    )
    return replace(card, description=text)


def run_card(card: NetworkCard, unheard: Heard, heard: Heard, record: RunRecord, sha256: str) -> str:
    """Write the model card with both confusion matrices.

    Args:
        card: The network's own.
        unheard: What it takes groups it never heard for.
        heard: What it takes unheard segments of groups it learnt from for.
        record: The run's.
        sha256: Of the file.
    """
    data, run, result = record["data"], record["run"], record["result"]
    kind = "Groups it never heard" if result["is_tested"] else "Groups that chose its epoch"
    confusions = {f"{kind}: the accuracy": unheard.confusion}
    if len(heard.rows):
        confusions["New segments of groups it learnt from: the accuracy that leaks"] = heard.confusion
    settings = ", ".join(f"{key} {json.dumps(value)}" for key, value in record["settings"].items())
    options = ", ".join(f"{key} {value}" for key, value in record["options"].items()) or "as they come"
    return model_card(
        card,
        confusions,
        data=(
            f"{data['segments']} segments of {len(data['classes'])} classes at {data['sample_rate']} Hz, "
            f"data set `{data['sha256']}`, licence {data['licence'] or 'unknown'}. Kind `{run['kind']}`"
            f"{', from ' + run['from'] if run['from'] else ''}, options {options}; settings: {settings}. "
            f"Epoch {result['best_epoch']} of {result['epochs']}."
        ),
        split=f"{_SPLIT}\n\nMean distance of confidence from accuracy: {unheard.calibration_error:.3f}.",
        command=_command(record),
        made_on=dt.date.today().isoformat(),
        sha256=sha256,
        things="segments",
    )


def _command(record: RunRecord) -> str:
    name = record["run"]["name"]
    return shlex.join(["reverie", "networks", "train", "--run", "run.toml", "--data", "DATA", "--name", name])
