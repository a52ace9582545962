"""Draw what a network hears in the example song, and a curve that follows its drums.

    python docs/figures/hearing.py

Wants matplotlib, and musicnn's weights (`reverie networks get musicnn`). The mix is the sum of the song's
stems; once as it is, once with the drums silent for three stretches. Printed is how well the curve goes with
the loudness of the drums' own stem, which the network never hears alone, over the whole song: of 0.4 s, and
of 3 s, as much as the network looks at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from bridge.clock.tempo_map import TempoMap
from bridge.envelopes.assemble import build_envelopes
from bridge.envelopes.follower import build_follower
from bridge.envelopes.hearing import hearing_measures
from bridge.envelopes.schema import Modulator
from bridge.envelopes.song import Song
from bridge.processors.heard_sound import HeardSound, strongest
from bridge.processors.hearing import hear_blocks, hear_curves, open_ear

HERE = Path(__file__).parent
SONG = HERE.parents[1] / "examples" / "song"
NETWORK, CLASS = "musicnn", "drums"
SILENT_S = ((0.0, 3.5), (8.0, 13.0), (20.0, 23.5))
STEP_S = 0.01
MOMENT_S = 0.4
"""Momentary loudness is of so much sound; followers tell it where that ends, here it stands at the middle."""

MODULATORS = TypeAdapter(tuple[Modulator, ...]).validate_python(
    [
        {"id": "heard", "type": "hearing", "network": NETWORK, "class": CLASS, "floor": 0.02, "ceiling": 0.2},
        {
            "id": "loud",
            "type": "follower",
            "source": "sidechain",
            "stem": "drums",
            "detector": "lufs_m",
            "attack": "0 ms",
            "release": "0 ms",
        },
    ]
)


def read_stems() -> tuple[dict[str, np.ndarray], int]:
    """Return the song's stems, ``(2, samples)`` and as long as the longest, and their rate."""
    stems, rate = {}, 0
    for path in sorted(SONG.glob("*.flac")):
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        stems[path.stem] = np.broadcast_to(sound.T, (2, len(sound)))
    longest = max(sound.shape[1] for sound in stems.values())
    padded = {name: np.pad(sound, ((0, 0), (0, longest - sound.shape[1]))) for name, sound in stems.items()}
    return padded, rate


def follow(mix: np.ndarray, drums: np.ndarray, rate: int) -> dict[str, np.ndarray]:
    """Return what is heard of drums in the mix and how loud the drums are, as modulators, every 10 ms."""
    (measures,) = hearing_measures(MODULATORS, "mix").values()
    heard = hear_curves([mix], rate, open_ear(NETWORK), measures)
    followers = {
        "mix": replace(build_follower([mix], rate, MODULATORS), heard=heard),
        "drums": build_follower([drums], rate, MODULATORS),
    }
    song = Song(tempo_map=TempoMap.constant(120.0), length_s=mix.shape[1] / rate)
    envelopes = build_envelopes(
        modulators=MODULATORS, targets={}, song=song, sample_rate=rate, stem="mix", followers=followers
    )
    step, n_samples = round(STEP_S * rate), mix.shape[1]
    return {
        "heard": envelopes.source_values("heard", 0, n_samples, step),
        "loud": envelopes.source_values("loud", round(MOMENT_S / 2 * rate), n_samples, step),
    }


def averaged(loud: np.ndarray, seconds: float) -> np.ndarray:
    """Return the level of the mean power over so much around each instant; levels are 0..1 for -60..0 dB."""
    n = round(seconds / STEP_S)
    power = np.convolve(10.0 ** (6.0 * (loud - 1.0)), np.ones(n) / n, mode="same")
    return 1.0 + np.log10(np.maximum(power, 1e-6)) / 6.0


def draw(path: Path, heard: HeardSound, curves: Mapping[str, np.ndarray]) -> None:
    """Draw the classes of the mix above the two curves."""
    figure = Figure(figsize=(9.0, 4.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (1.2, 1.0)})
    rows = [heard.names.index(one.name) for one in strongest(heard, 7)]
    edges = np.append(heard.middles_s - heard.hop_s / 2, heard.middles_s[-1] + heard.hop_s / 2)
    mesh = top.pcolormesh(edges, np.arange(len(rows) + 1), heard.values[:, rows].T, cmap="magma", vmin=0.0)
    top.set_yticks(np.arange(len(rows)) + 0.5, [heard.names[row] for row in rows])
    top.invert_yaxis()
    top.set_title(f"what {NETWORK} hears in the mix", loc="left", fontsize=9)
    figure.colorbar(mesh, ax=top, label="probability")
    times = np.arange(len(curves["heard"])) * STEP_S
    bottom.plot(times, curves["heard"], label=f"hearing, class = '{CLASS}', in the mix")
    bottom.plot(times, curves["loud"], color="0.6", linewidth=0.9, label="loudness of the drums' stem")
    bottom.set_ylim(0.0, 1.3)
    bottom.set_xlim(0.0, heard.duration_s)
    bottom.set_xlabel("seconds")
    bottom.legend(loc="upper right", fontsize=8)
    figure.savefig(path)


def main() -> None:
    """Measure, print and draw."""
    stems, rate = read_stems()
    gate = np.ones(stems["drums"].shape[1], np.float32)
    for start_s, stop_s in SILENT_S:
        gate[round(start_s * rate) : round(stop_s * rate)] = 0.0
    fade = round(0.02 * rate)
    gate = np.convolve(gate, np.ones(fade) / fade, mode="same").astype(np.float32)
    rest = sum(sound for name, sound in stems.items() if name != "drums")
    for what, drums in (("as it is", stems["drums"]), ("drums in and out", stems["drums"] * gate)):
        curves = follow(rest + drums, drums, rate)
        loud = {MOMENT_S: curves["loud"], 3.0: averaged(curves["loud"], 3.0 - MOMENT_S)}
        told = (f"{np.corrcoef(curves['heard'], one)[0, 1]:.2f} ({s:g} s)" for s, one in loud.items())
        print(f"{what}: {NETWORK}'s {CLASS!r} and the drums' loudness correlate by {', '.join(told)}")
    draw(HERE / "hearing.png", hear_blocks([rest + drums], rate, open_ear(NETWORK)), curves)


if __name__ == "__main__":
    main()
