"""Sound cut into patches of plain samples, for networks that hear the waveform itself."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dream_core.dsp.framing import cut_frames

__all__ = ["slice_samples"]


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
    longest_lead = hop_samples - step_samples
    n_hops = math.ceil(max(0, n_samples + longest_lead - patch_samples) / hop_samples)
    lead = offset_steps * step_samples % hop_samples
    padded = nn.functional.pad(waveform, (lead, n_hops * hop_samples + patch_samples - lead - n_samples))
    return cut_frames(padded, patch_samples, hop_samples)
