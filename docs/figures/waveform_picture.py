"""Draw the figures of docs/waveform-picture.md.

    python docs/figures/waveform_picture.py

Needs matplotlib and the weights of `image` (`reverie networks get image`). Takes a minute on one core; prints
the figures that the page quotes.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
import torch

from dream_core import DreamSettings, dream, load_network
from dream_core.loop.dream import open_stream
from dream_core.settings import parse_row

FOLDER = Path(__file__).resolve().parent
SONG = FOLDER.parents[1] / "examples" / "song"
RATE = 48000
WIDTH, N_SAMPLES = 500, 309_000
Samples = npt.NDArray[np.float32]


def excerpt(stem: str, seconds: float, start_s: float = 18.0) -> Samples:
    """Return a piece of the example song at 48 kHz, in stereo."""
    found, rate = soundfile.read(SONG / f"{stem}.flac", dtype="float32", always_2d=True)
    there = soxr.resample(found[round(start_s * rate) : round((start_s + seconds + 1.0) * rate)], rate, RATE)
    sound = there[: round(seconds * RATE)].T
    return np.ascontiguousarray(np.broadcast_to(sound, (2, sound.shape[1])), np.float32)


def likeness(change: Samples, lag: int) -> float:
    """Return how like itself a change is so many samples later, -1..1."""
    still = change - change.mean(axis=-1, keepdims=True)
    early, late = still[..., :-lag], still[..., lag:]
    return float((early * late).sum() / np.sqrt((early**2).sum() * (late**2).sum()))


def level_db(change: Samples, sound: Samples) -> float:
    """Return how loud a change is beside the sound."""
    return float(10.0 * np.log10(np.square(change).mean() / np.square(sound).mean()))


def published(step: float) -> tuple[Samples, Samples, list[float]]:
    """Dream the keys as published: 412 rows of 500, ten steps."""
    sound = excerpt("keys", N_SAMPLES / RATE)
    settings = DreamSettings(
        update="picture",
        objective="layer:stage3",
        row=str(WIDTH),
        window_s=N_SAMPLES / RATE,
        step=step,
        guard=False,
        peak_guard=0.0,
    )
    scores: list[float] = []
    dreamed = dream(
        sound, RATE, load_network("image"), settings, depth=10.0, on_step=lambda one: scores.append(one.score)
    )
    return sound, np.asarray(dreamed), scores


def clocked(stem: str = "keys", seconds: float = 16.0) -> tuple[Samples, npt.NDArray[np.float64]]:
    """Dream with rows of a sixteenth while the tempo goes from 100 to 140; return the change and the rows."""
    sound = excerpt(stem, seconds)[:1]
    time_s = np.arange(sound.shape[1]) / RATE
    rows = 4.0 * (100.0 * time_s + 40.0 * time_s**2 / (2.0 * seconds)) / 60.0
    settings = DreamSettings(
        update="picture", objective="layer:stage3", row="1/16", planes="delays", window_s=8.0, step=2.0
    )
    stream = open_stream(load_network("image"), settings, RATE, 1)
    depth = torch.full((sound.shape[1],), 8.0, dtype=torch.float64)
    pieces = [stream.push(torch.from_numpy(sound), depth, {"rows": torch.from_numpy(rows)}), stream.finish()]
    change: Samples = torch.cat(pieces, 1).numpy() - sound
    return change[0], rows


def repetition(
    change: Samples, rows: npt.NDArray[np.float64], reach_s: float = 0.005
) -> npt.NDArray[np.float64]:
    """Return how like the beginnings of rows are to those of the next, at lags about where these begin."""
    reach, length = round(reach_s * RATE), round(0.03 * RATE)
    begins = [int(np.searchsorted(rows, k)) for k in range(int(rows[0]) + 2, int(rows[-1]) - 1)]
    total, power = np.zeros(2 * reach + 1), 0.0
    for here, there in itertools.pairwise(begins):
        own, near = change[here : here + length], change[there - reach : there + reach + length]
        total += np.correlate(near, own, "valid")
        power += float(own @ own)
    return total / power


def save(figure: object, name: str) -> None:
    """Write a small picture: few colours are enough."""
    from PIL import Image

    path = FOLDER / f"{name}.png"
    figure.savefig(path, dpi=110)  # type: ignore[attr-defined]
    with Image.open(path) as image:
        image.convert("RGB").quantize(32).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Draw all, and print what the page quotes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sound, dreamed, scores = published(4.0)
    change = dreamed - sound
    print(
        f"step 4: score {scores[0]:.2f} -> {scores[-1]:.2f}, a row later {likeness(change, WIDTH):.2f}, "
        f"half a row {likeness(change, WIDTH // 2):.2f}, change {level_db(change, sound):+.1f} dB"
    )
    _, gentle, gentle_scores = published(1.0)
    gentle -= sound
    print(
        f"step 1: score {gentle_scores[0]:.2f} -> {gentle_scores[-1]:.2f}, a row later "
        f"{likeness(gentle, WIDTH):.2f}, change {level_db(gentle, sound):+.1f} dB"
    )
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), layout="constrained")
    for axis, one, title in zip(axes, (sound, dreamed), ("the sound", "dreamed, ten steps"), strict=True):
        rows = one[0, : 160 * WIDTH].reshape(160, WIDTH)[:, :240]
        axis.imshow(rows, cmap="gray", vmin=-0.4, vmax=0.4, interpolation="nearest")
        axis.set(title=title, xlabel="sample in the row", ylabel="row")
    save(figure, "waveform_before_after")

    lags = np.arange(20, 1100, 5)
    figure, axis = plt.subplots(figsize=(7.2, 2.6), layout="constrained")
    axis.plot(lags, [likeness(change, int(lag)) for lag in lags], color="black", linewidth=1)
    for row in (1, 2):
        axis.axvline(row * WIDTH, color="tab:red", linewidth=0.8, linestyle=":")
    axis.set(xlabel="samples later", ylabel="likeness of the change", xlim=(0, 1100))
    save(figure, "waveform_repetition")

    moved, passed = clocked()
    shape = repetition(moved, passed)
    lag_ms = 1000.0 * (np.arange(len(shape)) - len(shape) // 2) / RATE
    print(
        f"1/16, 100 to 140 BPM: likeness {shape.max():.2f}, {lag_ms[shape.argmax()]:+.2f} ms beside the grid"
    )
    figure, axis = plt.subplots(figsize=(7.2, 2.6), layout="constrained")
    axis.plot(lag_ms, shape, color="black", linewidth=1)
    axis.axvline(0.0, color="tab:red", linewidth=0.8, linestyle=":")
    axis.set(xlabel="ms beside where the next sixteenth begins", ylabel="likeness", xlim=(-5, 5))
    save(figure, "waveform_in_time")

    noise = (0.1 * np.random.default_rng(0).standard_normal((1, 6 * RATE))).astype(np.float32)
    settings = DreamSettings(update="picture", objective="layer:stage3", row="A1", window_s=6.0)
    hum = np.asarray(dream(noise, RATE, load_network("image"), settings, depth=10.0)) - noise
    period = round(RATE / parse_row("A1").f0_hz)
    print(
        f"row = A1 on noise: a period later {likeness(hum, period):.2f}, half "
        f"{likeness(hum, period // 2):.2f}"
    )


if __name__ == "__main__":
    main()
