"""Let a trained network play on: it hears a stretch of sound, then itself.

Each frame costs the same, however long it has been playing: the network's state is carried along. What the
network says is heard as a shape of unit RMS at the level it says, and goes back in as that; so it neither
fades to nothing nor runs away, except in a tail, where it may.

Sources:
    An anonymous post of 2015 on LSTMs trained on one breakbeat: how far the network remembers, how its output
    is scaled back (or not: its break came alive with ``none``), the rising feedback past the trained length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from dream_core.errors import CancelledError, SettingError
from dream_core.frames.domains import decode
from dream_core.frames.network import FramesNet, State
from dream_core.names import nearest_names

__all__ = ["DENORMALISE", "Denormalise", "Grown", "Growth", "GrowthPolicy", "grow", "grow_frames"]

Denormalise = Literal["both", "mean", "scale", "none"]

DENORMALISE: Final = get_args(Denormalise)

_LOUDEST_RMS: Final = 0.5
"""A tail that rises stops rising here."""

_N_GRIDS: Final = 256
"""So many places of the frames' borders are tried: high tones turn over within a few samples."""

_JUDGED_FRAMES: Final = 32
"""So many of the last frames tell which place is best."""

_RANGES: Final = {
    "memory_frames": (0, 100_000),
    "temperature": (0.0, 4.0),
    "tail_s": (0.0, 3600.0),
    "feedback": (0.0, 1e12),
    "join_s": (0.0, 0.1),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthPolicy:
    """How a network plays on.

    Args:
        memory_frames: How many frames it remembers; 0 all, which is also the fastest.
        denormalise: What of each number's mean and deviation its output gets back. Without them the sound
            is whitened; what goes back into the network always has both.
        temperature: How far it strays: Gaussian noise, in units of how far off each number usually is.
        tail_s: How long, at the end, it is left to its own feedback.
        feedback: How many times as loud as the network says it is after a second of the tail; each louder
            frame goes back in.
        join_s: Cross-fade between frames that do not overlap.
        seed: Of the straying.

    Raises:
        SettingError: A setting is out of range.
    """

    memory_frames: int = 0
    denormalise: Denormalise = "both"
    temperature: float = 0.0
    tail_s: float = 0.0
    feedback: float = 1.0
    join_s: float = 0.005
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(f"growth: {name} = {value:g} is outside {low:g}..{high:g}")
        if self.denormalise not in DENORMALISE:
            raise SettingError(
                f"growth: denormalise = {self.denormalise!r}: {nearest_names(self.denormalise, DENORMALISE)}"
            )


class Grown(NamedTuple):
    """Frames that a network played: as they are heard ``(frames, values)``, and as it heard them itself."""

    frames: Tensor
    heard: Tensor


class Growth(NamedTuple):
    """What a network played ``(samples,)``, and how well it foresaw what it heard before: minus an MSE."""

    sound: Tensor
    fit: float


def grow(
    network: FramesNet,
    before: Tensor,
    n_samples: int,
    policy: GrowthPolicy | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> Growth:
    """Play on from where a sound ends.

    A network knows its sound with frames that begin where they did in training: a few samples later each is
    another one. So the borders are laid where it foresees best what it hears, and it plays on in time.

    Args:
        network: A trained one.
        before: The end of a sound, at the network's rate, full scale 1; empty begins from silence.
        n_samples: How long it plays.
        policy: How; the default where it is None.
        is_cancelled: Asked at every frame; true stops.

    Shape:
        ``(samples,)`` -> ``(n_samples,)``.

    Raises:
        SettingError: There is nothing to play, or `before` is no plain sound.
        CancelledError: `is_cancelled` said so.

    >>> from dream_core.frames.network import FramesSpec
    >>> network = FramesNet(FramesSpec(frame_samples=64, width=8))
    >>> grow(network, torch.zeros(1000), 300).sound.shape
    torch.Size([300])
    """
    policy = policy or GrowthPolicy()
    if before.ndim != 1 or n_samples < 1:
        raise SettingError(
            f"growth: {n_samples} samples after a sound of shape {tuple(before.shape)} were asked for; 1 or "
            "more after one of shape (samples,) are accepted"
        )
    spec = network.spec
    n = spec.frame_samples
    with torch.no_grad():
        heard, late_samples, fit = _choose_grid(network, before)
        # The first frame overlaps the last one heard, where frames overlap, and that much is not new.
        overlap = spec.reach_samples - n
        n_frames = -(-(n_samples + late_samples + overlap) // n)
        grown = grow_frames(network, heard, n_frames, policy, is_cancelled)
        if overlap:
            sound = decode(grown.frames, spec.domain, n)
        else:
            sound = _joined(grown.frames, network, round(policy.join_s * spec.sample_rate))
    start = overlap + late_samples
    return Growth(sound[start : start + n_samples], fit)


def grow_frames(
    network: FramesNet,
    heard: Tensor,
    n_frames: int,
    policy: GrowthPolicy,
    is_cancelled: Callable[[], bool] | None = None,
) -> Grown:
    """Play so many frames after those heard.

    Args:
        network: A trained one.
        heard: Standardised frames, one or more.
        n_frames: How many to play.
        policy: How.
        is_cancelled: Asked at every frame; true stops.

    Shape:
        ``(frames, n_values)`` -> frames ``(n_frames, values)`` and what was heard ``(n_frames, n_values)``.

    Raises:
        CancelledError: `is_cancelled` said so.
    """
    generator = torch.Generator().manual_seed(policy.seed)
    frame_s, tail_frames = network.spec.frame_s, round(policy.tail_s / network.spec.frame_s)
    frames: list[Tensor] = []
    fed = list(heard[None].unbind(dim=1))
    state: State = ()
    n_heard = len(fed)
    coming = fed
    for index in range(n_frames):
        if is_cancelled is not None and is_cancelled():
            raise CancelledError("stopped while a network played on")
        if policy.memory_frames:
            coming, state = fed[-policy.memory_frames :], ()
        expected, state = network(torch.stack(coming, dim=1), state)
        said = expected[:, -1]
        if policy.temperature:
            noise = torch.randn(said.shape, generator=generator).to(said)
            said = said + policy.temperature * network.residual * noise
        in_tail_s = max(0, index - (n_frames - tail_frames) + 1) * frame_s
        frame, level = network.join(said * network.scale + network.mean)
        level = (level * policy.feedback**in_tail_s).clamp(max=_LOUDEST_RMS)
        frames.append(_scaled_back(network, said, policy.denormalise, frame) * level)
        coming = [network.standardise(network.part(frame * level))]
        fed += coming
    return Grown(torch.cat(frames), torch.cat(fed[n_heard:]))


def _scaled_back(network: FramesNet, said: Tensor, policy: Denormalise, whole: Tensor) -> Tensor:
    """Return the shape that is heard: of unit RMS, with as much of mean and deviation as asked for."""
    if policy == "both":
        return whole
    scale = network.scale if policy == "scale" else torch.ones_like(network.scale)
    mean = network.mean if policy == "mean" else torch.zeros_like(network.mean)
    return network.join(said * scale + mean)[0]


def _choose_grid(network: FramesNet, before: Tensor) -> tuple[Tensor, int, float]:
    """Return what the network hears of a sound, how long before its end that ends, and how well it fits."""
    spec = network.spec
    n = spec.frame_samples
    n_grids = min(n, _N_GRIDS)
    late = [index * n // n_grids for index in range(n_grids)]
    # As many frames on every grid; before a short sound there is silence.
    n_frames = max(1, (before.shape[0] - late[-1] - spec.reach_samples) // n + 1)
    n_needed = (n_frames - 1) * n + spec.reach_samples
    padded = nn.functional.pad(before, (max(0, n_needed + late[-1] - before.shape[0]), 0)).to(network.mean)
    if n_frames == 1:
        return network.standardise(network.hear(padded[-n_needed:])), 0, 0.0
    n_judged = (min(n_frames, _JUDGED_FRAMES) - 1) * n + spec.reach_samples
    end = padded.shape[0]
    grids = torch.stack([padded[end - at - n_judged : end - at] for at in late])
    frames = network.standardise(network.hear(grids))
    fits = network.fit(network(frames[:, :-1]).expected, frames[:, 1:])
    # What it has heard little before is hard to foresee on any grid.
    fits = fits[:, fits.shape[1] // 2 :].mean(dim=1)
    best = int(fits.argmax())
    heard = padded[end - late[best] - n_needed : end - late[best]]
    return network.standardise(network.hear(heard)), late[best], float(fits[best])


def _joined(frames: Tensor, network: FramesNet, join_samples: int) -> Tensor:
    """Put frames side by side; the last samples of each, turned back, fade into the next one."""
    spec = network.spec
    pieces = decode(frames[:, None], spec.domain, spec.frame_samples)
    length = min(join_samples, spec.frame_samples)
    if length:
        fading = torch.arange(1, length + 1).to(pieces) / (length + 1)
        mirrored = pieces[:-1].flip(-1)[:, :length]
        pieces[1:, :length] = fading * pieces[1:, :length] + (1.0 - fading) * mirrored
    return pieces.flatten()
