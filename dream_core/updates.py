"""How a gradient becomes the next sound.

An update is an operator on windows of sound: given the sound at step ``k`` and a way to score it, it proposes
the whole next step; the loop decides how much of the proposal happens at each instant (the depth). Some
updates keep a state of their own between the steps of a window, like an optimiser's.

The canonical DreamSound modes differ only in what is cut, by what, with whose phase, and what it is added
to; they are one formula (:class:`SpectralCut`)::

    x + step * 0.2 * istft(cut(|stft(mask source)|) * |stft(operand)| * exp(i arg stft(phase source)))

Conventions: windows are ``(items, rows, samples)``; the rows of an item are dreamed as one (linked stereo).
Gradients are scaled to the loudness of the sound they belong to, so that a step means the same at every
level.

Sources:
    Dobrian, Fdch: "DreamSound: Deep Activation Layer Sonification" (2020) and its 2021 sequel, for the
    modes; ``mask`` is this project's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from dream_core.settings import DreamSettings
from dream_core.spectral import bin_frequencies_hz, istft, soft_band, stft

__all__ = ["Add", "Gradient", "Score", "Source", "SpectralCut", "Update", "Window", "waveform_gradient"]

Score = Callable[[Tensor], Tensor]
"""Mono sound ``(items, samples)`` to a score an item, differentiable."""

State = dict[str, Tensor]

SHARE_PER_STEP = 0.2
"""How much of what passes a cut one step adds: dreamsound's own step size."""

Source = Literal["sound", "gradient", "target", "target_gradient"]
"""A sound whose spectrum a cut can use: the present one, its gradient, another, or that one's gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a step is given.

    Args:
        current: The sound at this step, ``(items, rows, samples)``.
        context: The undreamed sound with `margin` more samples on both sides, so that no transform meets a
            cut where the sound goes on.
        margin: How many.
        n_valid: How many samples of each item are sound and not padding, ``(items, 1, 1)``.
        score: Scores mono sound.
        target: Another sound under the same window, for updates that want one.
        step_index: Which step this is, from 0; the same for all items.
        sample_rate: Hz.
        step: Size of the step, a number or one a sample ``(items, 1, samples)``.
        low_hz: Lowest frequency the dream may touch, likewise.
        high_hz: Highest frequency the dream may touch, likewise.
        settings: The dream's settings.
    """

    current: Tensor
    context: Tensor
    margin: int
    n_valid: Tensor
    score: Score
    target: Tensor | None
    step_index: int
    sample_rate: int
    step: float | Tensor
    low_hz: float | Tensor
    high_hz: float | Tensor
    settings: DreamSettings

    @property
    def original(self) -> Tensor:
        """The undreamed sound under the window."""
        return self.crop(self.context)

    @property
    def is_moving(self) -> bool:
        """Whether any setting has a value of its own at every sample."""
        return any(isinstance(value, Tensor) for value in (self.step, self.low_hz, self.high_hz))

    def crop(self, sound: Tensor) -> Tensor:
        """Return a sound without its margins."""
        return sound[..., self.margin : sound.shape[-1] - self.margin]

    @property
    def n_fft(self) -> int:
        """Length of the transform at this sample rate."""
        return self.settings.n_fft_at(self.sample_rate)

    @property
    def hop_samples(self) -> int:
        """Hop of the transform at this sample rate."""
        return self.settings.hop_at(self.sample_rate)

    @staticmethod
    def at_frames(value: float | Tensor, hop_samples: int, n_frames: int, margin: int = 0) -> float | Tensor:
        """Return a value that may move at the middles of frames, ``(items, 1, frames)``."""
        if not isinstance(value, Tensor):
            return value
        positions = torch.arange(n_frames, device=value.device) * hop_samples - margin
        return value[..., torch.clamp(positions, 0, value.shape[-1] - 1)]

    def band_weights(self, n_fft: int, hop_samples: int, n_frames: int, margin: int = 0) -> Tensor:
        """Return how much of each bin the dream may touch, ``(items or 1, bins, frames or 1)``."""
        frequencies = bin_frequencies_hz(n_fft, self.sample_rate, self.current.device)[:, None]
        # A frame's window spreads a bin over its neighbours: the lower edge stays a bin away from the band's.
        bin_hz = self.sample_rate / n_fft
        low = self.at_frames(self.low_hz, hop_samples, n_frames, margin)
        low = low + torch.clamp(torch.as_tensor(low) / 6.0, max=bin_hz)
        high = self.at_frames(self.high_hz, hop_samples, n_frames, margin)
        weights = soft_band(frequencies, low, high).to(self.current.dtype)
        return weights if weights.ndim == 3 else weights[None]

    def rms(self, sound: Tensor) -> Tensor:
        """Return the level of each item over its valid samples, ``(items, 1, 1)``."""
        rows = sound.shape[1]
        return torch.sqrt(sound.square().sum(dim=(1, 2), keepdim=True) / (self.n_valid * rows))


