"""What a dream on spectrograms keeps when it becomes sound, and what it reaches beside `mask`.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/bench/mel.py          writes mel.md, about six minutes

Sounds are the first bars of the examples' stems, chords of strings (FluidSynth and FluidR3, where they are)
and noise; the network is `timbre`. Times are processor time of one thread, the updates in turn in one run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido
import numpy as np
import numpy.typing as npt
import soundfile
import torch

from dream_core import DreamSettings, dream, load_network
from dream_core.loop.pending_steps import StepReport
from dream_core.objectives.listener import Listener
from dream_core.objectives.parse import parse_objective

FloatArray = npt.NDArray[np.float32]
HERE = Path(__file__)
SONG = HERE.parents[2] / "examples" / "song"
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
RATE = 44100
SECONDS = 4.0
OBJECTIVES = ("layer:block2", "layer:block3", "class:flute")
STEADY = {"smooth_frames": 3.0, "smooth_bins": 1.5, "motion": 1.0}
WAYS: dict[str, dict[str, Any]] = {
    "phase, defaults": {},
    "phase, motion 1, smoothed 3/1.5": STEADY,
    "phase, loudness free": {**STEADY, "energy": False, "guard": False, "peak_guard": 0.0},
    "griffin_lim": {**STEADY, "resynthesis": "griffin_lim", "guard": False, "peak_guard": 0.0},
    "griffin_lim_random": {**STEADY, "resynthesis": "griffin_lim_random", "guard": False, "peak_guard": 0.0},
}
N_STEPS = 40


def strings() -> FloatArray | None:
    """Return four chords of a string ensemble, or None where there is no synthesiser."""
    track = mido.MidiTrack([mido.Message("program_change", program=48)])
    for chord in ((60, 64, 67), (57, 60, 64), (53, 57, 60), (55, 59, 62)):
        track += [mido.Message("note_on", note=note, velocity=90) for note in chord]
        track += [mido.Message("note_off", note=note, time=960 * (note == chord[0])) for note in chord]
    with tempfile.TemporaryDirectory() as folder:
        song, out = Path(folder, "strings.mid"), Path(folder, "strings.wav")
        mido.MidiFile(tracks=[track]).save(song)
        command = ["fluidsynth", "-ni", "-F", str(out), "-r", str(RATE), str(SOUNDFONT), str(song)]
        try:
            subprocess.run(command, check=True, capture_output=True)
            return read(out)
        except (OSError, subprocess.CalledProcessError):
            return None


def read(path: Path) -> FloatArray:
    """Return the first seconds of a file from where it sounds, in mono."""
    sound, _ = soundfile.read(path, dtype="float32", always_2d=True)
    mono = sound.mean(axis=1)
    first = int(np.argmax(np.abs(mono) > 0.01))
    return np.ascontiguousarray(mono[None, first : first + round(SECONDS * RATE)])


def sounds() -> Iterator[tuple[str, FloatArray]]:
    """Yield names and sounds."""
    for name in ("keys", "lead", "bass", "drums"):
        yield name, read(SONG / f"{name}.flac")
    played = strings()
    if played is not None:
        yield "strings", played
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, round(SECONDS * RATE)))
    yield "noise", noise.astype(np.float32)


class Bench:
    """The network, and what it says."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.network = load_network("timbre")

    def score(self, sound: FloatArray, objective: str) -> float:
        """Return the score of a whole sound."""
        listener = Listener(self.network, parse_objective(objective), RATE)
        with torch.no_grad():
            return float(listener.score(torch.from_numpy(sound))[0])

    def dreamed(self, sound: FloatArray, depth: float, **changes: Any) -> tuple[FloatArray, float, float]:
        """Return a dream, the last score it was told, and the seconds it took."""
        told: list[StepReport] = []
        settings = DreamSettings(**changes)
        start = time.process_time()
        out = dream(sound, RATE, self.network, settings, depth, on_step=told.append)
        return out, told[-1].score, time.process_time() - start

    def kept(self) -> Iterator[str]:
        """Yield the table of what is left of a dream of frames once it is sound."""
        yield "| way back | " + " | ".join(f"{o}: kept" for o in OBJECTIVES) + " | level, dB |"
        yield "|---|" + "---|" * (len(OBJECTIVES) + 1)
        for way, changes in WAYS.items():
            cells, levels = [], []
            for objective in OBJECTIVES:
                shares = []
                for name, sound in sounds():
                    before = self.score(sound, objective)
                    settings = {"objective": objective, "update": "mel", "jitter": False, "context": False}
                    out, frames, _ = self.dreamed(sound, N_STEPS + 1, **settings, **changes)
                    gained = self.score(out, objective) - before
                    shares.append(f"{name} {gained / (frames - before):.2f}")
                    levels.append(10 * np.log10(np.mean(out**2) / np.mean(sound**2)))
                cells.append(", ".join(shares))
            worst = max(levels, key=abs)
            yield f"| {way} | " + " | ".join(cells) + f" | {np.median(levels):+.1f}, at most {worst:+.1f} |"

    def beside_mask(self) -> Iterator[str]:
        """Yield the table of what both reach in the time `mask` takes for some steps."""
        yield (
            "| sound | objective | before | mask, 6 steps | CPU s | mel, as long | ratio "
            "| mel, 50 steps | CPU s |"
        )
        yield "|---|---|---|---|---|---|---|---|---|"
        for name, sound in sounds():
            for objective in ("layer:block3", "class:flute"):
                before = self.score(sound, objective)
                masked, _, mask_s = self.dreamed(sound, 6, objective=objective)
                changes = {"objective": objective, "update": "mel", **STEADY, "step": 3.0}
                _, _, trial_s = self.dreamed(sound, 10, **changes)
                n_steps = max(1, round(10 * mask_s / trial_s))
                quick, _, _ = self.dreamed(sound, n_steps, **changes)
                deep, _, deep_s = self.dreamed(sound, 50, **changes)
                reached = [self.score(one, objective) for one in (masked, quick, deep)]
                ratio = f"{reached[1] / reached[0]:.2f}" if objective.startswith("layer") else ""
                yield (
                    f"| {name} | {objective} | {before:.2f} | {reached[0]:.2f} | {mask_s:.2f} "
                    f"| {reached[1]:.2f} ({n_steps} steps) | {ratio} | {reached[2]:.2f} | {deep_s:.2f} |"
                )


def main() -> int:
    """Measure, and write the page."""
    bench = Bench()
    lines = [
        "# Dreams on spectrograms, measured",
        "",
        f"By `tests/bench/mel.py`: {SECONDS:g} s of each sound, network `timbre`, one thread.",
        "",
        f"What is left of what {N_STEPS} steps gain on the frames, once they are sound (1 is all of it):",
        "",
        *bench.kept(),
        "",
        "Beside `mask`, both by default but for `motion = 1`, smoothing 3/1.5 and `step = 3` of `mel`. "
        "`mask` holds thirds of an octave (`balance`), `mel` does not; both keep every frame's loudness:",
        "",
        *bench.beside_mask(),
    ]
    HERE.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
