"""The DreamSound of 2020 is reproduced: its steps agree with a restatement frame by frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet

from dream_core import DreamSettings, dream
from dream_core.errors import SettingError
from dream_core.updates.legacy_2020 import KINDS_2020, Kind2020, legacy_2020_step

WINDOW, HOP = 2048, 128
RATE = 16000


# The restatement: NumPy, frame by frame; the transform is as long as its frame.


def hann() -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


def forward(x: np.ndarray) -> np.ndarray:
    starts = range(0, len(x) - WINDOW + 1, HOP)
    return np.array([np.fft.rfft(x[s : s + WINDOW] * hann()) for s in starts])


def inverse(spectrum: np.ndarray) -> np.ndarray:
    out = np.zeros((len(spectrum) - 1) * HOP + WINDOW)
    for i, frame in enumerate(spectrum):
        out[i * HOP : i * HOP + WINDOW] += np.fft.irfft(frame) * hann()
    return out


def filtered(x: np.ndarray, y: np.ndarray, m: float) -> np.ndarray:
    of_x, of_y = forward(x), forward(m * y)
    power = np.abs(of_y) ** 2
    return inverse(of_x + power * (np.sign(power - 0.1) + 1) / 2 * of_y)


RESTATED: dict[Kind2020, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "0": filtered,
    "1": lambda w, g, m: w + m * g,
    "2": lambda w, g, m: filtered(g, w, m),
    "gradient": lambda w, g, m: g,
}


@pytest.fixture(scope="module")
def sounds() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    t = np.arange(9001) / RATE
    gradient = rng.standard_normal(9001)
    return 0.3 * np.sin(2 * np.pi * 440 * t * (1 + t)) + 0.01 * rng.standard_normal(
        9001
    ), gradient / gradient.std()


@pytest.mark.parametrize("step_size", [0.01, 0.1])
@pytest.mark.parametrize("kind", KINDS_2020)
def test_every_output_type_agrees_with_the_restatement(
    kind: Kind2020, step_size: float, sounds: tuple[np.ndarray, np.ndarray]
) -> None:
    """To 1e-9 of the loudest sample, in float64; some bins pass the threshold, and some do not."""
    w, g = sounds
    expected = RESTATED[kind](w, g, step_size)
    stepped = legacy_2020_step(torch.from_numpy(w), torch.from_numpy(g), kind, step_size).numpy()

    assert stepped.shape == expected.shape
    np.testing.assert_allclose(stepped, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    if kind in ("0", "2") and step_size == 0.1:
        power = np.abs(forward(step_size * (g if kind == "0" else w))) ** 2
        assert 0.0 < np.mean(power > 0.1) < 1.0


def test_a_step_is_six_times_louder(sounds: tuple[np.ndarray, np.ndarray]) -> None:
    """Where nothing passes the threshold the sound comes back as it was, times six: the inverse's own."""
    w = torch.from_numpy(sounds[0])
    stepped = legacy_2020_step(w, torch.zeros_like(w), "0")

    inside = slice(WINDOW, len(stepped) - WINDOW)
    torch.testing.assert_close(stepped[inside], 6.0 * w[inside])


@pytest.mark.parametrize("kind", KINDS_2020)
def test_it_is_an_update_by_name(kind: Kind2020, sounds: tuple[np.ndarray, np.ndarray]) -> None:
    """In the loop `step` scales the step size of 0.01, and what fills no frame at the end stays."""
    sound = sounds[0][None].astype(np.float32)
    network = SmallNet()
    leaf = torch.from_numpy(sound).requires_grad_()
    with_tap = network.act(network.first(network.listen(leaf)[0][:, None]))
    (gradient,) = torch.autograd.grad(network.second(with_tap).mean(), leaf)
    g = gradient[0].double().numpy()
    expected = RESTATED[kind](sound[0].astype(np.float64), g / g.std(), 0.02)

    settings = DreamSettings(
        objective="layer:second", update=f"legacy_2020_{kind}", step=2.0, jitter=False, window_s=60.0
    )
    out = dream(sound, RATE, network, settings, 1.0)
    n = len(expected)

    # Sound is float32, and so is the test network's gradient.
    np.testing.assert_allclose(out[0, :n], expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_array_equal(out[0, n:], sound[0, n:])
    assert (n < sound.shape[1]) == (kind in ("0", "2"))


def test_a_band_is_refused(sounds: tuple[np.ndarray, np.ndarray]) -> None:
    """There was none in 2020."""
    settings = DreamSettings(objective="layer:second", update="legacy_2020_0", low_hz=200.0)
    with pytest.raises(SettingError, match="a package that has no band"):
        dream(sounds[0][None].astype(np.float32), RATE, SmallNet(), settings, 1.0)
