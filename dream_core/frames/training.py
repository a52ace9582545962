"""Train a recurrent network on one sound, or a few: each frame is to be foretold from those before it.

The frames it hears are made noisy, by an amount drawn anew for each sequence: a network that has only heard
clean frames loses its way as soon as it hears its own, which are never quite right.

Source:
    Nayebi and Vitelli 2015, "GRUV: algorithmic music generation using recurrent neural networks".
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from dream_core.dsp.resample import resample
from dream_core.errors import NonFiniteError, SettingError, WeightsError
from dream_core.frames.network import FramesNet, FramesSpec
from dream_core.runtime import save_state

__all__ = ["FrameTraining", "TrainedFrames", "TrainingStep", "train_frames"]

_QUIETEST_PEAK: Final = 1e-4
_SAVE_EVERY_S: Final = 20.0
_RANGES: Final = {
    "seconds": (0.0, 1e6),
    "steps": (0, 10_000_000),
    "sequence_frames": (2, 4096),
    "batch_size": (1, 1024),
    "learning_rate": (1e-7, 1.0),
    "last_learning_rate": (0.0, 1.0),
    "noise": (0.0, 4.0),
    "level_weight": (0.0, 1.0),
    "clip": (1e-3, 1e3),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTraining:
    """What a training depends on, besides its sounds.

    Args:
        spec: The shape of the network.
        seconds: How long it trains, where `steps` is 0.
        steps: How many steps instead: then the same sounds and seed give the same bits on one machine.
        sequence_frames: Frames that are foretold in a row.
        batch_size: Sequences in a step.
        learning_rate: Of Adam at first; half a cosine leads to the last.
        last_learning_rate: At the end.
        noise: Most noise on what is heard, in deviations; each sequence draws its own share of it.
        level_weight: What a frame's level counts, as a share of its shape.
        clip: Longest gradient.
        is_loop: Whether the end of each sound leads to its beginning.
        seed: Of weights, sequences and noise.

    Raises:
        SettingError: A setting is out of range.
    """

    spec: FramesSpec = field(default_factory=FramesSpec)
    seconds: float = 60.0
    steps: int = 0
    sequence_frames: int = 60
    batch_size: int = 8
    learning_rate: float = 2e-3
    last_learning_rate: float = 2e-4
    noise: float = 0.4
    level_weight: float = 0.1
    clip: float = 1.0
    is_loop: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(f"training: {name} = {value:g} is outside {low:g}..{high:g}")
        if not self.steps and not self.seconds:
            raise SettingError("training: neither steps nor seconds say how long; give one of them")


class TrainingStep(NamedTuple):
    """Where a training stands: steps done, the share of all that is done, the last error, seconds spent."""

    step: int
    fraction: float
    error: float
    elapsed_s: float


class TrainedFrames(NamedTuple):
    """A trained network, its mean squared error on its sounds as a share of their variance, and its steps."""

    network: FramesNet
    error: float
    steps: int


def train_frames(
    sounds: Sequence[Tensor],
    sample_rate: int,
    settings: FrameTraining | None = None,
    report: Callable[[TrainingStep], None] | None = None,
    *,
    checkpoint: Path | None = None,
) -> TrainedFrames:
    """Train a network to play on as some sounds do.

    Args:
        sounds: Each ``(samples,)`` or ``(channels, samples)``, which are mixed to one; full scale 1.
        sample_rate: Hz, of the sounds; the network has a rate of its own.
        settings: How; the default where it is None.
        report: Told after every step; what it raises stops the training, to be resumed.
        checkpoint: Where the state is kept, so that the same call goes on where another ended. A training
            by steps ends with the same bits, however often it was stopped.

    Raises:
        SettingError: There is no sound, or one is silent, too short, or no sound at all.
        NonFiniteError: A sound, or the training, is not finite.
        WeightsError: The checkpoint is of another training, or damaged.

    >>> times = torch.arange(22050) / 22050
    >>> shape = FramesSpec(frame_samples=128, width=8)
    >>> train_frames([torch.sin(880 * times)], 22050, FrameTraining(spec=shape, steps=2)).steps
    2
    """
    settings = settings or FrameTraining()
    waveforms = _check_sounds(sounds, sample_rate, settings.spec)
    return _Training(waveforms, settings, checkpoint).run(report)


def _check_sounds(sounds: Sequence[Tensor], sample_rate: int, spec: FramesSpec) -> list[Tensor]:
    """Return the sounds at the network's rate, mono, or say all that is wrong with them."""
    if not sounds:
        raise SettingError("training: no sound was given; one or more are accepted")
    shortest_s = (spec.reach_samples + 2 * spec.frame_samples) / spec.sample_rate
    wrong: list[str] = []
    ready: list[Tensor] = []
    for number, sound in enumerate(sounds, start=1):
        if sound.ndim not in (1, 2) or not sound.is_floating_point():
            wrong.append(
                f"sound {number} has shape {tuple(sound.shape)}; floats (channels, samples) are accepted"
            )
            continue
        if not torch.isfinite(sound).all():
            raise NonFiniteError(f"training: sound {number} holds values that are not finite")
        mono = sound if sound.ndim == 1 else sound.mean(dim=0)
        if mono.shape[0] < shortest_s * sample_rate:
            wrong.append(
                f"sound {number} is {mono.shape[0] / sample_rate:.3f} s long; {shortest_s:.3f} s are needed"
            )
        elif mono.abs().max() < _QUIETEST_PEAK:
            wrong.append(f"sound {number} is silent: there is nothing to learn from it")
        else:
            ready.append(resample(mono.float()[None], sample_rate, spec.sample_rate)[0])
    if wrong:
        raise SettingError(f"training: {'; '.join(wrong)}")
    return ready


