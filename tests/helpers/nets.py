"""Small networks with random weights, for tests of the loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from dream_core.frontend.log_mel import FrontendSpec, LogMel
from dream_core.frontend.patches import patch_starts, slice_patches
from dream_core.frontend.samples import sample_starts, slice_samples
from dream_core.names import key_hz, name_key
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.log_mel_network import LogMelNetwork

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

    def patch_starts(self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0) -> list[int]:
        frames = patch_starts(SPEC.n_frames(n_samples), 48, patch_hop_frames or 48, offset_frames)
        return [160 * frame for frame in frames]

    def measure_energy(self, patches: Tensor) -> Tensor:
        return (patches.detach().exp() - 0.01).clamp(min=0).square().mean(dim=(1, 2))

    def read_layer(self, name: str, output: object) -> Tensor:
        assert isinstance(output, Tensor)
        return output

    def forward(self, patches: Tensor) -> Tensor:
        hidden = self.act(self.second(self.act(self.first(patches[:, None]))))
        return self.head(hidden.mean(dim=(2, 3)))


class MelNet(LogMelNetwork):
    """As `SmallNet`, listening as the project's own networks do.

    Args:
        seed: Of its weights.
        spec: Of its front end.
    """

    def __init__(self, seed: int = 0, spec: FrontendSpec = SPEC) -> None:
        small = SmallNet(seed)
        card = replace(
            small.card,
            name="mel",
            sample_rate=spec.sample_rate,
            band_hz=(spec.f_min_hz, spec.f_max_hz),
            patch_s=spec.patch_samples / spec.sample_rate,
            frame_s=spec.hop_samples / spec.sample_rate,
        )
        super().__init__(card, spec)
        self.small = small
        self.float().requires_grad_(False)

    def layer_modules(self) -> Mapping[str, nn.Module]:
        return self.small.layer_modules()

    def forward(self, patches: Tensor) -> Tensor:
        return self.small(patches)


class KeyNet(nn.Module):
    """Hears keys C3 to B4 as the level of their first two partials, in patches of 128 ms, or frame by frame.

    Args:
        keys_layer: Empty, or ``frames``: then a patch is nine frames, each in the middle of 16 ms.
    """

    PATCH = 2048
    KEYS = tuple(range(60, 84))

    def __init__(self, keys_layer: str = "") -> None:
        super().__init__()
        n_frames = 9 if keys_layer else 1
        t = torch.arange(self.PATCH // 8 if keys_layer else self.PATCH) / 16000
        hz = torch.tensor([key_hz(key) for key in self.KEYS])
        phases = 2 * math.pi * hz[:, None] * torch.tensor([1.0, 2.0])[:, None, None] * t
        self.register_buffer("waves", torch.stack([phases.cos(), phases.sin()]) * torch.hann_window(len(t)))
        self.frames, self.n_frames = nn.Identity(), n_frames
        self.card = NetworkCard(
            name="keys",
            title="a test network",
            sample_rate=16000,
            band_hz=(200.0, 4000.0),
            patch_s=self.PATCH / 16000,
            frame_s=len(t) / 16000 if keys_layer else 0.008,
            layers=(LayerInfo(name="frames", n_channels=len(self.KEYS)),),
            classes=tuple(name_key(key) for key in self.KEYS),
            n_parameters=0,
            licence="",
            source="",
            weights="random",
            sha256="",
            description="",
            outputs="independent",
            keys=self.KEYS,
            keys_layer=keys_layer,
            looks="waveform",
        )

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def layer_modules(self) -> Mapping[str, nn.Module]:
        return {"frames": self.frames}

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        return slice_samples(waveform, self.PATCH, self.PATCH, 128, offset_frames)

    def patch_starts(self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0) -> list[int]:
        return sample_starts(n_samples, self.PATCH, self.PATCH, 128, offset_frames)

    def measure_energy(self, patches: Tensor) -> Tensor:
        return patches.detach().square().mean(dim=1)

    def read_layer(self, name: str, output: object) -> Tensor:
        assert isinstance(output, Tensor)
        return output

    def forward(self, patches: Tensor) -> Tensor:
        if self.n_frames > 1:  # the first frame has its middle where the patch begins
            half = self.PATCH // (self.n_frames - 1) // 2
            patches = nn.functional.pad(patches, (half, half))
        frames = patches.unflatten(1, (self.n_frames, -1)).to(self.waves.dtype)
        parts = torch.einsum("nft,cpkt->nkfpc", frames, self.waves)
        heard = torch.sqrt(parts.square().sum(dim=4) + 1e-12).sum(dim=3)
        logits = self.frames(4.0 * (heard / heard.mean(dim=1, keepdim=True)).log())
        return logits.mean(dim=2)
