"""Notes of instruments that no soundfont has: additive, FM and plucked strings, drawn by chance.

A network that knows three soundfonts knows their samples. These notes share with real instruments what makes
the family (how partials start, how they decay, what noise is there) and nothing else.

Sources:
    Chowning 1973 (frequency modulation); Karplus and Strong 1983 (plucked strings); Fletcher and Rossing,
    "The Physics of Musical Instruments" (bars, reeds, brightness of brass).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from dream_core.networks.timbre import CLASSES
from dream_core.training.fluidsynth import SLOT_S
from dream_core.training.notes import PITCH_RANGES, NoteTable

__all__ = ["synthesise_notes"]

_PRESETS = 4
"""As how many presets a family's notes count: presets are drawn alike often."""

Signal = NDArray[np.float64]

_N_PARTIALS = 40
_VOWELS_HZ = (
    (730.0, 1090.0, 2440.0, 3400.0),
    (530.0, 1840.0, 2480.0, 3500.0),
    (270.0, 2290.0, 3010.0, 3600.0),
    (570.0, 840.0, 2410.0, 3300.0),
    (300.0, 870.0, 2240.0, 3200.0),
)
_BARS = (
    (1.0, 3.93, 9.9, 18.0),
    (1.0, 2.76, 5.4, 8.93),
    (1.0, 3.0, 6.1, 10.2),
    (0.5, 1.0, 1.2, 1.5, 2.0, 2.6),
)


@dataclass(frozen=True, slots=True)
class _Key:
    """A key that is pressed."""

    rng: np.random.Generator
    time_s: Signal
    sample_rate: int
    f0_hz: float
    velocity: float
    length_s: float

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def noise(self) -> Signal:
        return self.rng.standard_normal(len(self.time_s))

    def held(self, attack_s: float, release_s: float, sustain: float = 1.0, decay_s: float = 0.3) -> Signal:
        """Return the envelope of a note that is held, then let go."""
        rise = np.clip(self.time_s / max(attack_s, 1e-4), 0.0, 1.0)
        rise = np.sin(0.5 * np.pi * rise) ** 2
        fall = sustain + (1.0 - sustain) * np.exp(-np.maximum(0.0, self.time_s - attack_s) / decay_s)
        gone = np.exp(-np.maximum(0.0, self.time_s - self.length_s) * 4.6 / max(release_s, 1e-3))
        envelope: Signal = rise * fall * gone
        return envelope

    def phase(self, vibrato_cents: float = 0.0, rate_hz: float = 5.5, detune_cents: float = 0.0) -> Signal:
        """Return the phase of the fundamental, in turns; vibrato comes in slowly, pitch wanders a little."""
        depth = vibrato_cents * np.clip(self.time_s / 0.6, 0.0, 1.0)
        wander = lfilter([0.0005], [1.0, -0.9995], self.noise()) * 40.0
        cents = depth * np.sin(2 * np.pi * rate_hz * self.time_s + self.between(0, 6)) + wander + detune_cents
        turns: Signal = np.cumsum(self.f0_hz * 2.0 ** (cents / 1200.0)) / self.sample_rate
        return turns

    def partials(self, turns: Signal, levels: Callable[[int], Signal | float], spread: float = 0.0) -> Signal:
        """Add up partials as loud as `levels` says; `spread` is how far a stiff string's are stretched."""
        sound = np.zeros(len(self.time_s))
        for k in range(1, _N_PARTIALS + 1):
            ratio = k * np.sqrt(1.0 + spread * k * k)
            if ratio * self.f0_hz > 0.45 * self.sample_rate:
                break
            sound += levels(k) * np.sin(2 * np.pi * (ratio * turns + self.rng.random()))
        return sound

    def resonant(self, sound: Signal, formants_hz: tuple[float, ...], width_hz: float) -> Signal:
        """Return a sound through resonances."""
        out = 0.1 * sound
        for n, hz in enumerate(formants_hz):
            radius = np.exp(-np.pi * width_hz * (1 + 0.3 * n) / self.sample_rate)
            turn = 2 * np.pi * min(hz, 0.45 * self.sample_rate) / self.sample_rate
            gain = (1 - radius) * 0.8**n
            out = out + lfilter([gain, 0, -gain], [1.0, -2 * radius * np.cos(turn), radius**2], sound)
        filtered: Signal = out
        return filtered


