"""What every network with a log-mel front end has in common: how it listens."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dream_core.frontend.log_mel import FrontendSpec, LogMel
from dream_core.frontend.patches import patch_starts, slice_patches
from dream_core.networks.card import NetworkCard

__all__ = ["LogMelNetwork"]


class LogMelNetwork(nn.Module):
    """A network that looks at log-mel patches; subclasses say what it sees in them.

    Args:
        card: What the network is; its layers are the names `layer_modules` must return.
        spec: The numbers of its front end.
    """

    def __init__(self, card: NetworkCard, spec: FrontendSpec) -> None:
        super().__init__()
        self._card = card
        self.spec = spec
        self.log_mel = LogMel(spec, dtype=torch.float64)

    @property
    def card(self) -> NetworkCard:
        """What the network is."""
        return self._card

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.log_mel.window.device

    @property
    def silence(self) -> float:
        """The value of every log-mel band in digital silence."""
        return self.spec.silence

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        raise NotImplementedError

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        """Turn waveforms at the network's rate into patches, differentiable.

        Args:
            waveform: At ``card.sample_rate``, full scale 1.
            offset_frames: Moves the patch grid; every offset gives the same number of patches.
            patch_hop_frames: From one patch to the next; 0 takes the network's own.

        Shape:
            ``(batch, samples)`` -> ``(batch, patches, patch_frames, mels)``.
        """
        frames = self.hear_frames(waveform, patch_hop_frames)
        return self.cut_patches(frames, waveform.shape[-1], offset_frames, patch_hop_frames)

    def hear_frames(self, waveform: Tensor, patch_hop_frames: int = 0) -> Tensor:
        """Turn waveforms at the network's rate into the frames that patches are cut of, differentiable.

        Shape:
            ``(batch, samples)`` -> ``(batch, frames, mels)``.
        """
        spec = self.spec
        hop_frames = patch_hop_frames or spec.patch_hop_frames
        n_hops = math.ceil(max(0, spec.n_frames(waveform.shape[-1]) - spec.patch_frames) / hop_frames)
        # Silence up to whole patches, before the transform: the last frames hear both the sound and it.
        n_whole = n_hops * hop_frames * spec.hop_samples + spec.patch_samples
        frames: Tensor = self.log_mel(nn.functional.pad(waveform, (0, n_whole - waveform.shape[-1])))
        return frames

    def cut_patches(
        self, frames: Tensor, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0
    ) -> Tensor:
        """Cut patches of the frames of so many samples, as `listen` does.

        Shape:
            ``(batch, frames, mels)`` -> ``(batch, patches, patch_frames, mels)``.
        """
        spec = self.spec
        return slice_patches(
            frames,
            spec.patch_frames,
            patch_hop_frames or spec.patch_hop_frames,
            offset_frames,
            fill=self.silence,
            n_heard=spec.n_frames(n_samples),
        )

    def patch_starts(self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0) -> list[int]:
        """Return at which sample each patch begins that `listen` cuts of so many."""
        spec = self.spec
        hop_frames = patch_hop_frames or spec.patch_hop_frames
        frames = patch_starts(spec.n_frames(n_samples), spec.patch_frames, hop_frames, offset_frames)
        return [frame * spec.hop_samples for frame in frames]

    def measure_energy(self, patches: Tensor) -> Tensor:
        """Return the mean power of each patch's bands ``(n,)``; silence has none."""
        bands = self.spec.bands_in(patches.detach())
        powers = bands.square() if self.spec.power == 1 else bands
        return powers.flatten(1).mean(dim=1)

    def read_layer(self, name: str, output: object) -> Tensor:
        """Return what a layer's module gave: its channels come second already."""
        del name
        assert isinstance(output, Tensor)
        return output
