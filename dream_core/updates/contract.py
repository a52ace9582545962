"""What an update is given, and what it gives back.

An update is an operator on windows of sound: given the sound at step ``k`` and a way to score it, it proposes
the whole next step; the loop decides how much of the proposal happens at each instant (the depth). Some
updates keep a state of their own between the steps of a window, like an optimiser's.

Conventions: windows are ``(items, rows, samples)``; the rows of an item are dreamed as one (linked stereo).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dream_core.dsp.stft import bin_frequencies_hz, soft_band
from dream_core.objectives.look import Look
from dream_core.settings import DreamSettings

__all__ = ["Score", "State", "Update", "Window", "waveform_gradient"]

Score = Callable[[Tensor], Tensor]
"""Mono sound ``(items, samples)`` to a score an item, differentiable."""

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a step is given.

    Args:
        current: The sound at this step, ``(items, rows, samples)``.
        context: The undreamed sound with `margin` more samples on both sides, so that neither a transform nor
            a network meets a cut where the sound goes on.
        margin: How many.
        n_valid: How many samples of each item are sound and not padding, ``(items, 1, 1)``.
        score: Scores mono sound, as long as the window or with its margins.
        target: Another sound under the same window, for updates that want one.
        step_index: Which step this is, from 0; the same for all items.
        sample_rate: Hz.
        lanes: Those settings that may move (`step`, `low_hz`, `high_hz`), each a number, or one for each
            sample of the window and its margins ``(items, 1, samples)``; and what else is said at every
            sample: `f0_hz`, the sound's pitch, with how far it is in its cycle, `f0_cycles`, 0..1; `rows`,
            how many rows of its picture have passed.
        settings: The dream's settings.
        look: What the network looks at, for updates that work on that; None where several networks listen.
        needs_sound: Of each item, whether what this step proposes is heard, as the last step or blended with
            the one after; elsewhere an update that keeps a state of its own may leave the sound as it is.
    """

    current: Tensor
    context: Tensor
    margin: int
    n_valid: Tensor
    score: Score
    target: Tensor | None
    step_index: int
    sample_rate: int
    lanes: Mapping[str, float | Tensor]
    settings: DreamSettings
    look: Look | None = None
    needs_sound: tuple[bool, ...] = ()

    @property
    def original(self) -> Tensor:
        """The undreamed sound under the window."""
        return self.crop(self.context)

    @property
    def step(self) -> float | Tensor:
        """Size of the step, a number or one for each sample of the window ``(items, 1, samples)``."""
        step = self.lanes["step"]
        return self.crop(step) if isinstance(step, Tensor) else step

    @property
    def is_moving(self) -> bool:
        """Whether any setting has a value of its own at every sample."""
        return any(isinstance(value, Tensor) for value in self.lanes.values())

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

    def lane_at_frames(self, name: str, hop_samples: int, n_frames: int, margin: int = 0) -> float | Tensor:
        """Return a setting that may move at the middles of frames, ``(items, 1, frames)``.

        Args:
            name: Which.
            hop_samples: From one frame to the next.
            n_frames: How many.
            margin: How far before the window the first one lies.
        """
        value = self.lanes[name]
        if not isinstance(value, Tensor):
            return value
        positions = torch.arange(n_frames, device=value.device) * hop_samples + self.margin - margin
        return value[..., torch.clamp(positions, 0, value.shape[-1] - 1)]

    def gradient_at(self, sound: Tensor) -> Tensor:
        """Return the gradient of the score at a sound in the window's place, ``(items, rows, samples)``.

        Where the settings say so the network hears the undreamed sound around it.
        """
        if not self.settings.context:
            return waveform_gradient(sound, self.score)
        gradient = waveform_gradient(self.surrounded(sound), self.score)
        return torch.where(self._is_sound, self.crop(gradient), 0.0)

    @property
    def _is_sound(self) -> Tensor:
        return torch.arange(self.current.shape[-1], device=self.current.device) < self.n_valid

    def surrounded(self, sound: Tensor) -> Tensor:
        """Return a sound in the window's place with the undreamed sound around it."""
        before, own, after = (
            self.context[..., : self.margin],
            torch.where(self._is_sound, sound, self.original),
            self.context[..., self.context.shape[-1] - self.margin :],
        )
        return torch.cat([before, own, after], dim=-1)

    def band_weights(self, n_fft: int, hop_samples: int, n_frames: int, margin: int = 0) -> Tensor:
        """Return how much of each bin the dream may touch, ``(items or 1, bins, frames or 1)``."""
        frequencies = bin_frequencies_hz(n_fft, self.sample_rate, self.current.device)[:, None]
        # A frame's window spreads a bin over its neighbours: the lower edge stays a bin away from the band's.
        bin_hz = self.sample_rate / n_fft
        low = self.lane_at_frames("low_hz", hop_samples, n_frames, margin)
        low = low + torch.clamp(torch.as_tensor(low) / 6.0, max=bin_hz)
        high = self.lane_at_frames("high_hz", hop_samples, n_frames, margin)
        weights = soft_band(frequencies, low, high).to(self.current.dtype)
        return weights if weights.ndim == 3 else weights[None]

    def rms(self, sound: Tensor) -> Tensor:
        """Return the level of each item over its valid samples, ``(items, 1, 1)``."""
        rows = sound.shape[1]
        return torch.sqrt(sound.square().sum(dim=(1, 2), keepdim=True) / (self.n_valid * rows))


def waveform_gradient(sound: Tensor, score: Score) -> Tensor:
    """Return the gradient of the scores with respect to a sound ``(items, rows, samples)``."""
    leaf = sound.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(leaf.mean(dim=1)).sum(), leaf)
    return gradient


class Update(Protocol):
    """An operator from the sound at one step to a proposal for the next.

    One that keeps to the sound's pitch says so by an attribute `needs_pitch` that is true: who gives it no
    pitch is told; one that ascends on log-mel frames by `needs_frames`; one that proposes the undreamed sound
    and a change, whatever steps it left out before, by `changes_original`. One that does not fit every
    network has a method ``check_networks(cards, settings)`` that raises where those that listen do not fit.
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
