"""A small session on disk: stems, MIDI and presets, made for a test."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import soundfile

PRESET = """
format = "reverie/preset"
version = 1
uuid = "00000000-0000-4000-8000-000000000001"

[meta]
name = "{name}"
category = "Utility"

[[chain]]
id = "dream"
use = "dream"
params = {{ network = "texture", objective = "layer:frames4", update = "{update}", depth = {depth} }}
{more}
"""
GAIN = """
format = "reverie/preset"
version = 1
uuid = "00000000-0000-4000-8000-000000000001"
meta = { name = "gain", category = "Utility" }
chain = [{ id = "gain", use = "gain" }]
"""
"""A preset that loads neither Torch nor pedalboard."""


def write_preset(
    folder: Path, *, depth: float = 1.0, update: str = "add", more: str = "", name: str = "under-test"
) -> Path:
    """Write a preset of one dream."""
    path = folder / f"{name}.toml"
    path.write_text(PRESET.format(name=name, depth=depth, update=update, more=more))
    return path


def make_sound(seconds: float, sample_rate: int, n_channels: int, seed: int = 0) -> np.ndarray:
    """A plucked chord over noise, (samples, channels), peaks near -6 dBFS."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    pluck = np.exp(-3.0 * (t % 0.5))
    tone = sum(np.sin(2 * np.pi * f * (1 + 0.1 * seed) * t) for f in (220.0, 277.2, 554.4))
    sound = 0.12 * (tone * pluck)[:, None] + 0.004 * rng.standard_normal((len(t), n_channels))
    return sound.astype(np.float32)


def write_stem(
    path: Path,
    *,
    seconds: float = 1.2,
    sample_rate: int = 22050,
    n_channels: int = 1,
    subtype: str = "PCM_24",
    seed: int = 0,
) -> Path:
    """Write a stem."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, make_sound(seconds, sample_rate, n_channels, seed), sample_rate, subtype=subtype)
    return path


def write_midi(path: Path, events: list[tuple[int, mido.Message | mido.MetaMessage]], ppq: int = 480) -> Path:
    """Write a MIDI file from (tick, message) pairs."""
    file = mido.MidiFile(type=1, ticks_per_beat=ppq)
    track = mido.MidiTrack()
    now = 0
    for tick, message in sorted(events, key=lambda pair: pair[0]):
        track.append(message.copy(time=tick - now))
        now = tick
    file.tracks.append(track)
    file.save(path)
    return path
