"""How dreams hold up as sound: for every network, update and sound, what depth 10 does to it.

    python tests/bench/sound.py [--quick] [--pictures FOLDER] [--out tests/bench/sound.md]

Columns: ``gain`` is the rise of the objective in units of its own spread over the undreamed sound's windows
and offsets; ``half`` the step by which half of it is reached; ``LU`` and ``TP`` the change of integrated
loudness and true peak before any matching; ``quiet`` the mean level change of frames below -60 dBFS; ``LSD``
the log-spectral distance; ``new`` the share of the change that lies where the input has nothing (40 dB below
its own long-term spectrum); ``seam`` and ``alias`` the level of the change above the network's band, at
window edges and anywhere, relative to the sound.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import soundfile
import torch

from bridge.loudness import measure_loudness
from dream_core import DreamSettings, dream, list_networks, load_network, parse_objective
from dream_core.errors import DreamError
from dream_core.listener import Listener
from dream_core.networks.card import Network

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = ROOT.parent / "shared"
SECONDS = 6.0
DEPTH = 10
OBJECTIVES = {"timbre": "layer:block3", "texture": "layer:frames8", "yamnet": "class:auto"}
UPDATES = (
    "mask",
    "add",
    "filter",
    "hard_cut",
    "hard_cut_add",
    "hard_cut_add_swapped",
    "gradient",
    "target_text",
    "target_figure",
    "target_gradient",
)
TECHNIQUES: dict[str, dict[str, object]] = {
    "octaves = 3": {"octaves": 3},
    "varispeed_octaves = 0.5": {"varispeed_octaves": 0.5},
    "jitter = false": {"jitter": False},
    'normalisation = "band"': {"normalisation": "band"},
    'normalisation = "window"': {"normalisation": "window"},
    "smooth_frames = 2": {"smooth_frames": 2.0},
    "smooth_bins = 2": {"smooth_bins": 2.0},
    "tv_time = 0.5": {"tv_time": 0.5},
    "tv_frequency = 0.5": {"tv_frequency": 0.5},
    'optimiser = "adam"': {"optimiser": "adam"},
    "momentum = 0.7": {"momentum": 0.7},
    "protect_transients = 1": {"protect_transients": 1.0},
    "guard = false": {"guard": False},
    "energy = false": {"energy": False},
    "step = 0.5": {"step": 0.5},
    "step = 2": {"step": 2.0},
    "n_fft = 1024": {"n_fft": 1024},
    "n_fft = 4096": {"n_fft": 4096},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one dream did."""

    gain: float
    half: float
    LU: float
    TP: float
    quiet: float
    LSD: float
    new: float
    seam: float
    alias: float


