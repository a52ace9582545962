"""Sound cut into patches of plain samples, for networks that hear the waveform itself."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dream_core.dsp.framing import cut_frames

__all__ = ["sample_starts", "slice_samples"]


def sample_starts(
    n_samples: int, patch_samples: int, hop_samples: int, step_samples: int, offset_steps: int = 0
) -> list[int]:
    """Return at which sample each patch begins that `slice_samples` cuts; below 0 is before the sound.

    >>> sample_starts(5, 4, 4, 1, 3)
    [-3, 1]
    """
    n_hops = math.ceil(max(0, n_samples + hop_samples - step_samples - patch_samples) / hop_samples)
    lead = offset_steps * step_samples % hop_samples
    return [index * hop_samples - lead for index in range(n_hops + 1)]


def slice_samples(
    waveform: Tensor, patch_samples: int, hop_samples: int, step_samples: int, offset_steps: int = 0
) -> Tensor:
    """Cut waveforms into patches on a grid that can be moved; every offset costs the same and hears it all.

    Patch ``p`` begins ``offset_steps`` steps before sample ``p * hop``; offsets wrap at the hop. There are as
    many patches as the furthest offset needs, so the grid is even, and moves as far, at every offset and for
    every length. Before and after the sound is silence; at some offsets the last patch hears nothing else.

    Args:
        waveform: At the network's rate.
        patch_samples: Length of a patch.
        hop_samples: From one patch to the next, at most ``patch_samples``, a multiple of ``step_samples``.
        step_samples: By how much the grid moves.
        offset_steps: How far it is moved, any integer >= 0.

    Shape:
        ``(batch, samples)`` -> ``(batch, patches, patch_samples)``.

    >>> import torch
    >>> slice_samples(torch.ones(1, 5), 4, 4, 1, 3)
    tensor([[[0., 0., 0., 1.],
             [1., 1., 1., 1.]]])
    """
    n_samples = waveform.shape[-1]
    starts = sample_starts(n_samples, patch_samples, hop_samples, step_samples, offset_steps)
    padded = nn.functional.pad(waveform, (-starts[0], starts[-1] + patch_samples - n_samples))
    return cut_frames(padded, patch_samples, hop_samples)
