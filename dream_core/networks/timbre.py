"""`timbre`: hears which family of instruments plays. The default network; its weights are shipped."""

from __future__ import annotations

from pathlib import Path

from dream_core.frontend.log_mel import FrontendSpec
from dream_core.networks.card import NetworkCard
from dream_core.networks.mel_cnn import MelCnn, MelCnnSpec
from dream_core.networks.weights import load_into, read_tensors

__all__ = ["CARD", "CLASSES", "SHIPPED_WEIGHTS", "SPEC", "load"]

CLASSES = (
    "bass",
    "brass",
    "flute",
    "guitar",
    "keyboard",
    "mallet",
    "organ",
    "reed",
    "string",
    "synth_lead",
    "vocal",
)
"""The instrument families of NSynth, in its order."""

SPEC = MelCnnSpec(
    frontend=FrontendSpec(
        sample_rate=22050,
        window_samples=1024,
        hop_samples=256,
        n_fft=1024,
        n_mels=96,
        f_min_hz=30.0,
        f_max_hz=11000.0,
        log_offset=0.01,
        patch_frames=96,
        patch_hop_frames=48,
    ),
    widths=(24, 48, 96, 160, 256),
    depths=(1, 1, 1, 2, 1),
    n_embedding=256,
)

SHIPPED_WEIGHTS = Path(__file__).with_suffix(".safetensors")

CARD = NetworkCard(
    name="timbre",
    title="Which family of instruments plays: a mel CNN trained on rendered notes, under attack.",
    sample_rate=SPEC.frontend.sample_rate,
    band_hz=(SPEC.frontend.f_min_hz, SPEC.frontend.f_max_hz),
    patch_s=SPEC.frontend.patch_samples / SPEC.frontend.sample_rate,
    frame_s=SPEC.frontend.hop_samples / SPEC.frontend.sample_rate,
    layers=SPEC.layers(len(CLASSES)),
    classes=CLASSES,
    n_parameters=SPEC.n_parameters(len(CLASSES)),
    licence="GPL-3.0-or-later",
    source="Trained by dream_core.training.timbre on notes of soundfonts and of drawn instruments.",
    weights="shipped",
    sha256="02e45735b0e5135c2ebbfb047d6b22aba4033beb764496f8d8745aa36e972a03",
    description=(
        "Low blocks hear partials, attacks and noise, high blocks hear bowing, blowing, plucking and "
        "striking; classes pull a sound towards a family of instruments."
    ),
)


def load(weights: Path | None = None) -> MelCnn:
    """Load `timbre` with its shipped weights, or with others of the same shape.

    Raises:
        WeightsError: The file is absent, damaged or of another network.
    """
    path = weights or SHIPPED_WEIGHTS
    network = MelCnn(CARD, SPEC)
    load_into(network, read_tensors(path, "" if weights else CARD.sha256), str(path))
    return network
