"""dreamsound 0.1.6.3 is reproduced: the steps agree with an independent restatement of its formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet

from dream_core import DreamSettings, dream, open_stream, parse_objective
from dream_core.errors import SettingError
from dream_core.updates.legacy_0163 import LegacySettings, legacy_step

WINDOW, HOP, N_FFT = 2048, 128, 4096
ETA, THRESHOLD, POWER = 0.2, 0.5, 0.125


# The restatement: NumPy, frame by frame, from the published formulas.


def forward(x: np.ndarray) -> np.ndarray:
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    starts = range(0, len(x) - WINDOW + 1, HOP)
    return np.array([np.fft.rfft(x[s : s + WINDOW] * hann, N_FFT) for s in starts])


def inverse(spectrum: np.ndarray) -> np.ndarray:
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    out = np.zeros((len(spectrum) - 1) * HOP + WINDOW)
    for i, frame in enumerate(spectrum):
        out[i * HOP : i * HOP + WINDOW] += np.fft.irfft(frame, N_FFT)[:WINDOW] * hann
    return out


def rephase(phase_of: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    phase = np.exp(1j * np.angle(phase_of))
    return (phase.imag + 1j * phase.real) * magnitude


def hard(y: np.ndarray) -> np.ndarray:
    return (np.sign(y / y.max() - THRESHOLD) + 1) / 2


def combine_1(w: np.ndarray, g: np.ndarray) -> np.ndarray:
    sw, sg = forward(w), forward(g)
    b = np.abs(sg) ** POWER
    b = b * (1 + np.sign(b - THRESHOLD)) / 2 * ETA
    return inverse(rephase(sw, np.abs(sw) ** POWER * b))


def combine_2(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    sx, sy = forward(x), forward(y)
    z = inverse(rephase(sx, hard(np.abs(sy)) * np.abs(sx) ** POWER))
    return ETA * z + y[: len(z)]


def combine_3(x: np.ndarray, y: np.ndarray, t: np.ndarray) -> np.ndarray:
    sx, st = forward(x), forward(t)
    z = inverse(rephase(st, hard(np.abs(st) ** POWER) * np.abs(sx)))
    return ETA * z + y[: len(z)]


def restated(kind: int, flip: bool, w: np.ndarray, g: np.ndarray, t: np.ndarray | None, gt: np.ndarray):
    if kind == 0:
        return w if flip else w + ETA * g
    if kind == 1:
        return combine_1(g, w) if flip else combine_1(w, g)
    if kind == 2 and t is None:
        return combine_2(w, g) if flip else combine_2(g, w)
    if kind == 2:
        return combine_3(g, w, t) if flip else combine_3(w, g, t)
    if t is None:
        return g
    tw = combine_3(t, g, gt) if flip else combine_3(g, t, gt)
    return w[: len(tw)] + ETA * tw


@pytest.fixture(scope="module")
def sounds() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    t = np.arange(9000) / 22050
    tone = 0.3 * np.sin(2 * np.pi * 440 * t * (1 + t)) + 0.01 * rng.standard_normal(9000)
    other = 0.2 * np.sign(np.sin(2 * np.pi * 110 * t)) + 0.01 * rng.standard_normal(9000)
    g, gt = rng.standard_normal((2, 9000))
    return tone, g / g.std(), other, gt / gt.std()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("kind", "has_target"), [(0, False), (1, False), (2, False), (2, True), (3, False), (3, True)]
)
def test_every_output_type_agrees_with_the_restatement(
    kind: int, has_target: bool, flip: bool, sounds: tuple[np.ndarray, ...]
) -> None:
    """Types 0 to 3, flipped and targeted, agree to 1e-9 in float64."""
    w, g, t, gt = sounds
    expected = restated(kind, flip, w, g, t if has_target else None, gt)
    settings = LegacySettings(output_type=kind, flip=flip)
    target = torch.from_numpy(t) if has_target else None
    stepped = legacy_step(torch.from_numpy(w), torch.from_numpy(g), settings, target, torch.from_numpy(gt))

    assert stepped.shape == expected.shape
    np.testing.assert_allclose(stepped.numpy(), expected, rtol=0, atol=1e-9)


def test_its_inverse_is_six_times_too_loud(sounds: tuple[np.ndarray, ...]) -> None:
    """The restatement has the property that was measured of the package: I(S(x)) = 6 x inside."""
    w = sounds[0]
    round_trip = inverse(forward(w))

    inside = slice(WINDOW, len(round_trip) - WINDOW)
    np.testing.assert_allclose(round_trip[inside], 6.0 * w[inside], atol=1e-9)


def test_its_swapped_product_is_all_but_silent(sounds: tuple[np.ndarray, ...]) -> None:
    """Exchanging real and imaginary parts turns frames around, into the half that is cut off."""
    w = sounds[0]
    spectrum = forward(w)
    lost = inverse(rephase(spectrum, np.abs(spectrum)))

    # Everything but the frames' edges is lost; noise reaches the edges, a pure tone would lose 140 dB.
    assert np.abs(lost).max() < 1e-3 * np.abs(6.0 * w).max()


@pytest.mark.parametrize("name", ["legacy_0163_0", "legacy_0163_2_flip", "legacy_0163_3"])
def test_it_is_an_update_by_name(name: str) -> None:
    """The package's steps run in the loop, at any rate, and keep the length."""
    rng = np.random.default_rng(1)
    sound = (0.1 * rng.standard_normal((1, 12000))).astype(np.float32)
    dreamed = dream(sound, 22050, SmallNet(), DreamSettings(update=name, objective="layer:second"), depth=2.0)

    assert dreamed.shape == sound.shape
    assert not np.array_equal(dreamed, sound)


