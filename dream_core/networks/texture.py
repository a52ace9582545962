"""`texture`: random filters at several time scales. Needs no weights: they follow from a seed.

A single layer of wide random filters describes a sound's texture about as well as a trained network does, as
long as the filters come in several lengths. Every filter looks at all bands at once; each sums to zero, so
it answers to structure and not to level. Meant for matching another sound (its Gram matrices) and for
dreaming where no class should be heard.

Source:
    Ustyuzhaninov et al. 2016, "Texture synthesis using shallow convolutional networks with random filters";
    Antognini, Hoffman and Weiss 2018, "Synthesizing diverse, high-quality audio textures".
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dream_core.frontend.log_mel import FrontendSpec
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.log_mel_network import LogMelNetwork

__all__ = ["CARD", "SPEC", "Texture"]

SPEC = FrontendSpec(
    sample_rate=44100,
    window_samples=2048,
    hop_samples=512,
    n_fft=2048,
    n_mels=128,
    f_min_hz=30.0,
    f_max_hz=20000.0,
    log_offset=0.01,
    patch_frames=96,
    patch_hop_frames=48,
)

_FILTER_FRAMES = (2, 4, 8, 16, 32)
_N_FILTERS = 256
_NATS_PER_UNIT = 4.0

CARD = NetworkCard(
    name="texture",
    title="Random filters at five time scales; needs no weights.",
    sample_rate=SPEC.sample_rate,
    band_hz=(SPEC.f_min_hz, SPEC.f_max_hz),
    patch_s=SPEC.patch_samples / SPEC.sample_rate,
    frame_s=SPEC.hop_samples / SPEC.sample_rate,
    layers=tuple(LayerInfo(name=f"frames{n}", n_channels=_N_FILTERS) for n in _FILTER_FRAMES),
    classes=(),
    n_parameters=sum(_N_FILTERS * SPEC.n_mels * n for n in _FILTER_FRAMES),
    licence="GPL-3.0-or-later",
    source="Drawn from a seed.",
    weights="random",
    sha256="",
    description=(
        "Five banks of 256 random filters, 23 to 370 ms long, each over the whole spectrum. Has no classes; "
        "its layers are for matching the texture of another sound, or for dreams without a class."
    ),
)


class Texture(LogMelNetwork):
    """Parallel banks of random filters, each followed by a SiLU.

    Args:
        seed: Of the filters; the same on every machine and device.

    Shape:
        ``(n, 96, 128)`` -> ``(n, 0)``: it has no classes. Its layers are ``(n, 256, 96)``.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(CARD, SPEC)
        generator = torch.Generator().manual_seed(seed)
        self.banks = nn.ModuleDict()
        for layer, n_frames in zip(CARD.layers, _FILTER_FRAMES, strict=True):
            convolution = nn.Conv1d(SPEC.n_mels, _N_FILTERS, n_frames, bias=False, dtype=torch.float64)
            filters = torch.randn(convolution.weight.shape, generator=generator, dtype=torch.float64)
            filters -= filters.mean(dim=(1, 2), keepdim=True)
            convolution.weight = nn.Parameter(
                filters / math.sqrt(SPEC.n_mels * n_frames), requires_grad=False
            )
            before = (n_frames - 1) // 2
            padding = nn.ConstantPad1d((before, n_frames - 1 - before), 0.0)
            self.banks[layer.name] = nn.Sequential(padding, convolution, nn.SiLU())

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        return dict(self.banks.items())

    def forward(self, patches: Tensor) -> Tensor:
        """Run every bank, for those who tap it; there are no logits."""
        bands = ((patches - self.silence) / _NATS_PER_UNIT).transpose(1, 2)
        for bank in self.banks.values():
            bank(bands)
        return patches.new_zeros((patches.shape[0], 0))
