"""Dream by turning the sound's own spectrum up and down: phase stays coherent, silence stays silent.

The sound's complex short-time spectrum ``X`` is kept; what is optimised is a log-gain ``u`` on it::

    M = exp(B tanh(u / B)),  B = 24 dB
    e = sqrt(sum_f |X|^2 / sum_f |M X|^2)              in every frame: energy stays where it was
    y(u) = x + istft((e M - 1) X)
    u <- u + step * clip(G / rms(G), +-3),  G = dJ(y(u)) / du

Outside the dream's band the gain is exactly one; where ``u`` is zero the output is the input.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dream_core.settings import DreamSettings
from dream_core.spectral import istft, stft
from dream_core.updates import State, Window

__all__ = ["Mask", "envelope_guard", "gaussian_smooth"]

GAIN_BOUND = 24.0 * math.log(10.0) / 20.0
"""B: the largest gain either way, in nepers."""

NEPERS_PER_STEP = 1.5 * math.log(10.0) / 20.0
"""A unit step moves the typical bin by 1.5 dB."""

CLIP_DEVIATIONS = 3.0

GUARD_CELL_S = 0.001
SILENT_DBFS = -60.0
"""At and below this level a guarded dream changes nothing."""

LOUD_DBFS = -48.0
"""From this level on it may change all it wants."""


def gaussian_smooth(field: Tensor, sigma_bins: float, sigma_frames: float) -> Tensor:
    """Smooth ``(items, bins, frames)`` with a Gaussian along each axis; zero leaves an axis alone."""
    for axis, sigma in ((1, sigma_bins), (2, sigma_frames)):
        if sigma <= 0:
            continue
        radius = math.ceil(3.0 * sigma)
        taps = torch.arange(-radius, radius + 1, device=field.device, dtype=field.dtype)
        kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
        kernel = (kernel / kernel.sum())[None, None]
        lines = field.movedim(axis, -1)
        shape = lines.shape
        smooth = nn.functional.conv1d(lines.reshape(-1, 1, shape[-1]), kernel, padding=radius)
        field = smooth.reshape(shape).movedim(-1, axis)
    return field


def envelope_guard(original: Tensor, change: Tensor, sample_rate: int) -> Tensor:
    """Return the gain that keeps a change below the sound's own envelope, ``(items, 1, samples)``.

    A frame of a short-time transform is longer than an onset: what it changes in a drum hit is heard
    before the hit as well. The change is held to the sound's own level within a few milliseconds, and let
    go altogether where the sound is silent.

    Args:
        original: The undreamed sound, ``(items, rows, samples)``.
        change: What would be added to it.
        sample_rate: Hz.
    """
    cell = max(1, round(GUARD_CELL_S * sample_rate))
    sound_power, change_power = _cell_power(original, cell), _cell_power(change, cell)
    held = torch.sqrt(torch.clamp(sound_power / torch.clamp(change_power, min=1e-20), max=1.0))
    level_dbfs = 10.0 * torch.log10(torch.clamp(sound_power, min=1e-20))
    opening = torch.clamp((level_dbfs - SILENT_DBFS) / (LOUD_DBFS - SILENT_DBFS), 0.0, 1.0)
    gain = held * opening.square() * (3.0 - 2.0 * opening)
    n_samples = original.shape[-1]
    # Linear between the middles of cells: no step that could be heard as a click.
    spread = nn.functional.interpolate(gain, size=gain.shape[-1] * cell, mode="linear", align_corners=False)
    return spread[..., :n_samples]


def _cell_power(sound: Tensor, cell_samples: int) -> Tensor:
    power = sound.square().mean(dim=1, keepdim=True)
    short = -power.shape[-1] % cell_samples
    cells = nn.functional.avg_pool1d(nn.functional.pad(power, (0, short)), cell_samples)
    # A raised cosine over seven cells.
    taps = torch.hann_window(9, periodic=False, dtype=sound.dtype, device=sound.device)[1:-1]
    return nn.functional.conv1d(cells, (taps / taps.sum())[None, None], padding=3)


class Mask:
    """Ascend on a bounded, energy-preserving log-gain of the sound's own spectrum."""

    needs_target = False

    def begin(self, original: Tensor, settings: DreamSettings, sample_rate: int) -> State:
        """Return flat gains and the sound's spectrum."""
        spectrum = stft(original, settings.n_fft_at(sample_rate), settings.hop_at(sample_rate))
        flat = torch.zeros(
            spectrum.shape[0], *spectrum.shape[2:], device=original.device, dtype=original.dtype
        )
        state = {"spectrum": spectrum, "u": flat}
        if settings.momentum > 0:
            state["velocity"] = flat.clone()
        return state

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        settings = window.settings
        leaf = state["u"].detach().requires_grad_(True)
        sound = self.render(leaf, state["spectrum"], window)
        (gradient,) = torch.autograd.grad(window.score(sound.mean(dim=1)).sum(), leaf)
        move = self._normalised(gaussian_smooth(gradient, settings.smooth_bins, settings.smooth_frames))
        after = dict(state)
        if settings.momentum > 0:
            move = settings.momentum * state["velocity"] + (1.0 - settings.momentum) * move
            after["velocity"] = move
        after["u"] = state["u"] + settings.step * NEPERS_PER_STEP * move
        with torch.no_grad():
            proposal = self.render(after["u"], state["spectrum"], window)
        return proposal, after, gradient

    def render(self, u: Tensor, spectrum: Tensor, window: Window) -> Tensor:
        """Return the sound of log-gains ``u``."""
        weights = window.band_weights()
        log_gain = weights * GAIN_BOUND * torch.tanh(u / GAIN_BOUND)
        power = weights * (spectrum.real.square() + spectrum.imag.square()).sum(dim=1)
        before = power.sum(dim=1, keepdim=True)
        after = (power * torch.exp(2.0 * log_gain)).sum(dim=1, keepdim=True)
        log_energy = 0.5 * torch.log((before + 1e-12) / (after + 1e-12))
        # Outside the band the weight is zero and the gain exactly one.
        total = torch.exp(log_gain + weights * log_energy)
        shift = (total - 1.0)[:, None] * spectrum
        change = istft(shift, window.n_fft, window.hop_samples, window.original.shape[-1])
        if window.settings.guard:
            with torch.no_grad():
                scale = envelope_guard(window.original, change, window.sample_rate)
            change = change * scale
        return window.original + change

    @staticmethod
    def _normalised(gradient: Tensor) -> Tensor:
        level = torch.sqrt(gradient.square().mean(dim=1, keepdim=True))
        unit = torch.where(level > 0, gradient / torch.where(level > 0, level, 1.0), 0.0)
        return torch.clamp(unit, -CLIP_DEVIATIONS, CLIP_DEVIATIONS)
