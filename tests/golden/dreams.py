"""What dreams give today, as numbers that a change of the arithmetic cannot slip past.

    python tests/golden/dreams.py                 compares, and prints old and new where they differ
    python tests/golden/dreams.py --write NAME    writes one case, such as "update mask"
    python tests/golden/dreams.py --write         writes all of dreams.json, and prints the same table

A golden is not right because it is kept: it is what was listened to and measured when it was made. Whoever
changes a dream on purpose writes them anew in a commit of its own, with the printed table in its message.

Each case keeps the objective before its last step, the level of what the dream changed, and the *sketch* of
that change: its products with fixed noises, on the scale of its own level. Two changes that differ by one
percent have sketches that differ by about one percent, wherever in the sound that is.

And it keeps the *spread*: how far apart the case lands where its sound is moved by a few roundings. Other
processors and numbers of threads order float32 sums otherwise, and deep dreams make of that what they make of
any small move: the spread says how far another processor may be, with nothing changed. A case of so large a
spread that a real change could hide in it is none: give it a shallower depth, or a sound with more in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

FILE = Path(__file__).with_name("dreams.json")
RATE = 44100
N_PRODUCTS = 24
SKETCHED = 3
"""Seed of the noises of sketches. No sound has a noise of this seed: it would be all that its sketch sees."""

DEPTHS = (1.0, 3.5, 10.0)
LONGEST = ("chord", 10.0)
"""Left out: the slowest by far, and what ten steps do is in the shorter sounds."""

LOWEST_HZ = 220.0
"""The lowest note of `chord`."""

MOVED = 1e-6
"""How far a sample is moved for the spread, relative to itself: sixteen roundings, for those of a dream."""

N_MOVED = 3
"""How often; the spread is the largest of the distances."""

NETWORKS = {"timbre": "layer:block3", "texture": "layer:frames4"}


def _times(seconds: float) -> npt.NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE


def chord() -> FloatArray:
    """A plucked chord over faint noise, in stereo, longer than a window."""
    t = _times(5.0)
    left, right = (
        sum(np.sin(2 * np.pi * f * k * t) / k**1.3 for f in pitches for k in range(1, 9))
        for pitches in ((220.0, 277.2, 329.6), (220.0, 277.2, 440.0))
    )
    noise = 0.003 * np.random.default_rng(1).standard_normal((2, len(t)))
    sound = 0.08 * np.stack([left, right]) * np.exp(-2.0 * (t % 1.25)) + noise
    return sound.astype(np.float32)


def beats() -> FloatArray:
    """Bursts of noise and thumps with near-silence between them: attacks, and nothing before them.

    The hiss lies below what the guard lets through (at -70 dBFS; it opens at -60), and is needed. A network
    that hears the logarithm of its bands follows a near-silent frame most of all, in a direction that is the
    phase of what is there: without the hiss, of what rounding left.
    """
    t = _times(1.5)
    rng = np.random.default_rng(2)
    burst = np.exp(-40.0 * (t % 0.375)) * rng.standard_normal(len(t))
    thump = np.exp(-12.0 * (t % 0.75)) * np.sin(2 * np.pi * 60.0 * t)
    hiss = 3e-4 * np.random.default_rng(4).standard_normal(len(t))
    return (0.25 * burst + 0.4 * thump + hiss)[None].astype(np.float32)


def tone() -> FloatArray:
    """A tone over hiss that begins late: little to turn up beside it, and digital silence first.

    With nothing beside it at all, a mask turns up what rounding leaves, which differs between processors.
    Over a hiss 47 dB below it, ten steps made half a change's difference of that; this one is 17 dB below.
    """
    t = _times(1.5)
    hiss = 3e-2 * np.random.default_rng(5).standard_normal(len(t))
    return ((0.3 * np.sin(2 * np.pi * 440.0 * t) + hiss) * (t > 0.3))[None].astype(np.float32)


SOUNDS: dict[str, Callable[[], FloatArray]] = {"chord": chord, "beats": beats, "tone": tone}

TECHNIQUES: dict[str, dict[str, Any]] = {
    "no jitter": {"jitter": False},
    "three octaves": {"octaves": 3},
    "varispeed": {"varispeed_octaves": 0.5},
    "by bands": {"normalisation": "band"},
    "by windows": {"normalisation": "window"},
    "smoothed": {"smooth_frames": 2.0, "smooth_bins": 1.5},
    "total variation": {"tv_time": 0.5, "tv_frequency": 0.25},
    "plain steps": {"optimiser": "plain", "momentum": 0.0},
    "plain momentum": {"optimiser": "plain", "momentum": 0.7},
    "no momentum": {"momentum": 0.0},
    "adam": {"optimiser": "adam"},
    "attacks kept": {"protect_transients": 0.8},
    "energy free": {"energy": False},
    "no excitation": {"excitation_db": -96.0},
    "loud excitation": {"excitation_db": -20.0},
    "no guard": {"guard": False},
    "long frames": {"n_fft": 8192, "hop_divisor": 8},
    "a band": {"low_hz": 300.0, "high_hz": 3000.0},
    "small steps": {"step": 0.25},
    "short windows": {"window_s": 0.5, "fade_s": 0.02},
    "another seed": {"seed": 7},
    "mid and side": {"stereo": "mid_side"},
    "channels apart": {"stereo": "independent"},
}
"""Everything that can be asked of `mask`, one at a time."""

UPDATES = (
    "harmonic",
    "mel",
    "hear",
    "add",
    "gradient",
    "filter",
    "filter_swapped",
    "hard_cut",
    "hard_cut_add",
    "hard_cut_add_swapped",
    "target_text",
    "target_figure",
    "target_gradient",
    "expand:gradient:sound:sound:add",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One dream.

    Args:
        sound: One of `SOUNDS`.
        network: Its name.
        objective: What is maximised.
        depth: Steps.
        settings: What differs from the defaults.
        n_seconds: How much of the sound is dreamed; None for all.
    """

    sound: str
    network: str
    objective: str
    depth: float
    settings: dict[str, Any] = field(default_factory=dict)
    n_seconds: float | None = None


