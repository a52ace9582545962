"""How a dream moves in time: steady, free, or with a lane of cycles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import butter, sosfiltfilt

from dream_core import DreamSettings, dream, load_network, open_stream
from dream_core.updates.conditioning import steady

RATE = 22050


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_steady_field_is_a_mean_by_a_gaussian() -> None:
    """The sum written out agrees: beyond the ends there is nothing."""
    field, sigma = noise(2, 3, 40), 4.0
    distance = torch.arange(40)[:, None] - torch.arange(40)
    weights = torch.exp(-0.5 * (distance / sigma) ** 2) * (distance.abs() <= 12)
    whole = torch.exp(-0.5 * (torch.arange(-12, 13) / sigma) ** 2).sum()

    torch.testing.assert_close(steady(field, sigma), field @ (weights / whole).double().T)


def held_note(seconds: float = 6.0) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE)) / RATE
    partials = [np.sin(2 * np.pi * 220 * k * time_s + k) / k for k in range(1, 45)]
    return (0.1 * np.sum(partials, axis=0)).astype(np.float32)[None]


def levels_db(sound: np.ndarray, bands_hz: list[float]) -> np.ndarray:
    """Levels of third-of-two-octave bands, 100 a second."""
    rows = []
    for low in bands_hz:
        band = sosfiltfilt(butter(4, [low, 1.41 * low], "band", fs=RATE, output="sos"), sound[0])
        cells = band[: len(band) // 220 * 220].reshape(-1, 220)
        rows.append(10 * np.log10(np.square(cells).mean(axis=1) + 1e-12))
    return np.array(rows)


BANDS_HZ = [200.0 * 1.41**n for n in range(10)]


def tremolo_db(motion: float, **changes: object) -> float:
    """Effective value of what moves at 1.5 to 12 Hz in the loudest octaves, as a mean over the bands."""
    sound = held_note()
    settings = DreamSettings(objective="class:flute", motion=motion, **changes)  # type: ignore[arg-type]
    dreamed = dream(sound, RATE, load_network("timbre"), settings, 10.0)
    moved = (levels_db(dreamed, BANDS_HZ) - levels_db(sound, BANDS_HZ))[:, 60:-60]
    spectrum = np.fft.rfft(moved - moved.mean(axis=1, keepdims=True), axis=1) / moved.shape[1]
    rates_hz = np.fft.rfftfreq(moved.shape[1], 0.01)
    heard = (rates_hz >= 1.5) & (rates_hz <= 12.0)
    return float(np.sqrt(2 * (np.abs(spectrum[:, heard]) ** 2).sum(axis=1)).mean())


def test_a_held_note_does_not_tremble_where_nothing_may_move() -> None:
    """Half a decibel at most; free, the network's own grid is heard as several."""
    assert tremolo_db(0.0) <= 0.5
    assert tremolo_db(1.0) >= 1.5


def changes_in_time(update: str, motion: float) -> tuple[float, float]:
    """Return the rate a dream changes at and its phase, both in cycles, through a tempo ramp."""
    sound = held_note(10.0)
    time_s = np.arange(sound.shape[1]) / RATE
    cycles = (100 * time_s + 40 * time_s**2 / 20.0) / 60 * 2  # eighths, from 100 to 140 BPM
    settings = DreamSettings(objective="class:brass", update=update, motion=motion)
    stream = open_stream(load_network("timbre"), settings, RATE, 1)
    depth = torch.full((sound.shape[1],), 10.0, dtype=torch.float64)
    lanes = {"cycles": torch.from_numpy(cycles), "f0_hz": torch.full_like(depth, 220.0)}
    pieces = [stream.push(torch.from_numpy(sound), depth, lanes)]
    dreamed = torch.cat([*pieces, stream.finish()], 1).numpy()
    moved = np.abs(levels_db(dreamed, BANDS_HZ) - levels_db(sound, BANDS_HZ)).mean(axis=0)[100:-100]
    there = cycles[110::220][: moved.shape[0] + 200][100:-100]
    moved = moved - np.polyval(np.polyfit(there, moved, 3), there)
    ratios = np.arange(0.4, 1.6, 0.005)
    found = [abs(np.mean(moved * np.exp(-2j * np.pi * ratio * there))) for ratio in ratios]
    phase = np.angle(np.mean(moved * np.exp(-2j * np.pi * there))) / (2 * np.pi)
    return float(ratios[int(np.argmax(found))]), float(phase)


@pytest.mark.parametrize("update", ["mask", "harmonic", "mel"])
@pytest.mark.parametrize("motion", [0.0, 0.1])
def test_a_dream_in_time_follows_the_tempo_in_rate_and_phase(update: str, motion: float) -> None:
    """Two hundredths of the rate and a tenth of a beat, which is a fifth of an eighth."""
    ratio, phase = changes_in_time(update, motion)
    assert abs(ratio - 1.0) <= 0.02
    assert abs(phase) <= 0.2


def test_a_lane_of_cycles_in_blocks_is_the_same_lane() -> None:
    """What moves in time depends on no cutting into blocks."""
    sound = held_note(4.0)
    cycles = torch.arange(sound.shape[1]) / 5000.0
    network, settings = load_network("timbre"), DreamSettings(objective="class:flute", window_s=1.0)

    def dreamed(block: int) -> torch.Tensor:
        stream = open_stream(network, settings, RATE, 1)
        pieces = [
            stream.push(
                torch.from_numpy(sound[:, start : start + block]),
                torch.full((min(block, sound.shape[1] - start),), 2.0, dtype=torch.float64),
                {"cycles": cycles[start : start + block]},
            )
            for start in range(0, sound.shape[1], block)
        ]
        return torch.cat([*pieces, stream.finish()], 1)

    assert torch.equal(dreamed(1 << 20), dreamed(7001))