def _pluck(key: _Key, brightness: float, decay_s: float, place: float) -> Signal:
    """A string that is plucked: a burst of noise goes round and loses its highs."""
    length = key.sample_rate / key.f0_hz
    n = max(2, int(length - 0.5))
    burst = np.zeros(len(key.time_s))
    start = key.rng.standard_normal(n)
    start = lfilter([brightness], [1.0, brightness - 1.0], start)
    burst[:n] = start - start.mean()
    comb = max(1, int(place * n))
    burst[comb:] -= 0.9 * burst[:-comb]
    loss = 0.001 ** (1.0 / (decay_s * key.f0_hz))
    fraction = length - 0.5 - n
    blend = 0.5 - 0.2 * brightness
    # One round: a delay, a mean of neighbours, a fraction of a sample.
    taps = np.convolve([1.0 - blend, blend], [1.0 - max(0.0, fraction), max(0.0, fraction)])
    feedback = np.zeros(n + 3)
    feedback[0], feedback[n : n + 3] = 1.0, -loss * taps
    string: Signal = lfilter([1.0], feedback, burst)
    damped = np.exp(-np.maximum(0.0, key.time_s - key.length_s) * 12.0)
    return string * damped


def _fm(key: _Key, ratio: float, index: Signal, envelope: Signal, turns: Signal | None = None) -> Signal:
    turns = key.phase() if turns is None else turns
    sound: Signal = envelope * np.sin(2 * np.pi * turns + index * np.sin(2 * np.pi * ratio * turns))
    return sound


def _decaying(key: _Key, decay_s: float, steepness: float) -> Callable[[int], Signal | float]:
    tilt = key.between(0.8, 1.6)
    return lambda k: k**-tilt * np.exp(-key.time_s * 4.6 / decay_s * (1.0 + steepness * (k - 1)))


def _bass(key: _Key) -> Signal:
    if key.rng.random() < 0.6:
        return _pluck(key, key.between(0.2, 0.9), key.between(0.8, 3.0), key.between(0.08, 0.3))
    index = key.between(1.0, 5.0) * np.exp(-key.time_s * key.between(2.0, 8.0)) + key.between(0.2, 1.0)
    return _fm(key, key.rng.choice([1.0, 2.0]), index, key.held(0.005, 0.08, key.between(0.3, 0.9)))


def _brass(key: _Key) -> Signal:
    envelope = key.held(key.between(0.03, 0.09), key.between(0.05, 0.15), key.between(0.7, 1.0))
    turns = key.phase(key.between(0, 20), key.between(4.5, 6.0))
    if key.rng.random() < 0.3:
        return _fm(key, 1.0, envelope * key.between(3.0, 6.0) * key.velocity, envelope, turns)
    bright = key.between(4.0, 12.0) * key.velocity
    peak = key.between(0.5, 3.0)  # which partial is loudest; the louder, the brighter

    def level(k: int) -> Signal:
        loud: Signal = envelope * np.exp(-np.maximum(0.0, k - peak) / (0.5 + bright * envelope**1.5))
        return loud

    return key.partials(turns, level)


def _flute(key: _Key) -> Signal:
    envelope = key.held(key.between(0.05, 0.18), key.between(0.08, 0.2))
    steep = key.between(0.9, 1.9)
    weak_evens = key.between(0.3, 1.0)
    tone = key.partials(
        key.phase(key.between(0, 35), key.between(4.5, 6.0)),
        lambda k: envelope * np.exp(-steep * (k - 1)) * (weak_evens if k % 2 == 0 else 1.0),
    )
    breath = key.resonant(key.noise(), (2 * key.f0_hz, 4 * key.f0_hz), 600.0)
    chiff = 1.0 + key.between(0, 4) * np.exp(-key.time_s * 25.0)
    return tone + key.between(0.01, 0.08) * envelope * chiff * breath


def _guitar(key: _Key) -> Signal:
    sound = _pluck(key, key.between(0.4, 0.95), key.between(1.0, 5.0), key.between(0.08, 0.4))
    if key.rng.random() < 0.3:
        sound = np.tanh(key.between(2.0, 15.0) * sound / np.abs(sound).max())
        return key.resonant(sound, (key.between(80, 150), key.between(1500, 3500)), 900.0)
    return key.resonant(sound, (key.between(90, 120), key.between(180, 260)), 60.0) + 0.5 * sound