def sounds() -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield real and made sounds as (name, (channels, samples), rate)."""
    for stem in ("bass", "drums", "keys", "lead"):
        samples, rate = soundfile.read(
            ROOT / "examples" / "song" / f"{stem}.flac", dtype="float32", always_2d=True, start=3 * 44100
        )
        yield stem, samples.T[:, : round(SECONDS * rate)].copy(), rate
    for name in ("whistle", "cat"):
        path = SHARED / "audio" / f"{name}.wav"
        if path.exists():
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            yield name, samples.T[:, : round(SECONDS * rate)].copy(), rate
    rng, rate = np.random.default_rng(0), 44100
    t = np.arange(round(SECONDS * rate)) / rate
    yield "noise", (0.1 * rng.standard_normal((1, len(t)))).astype(np.float32), rate
    yield "sine", (0.2 * np.sin(2 * np.pi * 440 * t))[None].astype(np.float32), rate
    clicks = np.zeros((1, len(t)), np.float32)
    clicks[0, rate // 4 :: rate // 2] = 0.8
    yield "clicks", clicks, rate


def networks() -> Iterator[Network]:
    """Yield every network whose weights are here."""
    for card in list_networks():
        try:
            weights = SHARED / "weights" / "yamnet.h5"
            if card.name == "yamnet" and weights.exists():
                yield load_network("yamnet", weights=weights)
            else:
                yield load_network(card.name)
        except DreamError as error:
            print(f"{card.name} is left out: {error}")


def level_db(x: np.ndarray) -> float:
    """Return the level of samples."""
    return float(10 * np.log10(np.mean(np.asarray(x, np.float64) ** 2) + 1e-20))


def spectrogram(x: np.ndarray, n_fft: int = 2048, hop_samples: int = 512) -> np.ndarray:
    """Return the magnitude spectrogram of the mono sum, (bins, frames)."""
    mono = x.mean(axis=0)
    frames = np.lib.stride_tricks.sliding_window_view(mono, n_fft)[::hop_samples]
    return np.abs(np.fft.rfft(frames * np.hanning(n_fft))).T


def quiet_change_db(before: np.ndarray, after: np.ndarray, n: int = 1024) -> float:
    """Return how far frames below -60 dBFS move on average."""
    count = before.shape[1] // n

    def frames_db(x: np.ndarray) -> np.ndarray:
        power = (x[:, : count * n].reshape(x.shape[0], count, n).astype(np.float64) ** 2).mean(axis=(0, 2))
        return 10 * np.log10(power + 1e-12)

    quiet = frames_db(before) < -60
    return float(np.abs(frames_db(after) - frames_db(before))[quiet].mean()) if quiet.any() else float("nan")


def above_band_db(change: np.ndarray, rate: int, band_hz: float, around: list[int] | None) -> float:
    """Return the level of what a change has above the network's band, everywhere or around positions."""
    if band_hz * 1.06 >= rate / 2:
        return float("nan")
    # Tapered, or the ends of the excerpt would look like energy everywhere.
    taper = np.minimum(1.0, np.minimum(np.arange(change.shape[1]), np.arange(change.shape[1])[::-1]) / 4096)
    spectrum = np.fft.rfft(change * (0.5 - 0.5 * np.cos(np.pi * taper)), axis=1)
    spectrum[:, np.fft.rfftfreq(change.shape[1], 1 / rate) < band_hz * 1.06] = 0
    high = np.fft.irfft(spectrum, change.shape[1], axis=1)
    if around is None:
        return level_db(high)
    parts = [high[:, max(0, p - 256) : p + 3000] for p in around if p < high.shape[1]]
    return level_db(np.concatenate(parts, axis=1)) if parts else float("nan")


