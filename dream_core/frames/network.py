"""The recurrent network that expects the next frame of a sound: linear, tanh, GRU or LSTM layers, linear.

What a frame sounds like and how loud it is are apart: the network hears and says a frame of unit RMS and the
logarithm of its RMS. A network that says both at once fades to nothing when it hears itself: an average of
what may come is quieter than anything that does.

Sources:
    Nayebi and Vitelli 2015, "GRUV: algorithmic music generation using recurrent neural networks": the shape,
    the shifted target, the standardised domain.
    An anonymous post of 2015 on LSTMs trained on one breakbeat: stacked layers, frames of raw samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.frames.domains import DOMAINS, Domain, compand, encode, expand, frame_values, reach_samples
from dream_core.names import nearest_names

__all__ = ["CELLS", "Cell", "Fit", "FramesNet", "FramesSpec", "Heard", "State", "frame_for_tempo"]

Cell = Literal["gru", "lstm"]

CELLS: Final = ("gru", "lstm")

State = tuple[Tensor, ...]
"""What the network remembers: of a GRU each layer's ``(batch, width)``, of an LSTM two of each."""

_QUIETEST_RMS: Final = 1e-4
"""Frames below are as quiet as this: silence has no logarithm."""

_LEAST_DEVIATION: Final = 1e-8

