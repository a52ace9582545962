"""What each network costs, and what a dream with it does: every network that is installed.

    python tests/bench/networks.py [--out tests/bench/networks.md]

- `CPU s`   processor time of one step of `mask` over 4 s of sound at 44.1 kHz on one thread, all of it
- `timbre`  the same, relative to `timbre` in the same turns
- `before`, `after`  how sure the network is of the class, mean over patches by their level, before and after
            the steps; sounds: the example song's stems from 8 to 12 s, a chord of saws (F2 A2 C3), and, where
            FluidSynth and its soundfont are there, chords of a string ensemble
- `parity`  largest difference from the published program's numbers, relative to the largest of them, in
            float64 and float32: `musicnn` logits of a sound against TensorFlow's, `notes` against ONNX's,
            `image` logits against the published PyTorch code; `crepe` is compared in its tests
"""

from __future__ import annotations

import argparse
import copy
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mido
import numpy as np
import soundfile
import torch

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from golden import image_vectors, musicnn_vectors  # noqa: E402
from golden import notes as note_vectors  # noqa: E402

from dream_core import DreamSettings, dream, list_networks, load_network  # noqa: E402
from dream_core.dsp.resample import resample  # noqa: E402
from dream_core.networks.card import Network  # noqa: E402
from dream_core.networks.registry import PUBLISHED, is_ready  # noqa: E402
from dream_core.objectives.classes import class_index, patch_weights  # noqa: E402
from dream_core.objectives.taps import tap  # noqa: E402
from dream_core.runtime import set_threads  # noqa: E402

RATE = 44100
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
CASES = (
    ("timbre", "flute", "lead", 8),
    ("timbre", "flute", "keys", 8),
    ("musicnn", "choir", "strings", 8),
    ("musicnn", "choir", "lead", 8),
    ("musicnn", "choir", "keys", 8),
    ("musicnn", "techno", "lead", 8),
    ("musicnn_msd", "jazz", "keys", 8),
    ("crepe", "A3", "chord", 10),
    ("crepe", "A3", "keys", 10),
    ("notes", "A3", "chord", 10),
    ("notes", "A3", "keys", 10),
    ("image", "class_21", "keys", 10),
)
"""Network, class, sound, steps."""


def sounds() -> dict[str, np.ndarray]:
    """Return the sounds, ``(channels, samples)``."""
    found = {}
    for stem in ("lead", "keys"):
        sound, rate = soundfile.read(ROOT / f"examples/song/{stem}.flac", dtype="float32", always_2d=True)
        assert rate == RATE
        found[stem] = np.ascontiguousarray(sound.T[:, 8 * rate : 12 * rate])
    t, random = np.arange(4 * RATE) / RATE, np.random.default_rng(1)
    chord = 0.01 * random.standard_normal(t.size)
    for hz in (174.61, 220.0, 261.63):
        for detune in (-0.004, 0.0, 0.005):
            phase = 2 * np.pi * hz * (1 + detune) * t + 0.3 * np.sin(2 * np.pi * 5.3 * t)
            chord += 0.02 * sum(np.sin(k * phase + random.uniform(0, 6)) / k for k in range(1, 24))
    found["chord"] = (chord * np.minimum(1, t / 0.2)).astype(np.float32)[None]
    if shutil.which("fluidsynth") and SOUNDFONT.is_file():
        found["strings"] = strings()
    return found


def strings() -> np.ndarray:
    """Render two chords of a General MIDI string ensemble."""
    song, track = mido.MidiFile(ticks_per_beat=480), mido.MidiTrack()
    song.tracks.append(track)
    track.append(mido.Message("program_change", program=48))
    for chord in ((48, 55, 64, 67), (45, 52, 60, 64)):
        track += [mido.Message("note_on", note=key, velocity=90) for key in chord]
        track += [mido.Message("note_off", note=key, time=1920 if key == chord[0] else 0) for key in chord]
    with tempfile.TemporaryDirectory() as folder:
        song.save(f"{folder}/a.mid")
        command = ["fluidsynth", "-ni", "-F", f"{folder}/a.wav", "-r", str(RATE), str(SOUNDFONT)]
        subprocess.run([*command, f"{folder}/a.mid"], check=True, capture_output=True)
        sound, _ = soundfile.read(f"{folder}/a.wav", dtype="float32", always_2d=True)
    return np.ascontiguousarray(sound.T[:, : 4 * RATE])