def cases() -> dict[str, Case]:
    """Return every case by name."""
    found = {
        f"{network}, {sound}, depth {depth:g}": Case(
            sound=sound, network=network, objective=objective, depth=depth
        )
        for network, objective in NETWORKS.items()
        for sound in SOUNDS
        for depth in DEPTHS
        if (sound, depth) != LONGEST
    }

    def texture(sound: str, settings: dict[str, Any]) -> Case:
        return Case(
            sound=sound,
            network="texture",
            objective=NETWORKS["texture"],
            depth=4.0,
            settings=settings,
            n_seconds=1.5,
        )

    for name, settings in TECHNIQUES.items():
        found[name] = texture("chord" if "stereo" in settings else "beats", settings)
    for update in UPDATES:
        found[f"update {update}"] = texture("chord", {"update": update})
    return found


def moved(sound: FloatArray, seed: int) -> FloatArray:
    """Return a sound each of whose samples is moved by a few roundings."""
    noise = np.random.default_rng(seed).standard_normal(sound.shape)
    return (sound * (1.0 + MOVED * noise)).astype(np.float32)


def measure(case: Case, seed: int | None = None) -> dict[str, Any]:
    """Dream a case and return its numbers; with a seed, of its sound `moved`."""
    from dream_core import DreamSettings, dream, load_network

    sound = SOUNDS[case.sound]()
    if case.n_seconds is not None:
        sound = sound[:, : round(case.n_seconds * RATE)]
    if seed is not None:
        sound = moved(sound, seed)
    scores: list[float] = []
    settings = DreamSettings(objective=case.objective, **case.settings)
    target = {"references": {"beats": beats()}, "target": "beats"} if "update" in case.settings else {}
    pitch = {"f0_hz": LOWEST_HZ} if settings.update == "harmonic" else {}
    dreamed = dream(
        sound,
        RATE,
        load_network(case.network),
        settings,
        depth=case.depth,
        on_step=lambda report: scores.append(report.score),
        **target,
        **pitch,
    )
    change = dreamed.astype(np.float64) - sound
    level = float(np.sqrt(np.mean(change**2)))
    noise = np.random.default_rng(SKETCHED).standard_normal((N_PRODUCTS, change.size))
    sketch = noise @ change.ravel() / (level * np.sqrt(change.size))
    return {
        "score": round(scores[-1], 6),
        "change_dbfs": round(20.0 * np.log10(level), 4),
        "sketch": [round(float(value), 5) for value in sketch],
    }


def distance(old: dict[str, Any], new: dict[str, Any]) -> float:
    """Return how far two changes are apart, relative to the size of either."""
    scale = 10.0 ** ((new["change_dbfs"] - old["change_dbfs"]) / 20.0)
    apart = scale * np.array(new["sketch"]) - np.array(old["sketch"])
    return float(np.sqrt(np.mean(apart**2)))


def spread(case: Case, numbers: dict[str, Any]) -> float:
    """Return how far from a case's numbers it lands where its sound is moved by a few roundings."""
    apart = max(distance(numbers, measure(case, seed)) for seed in range(N_MOVED))
    return float(f"{apart:.2g}")


def read() -> dict[str, dict[str, Any]]:
    """Return the kept numbers of every case."""
    kept: dict[str, dict[str, Any]] = json.loads(FILE.read_text("utf-8"))
    return kept


def compare(names: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, Any], dict[str, Any] | None]]:
    """Measure cases, or all; yield each one's name, its numbers and the kept ones."""
    kept = read() if FILE.exists() else {}
    known = cases()
    for name, case in known.items() if not names else [(name, known[name]) for name in names]:
        yield name, measure(case), kept.get(name)


def main(arguments: list[str]) -> None:
    """Print what differs from the kept numbers; where that is asked, write them anew with their spread."""
    is_written = "--write" in arguments
    names = [word for word in arguments if word != "--write"]
    unknown = [name for name in names if name not in cases()]
    if unknown:
        raise SystemExit(f"no case is called {unknown[0]!r}; there are: {', '.join(cases())}")
    measured = {}
    print(f"| {'dream':40} | score | | change, dBFS | | apart | spread |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, new, old in compare(names):
        if is_written:
            new["spread"] = spread(cases()[name], new)
        measured[name] = new
        if old is not None and distance(old, new) < 1e-4 and old["score"] == new["score"]:
            continue
        was = {"score": float("nan"), "change_dbfs": float("nan"), "spread": float("nan")} | (old or {})
        apart = f"{distance(old, new):.1%}" if old else "new"
        print(
            f"| {name:40} | {was['score']:.4f} | {new['score']:.4f} "
            f"| {was['change_dbfs']:.2f} | {new['change_dbfs']:.2f} | {apart} "
            f"| {new.get('spread', was['spread']):.3%} |"
        )
    if is_written:
        written = (
            {name: numbers for name, numbers in read().items() if names} | measured
            if FILE.exists()
            else measured
        )
        lines = [f" {json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in written.items()]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
