"""`pitch`: hears which of a piano's 88 keys sound, frame by frame. Its weights are shipped."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from dream_core.networks.card import NetworkCard
from dream_core.networks.kinds import trained
from dream_core.networks.weights import read_tensors

__all__ = ["SHA256", "SHIPPED_WEIGHTS", "card", "load"]

SHIPPED_WEIGHTS = Path(__file__).with_suffix(".safetensors")

SHA256 = "2f3f3bc68eda7cb7172869f3acf074b239b5bc9de997c48bb5eac5329b1819b8"
"""Of the shipped file."""


@cache
def card() -> NetworkCard:
    """Return the card; what its file says of layers and hearing holds.

    Raises:
        WeightsError: The shipped file is absent or damaged.
    """
    return replace(
        trained.read_card(trained.KEYS_KIND, SHIPPED_WEIGHTS),
        name="pitch",
        title="Which of a piano's 88 keys sound, frame by frame: trained on rendered notes and chords.",
        licence="GPL-3.0-or-later",
        source="Trained by reverie networks train --kind keys on notes and chords of soundfonts.",
        weights="shipped",
        sha256=SHA256,
        description=(
            "Hears 1.2 seconds at a time on 36 bands in every octave, harmonics side by side. Classes are "
            "the piano's 88 notes, each with a probability of its own in every frame of 23 ms. Needs no "
            "download; `notes`, which learnt from recordings, is used where it is installed."
        ),
    )


def load() -> trained.TrainedNetwork:
    """Load `pitch` with its shipped weights; another file of its kind is loaded by its path.

    Raises:
        WeightsError: The shipped file is absent or damaged.
    """
    read_tensors(SHIPPED_WEIGHTS, SHA256)
    network = trained.load(trained.KEYS_KIND, SHIPPED_WEIGHTS)
    network._card = card()
    return network
