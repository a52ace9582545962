"""The DreamSound of 2020 as it was published: a filter that cubes what it lets pass, six times louder a step.

The canonical `filter` and `filter_swapped` do what the paper means; these do what its formulas say. With
``X``
the spectrum of what is filtered and ``Y`` that of what filters, times the step size ``m``::

    F = |Y|^2 Y where |Y|^2 > 0.1        out = istft(X + F)

and the inverse transform is not normalised: every step is 15.6 dB louder than the one before. The threshold
is absolute, so it depends on the level of the sound and on the step size.

========  ==========================================================
type      what it does
========  ==========================================================
0         filters the sound by its gradient
1         adds the gradient, times the step size
2         filters the gradient by the sound
gradient  the gradient alone, at a standard deviation of 1
========  ==========================================================

Conventions: float64, mono ``(..., samples)``; frames of 2048 every 128 samples from the first one on, what
fills no frame at the end stays as it was (the paper's; its notebook lets the sound grow by a frame instead).

Source:
    Camara Halac and Delgadino 2020, "DreamSound: Deep Activation Layer Sonification", and its notebook;
    restated from its formulas.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from dream_core.settings import DreamSettings
from dream_core.updates.contract import Window
from dream_core.updates.legacy_0163 import Legacy, LegacySettings, spectrum_of, unnormalised_inverse

__all__ = ["KINDS_2020", "Kind2020", "Legacy2020", "legacy_2020_step"]

Kind2020 = Literal["0", "1", "2", "gradient"]
KINDS_2020: tuple[Kind2020, ...] = get_args(Kind2020)

STEP_SIZE = 0.01
"""The notebook's own; its calls go down to 1e-4."""

THRESHOLD = 0.1
"""Of the power of what filters."""

_FRAMES = LegacySettings(n_fft=2048)


def legacy_2020_step(sound: Tensor, gradient: Tensor, kind: Kind2020, step_size: float = STEP_SIZE) -> Tensor:
    """Take one step as the notebook of 2020 does.

    Args:
        sound: Mono.
        gradient: Of the loss with respect to it, divided by its standard deviation.
        kind: The output type.
        step_size: Its ``m``.

    Shape:
        ``(..., samples)`` -> the same, or for types 0 and 2 down to a whole number of frames.
    """
    if kind == "gradient":
        return gradient
    if kind == "1":
        return sound + step_size * gradient
    filtered, filtering = (sound, gradient) if kind == "0" else (gradient, sound)
    weighed = spectrum_of(step_size * filtering, _FRAMES)
    power = weighed.real.square() + weighed.imag.square()
    passed = power * (torch.sign(power - THRESHOLD) + 1.0) / 2.0
    return unnormalised_inverse(spectrum_of(filtered, _FRAMES) + passed * weighed, _FRAMES)


class Legacy2020(Legacy):
    """The notebook's step in a window of sound; `step` scales its step size.

    Args:
        kind: The output type.
    """

    def __init__(self, kind: Kind2020) -> None:
        super().__init__(0)
        self._kind = kind

    def deviations(
        self, settings: DreamSettings, objective: str, network: str, sample_rate: int
    ) -> tuple[str, ...]:
        """Return nothing: the notebook dreams on any layer, and its settings changed from run to run."""
        del settings, objective, network, sample_rate
        return ()

    @property
    def _transforms(self) -> bool:
        return self._kind in ("0", "2")

    def _stepped(self, window: Window, gradient: Tensor) -> Tensor:
        step_size = STEP_SIZE * window.settings.step
        return legacy_2020_step(window.current.double(), gradient, self._kind, step_size)
