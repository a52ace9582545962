"""A small network with random weights, for tests of the loop."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dream_core.frontend.log_mel import FrontendSpec, LogMel
from dream_core.frontend.patches import slice_patches
from dream_core.networks.card import LayerInfo, NetworkCard

SPEC = FrontendSpec(
    sample_rate=16000,
    window_samples=400,
    hop_samples=160,
    n_fft=512,
    n_mels=40,
    f_min_hz=60.0,
    f_max_hz=7800.0,
    log_offset=0.01,
    patch_frames=48,
    patch_hop_frames=48,
)


class SmallNet(nn.Module):
    """Two convolutions and a classifier over three classes."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.log_mel = LogMel(SPEC, dtype)
        generator = torch.Generator().manual_seed(seed)
        self.first, self.second = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1)
        self.act = nn.SiLU()
        self.head = nn.Linear(12, 3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        self.requires_grad_(False)
        self.to(dtype)
        self.card = NetworkCard(
            name="small",
            title="a test network",
            sample_rate=16000,
            band_hz=(60.0, 7800.0),
            patch_s=0.48,
            frame_s=0.01,
            layers=(LayerInfo(name="first", n_channels=8), LayerInfo(name="second", n_channels=12)),
            classes=("low", "middle", "high"),
            n_parameters=sum(p.numel() for p in self.parameters()),
            licence="",
            source="",
            weights="random",
            sha256="",
            description="",
        )

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def layer_modules(self) -> Mapping[str, nn.Module]:
        return {"first": self.first, "second": self.second}

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        hop_frames = patch_hop_frames or 48
        return slice_patches(self.log_mel(waveform), 48, hop_frames, offset_frames, fill=math.log(0.01))

    def measure_energy(self, patches: Tensor) -> Tensor:
        return (patches.detach().exp() - 0.01).clamp(min=0).square().mean(dim=(1, 2))

    def read_layer(self, name: str, output: object) -> Tensor:
        assert isinstance(output, Tensor)
        return output

    def forward(self, patches: Tensor) -> Tensor:
        hidden = self.act(self.second(self.act(self.first(patches[:, None]))))
        return self.head(hidden.mean(dim=(2, 3)))
