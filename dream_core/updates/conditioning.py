"""What is done to a gradient on a spectrum before it becomes a step.

Image dreaming smooths, normalises and averages its gradients; these are the same ideas where the axes are
time and frequency. Fields are ``(items, bins, frames)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dream_core.runtime import widest_float
from dream_core.settings import DreamSettings, Normalisation

__all__ = [
    "clip_deviations",
    "condition",
    "gaussian_smooth",
    "normalise",
    "onset_strength",
    "steady",
    "total_variation_gradient",
]

CLIP_DEVIATIONS = 3.0
"""A single bin moves at most this many times as far as the typical one."""

BANDS_PER_OCTAVE = 3


def condition(gradient: Tensor, u: Tensor, settings: DreamSettings) -> Tensor:
    """Turn a gradient into a direction: regularised, smoothed and of unit size.

    Args:
        gradient: Of the objective with respect to the log-gain.
        u: The log-gain, in nepers, which total variation keeps smooth.
        settings: Which of it to do; all of it is off by default but the normalisation.
    """
    direction = normalise(
        gaussian_smooth(gradient, settings.smooth_bins, settings.smooth_frames), settings.normalisation
    )
    if settings.tv_time > 0:
        direction = direction - settings.tv_time * total_variation_gradient(u, axis=2)
    if settings.tv_frequency > 0:
        direction = direction - settings.tv_frequency * total_variation_gradient(u, axis=1)
    return clip_deviations(direction)


def clip_deviations(direction: Tensor) -> Tensor:
    """Bound a direction of unit size."""
    return torch.clamp(direction, -CLIP_DEVIATIONS, CLIP_DEVIATIONS)


def gaussian_smooth(field: Tensor, sigma_bins: float, sigma_frames: float) -> Tensor:
    """Smooth with a Gaussian along each axis; zero leaves an axis alone."""
    for axis, sigma in ((1, sigma_bins), (2, sigma_frames)):
        if sigma <= 0:
            continue
        radius = math.ceil(3.0 * sigma)
        taps = torch.arange(-radius, radius + 1, device=field.device, dtype=field.dtype)
        kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
        kernel = (kernel / kernel.sum()).reshape((1, 1, -1, 1) if axis == 1 else (1, 1, 1, -1))
        padding = (radius, 0) if axis == 1 else (0, radius)
        field = nn.functional.conv2d(field[:, None], kernel, padding=padding)[:, 0]
    return field


def steady(field: Tensor, sigma_frames: float) -> Tensor:
    """Average a field along time with a Gaussian; each frame counts by its own size.

    By a product in the frequency domain, as the Gaussian may be long; beyond the ends there is nothing.

    Args:
        field: ``(items, rows, frames)``.
        sigma_frames: Standard deviation of the Gaussian.
    """
    radius, n_frames = math.ceil(3.0 * sigma_frames), field.shape[-1]
    n_fft = max(n_frames + radius, 2 * radius + 1)  # the whole Gaussian fits
    distance = torch.arange(n_fft, device=field.device, dtype=field.dtype)
    distance = torch.minimum(distance, n_fft - distance)
    kernel = torch.exp(-0.5 * (distance / sigma_frames) ** 2) * (distance <= radius)
    response = torch.fft.rfft(kernel / kernel.sum()).real
    smooth: Tensor = torch.fft.irfft(torch.fft.rfft(field, n=n_fft) * response, n=n_fft)[..., :n_frames]
    return smooth


def normalise(gradient: Tensor, over: Normalisation) -> Tensor:
    """Scale a gradient to unit size over each frame, each third of an octave, or each window.

    Silence in a window does not count: where the gradient is zero there is nothing to scale.
    """
    if over == "frame":
        level = torch.sqrt(gradient.square().mean(dim=1, keepdim=True))
    elif over == "window":
        level = torch.sqrt(gradient.square().mean(dim=(1, 2), keepdim=True))
    else:
        level = _band_level(gradient)
    return torch.where(level > 0, gradient / torch.where(level > 0, level, 1.0), 0.0)


def _band_level(gradient: Tensor) -> Tensor:
    n_bins = gradient.shape[1]
    dtype = widest_float(gradient.device)
    octaves = torch.log2(torch.arange(n_bins, device=gradient.device, dtype=dtype) + 1.0)
    band = (octaves * BANDS_PER_OCTAVE).long()
    # A product with a 0/1 matrix: scattered sums have no fixed order on a GPU.
    members = nn.functional.one_hot(band).to(gradient)
    means = gradient.square().mean(dim=2) @ members / members.sum(dim=0).clamp(min=1.0)
    return torch.sqrt(means)[:, band, None]


def total_variation_gradient(field: Tensor, axis: int, softness: float = 0.05) -> Tensor:
    """Return the gradient of the (softened) total variation along an axis.

    Source:
        Rudin, Osher, Fatemi 1992; Mahendran and Vedaldi 2015 for feature visualisation.

    Args:
        field: Log-gains in nepers.
        axis: 1 for frequency, 2 for time.
        softness: Differences below this, in nepers, pull only in proportion.
    """
    difference = torch.diff(field, dim=axis)
    pull = difference / torch.sqrt(difference.square() + softness**2)
    edge = torch.zeros_like(field.narrow(axis, 0, 1))
    return torch.cat([edge, pull], dim=axis) - torch.cat([pull, edge], dim=axis)


def onset_strength(spectrum: Tensor) -> Tensor:
    """Return how much of each frame is new, 0..1: half-wave rectified flux over the frame's magnitude.

    Shape:
        ``(items, rows, bins, frames)`` complex -> ``(items, 1, frames)``.

    Source:
        Dixon 2006, "Onset detection revisited".
    """
    magnitude = spectrum.abs().sum(dim=1)
    before = torch.cat([torch.zeros_like(magnitude[..., :1]), magnitude[..., :-1]], dim=-1)
    flux = torch.clamp(magnitude - before, min=0.0).sum(dim=1, keepdim=True)
    return flux / torch.clamp(magnitude.sum(dim=1, keepdim=True), min=1e-12)