class _Training:
    """The state of a training: network, optimiser, what is drawn, steps done."""

    def __init__(self, sounds: Sequence[Tensor], settings: FrameTraining, checkpoint: Path | None) -> None:
        self.settings, self.checkpoint = settings, checkpoint
        self._generator = torch.Generator().manual_seed(settings.seed)
        self.network = FramesNet(settings.spec)
        _draw_weights(self.network, self._generator)
        # Silence stands before each sound, for frames that overlap, and none after it: it would be learnt.
        before = settings.spec.reach_samples - settings.spec.frame_samples
        again = settings.sequence_frames * settings.spec.frame_samples if settings.is_loop else 0
        with torch.no_grad():
            parted = [
                self.network.hear(nn.functional.pad(torch.cat([sound, sound[:again]]), (before, 0)))
                for sound in sounds
            ]
            self.network.learn_scale(parted)
            self._frames = [self.network.standardise(one) for one in parted]
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self._digest = _digest(self._frames, settings)
        self._step, self._spent_s, self._error = 0, 0.0, math.inf
        if checkpoint is not None and checkpoint.exists():
            self._resume(checkpoint)

    def run(self, report: Callable[[TrainingStep], None] | None) -> TrainedFrames:
        began, last_saved = time.perf_counter() - self._spent_s, self._spent_s
        while self._fraction < 1.0:
            self._take_step()
            self._spent_s = time.perf_counter() - began
            is_over = self._fraction >= 1.0
            if self.checkpoint is not None and (is_over or self._spent_s - last_saved > _SAVE_EVERY_S):
                self._save(self.checkpoint)
                last_saved = self._spent_s
            if report is not None:
                report(TrainingStep(self._step, self._fraction, self._error, self._spent_s))
        return TrainedFrames(self.network.eval(), self._measure(), self._step)

    @property
    def _fraction(self) -> float:
        settings = self.settings
        done = self._step / settings.steps if settings.steps else self._spent_s / settings.seconds
        return min(1.0, done)

    def _take_step(self) -> None:
        settings = self.settings
        along = 0.5 + 0.5 * math.cos(math.pi * self._fraction)
        first, last = settings.learning_rate, settings.last_learning_rate
        for group in self._optimiser.param_groups:
            group["lr"] = last + (first - last) * along
        frames, is_there = self._draw()
        came = frames[:, 1:]
        amounts = settings.noise * torch.rand(len(frames), 1, 1, generator=self._generator)
        noise = torch.randn(came.shape, generator=self._generator)
        expected = self.network(frames[:, :-1] + amounts * noise).expected
        squares = (expected - came).square()
        shape, level = squares[..., :-1].mean(dim=-1), squares[..., -1]
        weighted = (shape + settings.level_weight * level) / (1.0 + settings.level_weight)
        error = (weighted * is_there).sum() / is_there.sum()
        self._optimiser.zero_grad(set_to_none=True)
        error.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self._optimiser.step()
        self._step += 1
        self._error = float(error.detach())
        if not math.isfinite(self._error):
            raise NonFiniteError(
                f"training: the error is not finite after {self._step} steps; lower learning_rate"
            )

    def _draw(self) -> tuple[Tensor, Tensor]:
        """Draw sequences, each sound as often as it is long, and which of their frames are there."""
        n = self.settings.sequence_frames + 1
        starts = [max(1, len(one) - n + 1) for one in self._frames]
        places = torch.randint(sum(starts), (self.settings.batch_size,), generator=self._generator).tolist()
        batch = torch.zeros(len(places), n, self.settings.spec.n_values)
        is_there = torch.zeros(len(places), n - 1)
        for row, place in enumerate(places):
            index = 0
            while place >= starts[index]:
                place -= starts[index]
                index += 1
            part = self._frames[index][place : place + n]
            batch[row, : len(part)] = part
            is_there[row, : len(part) - 1] = 1.0
        return batch, is_there

    def _measure(self) -> float:
        """Return the error on the sounds themselves, and tell the network how far off each number is."""
        with torch.no_grad():
            squares = torch.cat(
                [(self.network(one[None]).expected[0, :-1] - one[1:]).square() for one in self._frames]
            )
            self.network.residual.copy_(squares.mean(dim=0).sqrt())
        return float(squares.mean())

    def _save(self, path: Path) -> None:
        state = {
            "digest": self._digest,
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "step": self._step,
            "spent_s": self._spent_s,
            "error": self._error,
        }
        save_state(path, state)

    def _resume(self, path: Path) -> None:
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            digest = state["digest"]
        except Exception as error:  # torch raises whatever its readers do
            raise WeightsError(
                f"{path} is no checkpoint of a training ({type(error).__name__}); delete it, or name another"
            ) from None
        if digest != self._digest:
            raise WeightsError(
                f"{path} is of a training with other sounds or settings, which was stopped; delete it "
                "(--anew), or name another"
            )
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self._step, self._spent_s, self._error = state["step"], state["spent_s"], state["error"]


def _draw_weights(network: FramesNet, generator: torch.Generator) -> None:
    """Draw weights as Torch does, from a generator of our own."""
    with torch.no_grad():
        for parameter in network.parameters():
            bound = 1.0 / math.sqrt(parameter.shape[-1] if parameter.ndim > 1 else network.spec.width)
            parameter.uniform_(-bound, bound, generator=generator)


def _digest(frames: Sequence[Tensor], settings: FrameTraining) -> str:
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    for one in frames:
        digest.update(one.numpy().tobytes())
    return digest.hexdigest()