def _keyboard(key: _Key) -> Signal:
    release = np.exp(-np.maximum(0.0, key.time_s - key.length_s) * 20.0)
    kind = key.rng.integers(3)
    if kind == 0:  # a tine
        tine = _fm(
            key,
            14.0,
            key.velocity * key.between(0.3, 1.5) * np.exp(-key.time_s * 12),
            np.exp(-key.time_s * 4),
        )
        body = _fm(
            key,
            1.0,
            key.velocity * key.between(0.5, 2.0) * np.exp(-key.time_s * 2),
            np.exp(-key.time_s * 1.2),
        )
        return (0.3 * tine + body) * release
    if kind == 1:  # a harpsichord
        return _pluck(key, 0.98, key.between(1.5, 4.0), key.between(0.05, 0.15)) * release
    decay_s = float(np.clip(key.between(2.0, 5.0) * (200.0 / key.f0_hz) ** 0.5, 0.3, 8.0))
    sound = sum(
        key.partials(
            key.phase(detune_cents=cents), _decaying(key, decay_s, key.between(0.05, 0.3)), spread=2e-4
        )
        for cents in (0.0, key.between(0.5, 2.0))
    )
    knock = key.resonant(key.noise(), (key.between(100, 400),), 200.0) * np.exp(-key.time_s * 60.0)
    return (sound + 0.3 * knock) * release * np.clip(key.time_s / 0.003, 0, 1)


def _mallet(key: _Key) -> Signal:
    ratios = _BARS[key.rng.integers(len(_BARS))]
    hard = key.between(0.3, 1.0) * (0.5 + 0.5 * key.velocity)
    decay_s = float(np.clip(key.between(0.3, 3.0) * (400.0 / key.f0_hz) ** 0.5, 0.1, 4.0))
    sound = np.zeros(len(key.time_s))
    for n, ratio in enumerate(ratios):
        if ratio * key.f0_hz < 0.45 * key.sample_rate:
            tone = np.sin(2 * np.pi * ratio * key.f0_hz * key.time_s + key.between(0, 6))
            sound += hard**n * tone * np.exp(-key.time_s * 4.6 / decay_s * (1 + n * key.between(0.5, 3.0)))
    click = key.noise() * np.exp(-key.time_s * key.between(150, 400))
    return sound * np.clip(key.time_s / 0.002, 0, 1) + 0.1 * hard * click


def _organ(key: _Key) -> Signal:
    bars = dict(zip((0.5, 1.5, 1, 2, 3, 4, 5, 6, 8), key.rng.random(9) ** 2, strict=True))
    bars[1] = max(bars[1], 0.5)
    envelope = key.held(key.between(0.003, 0.04), key.between(0.01, 0.08))
    turns = key.phase(key.between(0, 12) * (key.rng.random() < 0.5), key.between(5.0, 7.0))
    tone = sum(
        level * np.sin(2 * np.pi * (ratio * turns + key.rng.random()))
        for ratio, level in bars.items()
        if ratio * key.f0_hz < 0.45 * key.sample_rate
    )
    if key.rng.random() < 0.4:  # a pipe, or reeds
        steep = key.between(0.15, 0.8)
        tone = key.partials(turns, lambda k: np.exp(-steep * (k - 1)))
    click = key.noise() * np.exp(-key.time_s * 200.0) * key.between(0, 0.3)
    sound: Signal = envelope * (tone + click)
    return sound


def _reed(key: _Key) -> Signal:
    envelope = key.held(key.between(0.02, 0.07), key.between(0.04, 0.12), key.between(0.8, 1.0))
    is_odd = key.rng.random() < 0.4
    evens, tilt = (key.between(0.02, 0.2) if is_odd else 1.0), key.between(0.5, 1.3)
    formants = (key.between(400, 1300), key.between(1400, 3000))
    turns = key.phase(key.between(0, 25), key.between(4.5, 6.5))
    tone = key.partials(
        turns, lambda k: envelope ** (1 + 0.1 * k) * k**-tilt * (evens if k % 2 == 0 else 1.0)
    )
    tone = key.resonant(tone, formants, key.between(150, 500)) + 0.2 * tone
    blown: Signal = tone + key.between(0.0, 0.02) * envelope * key.noise() * np.abs(tone).max()
    return blown


def _string(key: _Key) -> Signal:
    if key.rng.random() < 0.25:  # plucked with a finger, soon damped
        return _pluck(key, key.between(0.2, 0.5), key.between(0.15, 0.6), key.between(0.1, 0.3))
    envelope = key.held(key.between(0.06, 0.3), key.between(0.1, 0.35))
    n_players = int(key.rng.choice([1, 1, 4, 7]))
    tilt = key.between(0.8, 1.4)
    sound = np.zeros(len(key.time_s))
    for _ in range(n_players):
        detune = key.between(-9, 9) if n_players > 1 else 0.0
        turns = key.phase(key.between(8, 35), key.between(4.8, 6.4), detune)
        sound += key.partials(turns, lambda k: k**-tilt)
    body = tuple(key.between(*range_hz) for range_hz in ((250, 350), (400, 600), (900, 1500), (2200, 3200)))
    sound = key.resonant(sound, body, key.between(80, 300)) + 0.3 * sound
    bow = key.resonant(key.noise(), (key.between(1500, 4000),), 1500.0)
    bowed: Signal = envelope * (sound / max(1e-9, np.abs(sound).max()) + key.between(0.005, 0.04) * bow)
    return bowed


