"""The gradient added to the sound, and the gradient alone.

Source: Mordvintsev et al., "Inceptionism" (2015); Camara Halac and Delgadino: "DreamSound: Deep Activation
Layer Sonification" (2020).
"""

from __future__ import annotations

from torch import Tensor

from dream_core.settings import DreamSettings
from dream_core.updates.contract import State, Window
from dream_core.updates.steps import band_limited, cross_fade, loudness_scaled

__all__ = ["Add", "Gradient"]


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
        gradient = window.gradient_at(window.current)
        scaled = band_limited(loudness_scaled(gradient, window, window.current), window)
        return window.current + window.step * self.LEVEL_PER_STEP * scaled, state, gradient


class Gradient(_Stateless):
    """Listen to the gradient alone, at the sound's level: DreamSound's recursion on gradients.

    ``step`` cross-fades from the sound to its gradient; 1 is the gradient alone.
    """

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        gradient = window.gradient_at(window.current)
        scaled = band_limited(loudness_scaled(gradient, window, window.current), window)
        return cross_fade(window, scaled), state, gradient