class Update(Protocol):
    """An operator from the sound at one step to a proposal for the next."""

    @property
    def needs_target(self) -> bool:
        """Whether it wants another sound."""
        ...

    def begin(self, context: Tensor, settings: DreamSettings, sample_rate: int) -> State:
        """Return the state windows start with, each tensor with items first."""
        ...

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Return the proposal, the state after it, and the gradient that led there."""
        ...


def waveform_gradient(sound: Tensor, score: Score) -> Tensor:
    """Return the gradient of the scores with respect to a sound ``(items, rows, samples)``."""
    leaf = sound.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(leaf.mean(dim=1)).sum(), leaf)
    return gradient


def _loudness_scaled(gradient: Tensor, window: Window, sound: Tensor) -> Tensor:
    level = window.rms(gradient)
    return torch.where(level > 0, gradient / torch.where(level > 0, level, 1.0), 0.0) * window.rms(sound)


def _band_limited(change: Tensor, window: Window) -> Tensor:
    spectrum = stft(change, window.n_fft, window.hop_samples)
    weights = window.band_weights(window.n_fft, window.hop_samples, spectrum.shape[-1])
    spectrum = spectrum * weights[:, None]
    return istft(spectrum, window.n_fft, window.hop_samples, change.shape[-1])


def _cross_fade(window: Window, other: Tensor) -> Tensor:
    """Replace the sound's band by another sound of that band; what lies outside stays."""
    sound = window.current
    share = torch.clamp(torch.as_tensor(window.step, dtype=sound.dtype, device=sound.device), max=1.0)
    return sound + share * (other - _band_limited(sound, window))


class _Stateless:
    needs_target = False

    def begin(self, context: Tensor, settings: DreamSettings, sample_rate: int) -> State:
        """Return no state."""
        del context, settings, sample_rate
        return {}


class Add(_Stateless):
    """Add the gradient, scaled to a tenth of the sound's level: ``x + step * 0.1 * rms(x) * g / rms(g)``.

    The plain DeepDream step, DreamSound's additive mode.
    """

    LEVEL_PER_STEP = 0.1

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        gradient = waveform_gradient(window.current, window.score)
        scaled = _band_limited(_loudness_scaled(gradient, window, window.current), window)
        return window.current + window.step * self.LEVEL_PER_STEP * scaled, state, gradient


class Gradient(_Stateless):
    """Listen to the gradient alone, at the sound's level: DreamSound's recursion on gradients.

    ``step`` cross-fades from the sound to its gradient; 1 is the gradient alone.
    """

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        gradient = waveform_gradient(window.current, window.score)
        scaled = _band_limited(_loudness_scaled(gradient, window, window.current), window)
        return _cross_fade(window, scaled), state, gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralCut:
    """Cut one spectrum by the loud bins of another, and add or replace.

    Args:
        operand: Whose magnitudes pass the cut.
        mask: Whose loud bins open it.
        phase: Whose phase the result takes.
        adds: Added to the sound; else the sound is replaced by the result.
        expands: The mask is the source's own power above the threshold (the 2020 filter) instead of 0..1.
    """

    operand: Source
    mask: Source
    phase: Source
    adds: bool
    expands: bool = False

    @property
    def needs_target(self) -> bool:
        """Whether it wants another sound."""
        return any(source.startswith("target") for source in (self.operand, self.mask, self.phase))

    def begin(self, context: Tensor, settings: DreamSettings, sample_rate: int) -> State:
        """Return no state."""
        del context, settings, sample_rate
        return {}

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        settings = window.settings
        gradient = waveform_gradient(window.current, window.score)
        spectra = self._spectra(window, gradient)
        weights = window.band_weights(window.n_fft, window.hop_samples, spectra[self.mask].shape[-1])
        cut = self._cut(spectra[self.mask], settings) * weights[:, None]
        operand, phase = spectra[self.operand], spectra[self.phase]
        if self.operand == self.phase:
            passed = operand * cut
        else:
            passed = torch.polar(operand.abs() * cut, phase.angle())
        result = istft(passed, window.n_fft, window.hop_samples, window.current.shape[-1])
        if self.adds:
            return window.current + window.step * SHARE_PER_STEP * result, state, gradient
        return _cross_fade(window, result), state, gradient

    def _spectra(self, window: Window, gradient: Tensor) -> dict[Source, Tensor]:
        sounds: dict[Source, Tensor] = {"sound": window.current}
        wanted = {self.operand, self.mask, self.phase}
        if "gradient" in wanted:
            sounds["gradient"] = _loudness_scaled(gradient, window, window.current)
        if window.target is not None:
            sounds["target"] = window.target
            if "target_gradient" in wanted:
                heard = waveform_gradient(window.target, window.score)
                sounds["target_gradient"] = _loudness_scaled(heard, window, window.target)
        return {name: stft(sounds[name], window.n_fft, window.hop_samples) for name in wanted}

    def _cut(self, spectrum: Tensor, settings: DreamSettings) -> Tensor:
        power = spectrum.real.square() + spectrum.imag.square()
        loudest = power.amax(dim=(1, 2, 3), keepdim=True)
        relative_db = 10.0 * torch.log10(torch.clamp(power / torch.clamp(loudest, min=1e-30), min=1e-12))
        above = (relative_db - settings.threshold_db) / max(settings.knee_db, 1e-3) + 0.5
        opening = torch.clamp(above, 0.0, 1.0)
        is_open = torch.where(loudest > 0, opening, 0.0)
        return is_open * power / torch.clamp(loudest, min=1e-30) if self.expands else is_open
