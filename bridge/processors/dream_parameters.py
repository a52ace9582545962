"""The parameters of a dream for type checkers and editors: as keywords, and as attributes.

What they mean and accept is in `catalogue`; a test holds the three together.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from dream_core.settings import Normalisation, Optimiser, StereoMode

__all__ = ["DreamAttributes", "DreamKeywords", "PitchSource"]

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
