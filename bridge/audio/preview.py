"""Sound small enough to lie within a page."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["encode_preview"]


def encode_preview(samples: npt.NDArray[np.float32], sample_rate: int) -> bytes:
    """Return a sound as 16-bit FLAC, which every browser decodes: for listening, not for delivery.

    Args:
        samples: (channels, samples); beyond stereo the channels are mixed to one, beyond full scale clipped.
        sample_rate: Hz.
    """
    import io

    import soundfile

    if samples.shape[0] > 2:
        samples = samples.mean(axis=0, keepdims=True)
    buffer = io.BytesIO()
    frames = np.rint(np.clip(samples.T * 32768.0, -32768, 32767)).astype(np.int16)
    soundfile.write(buffer, frames, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
