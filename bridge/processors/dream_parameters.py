"""The parameters of a dream for type checkers and editors: as keywords, and as attributes.

What they mean and accept is in `catalogue`; a test holds the three together.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from dream_core.settings import DreamSettings, Normalisation, Optimiser, Resynthesis, StereoMode

__all__ = ["DreamAttributes", "DreamKeywords", "PitchSource", "cross_fade_s"]

PitchSource = Literal["auto", "crepe", "pyin", "midi"]
"""Who tells the pitch that `harmonic` keeps to."""


class DreamKeywords(TypedDict, total=False):
    """What `Dream` takes besides network and depth."""

    objective: str
    update: str
    step: float
    target: str
    low_hz: float
    high_hz: float
    stereo: StereoMode
    jitter: bool
    patch_hop: int
    varispeed_octaves: float
    octaves: int
    normalisation: Normalisation
    motion: float
    motion_rate: str
    cycles: float
    balance: float
    smooth_frames: float
    smooth_bins: float
    tv_time: float
    tv_frequency: float
    optimiser: Optimiser
    momentum: float
    energy: bool
    protect_transients: float
    excitation_db: float
    harmonic_mix: float
    pitch: PitchSource
    f0_hz: float
    resynthesis: Resynthesis
    sharpness: float
    threshold_db: float
    knee_db: float
    guard: bool
    peak_guard: float
    context: bool
    seed: int
    window_s: float
    fade_s: float
    n_fft: int
    hop_divisor: int


class DreamAttributes:
    """The same as attributes; `Dream` looks them up."""

    network: str
    depth: float
    objective: str
    update: str
    step: float
    target: str
    low_hz: float
    high_hz: float
    stereo: StereoMode
    jitter: bool
    patch_hop: int
    varispeed_octaves: float
    octaves: int
    normalisation: Normalisation
    motion: float
    motion_rate: str
    cycles: float
    balance: float
    smooth_frames: float
    smooth_bins: float
    tv_time: float
    tv_frequency: float
    optimiser: Optimiser
    momentum: float
    energy: bool
    protect_transients: float
    excitation_db: float
    harmonic_mix: float
    pitch: PitchSource
    f0_hz: float
    resynthesis: Resynthesis
    sharpness: float
    threshold_db: float
    knee_db: float
    guard: bool
    peak_guard: float
    context: bool
    seed: int
    window_s: float
    fade_s: float
    n_fft: int
    hop_divisor: int


def cross_fade_s(window_s: float, fade_s: float) -> float:
    """Return how long a dream's windows overlap, where a fade of 0 leaves that to the program.

    >>> cross_fade_s(2.0, 0.0)
    0.25
    """
    return DreamSettings(window_s=window_s, fade_s=fade_s).cross_fade_s
