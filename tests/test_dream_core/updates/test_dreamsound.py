"""DreamSound's modes as its papers mean them: each step agrees with its formula, by Torch's own transform.

Sounds lie well within the band a dream may touch, whose edges the papers do not have; the cut is hard.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dream_core import DreamSettings
from dream_core.errors import SettingError
from dream_core.updates.contract import Window
from dream_core.updates.registry import build_update

RATE, N_FFT, HOP, N = 44100, 1024, 256, 12000
THRESHOLD_DB = -20.0


def noise(seed: int, low_hz: float = 1000.0, high_hz: float = 9000.0, slope: float = 1.0) -> Tensor:
    """Return noise between two frequencies that swells and falls off: some bins are loud, some are not."""
    rng = np.random.default_rng(seed)
    hz = np.fft.rfftfreq(N, 1 / RATE)
    inside = (hz >= low_hz) & (hz <= high_hz)
    spectrum = np.where(inside, np.fft.rfft(rng.standard_normal(N)) * np.maximum(hz, 1.0) ** -slope, 0.0)
    sound = np.fft.irfft(spectrum, N) * np.hanning(N)
    return torch.from_numpy(0.2 * sound / sound.std())


SOUND, TARGET = noise(0), noise(1, 2000.0, 8000.0)
LINEAR, CURVED = noise(2, slope=0.5), torch.cos(torch.arange(N) / 900.0).double()


def score(mono: Tensor) -> Tensor:
    """Score sounds so that their gradient, ``LINEAR + CURVED * sound``, is another at every sound."""
    return (mono * LINEAR + 0.5 * mono.square() * CURVED).sum(dim=1)


def rms(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()


def gradient_at(sound: Tensor) -> Tensor:
    """Return the gradient at a sound, as loud as the sound."""
    gradient = LINEAR + CURVED * sound
    return gradient * rms(sound) / rms(gradient)


def transform(x: Tensor) -> Tensor:
    window = torch.hann_window(N_FFT, dtype=torch.float64)
    return torch.stft(x, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)


def inverse(spectrum: Tensor) -> Tensor:
    return torch.istft(spectrum, N_FFT, HOP, window=torch.hann_window(N_FFT, dtype=torch.float64), length=N)


def cut(x: Tensor) -> Tensor:
    """Return 1 in the bins of a sound within 20 dB of its loudest, 0 elsewhere."""
    magnitude = transform(x).abs()
    return (magnitude > 10 ** (THRESHOLD_DB / 20) * magnitude.max()).double()


def expanded(x: Tensor) -> Tensor:
    """Return a sound weighed by its own power, relative to its loudest bin, where the cut is open."""
    spectrum = transform(x)
    return inverse(spectrum * cut(x) * spectrum.abs() ** 2 / spectrum.abs().max() ** 2)


def passed(mask: Tensor, magnitude_of: Tensor, phase_of: Tensor) -> Tensor:
    return inverse(cut(mask) * torch.polar(transform(magnitude_of).abs(), transform(phase_of).angle()))


G, OF_TARGET = gradient_at(SOUND), gradient_at(TARGET)


def _filter_swapped() -> Tensor:
    both = G + 0.2 * expanded(SOUND)
    return both * rms(SOUND) / rms(both)


RESTATED: dict[str, Callable[[], Tensor]] = {
    "add": lambda: SOUND + 0.1 * G,
    "filter": lambda: SOUND + 0.2 * expanded(G),
    "filter_swapped": _filter_swapped,
    "hard_cut": lambda: passed(G, SOUND, SOUND),
    "hard_cut_add": lambda: SOUND + 0.2 * passed(G, SOUND, SOUND),
    "hard_cut_add_swapped": lambda: SOUND + 0.2 * passed(SOUND, G, G),
    "target_text": lambda: SOUND + 0.2 * passed(TARGET, G, TARGET),
    "target_figure": lambda: SOUND + 0.2 * passed(G, TARGET, TARGET),
    "target_gradient": lambda: SOUND + 0.2 * passed(OF_TARGET, G, OF_TARGET),
    "gradient": lambda: G,
}


def take_step(update: str, step: float = 1.0) -> Tensor:
    """Take one step alone: the whole sound in one window, without its surroundings."""
    current = SOUND[None, None]
    window = Window(
        current=current,
        context=current,
        margin=0,
        n_valid=torch.full((1, 1, 1), N, dtype=torch.float64),
        score=score,
        target=TARGET[None, None],
        step_index=0,
        sample_rate=RATE,
        lanes={"step": step, "low_hz": 100.0, "high_hz": 20000.0},
        settings=DreamSettings(n_fft=N_FFT, threshold_db=THRESHOLD_DB, knee_db=0.0, context=False),
    )
    return build_update(update).step(window, {})[0][0, 0]


@pytest.mark.parametrize("update", RESTATED)
def test_a_step_is_its_formula(update: str) -> None:
    """What it changes agrees with the restatement in shape and size.

    Bins that lie at the threshold itself fall to either side: 1e-4.
    """
    found, expected = take_step(update) - SOUND, RESTATED[update]() - SOUND

    assert float(rms(found - expected)) <= 1e-4 * float(rms(expected))
    assert float(rms(expected)) > 1e-3 * float(rms(SOUND))


def test_the_formulas_differ() -> None:
    """No two modes are one by another name, and a cut neither passes all nor nothing."""
    steps = [take_step(update) for update in RESTATED]
    assert all(float(rms(a - b)) > 1e-4 for i, a in enumerate(steps) for b in steps[:i])
    assert all(0.001 < float(cut(x).mean()) < 0.9 for x in (SOUND, G, TARGET, OF_TARGET))


@pytest.mark.parametrize("update", ["filter_swapped", "hard_cut", "gradient"])
def test_what_takes_the_sounds_place_fades_in_with_the_step(update: str) -> None:
    """Half a step is half way from the sound."""
    none, half, whole = (take_step(update, step) for step in (0.0, 0.5, 1.0))

    torch.testing.assert_close(none, SOUND, rtol=0, atol=1e-9)
    torch.testing.assert_close(half - none, 0.5 * (whole - none), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut:sound:sound:sound:add:gradiant", "'gradiant' is not a base; did you mean 'gradient'"),
        ("cut:sound:sound:sound:add:target", "'target' is not a base; accepted: 'sound', 'gradient'"),
        ("expand:sound:sound:sound:replace:gradient", r"write it as expand:OPERAND:MASK:PHASE:add\[:BASE\]"),
        ("cut:sound:sound:sound:add:sound:sound", r"write it as cut:OPERAND:MASK:PHASE:add\[:BASE\]"),
    ],
)
def test_a_misspelt_base_is_said(name: str, message: str) -> None:
    """It is the fifth word, and only of what is added."""
    with pytest.raises(SettingError, match=message):
        build_update(name)


def test_the_sound_is_the_base_that_is_not_written() -> None:
    """Cuts of four words mean what they did."""
    assert build_update("cut:gradient:sound:gradient:add:sound") == build_update("hard_cut_add_swapped")
    assert build_update("expand:gradient:gradient:gradient:add") == build_update("filter")
