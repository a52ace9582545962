"""What an update is given, and what it gives back.

An update is an operator on windows of sound: given the sound at step ``k`` and a way to score it, it proposes
the whole next step; the loop decides how much of the proposal happens at each instant (the depth). Some
updates keep a state of their own between the steps of a window, like an optimiser's.

Conventions: windows are ``(items, rows, samples)``; the rows of an item are dreamed as one (linked stereo).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dream_core.dsp.stft import bin_frequencies_hz, soft_band
from dream_core.settings import DreamSettings

__all__ = ["Score", "Update", "Window"]

Score = Callable[[Tensor], Tensor]
"""Mono sound ``(items, samples)`` to a score an item, differentiable."""

State = dict[str, Tensor]


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
        f0_hz: The sound's pitch, ``(items, 1, samples)``, 0 where it has none; 0 where no pitch was given.
        f0_cycles: Cycles of it since the sound began, 0..1, likewise: the same in all windows.
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
    f0_hz: float | Tensor = 0.0
    f0_cycles: float | Tensor = 0.0

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
    """An operator from the sound at one step to a proposal for the next.

    One that keeps to the sound's pitch says so by an attribute `needs_pitch` that is true: who gives it no
    pitch is told.
    """

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