def measure(
    network: Network, settings: DreamSettings, sound: np.ndarray, rate: int, **options: object
) -> tuple[Row, np.ndarray]:
    """Dream a sound and measure what happened."""
    reports: list = []
    out = dream(sound, rate, network, settings, depth=DEPTH, on_step=reports.append, **options)
    listener = Listener(network, parse_objective(settings.objective), rate)
    offsets = range(0, listener.jitter_frames, max(1, listener.jitter_frames // 8))
    with torch.no_grad():
        before, after = (
            np.array([float(listener.score(torch.from_numpy(x.mean(axis=0)[None]), o)[0]) for o in offsets])
            for x in (sound, out)
        )
    first = np.array([r.score for r in reports if r.step_index == 0])
    spread = max(float(np.std(np.concatenate([before, first]))), 0.05 * abs(float(before.mean())), 1e-6)
    by_step = np.array([np.mean([r.score for r in reports if r.step_index == k]) for k in range(DEPTH)])
    rise = by_step - by_step[0]
    half = float(np.argmax(rise >= 0.5 * rise[-1])) if rise[-1] > 0 else float("nan")
    loud_before, loud_after = measure_loudness(sound, rate), measure_loudness(out, rate)
    change = out - sound
    spectra = [np.log10(spectrogram(x) + 1e-5) * 20 for x in (sound, out)]
    lsd = float(np.sqrt(((spectra[0] - spectra[1]) ** 2).mean(axis=0)).mean())
    mean_in, mean_change = spectrogram(sound).mean(axis=1), spectrogram(change).mean(axis=1)
    nothing = mean_in < mean_in.max() * 10 ** (-40 / 20)
    hop = round(settings.window_s * rate) - round(settings.fade_s * rate)
    seams = list(range(hop, sound.shape[1], hop))
    band_hz = network.card.band_hz[1]
    own = level_db(sound)
    return (
        Row(
            gain=float(after.mean() - before.mean()) / spread,
            half=half,
            LU=loud_after.integrated_lufs - loud_before.integrated_lufs,
            TP=loud_after.true_peak_dbtp - loud_before.true_peak_dbtp,
            quiet=quiet_change_db(sound, out),
            LSD=lsd,
            new=float((mean_change[nothing] ** 2).sum() / max(1e-20, (mean_change**2).sum())),
            seam=above_band_db(change, rate, band_hz, seams) - own,
            alias=above_band_db(change, rate, band_hz, None) - own,
        ),
        out,
    )


def mean_row(rows: list[Row]) -> Row:
    """Average over sounds; the worst of what must stay small."""
    worst = {"seam", "alias", "quiet"}

    def one(name: str) -> float:
        values = np.array([getattr(row, name) for row in rows])
        values = values[np.isfinite(values)]
        if not len(values):
            return float("nan")
        return float(values.max() if name in worst else values.mean())

    return Row(**{field.name: one(field.name) for field in fields(Row)})


def draw(before: np.ndarray, after: np.ndarray, rate: int, title: str, path: Path) -> None:
    """Save both spectrograms."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    for axis, x in zip(axes, (before, after), strict=True):
        picture = 20 * np.log10(spectrogram(x) + 1e-5)
        axis.imshow(picture, origin="lower", aspect="auto", vmin=-70, vmax=40, cmap="magma",
                    extent=(0, x.shape[1] / rate, 0, rate / 2000))  # fmt: skip
    axes[0].set(ylabel="kHz", title=title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    plt.close(figure)


def table_line(name: str, row: Row) -> str:
    """Return a row of the table."""
    return f"| {name} | " + " | ".join(f"{getattr(row, f.name):.2f}" for f in fields(Row)) + " |"


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three sounds only")
    parser.add_argument("--pictures", type=Path, help="save spectrograms here")
    parser.add_argument("--out", type=Path, help="write the tables to this file as well")
    arguments = parser.parse_args()
    every = list(sounds())
    if arguments.quick:
        every = [one for one in every if one[0] in ("drums", "lead", "noise")]
    head = "| | " + " | ".join(f.name for f in fields(Row)) + " |\n|---|" + "---:|" * len(fields(Row))
    lines = [f"Depth {DEPTH}, {len(every)} sounds: {', '.join(name for name, _, _ in every)}.", ""]
    for network in networks():
        name = network.card.name
        base = DreamSettings(objective=OBJECTIVES[name], window_s=2.0)
        lines += [f"## {name}, `{base.objective}`", "", head]
        jobs = [(update, {"update": update}) for update in UPDATES]
        if name == "timbre":
            jobs += list(TECHNIQUES.items())
        for title, changes in jobs:
            settings = DreamSettings(**{"objective": base.objective, "window_s": 2.0, **changes})
            rows = []
            for sound_name, sound, rate in every:
                options: dict[str, object] = {}
                if settings.update.startswith("target"):
                    target = np.roll(sound, rate, axis=1)[:, ::-1].copy()
                    options = {"references": {"other": target}, "target": "other"}
                row, out = measure(network, settings, sound, rate, **options)
                rows.append(row)
                if arguments.pictures:
                    file = f"{name}-{title}-{sound_name}.png".replace(" ", "").replace('"', "")
                    draw(sound, out, rate, f"{sound_name}, {title}", arguments.pictures / file)
            lines.append(table_line(title, mean_row(rows)))
            print(lines[-1], flush=True)
        lines.append("")
    text = "\n".join(lines)
    if arguments.out:
        intro = (
            "# How dreams hold up as sound\n\nGenerated by `python tests/bench/sound.py --out "
            "tests/bench/sound.md`; what the columns mean is said there. Means over the sounds; `quiet`, "
            "`seam` and `alias` are the worst of them.\n\n"
        )
        arguments.out.write_text(intro + text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
