"""The waveform as a picture: which sample is which pixel, and back.

Samples lie side by side in rows. With ``r(t)`` the rows passed at a time and ``W`` pixels a row, a sample is
at pixel ``p(t) = W * r(t)``. Where a row is a whole number of samples that is the sample's own number and
nothing is interpolated; elsewhere sound goes to pixels, and changes come back, by cubic interpolation.

Conventions: sounds are ``(items, rows, samples)``, pixels ``(items, rows, pixels)`` in the order of time;
pictures are ``(items, 3, across, up)``, 0 to 1, as networks see them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.settings import SHORTEST_ROW, PictureOrder, PicturePlanes

__all__ = ["PixelGrid", "lay_out", "rows_in_time", "rows_of_pitch", "rows_of_samples"]

_NEAR = 1e-6  # rows; more than a clock's rounding, less than a sample


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelGrid:
    """Where the samples of windows are among pixels.

    Args:
        width: Pixels a row.
        n_rows: Rows it takes to hold every sample.
        n_samples: Samples of a window.
        pixels: At which pixel each sample is ``(items, samples)``; None where that is its own number.
        samples: At which sample each pixel is ``(items, pixels)``, below 0 and beyond the last where there
            is none; None likewise.
    """

    width: int
    n_rows: int
    n_samples: int
    pixels: Tensor | None = None
    samples: Tensor | None = None

    def to_pixels(self, sound: Tensor) -> Tensor:
        """Return sounds as pixels, silence where there is no sound."""
        if self.samples is None:
            return nn.functional.pad(sound, (0, self.n_rows * self.width - self.n_samples))
        return _cubic(sound, self.samples)

    def to_samples(self, pixels: Tensor) -> Tensor:
        """Return what is said of pixels, such as a change, at samples."""
        if self.pixels is None:
            return pixels[..., : self.n_samples]
        return _cubic(pixels, self.pixels)

    def is_sound(self, n_valid: Tensor) -> Tensor:
        """Return which pixels show sound, given how many samples of each item are.

        Shape:
            ``(items, 1, 1)`` -> ``(items, 1, pixels)``.
        """
        if self.samples is None:
            return torch.arange(self.n_rows * self.width, device=n_valid.device) < n_valid
        return (self.samples[:, None] >= 0) & (self.samples[:, None] <= n_valid - 1)


def rows_of_samples(width: int, n_samples: int) -> PixelGrid:
    """Return the grid whose rows are a whole number of samples: every pixel is a sample."""
    return PixelGrid(width=width, n_rows=math.ceil(n_samples / width), n_samples=n_samples)


def rows_of_pitch(f0_hz: float, sample_rate: int, starts: Tensor, n_samples: int) -> PixelGrid:
    """Return the grid whose rows are periods of a pitch that began with the sound.

    Args:
        f0_hz: The pitch.
        sample_rate: Hz.
        starts: At which sample of the sound each window begins, ``(items,)``.
        n_samples: Of a window.
    """
    per_sample = f0_hz / sample_rate
    width = round(1.0 / per_sample)
    first = torch.floor(starts * per_sample + _NEAR)
    n_rows = math.floor(n_samples * per_sample) + 2  # wherever in a period it begins
    numbers = torch.arange(n_samples, dtype=starts.dtype, device=starts.device)
    places = torch.arange(n_rows * width, dtype=starts.dtype, device=starts.device)
    pixels = ((starts[:, None] + numbers) * per_sample - first[:, None]) * width
    samples = (places / width + first[:, None]) / per_sample - starts[:, None]
    return PixelGrid(width=width, n_rows=n_rows, n_samples=n_samples, pixels=pixels, samples=samples)


def rows_in_time(rows: Tensor) -> PixelGrid:
    """Return the grid of one window, whose rows pass as a clock says; a row is as wide as its mean.

    Args:
        rows: How many rows have passed at each sample, ``(samples,)``; rising, held after the sound's end.

    Raises:
        SettingError: They do not rise.
    """
    n_samples = len(rows)
    is_rising = rows[1:] > rows[:-1]
    n_known = 1 + int(is_rising.long().cumprod(0).sum())
    known = rows[:n_known]
    if n_known < 2 or bool((rows[n_known:] != known[-1]).any()):
        raise SettingError("the lane of rows must rise from sample to sample: it says how many have passed")
    per_sample = float((known[-1] - known[0]) / (n_known - 1))
    width = max(SHORTEST_ROW, round(1.0 / per_sample))
    first = torch.floor(known[0] + _NEAR)
    n_rows = int(torch.floor(known[-1] + _NEAR) - first) + 1
    after = torch.arange(1, n_samples - n_known + 1, dtype=rows.dtype, device=rows.device) * per_sample
    passed = torch.cat([known, known[-1] + after])
    places = torch.arange(n_rows * width, dtype=rows.dtype, device=rows.device) / width + first
    # Between which samples a pixel is, and how far from one to the other; outside, far away.
    right = torch.searchsorted(passed, places).clamp(1, n_samples - 1)
    left = passed[right - 1]
    samples = (right - 1) + (places - left) / (passed[right] - left)
    return PixelGrid(
        width=width,
        n_rows=n_rows,
        n_samples=n_samples,
        pixels=((passed - first) * width)[None],
        samples=samples[None],
    )


def _cubic(values: Tensor, places: Tensor) -> Tensor:
    """Return values between values, ``(items, rows, m)`` at ``(items, m)``; nothing lies outside.

    Source:
        Catmull and Rom 1974, "A class of local interpolating splines".
    """
    n_values = values.shape[-1]
    whole = torch.floor(places)
    part = (places - whole).to(values.dtype)[:, None]
    index = whole.clamp(-4, n_values + 4).long()
    padded = nn.functional.pad(values, (2, 2))
    taps = [
        padded.gather(2, (index + 2 + k).clamp(0, n_values + 3)[:, None].expand(-1, values.shape[1], -1))
        for k in (-1, 0, 1, 2)
    ]
    before, left, right, after = taps
    slope_left, slope_right = (right - before) / 2, (after - left) / 2
    rise = right - left
    return left + part * (
        slope_left
        + part * ((3 * rise - 2 * slope_left - slope_right) + part * (slope_left + slope_right - 2 * rise))
    )


def lay_out(
    pixels: Tensor, width: int, height: int, planes: PicturePlanes = "chunks", order: PictureOrder = "rows"
) -> Tensor:
    """Lay pixels out as pictures.

    Args:
        pixels: ``(items, rows, pixels)``, -1 to 1.
        width: Pixels a row.
        height: Rows of a channel in each plane.
        planes: What the three colours are: three consecutive ``chunks``; the ``channels`` left, right and
            their mean; ``delays``, the sound 0, 1 and 2 rows later.
        order: ``rows`` has all rows of a channel, then those of the next; ``interleaved`` a row of each in
            turn; ``columns`` is ``rows`` with each row upright, from the top, and the next to the right of
            it.

    Shape:
        ``(items, rows, pixels)`` -> ``(items, 3, across, up)``, 0 to 1. What does not fit is left out, what
        is missing is silence.

    >>> picture = lay_out(torch.tensor([[[-1.0, 1.0, 0.0, 0.0, 1.0, 1.0]]]), 2, 1)
    >>> picture[0, :, :, 0].tolist()
    [[0.0, 1.0], [0.5, 0.5], [1.0, 1.0]]
    """
    n_planes = 3 if planes == "chunks" else 1
    n_wanted = (n_planes * height + (2 if planes == "delays" else 0)) * width
    shown = nn.functional.pad(pixels, (0, n_wanted - pixels.shape[-1]))
    cells = shown.unflatten(2, (-1, width))  # (items, rows, height, width)
    if planes == "chunks":
        stacked = cells.unflatten(2, (3, height)).transpose(1, 2)
    elif planes == "delays":
        stacked = torch.stack([cells[:, :, k : k + height] for k in range(3)], dim=1)
    else:
        left, right = cells[:, :1], cells[:, 1:2] if cells.shape[1] > 1 else cells[:, :1]
        stacked = torch.stack([left, right, cells.mean(dim=1, keepdim=True)], dim=1)
    # (items, planes, rows, height, width)
    upright = (stacked.transpose(2, 3) if order == "interleaved" else stacked).flatten(2, 3)
    if order == "columns":
        upright = upright.transpose(2, 3)
    picture: Tensor = (0.5 * (upright + 1.0)).flip(2).transpose(2, 3)
    return picture