def _synth_lead(key: _Key) -> Signal:
    envelope = key.held(key.between(0.001, 0.03), key.between(0.02, 0.2), key.between(0.6, 1.0))
    shape, width = key.rng.integers(3), key.between(0.1, 0.5)
    sound = np.zeros(len(key.time_s))
    for cents in (0.0, *key.rng.uniform(-15, 15, int(key.rng.integers(0, 3)))):
        turns = key.phase(key.between(0, 15), key.between(4, 7), float(cents))
        if shape == 0:
            sound += key.partials(turns, lambda k: 1.0 / k)
        elif shape == 1:
            sound += key.partials(turns, lambda k: abs(np.sin(np.pi * k * width)) / k)
        else:
            sound += key.partials(turns, lambda k: (k % 2) / k)
    cutoff = key.between(1.0, 12.0) + key.between(0.0, 15.0) * np.exp(-key.time_s * key.between(2, 10))
    corner_hz = float(np.clip(cutoff.mean() * key.f0_hz, 200, 0.4 * key.sample_rate))
    pole = np.exp(-2 * np.pi * corner_hz / key.sample_rate)
    filtered: Signal = lfilter([1 - pole], [1, -pole], sound)
    lead: Signal = envelope * filtered
    return lead


def _vocal(key: _Key) -> Signal:
    vowel = _VOWELS_HZ[key.rng.integers(len(_VOWELS_HZ))]
    size = key.between(0.9, 1.25)
    envelope = key.held(key.between(0.05, 0.25), key.between(0.1, 0.35))
    n_singers = int(key.rng.choice([1, 3, 6]))
    tilt = key.between(0.9, 1.5)
    sound = np.zeros(len(key.time_s))
    for _ in range(n_singers):
        turns = key.phase(key.between(5, 45), key.between(4.8, 6.2), key.between(-12, 12) * (n_singers > 1))
        sound += key.partials(turns, lambda k: k**-tilt)
    sound = sound / max(1e-9, np.abs(sound).max()) + key.between(0.005, 0.05) * key.noise()
    return envelope * key.resonant(sound, tuple(size * hz for hz in vowel), key.between(60, 140))


_RECIPES: dict[str, Callable[[_Key], Signal]] = {
    "bass": _bass,
    "brass": _brass,
    "flute": _flute,
    "guitar": _guitar,
    "keyboard": _keyboard,
    "mallet": _mallet,
    "organ": _organ,
    "reed": _reed,
    "string": _string,
    "synth_lead": _synth_lead,
    "vocal": _vocal,
}


def synthesise_notes(n_per_family: int, sample_rate: int, seed: int = 0) -> NoteTable:
    """Return notes of drawn instruments, each family's as a few presets, none of them held out.

    Args:
        n_per_family: How many of each family.
        sample_rate: Hz.
        seed: Chooses all of them.

    >>> synthesise_notes(1, 8000).waveforms.shape
    (11, 16000)
    """
    n_samples = round(SLOT_S * sample_rate)
    time_s = np.arange(n_samples) / sample_rate
    rows, families = [], []
    for family, name in enumerate(CLASSES):
        lowest, highest = PITCH_RANGES[name]
        for n in range(n_per_family):
            rng = np.random.default_rng((seed, family, n))
            pitch = rng.uniform(lowest, highest)
            key = _Key(
                rng=rng,
                time_s=time_s,
                sample_rate=sample_rate,
                f0_hz=float(min(440.0 * 2.0 ** ((pitch - 69.0) / 12.0), 0.2 * sample_rate)),
                velocity=float(rng.uniform(0.2, 1.0)),
                length_s=float(0.12 * 12.0 ** rng.uniform()),
            )
            sound = _RECIPES[name](key)
            rows.append(np.round(sound * (32767.0 / max(1e-9, np.abs(sound).max()))).astype(np.int16))
            families.append(family)
    return NoteTable(
        waveforms=np.stack(rows),
        families=np.array(families),
        presets=np.array(families) * _PRESETS + np.arange(len(rows)) % _PRESETS,
        held_out=np.zeros(len(rows), dtype=np.bool_),
        sample_rate=sample_rate,
    )