_LONGEST_MDCT: Final = 2048
"""Its transform is a whole matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesSpec:
    """The shape of the network.

    Args:
        sample_rate: Hz.
        domain: The form of the frames.
        frame_samples: From one frame to the next.
        cell: What remembers.
        width: Numbers each layer remembers.
        n_layers: Of them.

    Raises:
        SettingError: A number is out of range.

    >>> FramesSpec(width=64).n_values
    513
    """

    sample_rate: int = 22050
    domain: Domain = "mdct"
    frame_samples: int = 512
    cell: Cell = "gru"
    width: int = 256
    n_layers: int = 2

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("sample_rate", self.sample_rate, 4000, 192_000),
            ("frame_samples", self.frame_samples, 16, 16_384),
            ("width", self.width, 4, 4096),
            ("n_layers", self.n_layers, 1, 8),
        ):
            if not low <= value <= high:
                raise SettingError(f"frames: {name} = {value} is outside {low}..{high}")
        for name, text, accepted in (("domain", self.domain, DOMAINS), ("cell", self.cell, CELLS)):
            if text not in accepted:
                raise SettingError(f"frames: {name} = {text!r}: {nearest_names(text, accepted)}")
        if self.frame_samples % 2:
            raise SettingError(f"frames: frame_samples = {self.frame_samples} is odd; even ones are accepted")
        if self.domain == "mdct" and self.frame_samples > _LONGEST_MDCT:
            raise SettingError(
                f"frames: frame_samples = {self.frame_samples}: mdct takes at most {_LONGEST_MDCT}; time and "
                "fft take longer ones"
            )

    @property
    def n_values(self) -> int:
        """Numbers of a frame as the network hears it: its shape, then its level."""
        return frame_values(self.domain, self.frame_samples) + 1

    @property
    def reach_samples(self) -> int:
        """Samples that one frame is made of."""
        return reach_samples(self.domain, self.frame_samples)

    @property
    def frame_s(self) -> float:
        """From one frame to the next, in seconds."""
        return self.frame_samples / self.sample_rate

    @property
    def n_parameters(self) -> int:
        """Count the weights and biases."""
        gates = 3 if self.cell == "gru" else 4
        recurrent = self.n_layers * gates * self.width * (2 * self.width + 2)
        return (self.n_values + 1) * self.width + recurrent + (self.width + 1) * self.n_values


class Heard(NamedTuple):
    """What the network expects, standardised frames ``(batch, frames, n_values)``, and its state."""

    expected: Tensor
    state: State


class Fit(nn.Module):
    """How well frames were foreseen: minus the mean squared error of each, ``(batch, frames)``."""

    def forward(self, expected: Tensor, came: Tensor) -> Tensor:
        """Compare what was expected with what came."""
        return -(expected - came).square().mean(dim=-1)


class FramesNet(nn.Module):
    """Expect the next frame of what is heard.

    Args:
        spec: Its shape.

    Shape:
        Standardised frames ``(batch, frames, n_values)`` -> the same shape: of each, what comes after it.
    """

    mean: Tensor
    scale: Tensor
    residual: Tensor

    def __init__(self, spec: FramesSpec) -> None:
        super().__init__()
        self.spec = spec
        self.enter = nn.Linear(spec.n_values, spec.width)
        kind = nn.GRU if spec.cell == "gru" else nn.LSTM
        self.layers = nn.ModuleList(
            kind(spec.width, spec.width, batch_first=True) for _ in range(spec.n_layers)
        )
        self.leave = nn.Linear(spec.width, spec.n_values)
        self.fit = Fit()
        self.register_buffer("mean", torch.zeros(spec.n_values))
        self.register_buffer("scale", torch.ones(spec.n_values))
        # How far off each number usually is: what a temperature is measured by.
        self.register_buffer("residual", torch.zeros(spec.n_values))

    def hear(self, waveform: Tensor) -> Tensor:
        """Turn waveforms into frames as the network hears them, before they are standardised.

        Shape:
            ``(..., samples)`` -> ``(..., frames, n_values)``.
        """
        return self.part(encode(waveform, self.spec.domain, self.spec.frame_samples))

    def part(self, frames: Tensor) -> Tensor:
        """Part frames into shape and level: companded values of unit RMS, then the logarithm of the RMS."""
        quietest = _QUIETEST_RMS**2
        power = frames.square().mean(dim=-1, keepdim=True) + quietest
        return torch.cat([compand(frames * power.rsqrt()), 0.5 * power.log()], dim=-1)

    def join(self, parted: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `part`: return values of unit RMS ``(..., values)`` and their RMS ``(..., 1)``."""
        shape = expand(parted[..., :-1])
        power = ((2.0 * parted[..., -1:]).exp() - _QUIETEST_RMS**2).clamp(0.0, 1.0)
        rms = shape.square().mean(dim=-1, keepdim=True).sqrt()
        return shape / rms.clamp(min=1e-6), power.sqrt()

    def standardise(self, parted: Tensor) -> Tensor:
        """Take each number's mean away and divide it by its deviation."""
        return (parted - self.mean) / self.scale.clamp(min=_LEAST_DEVIATION)

    def learn_scale(self, parted: Sequence[Tensor]) -> None:
        """Take mean and deviation of each number from all frames of some sounds."""
        together = torch.cat([one.reshape(-1, self.spec.n_values) for one in parted])
        self.mean.copy_(together.mean(dim=0))
        self.scale.copy_(together.std(dim=0, correction=0).clamp(min=_LEAST_DEVIATION))

    def forward(self, frames: Tensor, state: State = ()) -> Heard:
        """Hear standardised frames and say of each what comes next.

        Args:
            frames: Standardised.
            state: What was heard before, from another call; empty where nothing was.
        """
        x = torch.tanh(self.enter(frames))
        each = 1 if self.spec.cell == "gru" else 2
        states: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            before = state[index * each : (index + 1) * each]
            given = None if not before else before[0] if each == 1 else (before[0], before[1])
            x, after = layer(x, given)
            states += [after] if each == 1 else list(after)
        return Heard(cast(Tensor, self.leave(x)), tuple(states))


def frame_for_tempo(bpm: float, sample_rate: int, near: int = 512) -> int:
    """Return a frame's length of which nearly a whole number makes a beat.

    Then each round of a loop begins where a frame does, and is the same frames again: much easier to learn.

    Args:
        bpm: Quarter notes a minute.
        sample_rate: Hz.
        near: About how long; three quarters to five quarters of it are tried.

    Raises:
        SettingError: The tempo is out of range.

    >>> frame_for_tempo(126, 22050)
    500
    """
    if not 10.0 <= bpm <= 1000.0:
        raise SettingError(f"frames: a tempo of {bpm:g} BPM is outside 10..1000")
    beat = 60.0 / bpm * sample_rate

    def cost(length: int) -> tuple[float, int]:
        frames = beat / length
        return round(abs(frames - round(frames)) * length, 3), abs(length - near)

    return min(range(near * 3 // 4 // 2 * 2, near * 5 // 4, 2), key=cost)
