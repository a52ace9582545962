"""What updates share that ascend on log-gains, whatever these gains act on.

A step hears which way the score rises (`hear`), takes of it what is steady (`aim`), makes it a move
(:func:`dream_core.updates.conditioning.condition`, then `optimise`), goes as far as `swing` says, and holds
what comes of it to the sound's envelope and peaks (`guarded`). What has to be kept between steps lies in the
update's own state under fixed names: `held`, and what `optimiser_state` says.

Conventions: sounds are ``(items, rows, samples)`` with the window's margins; fields are ``(items, gains,
frames)``, where a frame is any place in time at which gains can move, the first at the first sample.

Source:
    Baydin et al. 2018, "Online learning rate adaptation with hypergradient descent": the multiplicative rule,
    here for each frame. Kingma and Ba 2015, "Adam: a method for stochastic optimization".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dream_core.settings import DreamSettings
from dream_core.updates.conditioning import clip_deviations, steady
from dream_core.updates.contract import State, Window, waveform_gradient
from dream_core.updates.envelope_guard import envelope_guard, peak_guard

__all__ = [
    "STEADY_S",
    "aim",
    "guard_state",
    "guarded",
    "hear",
    "optimise",
    "optimiser_state",
    "swing",
    "swing_at",
]

ADAM_BETAS = (0.9, 0.99)

GROWTH = 0.7
"""How fast a frame's steps grow while its direction stays, in nepers a step."""

KEPT = 0.3
"""From which agreement with the steps before on they grow; below it they shrink."""

RATES = (0.1, 3.0)
"""How small and how large they get."""

STEADY_S = 0.5
"""Over how long a dream that may not move is the same, a standard deviation."""

SWING = 0.8
"""How much a step swings in each cycle, largest where it begins."""


def hear(window: Window, sound: Tensor, own: State) -> Tensor:
    """Return the gradient of the score with respect to the change before it is guarded, margins and all.

    Args:
        window: Whose score, and whether the network hears the margins.
        sound: The undreamed sound and its change.
        own: With `held`, where there is any guard: what is held back has no say.
    """
    if window.settings.context:
        heard = waveform_gradient(sound, window.score)
    else:
        heard = waveform_gradient(window.crop(sound), window.score)
        heard = nn.functional.pad(heard, (window.margin, window.margin))
    return heard * own["held"] if "held" in own else heard


def aim(gradient: Tensor, window: Window, hop_samples: int) -> Tensor:
    """Return what of a gradient may be followed: what is steady, and as much of the rest as may move.

    Args:
        gradient: A field.
        window: With the setting `motion`.
        hop_samples: From one frame to the next.
    """
    motion = window.settings.motion
    if motion == 1.0:
        return gradient
    return torch.lerp(steady(gradient, STEADY_S * window.sample_rate / hop_samples), gradient, motion)


def swing(window: Window, hop_samples: int, n_frames: int) -> float | Tensor:
    """Return the size of the step at each frame; with a lane of cycles it swings with these.

    Args:
        window: With lanes of `step` and, maybe, `cycles`.
        hop_samples: From one frame to the next.
        n_frames: How many.
    """
    step = window.lane_at_frames("step", hop_samples, n_frames, window.margin)
    if "cycles" not in window.lanes:
        return step
    cycles = torch.as_tensor(window.lane_at_frames("cycles", hop_samples, n_frames, window.margin))
    return step * swing_at(cycles)


def swing_at(cycles: Tensor) -> Tensor:
    """Return how large a step is at a place in its cycle; 1 on the mean."""
    return 1.0 + SWING * torch.cos(2.0 * torch.pi * cycles)


def optimiser_state(settings: DreamSettings, flat: Tensor, row: Tensor) -> State:
    """Return what `optimise` keeps between steps, as it begins.

    Args:
        settings: With `optimiser` and `momentum`; what they do not ask for is not kept.
        flat: A field of zeros.
        row: Zeros for each frame, ``(items, 1, frames)``.
    """
    own: State = {}
    if settings.momentum > 0 or settings.optimiser != "plain":
        own["velocity"] = flat
    if settings.optimiser == "adaptive":
        own["rate"] = torch.ones_like(row)
    if settings.optimiser == "adam":
        own |= {"power": flat, "taken": torch.zeros_like(row[..., :1])}
    return own


def optimise(direction: Tensor, own: State, settings: DreamSettings, frame_s: float) -> Tensor:
    """Return the move along a direction, given the steps before; `own` is brought up to date.

    Args:
        direction: A field of unit size.
        own: With what `optimiser_state` says.
        settings: With `optimiser` and `momentum`; where `motion` is not free, rates are not either.
        frame_s: From one frame to the next.
    """
    if settings.optimiser == "adam":
        return _adam(direction, own)
    if settings.momentum == 0 and settings.optimiser == "plain":
        return direction
    before = own["velocity"]
    # Written so that a constant direction keeps its size: momentum smooths, it does not speed up.
    velocity = own["velocity"] = torch.lerp(direction, before, settings.momentum)
    if settings.optimiser == "plain":
        return velocity
    sigma_frames = STEADY_S / frame_s if settings.motion < 1.0 else 0.0
    own["rate"] = _adapted(own["rate"], direction, before, sigma_frames)
    return velocity * own["rate"]


def _adam(direction: Tensor, own: State) -> Tensor:
    first, second = ADAM_BETAS
    n_taken = own["taken"] = own["taken"] + 1.0
    velocity = own["velocity"] = first * own["velocity"] + (1.0 - first) * direction
    power = own["power"] = second * own["power"] + (1.0 - second) * direction.square()
    scale = torch.sqrt(power / (1.0 - second**n_taken)) + 1e-3
    return clip_deviations(velocity / (1.0 - first**n_taken) / scale)


def _adapted(rate: Tensor, direction: Tensor, before: Tensor, sigma_frames: float) -> Tensor:
    """Return rates grown where a direction agrees with the steps before; without one they stay."""
    sizes = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
    sizes = sizes * torch.linalg.vector_norm(before, dim=1, keepdim=True)
    aligned = (direction * before).sum(dim=1, keepdim=True)
    if sigma_frames > 0:  # frames that go further turn sooner: rates of their own would undo a swing
        aligned, sizes = steady(aligned, sigma_frames), steady(sizes, sigma_frames)
    agreement = torch.clamp(aligned / torch.clamp(sizes, min=1e-12), -1.0, 1.0)
    grown = torch.clamp(rate * torch.exp(GROWTH * (agreement - KEPT)), *RATES)
    return torch.where(sizes > 0, grown, rate)


def guard_state(settings: DreamSettings, context: Tensor) -> State:
    """Return what `guarded` keeps between steps, as it begins: nothing where nothing is guarded.

    Args:
        settings: With `guard` and `peak_guard`.
        context: The undreamed sound.
    """
    is_guarded = settings.guard or settings.peak_guard > 0
    return {"held": torch.ones_like(context[:, :1])} if is_guarded else {}


def guarded(change: Tensor, window: Window, own: State) -> Tensor:
    """Return a change held to the sound's envelope and peaks; how much of it is left is kept as `held`.

    Args:
        change: What would be added to the undreamed sound.
        window: With that sound and the settings `guard` and `peak_guard`.
        own: With `held`, where there is any guard.
    """
    if "held" not in own:
        return change
    settings, sample_rate = window.settings, window.sample_rate
    held = torch.ones_like(own["held"])
    if settings.guard:
        held = envelope_guard(window.context, change, sample_rate)
    if settings.peak_guard > 0:
        held = held * peak_guard(window.context, held * change, settings.peak_guard, sample_rate)
    own["held"] = held
    return change * held
