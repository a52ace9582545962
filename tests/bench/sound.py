"""How dreams hold up as sound: for every network, update and sound, what depth 10 does to it.

    python tests/bench/sound.py [--quick] [--network NAME] [--pictures FOLDER] [--out tests/bench/sound.md]

Columns, each the worst over the sounds with its sound; `half`, `LSD` and `new` are means:

- `gain`   rise of the objective, in units of its own spread over the undreamed sound's windows and offsets;
           where updates are compared, the mean over four seeds, whose grids lie elsewhere
- `half`   the step by which half of the rise is reached, on average
- `LU`     change of integrated loudness
- `peak`   true peak in dBTP of what comes out, before the render's level rule, which holds its ceiling
- `limited` change of integrated loudness once the level rule's limiter holds the true peak at -1 dBTP
- `quiet`  level change of frames of 23 ms below -60 dBFS, louder ones' direct neighbours apart
- `band`   level change below 200 Hz or above 7.5 kHz where low_hz and high_hz are set so (drums and noise)
- `seam`   level of the change above the network's band at window edges, relative to the sound
- `alias`  the same anywhere
- `LSD`    log-spectral distance, dB
- `new`    share of the change that lies where the input has nothing (40 dB below its long-term spectrum)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from bridge.audio.limiter import Limiter
from bridge.audio.loudness import measure_loudness
from dream_core import DreamSettings, dream, load_network, parse_objective
from dream_core.errors import DreamError
from dream_core.networks.card import Network
from dream_core.objectives.listener import Listener

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = ROOT.parent / "shared"
SECONDS = 6.0
DEPTH = 10
SEEDS = 4
CASES = (
    ("timbre", "class:auto"),
    ("timbre", "layer:block3"),
    ("yamnet", "class:auto"),
    ("texture", "layer:frames8"),
)
"""Networks and objectives: what is dreamed when nothing is said, and a layer."""

FEW = ("drums", "lead", "noise")
"""The sounds on which updates and techniques are measured."""

UNSAFE = str.maketrans({" ": None, '"': None, ":": "-"})
"""What file names leave out."""

COMPARED: dict[str, dict[str, object]] = {
    "mask": {},
    "mask, excitation_db = -96": {"excitation_db": -96.0},
    "add": {"update": "add"},
}
"""What is measured on every sound."""

UPDATES = (
    "mel",
    "hear",
    "filter",
    "filter_swapped",
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
    'optimiser = "plain"': {"optimiser": "plain"},
    'optimiser = "plain", momentum = 0': {"optimiser": "plain", "momentum": 0.0},
    'optimiser = "adam"': {"optimiser": "adam"},
    "momentum = 0": {"momentum": 0.0},
    "momentum = 0.8": {"momentum": 0.8},
    "protect_transients = 1": {"protect_transients": 1.0},
    "excitation_db = -96": {"excitation_db": -96.0},
    "excitation_db = -30": {"excitation_db": -30.0},
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
    peak: float
    limited: float
    quiet: float
    band: float
    seam: float
    alias: float
    LSD: float
    new: float


WORST = {"gain": min, "peak": max, "quiet": max}
WORST |= {"LU": lambda v: max(v, key=abs), "limited": lambda v: max(v, key=abs)}
WORST |= {"band": max, "seam": max, "alias": max}
"""How the worst of several figures is told; of the others the mean counts."""


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


def cases(only: str | None) -> Iterator[tuple[Network, str]]:
    """Yield every network whose weights are here, with an objective."""
    for name, objective in CASES:
        if only not in (None, name):
            continue
        try:
            weights = SHARED / "weights" / "yamnet.h5"
            if name == "yamnet" and weights.exists():
                yield load_network(name, weights=weights), objective
            else:
                yield load_network(name), objective
        except DreamError as error:
            print(f"{name} is left out: {error}")


def level_db(x: np.ndarray) -> float:
    """Return the level of samples."""
    return float(10 * np.log10(np.mean(np.asarray(x, np.float64) ** 2) + 1e-20))


def spectrogram(x: np.ndarray, n_fft: int = 2048, hop_samples: int = 512) -> np.ndarray:
    """Return the magnitude spectrogram of the mono sum, (bins, frames)."""
    mono = x.mean(axis=0)
    frames = np.lib.stride_tricks.sliding_window_view(mono, n_fft)[::hop_samples]
    return np.abs(np.fft.rfft(frames * np.hanning(n_fft))).T


def quiet_change_db(before: np.ndarray, after: np.ndarray, n: int = 1024) -> float:
    """Return how far any frame of a passage below -60 dBFS moves; below -120 dBFS all is silence."""
    count = before.shape[1] // n

    def frames_db(x: np.ndarray) -> np.ndarray:
        power = (x[:, : count * n].reshape(x.shape[0], count, n).astype(np.float64) ** 2).mean(axis=(0, 2))
        return 10 * np.log10(power + 1e-12)

    loud = np.pad(frames_db(before) >= -60, 1)
    quiet = ~(loud[:-2] | loud[1:-1] | loud[2:])
    return float(np.abs(frames_db(after) - frames_db(before))[quiet].max()) if quiet.any() else float("nan")


def outside_change_db(before: np.ndarray, after: np.ndarray, rate: int) -> float:
    """Return how far the energy below 200 Hz or above 7.5 kHz moves, the larger of the two."""
    frequencies = np.fft.rfftfreq(before.shape[1], 1 / rate)
    spectra = [np.abs(np.fft.rfft(x.astype(np.float64), axis=1)) ** 2 for x in (before, after)]
    moves = []
    for part in (frequencies < 200, frequencies > 7500):
        energy = [spectrum[:, part].sum() + 1e-12 for spectrum in spectra]
        moves.append(abs(10 * np.log10(energy[1] / energy[0])))
    return float(max(moves))


def limited_lufs(sound: np.ndarray, rate: int) -> float:
    """Return how loud a sound is once its true peak is held at -1 dBTP."""
    limiter = Limiter(-1.0, sample_rate=rate, n_channels=len(sound))
    return measure_loudness(
        np.concatenate([limiter.push(sound), limiter.flush()], axis=1), rate
    ).integrated_lufs


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
    network: Network,
    settings: DreamSettings,
    sound: np.ndarray,
    rate: int,
    banded: bool,
    seeds: int = 1,
    **options: object,
) -> tuple[Row, np.ndarray]:
    """Dream a sound and measure what happened; the gain is the mean over so many seeds."""
    reports: list = []
    out = dream(sound, rate, network, settings, depth=DEPTH, on_step=reports.append, **options)
    listener = Listener(network, parse_objective(settings.objective), rate)
    offsets = range(0, listener.jitter_frames, max(1, listener.jitter_frames // 8))

    def scores(x: np.ndarray) -> np.ndarray:
        mono = torch.from_numpy(x.mean(axis=0)[None])
        with torch.no_grad():
            return np.array([float(listener.score(mono, offset)[0]) for offset in offsets])

    others = (replace(settings, seed=seed) for seed in range(1, seeds))
    before, after = scores(sound), [scores(out)]
    after += [scores(dream(sound, rate, network, other, DEPTH, **options)) for other in others]
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
    hop = round(settings.window_s * rate) - round(settings.cross_fade_s * rate)
    seams = list(range(hop, sound.shape[1], hop))
    band_hz = network.card.band_hz[1]
    own = level_db(sound)
    band = float("nan")
    if banded:
        limited = replace(settings, low_hz=200.0, high_hz=7500.0)
        band = outside_change_db(sound, dream(sound, rate, network, limited, depth=DEPTH, **options), rate)
    return (
        Row(
            gain=float(np.mean(after) - before.mean()) / spread,
            half=half,
            LU=loud_after.integrated_lufs - loud_before.integrated_lufs,
            peak=loud_after.true_peak_dbtp,
            limited=limited_lufs(out, rate) - loud_before.integrated_lufs,
            quiet=quiet_change_db(sound, out),
            band=band,
            LSD=lsd,
            new=float((mean_change[nothing] ** 2).sum() / max(1e-20, (mean_change**2).sum())),
            seam=above_band_db(change, rate, band_hz, seams) - own,
            alias=above_band_db(change, rate, band_hz, None) - own,
        ),
        out,
    )


def table_line(title: str, rows: dict[str, Row]) -> str:
    """Return a row of the table: the worst of what should be near something, the mean of the rest."""
    cells = []
    for field in fields(Row):
        values = {name: getattr(row, field.name) for name, row in rows.items()}
        values = {name: value for name, value in values.items() if np.isfinite(value)}
        if not values:
            cells.append("")
        elif field.name in WORST:
            worst = WORST[field.name](values.values())
            sound = next(name for name, value in values.items() if value == worst)
            cells.append(f"{worst:.3f} {sound}" if field.name == "band" else f"{worst:.1f} {sound}")
        else:
            cells.append(f"{np.mean(list(values.values())):.2f}")
    return f"| {title} | " + " | ".join(cells) + " |"


def verdicts(mask: dict[str, Row], add: dict[str, Row]) -> list[str]:
    """Say of the default update whether what must hold does, and where it does not."""

    def one(text: str, broken: dict[str, object]) -> str:
        named = ", ".join(f"{name} ({value})" for name, value in broken.items())
        return f"- {text}: " + (f"not on {named}." if named else "holds on every sound.")

    def where(name: str, limit: float) -> dict[str, object]:
        values = {sound: abs(getattr(row, name)) for sound, row in mask.items()}
        return {sound: f"{value:.2f}" for sound, value in values.items() if value > limit}

    behind = {
        n: f"{row.gain:.1f} against {add[n].gain:.1f}" for n, row in mask.items() if row.gain < add[n].gain
    }
    seams = {n: f"{r.seam:.0f}" for n, r in mask.items() if r.seam > -80}
    return [
        one("`mask` raises the objective at least as far as `add`", behind),
        one("loudness within 1 LU", where("LU", 1.0)),
        one("quiet passages move by at most 1 dB", where("quiet", 1.0)),
        one("seams at -80 dB or less", seams),
        one("energy outside a band of 200 Hz to 7.5 kHz moves by at most 0.1 dB", where("band", 0.1)),
        one("loudness within 1 LU with the true peak limited to -1 dBTP", where("limited", 1.0)),
    ]


def gains_by_sound(rows: dict[str, dict[str, Row]]) -> list[str]:
    """Return a table of gains."""
    names = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for title, row in rows.items():
        lines.append(f"| {title} | " + " | ".join(f"{row[name].gain:.1f}" for name in names) + " |")
    return lines


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


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three sounds only")
    parser.add_argument("--network", help="only this one")
    parser.add_argument("--pictures", type=Path, help="save spectrograms here")
    parser.add_argument("--out", type=Path, help="write the tables to this file as well")
    arguments = parser.parse_args()
    every = list(sounds())
    if arguments.quick:
        every = [one for one in every if one[0] in FEW]
    few = [one for one in every if one[0] in FEW]
    head = "| | " + " | ".join(f.name for f in fields(Row)) + " |\n|---|" + "---:|" * len(fields(Row))
    names = ", ".join(name for name, _, _ in every)
    lines = [
        f"Depth {DEPTH}, sounds of {SECONDS:g} s: {names}; all but the first three on {', '.join(FEW)}.",
        "",
    ]

    def row_of(
        case: tuple[Network, str], title: str, changes: dict[str, object], among: list
    ) -> dict[str, Row]:
        network, objective = case
        settings = DreamSettings(**{"objective": objective, **changes})
        rows = {}
        for name, sound, rate in among:
            options: dict[str, object] = {}
            if settings.update.startswith("target"):
                other = np.roll(sound, rate, axis=1)[:, ::-1].copy()
                options = {"references": {"other": other}, "target": "other"}
            banded = name in ("drums", "noise") and title in (*COMPARED, *UPDATES)
            seeds = SEEDS if title in COMPARED else 1
            rows[name], out = measure(network, settings, sound, rate, banded, seeds, **options)
            if arguments.pictures:
                file = f"{network.card.name}-{objective}-{title}-{name}.png".translate(UNSAFE)
                draw(sound, out, rate, f"{name}, {title}", arguments.pictures / file)
        lines.append(table_line(title, rows))
        print(lines[-1], flush=True)
        return rows

    for case in cases(arguments.network):
        title = f"{case[0].card.name}, `{case[1]}`"
        lines += [f"## {title}", "", head]
        compared = {name: row_of(case, name, changes, every) for name, changes in COMPARED.items()}
        for update in UPDATES:
            row_of(case, update, {"update": update}, few)
        lines += ["", "The default, `mask`:", "", *verdicts(compared["mask"], compared["add"]), ""]
        lines += ["Gains, sound by sound:", "", *gains_by_sound(compared), ""]
        if case[1] == DreamSettings().objective:
            lines += [f"### Techniques, with `mask`: {title}", "", head]
            for technique, changes in {"the defaults": {}, **TECHNIQUES}.items():
                row_of(case, technique, changes, few)
            lines.append("")
    text = "\n".join(lines)
    if arguments.out:
        intro = (
            "# How dreams hold up as sound\n\nMade by `python tests/bench/sound.py --out "
            "tests/bench/sound.md`; what the columns mean is said there. Figures are the worst over the "
            "sounds; `half`, `LSD` and `new` are means. `mask` turns what is there up and down: "
            "around clicks and between notes there is silence, which it leaves silent; there `add`, which "
            "fills it, may rise further.\n\n"
        )
        arguments.out.write_text(intro + text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
