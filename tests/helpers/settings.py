"""Settings for tests of one mechanism, in which no other has a say."""

from __future__ import annotations

from dream_core import DreamSettings

FREE_MASK = DreamSettings(
    motion=1.0, balance=0.0, smooth_frames=0.0, smooth_bins=0.0, excitation_db=-45.0, n_fft=2048
)
"""The mask's bare gradient in short frames: nothing is smoothed, nothing held but each frame's energy."""
