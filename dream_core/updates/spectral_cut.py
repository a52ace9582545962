"""DreamSound's modes: one spectrum cut by the loud bins of another, and added or put in its place.

The modes differ only in what is cut, by what, with whose phase, and what it is added to; they are one formula
(:class:`SpectralCut`)::

    base + step * 0.2 * istft(cut(|stft(mask source)|) * |stft(operand)| * exp(i arg stft(phase source)))

The base is the sound, or the gradient: then the whole is brought to the sound's level, and `step` fades from
the sound to it, as it does for the gradient alone.

Sources:
    Camara Halac and Delgadino: "DreamSound: Deep Activation Layer Sonification" (2020) and its 2021 sequel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dream_core.dsp.stft import istft, stft
from dream_core.settings import DreamSettings
from dream_core.updates.contract import State, Window
from dream_core.updates.steps import band_limited, cross_fade, loudness_scaled

__all__ = ["Base", "Source", "SpectralCut"]

SHARE_PER_STEP = 0.2
"""How much of what passes a cut one step adds: dreamsound's own step size."""

Source = Literal["sound", "gradient", "target", "target_gradient"]
"""A sound whose spectrum a cut can use: the present one, its gradient, another, or that one's gradient."""

Base = Literal["sound", "gradient"]
"""What the result of a cut can be added to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralCut:
    """Cut one spectrum by the loud bins of another, and add or replace.

    Args:
        operand: Whose magnitudes pass the cut.
        mask: Whose loud bins open it.
        phase: Whose phase the result takes.
        adds: Added to the sound; else the sound is replaced by the result.
        expands: The mask is the source's own power above the threshold (the 2020 filter) instead of 0..1.
        base: What the result is added to.
    """

    operand: Source
    mask: Source
    phase: Source
    adds: bool
    expands: bool = False
    base: Base = "sound"

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
        gradient = window.gradient_at(window.current)
        spectra = self._spectra(window, gradient)
        weights = window.band_weights(window.n_fft, window.hop_samples, spectra[self.mask].shape[-1])
        cut = self._cut(spectra[self.mask], settings) * weights[:, None]
        operand, phase = spectra[self.operand], spectra[self.phase]
        if self.operand == self.phase:
            passed = operand * cut
        else:
            passed = torch.polar(operand.abs() * cut, phase.angle())
        result = istft(passed, window.n_fft, window.hop_samples, window.current.shape[-1])
        if self.adds and self.base == "gradient":
            both = loudness_scaled(gradient, window, window.current) + SHARE_PER_STEP * result
            other = band_limited(loudness_scaled(both, window, window.current), window)
            return cross_fade(window, other), state, gradient
        if self.adds:
            return window.current + window.step * SHARE_PER_STEP * result, state, gradient
        return cross_fade(window, result), state, gradient

    def _spectra(self, window: Window, gradient: Tensor) -> dict[Source, Tensor]:
        sounds: dict[Source, Tensor] = {"sound": window.current}
        wanted = {self.operand, self.mask, self.phase}
        if "gradient" in wanted:
            sounds["gradient"] = loudness_scaled(gradient, window, window.current)
        if window.target is not None:
            sounds["target"] = window.target
            if "target_gradient" in wanted:
                heard = window.gradient_at(window.target)
                sounds["target_gradient"] = loudness_scaled(heard, window, window.target)
        return {name: stft(sounds[name], window.n_fft, window.hop_samples) for name in wanted}

    def _cut(self, spectrum: Tensor, settings: DreamSettings) -> Tensor:
        power = spectrum.real.square() + spectrum.imag.square()
        loudest = power.amax(dim=(1, 2, 3), keepdim=True)
        relative_db = 10.0 * torch.log10(torch.clamp(power / torch.clamp(loudest, min=1e-30), min=1e-12))
        above = (relative_db - settings.threshold_db) / max(settings.knee_db, 1e-3) + 0.5
        opening = torch.clamp(above, 0.0, 1.0)
        is_open = torch.where(loudest > 0, opening, 0.0)
        return is_open * power / torch.clamp(loudest, min=1e-30) if self.expands else is_open