def probability(network: Network, sound: np.ndarray, name: str) -> float:
    """Return how sure a network is of a class."""
    mono = torch.from_numpy(np.ascontiguousarray(sound.mean(axis=0, keepdims=True)))
    patches = network.listen(resample(mono, RATE, network.card.sample_rate))[0]
    with torch.no_grad():
        logits = network(patches)
    weights = patch_weights(network.measure_energy(patches)[None], logits[None])[0]
    is_independent = network.card.outputs == "independent"
    activations = logits.sigmoid() if is_independent else logits.softmax(dim=1)
    return float((weights * activations[:, class_index(name, network.card)]).sum())


def costs(names: list[str], sound: np.ndarray) -> dict[str, float]:
    """Return processor seconds of a step, the least of three turns."""
    networks = {name: load_network(name) for name in names}
    least = dict.fromkeys(names, float("inf"))
    for _ in range(3):
        for name, network in networks.items():
            objective = "class:auto" if network.card.classes else f"layer:{network.card.layers[-1].name}"
            began = time.process_time()
            dream(sound, RATE, network, DreamSettings(objective=objective), 2.0)
            least[name] = min(least[name], (time.process_time() - began) / 2)
    return least


def parity(name: str) -> list[str]:
    """Return the difference from published numbers in float64 and float32."""
    found = []
    for dtype in (torch.float64, torch.float32):
        network = copy.deepcopy(load_network(name, dtype=dtype))
        with torch.no_grad():
            if name == "musicnn":
                sound = torch.from_numpy(musicnn_vectors.make_waveform()).to(dtype)[None]
                expected = np.load(musicnn_vectors.FILE)["mtt_logits_of_sound"]
                actual = network(network.listen(sound)[0])[:1].numpy()
            elif name == "notes":
                with tap(network, ["notes"]) as heard:
                    network(torch.from_numpy(note_vectors.SOUNDS["noise"]()).to(dtype)[None])
                expected = np.load(note_vectors.FILE)["noise_float64_notes"]
                actual = heard["notes"][0].T[note_vectors.FRAMES].numpy()
            elif name == "image":
                expected = np.load(image_vectors.FILE)["logits"]
                actual = network.see(image_vectors.pictures().flip(2).transpose(2, 3).to(dtype)).numpy()  # type: ignore[attr-defined]
            else:
                return ["", ""]
        found.append(f"{np.abs(actual - expected).max() / np.abs(expected).max():.1e}")
    return found


def main() -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    set_threads(1)
    heard = sounds()
    cards = [card for card in list_networks() if is_ready(card.name)]
    least = costs([card.name for card in cards], heard["lead"])
    lines = ["# Networks", "", "Generated by `python tests/bench/networks.py --out ...`, one thread.", ""]
    lines += ["| network | hears | at once | classes | CPU s | timbre | parity float64 | float32 | licence |"]
    lines += ["|---|---|---:|---:|---:|---:|---:|---:|---|"]
    for card in cards:
        cost, low, high = least[card.name], *card.band_hz
        cells = [card.name, f"{low:.0f}..{high:.0f} Hz", f"{card.patch_s:.2f} s", str(len(card.classes))]
        cells += [f"{cost:.3f}", f"{cost / least['timbre']:.1f}", *parity(card.name), card.licence]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| network | class | sound | steps | before | after | level dB |"]
    lines += ["|---|---|---|---:|---:|---:|---:|"]
    for name, wanted, where, steps in CASES:
        if not is_ready(name) or where not in heard:
            continue
        network, sound = load_network(name), heard[where]
        dreamed = dream(sound, RATE, network, DreamSettings(objective=f"class:{wanted}"), float(steps))
        before, after = (probability(network, one, wanted) for one in (sound, dreamed))
        level = 20 * np.log10(dreamed.std() / sound.std())
        lines.append(f"| {name} | {wanted} | {where} | {steps} | {before:.3f} | {after:.3f} | {level:.2f} |")
    if missing := [name for name in PUBLISHED if not is_ready(name)]:
        lines += ["", f"Not installed, not measured: {', '.join(missing)}."]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