def test_other_types_are_refused() -> None:
    """There are four output types."""
    with pytest.raises(SettingError, match="0, 1, 2 or 3"):
        LegacySettings(output_type=4)


AS_PUBLISHED = DreamSettings(
    objective="probability:auto", update="legacy_0163_0", window_s=60.0, jitter=False, context=False
)


def told(rate: int = 22050, name: str = "yamnet_22050", **changes: object) -> list[str]:
    """Return what a dream says of itself when it is opened."""
    network = SmallNet()
    network.card = replace(network.card, name=name)
    lines: list[str] = []
    open_stream(network, replace(AS_PUBLISHED, **changes), rate, 1, on_warning=lines.append)  # type: ignore[arg-type]
    return lines


def test_as_published_nothing_is_told() -> None:
    """Network, objective, whole sound, one grid and rate: that is the package."""
    assert told() == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "timbre"}, "network = yamnet_22050 (here timbre)"),
        ({"objective": "class:auto"}, "objective = probability:auto (here class:auto)"),
        ({"objective": parse_objective("layer:second")}, "objective = probability:auto (here layer:second)"),
        ({"window_s": 4.0}, "window_s = 60 (here 4)"),
        ({"jitter": True}, "jitter = false (here true)"),
        ({"patch_hop": 48}, "patch_hop = 0 (here 48)"),
        ({"varispeed_octaves": 0.5}, "varispeed_octaves = 0 (here 0.5)"),
        ({"rate": 44100}, "sound at 22050 Hz (here 44100)"),
    ],
)
def test_what_is_not_as_published_is_told_in_one_line(changes: dict[str, Any], says: str) -> None:
    """With what the package has, and what is here."""
    assert told(**changes) == [f"update 'legacy_0163_0' repeats its package only with {says}"]


def test_all_that_differs_is_one_line_and_others_say_nothing() -> None:
    """The 2020 notebook dreamed on any layer; other updates claim nothing."""
    assert told(name="timbre", jitter=True, rate=48000)[0].count("(here ") == 3
    for update in ("legacy_2020_0", "add"):
        assert told(update=update, name="timbre", objective="layer:second", jitter=True) == []
