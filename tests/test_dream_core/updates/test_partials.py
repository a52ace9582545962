"""Partials and bands of noise: heard as they are, and with exact ways back."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dream_core import DreamSettings
from dream_core.dsp.stft import stft
from dream_core.updates.contract import Window
from dream_core.updates.noise_bands import N_BANDS, NoiseBands
from dream_core.updates.partials import (
    Grid,
    Pitch,
    follow_envelope,
    hear_partials,
    pull_back,
    sound_partials,
)

RATE = 44100


def glide(n_samples: int = 30000, start_hz: float = 200.0, end_hz: float = 320.0) -> tuple[Pitch, Tensor]:
    """Return a pitch that glides, and its phase in radians."""
    f0_hz = torch.linspace(start_hz, end_hz, n_samples, dtype=torch.float64)
    cycles = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum(f0_hz / RATE, 0)[:-1]])
    pitch = Pitch(f0_hz=f0_hz[None, None], cycles=(cycles % 1.0)[None, None], sample_rate=RATE)
    return pitch, 2.0 * math.pi * cycles


def test_partials_are_heard_with_level_and_phase_through_a_glide() -> None:
    """Of a sum of known partials each comes back as it was, and what is not there does not."""
    pitch, phase = glide()
    sound = 0.5 * torch.cos(phase + 0.3) + 0.2 * torch.cos(3 * phase - 1.0)
    heard = hear_partials(sound[None, None], pitch, 5, Grid.of(len(sound), RATE))[0, 0, :, 5:-5]

    torch.testing.assert_close(
        heard[0], torch.full_like(heard[0], 0.5) * complex(math.cos(0.3), math.sin(0.3)), atol=2e-3, rtol=0
    )
    torch.testing.assert_close(
        heard[2], torch.full_like(heard[2], 0.2) * complex(math.cos(1.0), -math.sin(1.0)), atol=2e-3, rtol=0
    )
    assert float(heard[[1, 3, 4]].abs().max()) < 2e-3


def test_what_is_heard_sounds_as_it_did() -> None:
    """Partials sounded again leave next to nothing of the sound they were heard in."""
    pitch, phase = glide()
    sound = sum(torch.cos(k * phase + k) / k for k in range(1, 8))
    assert isinstance(sound, Tensor)
    grid = Grid.of(len(sound), RATE)
    again = sound_partials(hear_partials(sound[None, None], pitch, 8, grid), pitch, grid)[0, 0]

    assert float((again - sound)[3000:-3000].abs().max()) < 0.01


def test_pulling_back_is_the_adjoint_of_sounding() -> None:
    """The products of both sides are the same number."""
    pitch, phase = glide()
    grid = Grid.of(len(phase), RATE)
    generator = torch.Generator().manual_seed(0)
    amplitudes = torch.randn(1, 2, 6, grid.n_points, dtype=torch.complex128, generator=generator)
    sound = torch.randn(1, 2, len(phase), dtype=torch.float64, generator=generator)
    there = (sound * sound_partials(amplitudes, pitch, grid)).sum()
    back = (pull_back(sound, pitch, 6, grid).conj() * amplitudes).real.sum()

    torch.testing.assert_close(there, back, rtol=1e-10, atol=0)


def test_cycles_are_counted_on_where_nobody_counted_them() -> None:
    """From the middle both ways, by the pitch; what was said of the ends is not asked."""
    pitch, _ = glide(8001)
    said = pitch.cycles.clone()
    said[..., :1000], said[..., -1000:] = said[..., 1000:1001], said[..., -1001:-1000]
    counted = Pitch.through(pitch.f0_hz, said, RATE).cycles
    apart = torch.remainder(counted - pitch.cycles + 0.5, 1.0) - 0.5

    assert float(apart.abs().max()) < 1e-9


def test_voicing_opens_and_closes_softly() -> None:
    """Fully open inside, shut outside, at most a hundredth of a second between, and half open at the edge."""
    f0_hz = torch.zeros(1, 1, 4000)
    f0_hz[..., 1000:3000] = 100.0
    voicing = Pitch(f0_hz=f0_hz, cycles=torch.zeros_like(f0_hz), sample_rate=RATE).voicing()[0, 0]

    assert voicing[:750].max() == 0.0
    torch.testing.assert_close(voicing[1250:2750], torch.ones(1500))
    assert 0.45 < float(voicing[1000]) < 0.55
    assert float(torch.diff(voicing).abs().max()) < 0.006


def test_the_envelope_is_the_level() -> None:
    """Of a steady noise about its root mean square, of silence nothing, and after a step it has arrived."""
    generator = torch.Generator().manual_seed(0)
    sound = torch.randn(1, 2, 44100, dtype=torch.float64, generator=generator)
    sound[..., 22050:] = 0.0
    level = follow_envelope(sound, RATE)[0, 0]

    torch.testing.assert_close(level[2000:20000].mean(), sound.new_tensor(1.0), rtol=0.02, atol=0)
    assert float(level[22050 + 1000 :].max()) == 0.0


def window(n_samples: int, margin: int) -> Window:
    context = torch.zeros(1, 2, n_samples + 2 * margin, dtype=torch.float64)
    return Window(
        current=context[..., margin:-margin],
        context=context,
        margin=margin,
        n_valid=torch.tensor([[[float(n_samples)]]]),
        score=lambda sound: sound.sum(dim=-1),
        target=None,
        step_index=0,
        sample_rate=RATE,
        lanes={"step": 1.0, "low_hz": 100.0, "high_hz": 12000.0},
        settings=DreamSettings(n_fft=2048),
    )


@pytest.fixture
def bands() -> NoiseBands:
    """Bands over a white noise in two rows."""
    around = window(20000, 2048)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(around.context.shape, dtype=torch.float64, generator=generator)
    grid = Grid.of(noise.shape[-1], RATE)
    return NoiseBands.for_window(around, stft(noise, 2048, 512), grid)


def test_bands_pull_a_gradient_back(bands: NoiseBands) -> None:
    """What Torch differentiates by itself is the derivative written out."""
    generator = torch.Generator().manual_seed(1)
    n_knots = bands.from_knots.shape[0]
    gains = 0.3 * torch.randn(1, N_BANDS, n_knots, dtype=torch.float64, generator=generator)
    toward = torch.randn(1, 2, bands.n_samples, dtype=torch.float64, generator=generator)
    leaf = gains.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad((bands.change(leaf) * toward).sum(), leaf)

    torch.testing.assert_close(bands.backward(toward, gains), expected, rtol=1e-8, atol=1e-10)


def test_a_band_is_as_loud_as_its_share(bands: NoiseBands) -> None:
    """The bands' power adds up to the power of the whole."""
    whole = bands._at_knots(bands._power(bands.spectrum).sum(dim=1, keepdim=True))

    torch.testing.assert_close(bands.loudness().sum(dim=1, keepdim=True), whole)
