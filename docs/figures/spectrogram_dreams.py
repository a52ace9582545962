"""Draw dreams on spectrograms: ways back to sound, and filters dreamed from noise.

    python docs/figures/spectrogram_dreams.py

Wants matplotlib. The sound is the first chord of the examples' keys; the network is `timbre`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dream_core import DreamSettings, dream, load_network

FloatArray = npt.NDArray[np.float32]
HERE = Path(__file__).parent
KEYS = HERE.parents[1] / "examples" / "song" / "keys.flac"
SECONDS = 2.2
TOP_HZ = 11000

FREE: dict[str, Any] = {"guard": False, "peak_guard": 0.0, "context": False, "jitter": False, "window_s": 1.0}
SMOOTH: dict[str, Any] = {"motion": 1.0, "smooth_frames": 3.0, "smooth_bins": 1.5}
WAYS: Sequence[tuple[str, dict[str, Any], float]] = (
    ("mask, 10 steps", {}, 10.0),
    ("mel, 50 steps, the sound's own phases", {"update": "mel", **SMOOTH}, 50.0),
    ("mel, griffin_lim_random", {"update": "mel", "resynthesis": "griffin_lim_random", **SMOOTH}, 50.0),
    (
        "mel, griffin_lim_full: as published",
        {"update": "mel", "resynthesis": "griffin_lim_full", **FREE},
        10.0,
    ),
    ("hear: what block3 answers to", {"update": "hear", "sharpness": 2.0}, 1.0),
)
CHANNELS = (3, 17, 40, 64, 71, 90)


def draw(axes: Any, sound: FloatArray, rate: int, title: str) -> None:
    """Draw a spectrogram."""
    axes.specgram(sound[0] + 1e-7, NFFT=1024, noverlap=768, Fs=rate, vmin=-130, vmax=-40, cmap="magma")
    axes.set_ylim(0, TOP_HZ)
    axes.set_title(title, fontsize=8)
    axes.tick_params(labelsize=6)


def save(figure: Figure, name: str) -> None:
    """Write a picture of few colours, so that it is small."""
    from PIL import Image

    figure.tight_layout()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    picture.quantize(64).save(HERE / name, optimize=True)


def main() -> None:
    """Dream and draw."""
    network = load_network("timbre")
    stem, rate = soundfile.read(KEYS, dtype="float32", always_2d=True)
    sound = np.ascontiguousarray(stem.T[:1, : round(SECONDS * rate)])
    figure = Figure(figsize=(8, 6), dpi=90)
    axes = figure.subplots(3, 2).flat
    draw(next(axes), sound, rate, "keys")
    for title, changes, depth in WAYS:
        settings = DreamSettings(**{"objective": "layer:block3", **changes})
        draw(next(axes), dream(sound, rate, network, settings, depth), rate, title)
    save(figure, "spectrogram_dreams.png")

    noise = (0.05 * np.random.default_rng(0).standard_normal((1, rate))).astype(np.float32)
    figure = Figure(figsize=(8, 3.6), dpi=90)
    for index, channel in enumerate(CHANNELS):
        settings = DreamSettings(objective=f"channel:block3:{channel}", update="mel", **SMOOTH)
        dreamed = dream(noise, rate, network, settings, 50.0)
        draw(figure.add_subplot(2, 3, index + 1), dreamed, rate, f"block3, filter {channel}")
    save(figure, "spectrogram_filters.png")


if __name__ == "__main__":
    main()
