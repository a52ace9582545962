"""A network made of somebody else's module: how it listens, and how its layers and outputs are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from dream_core.frontend.samples import sample_starts, slice_samples
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.layer_scan import ROOT, FoundLayer
from dream_core.networks.layouts import Layout
from dream_core.networks.log_mel_network import LogMelNetwork

__all__ = ["SampleHearing", "WrappedNetwork"]

_STEPS_A_SECOND = 100
_FEWEST_STEPS = 16


class SampleHearing(nn.Module):
    """Listens to the waveform itself, in patches side by side whose grid moves by 10 ms or a 16th of a patch.

    Args:
        sample_rate: Hz.
        patch_samples: Length of a patch.
    """

    def __init__(self, sample_rate: int, patch_samples: int) -> None:
        super().__init__()
        self.patch_samples = patch_samples
        self.step_samples = max(1, min(round(sample_rate / _STEPS_A_SECOND), patch_samples // _FEWEST_STEPS))

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        """Cut ``(batch, samples)`` into patches ``(batch, patches, patch_samples)``, differentiable."""
        hop_samples = self._hop_samples(patch_hop_frames)
        return slice_samples(waveform, self.patch_samples, hop_samples, self.step_samples, offset_frames)

    def patch_starts(self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0) -> list[int]:
        """Return at which sample each patch begins that `listen` cuts of so many."""
        hop_samples = self._hop_samples(patch_hop_frames)
        return sample_starts(n_samples, self.patch_samples, hop_samples, self.step_samples, offset_frames)

    def _hop_samples(self, patch_hop_frames: int) -> int:
        n_steps = self.patch_samples // self.step_samples
        return min(patch_hop_frames or n_steps, n_steps) * self.step_samples

    def measure_energy(self, patches: Tensor) -> Tensor:
        """Return the mean power of each patch ``(n,)``; silence has none."""
        return patches.detach().square().flatten(1).mean(dim=1)


class _Relay(nn.Module):
    """Passes a value on, for those who tap it here."""

    def forward(self, value: object) -> object:
        return value


class WrappedNetwork(nn.Module):
    """A network made of a module that nobody prepared; :func:`dream_core.wrap` makes it.

    Args:
        module: The module, fixed and in evaluation mode.
        card: What it is, its layers still unknown.
        hearing: What listens for it.
        features: Applied to the patches before the layout; None for nothing.
        dtype: What it computes in.
        device: Where it is.
    """

    _anchor: Tensor
    _arrange: Layout

    def __init__(
        self,
        module: nn.Module,
        card: NetworkCard,
        hearing: LogMelNetwork | SampleHearing,
        features: Callable[[Tensor], Tensor] | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.module = module
        self.hearing = hearing
        self.features = features
        self.layout = ""
        self.whole = _Relay()
        self.relays = nn.ModuleList()
        self._card = card
        self._layers: dict[str, FoundLayer] = {}
        self._relay_of: dict[str, _Relay] = {}
        self._output: FoundLayer | None = None
        # Follows the module wherever it is moved, also one without weights.
        self.register_buffer("_anchor", torch.zeros(0, dtype=dtype, device=device), persistent=False)
        self.train(False)

    def use_layout(self, name: str, arrange: Layout) -> None:
        """Say how patches are handed to the module."""
        self.layout, self._arrange = name, arrange

    def set_layers(
        self, layers: Mapping[str, FoundLayer], output: FoundLayer | None, classes: tuple[str, ...]
    ) -> None:
        """Say what can be heard: layers by the names they get, where the logits are, and what they mean."""
        self._layers, self._output = dict(layers), output
        for name, layer in layers.items():
            if layer.path != ROOT and layer.n_calls > 1:
                # Who listens to the module itself may leave after its first call; the relay runs once.
                self._relay_of[name] = _Relay()
                self.relays.append(self._relay_of[name])
        n_parameters = sum(parameter.numel() for parameter in self.module.parameters())
        infos = tuple(LayerInfo(name=name, n_channels=layer.n_channels) for name, layer in layers.items())
        self._card = replace(self._card, layers=infos, classes=classes, n_parameters=n_parameters)

    @property
    def card(self) -> NetworkCard:
        """What the network is."""
        return self._card

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self._anchor.device

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        return {
            name: self.whole if layer.path == ROOT else self._relay_of.get(name, layer.module)
            for name, layer in self._layers.items()
        }

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        """Turn waveforms at the network's rate into patches, differentiable.

        Args:
            waveform: At ``card.sample_rate``, full scale 1.
            offset_frames: Moves the patch grid by ``card.frame_s`` each.
            patch_hop_frames: From one patch to the next; 0 takes the network's own.

        Shape:
            ``(batch, samples)`` -> ``(batch, patches, frames, mels)`` or ``(batch, patches, patch_samples)``.
        """
        return self.hearing.listen(waveform, offset_frames, patch_hop_frames)

    def patch_starts(self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0) -> list[int]:
        """Return at which sample each patch begins that `listen` cuts of so many."""
        return self.hearing.patch_starts(n_samples, offset_frames, patch_hop_frames)

    def measure_energy(self, patches: Tensor) -> Tensor:
        """Return how much sound is in each patch ``(n,)``, 0 in silence."""
        return self.hearing.measure_energy(patches)

    def read_layer(self, name: str, output: object) -> Tensor:
        """Return what a layer's module gave as ``(n, channels, ...)``, time and frequency after them."""
        return self._layers[name].read(output)

    def prepare(self, patches: Tensor) -> Tensor:
        """Return what the layout is applied to: patches, or what the callable front end makes of them."""
        x = patches.to(self._hearing_dtype)
        return (x if self.features is None else self.features(x)).to(self._anchor.dtype)

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits ``(n, classes)`` for patches; ``(n, 0)`` where it has no classes."""
        kept: dict[str, object] = {}
        with self._keep_last_calls(kept), self._without_cudnn():
            output = self.module(self._arrange(self.prepare(patches)))
        for name, relay in self._relay_of.items():
            if name in kept:
                relay(kept[name])
        output = self.whole(output)
        if self._output is None:
            return patches.new_zeros((patches.shape[0], 0))
        logits = self._output.read(output)
        return logits if logits.ndim == 2 else logits.flatten(2).mean(dim=2)

    def train(self, mode: bool = True) -> WrappedNetwork:
        """Stay in evaluation mode, whatever is asked; recurrent modules are an exception in name only.

        On a GPU, cuDNN gives no gradient through recurrent modules in evaluation mode. Apart from dropout,
        which `wrap` has set to nothing, theirs is the same in both.
        """
        del mode
        super().train(False)
        for module in self.modules():
            if isinstance(module, nn.RNNBase):
                module.training = True
        return self

    @property
    def _hearing_dtype(self) -> torch.dtype:
        # Samples and log-mel bands want float32 at least; a module of fewer bits gets them rounded.
        half = self._anchor.dtype in (torch.float16, torch.bfloat16)
        return torch.float32 if half else self._anchor.dtype

    @contextmanager
    def _keep_last_calls(self, kept: dict[str, object]) -> Iterator[None]:
        """Keep the last output of modules that run more than once, where somebody listens to their relays."""

        def keeper(name: str) -> Callable[[nn.Module, object, object], None]:
            def keep(_module: nn.Module, _inputs: object, output: object) -> None:
                kept[name] = output

            return keep

        with ExitStack() as stack:
            for name, relay in self._relay_of.items():
                if relay._forward_hooks:
                    handle = self._layers[name].module.register_forward_hook(keeper(name))
                    stack.callback(handle.remove)
            yield

    @contextmanager
    def _without_cudnn(self) -> Iterator[None]:
        """Do without cuDNN on a GPU where a compiled module is recurrent: it cannot be told to train."""
        if self.device.type != "cuda" or not _is_compiled_recurrent(self.module):
            yield
            return
        with torch.backends.cudnn.flags(enabled=False):
            yield


def _is_compiled_recurrent(module: nn.Module) -> bool:
    return any(
        isinstance(part, torch.jit.ScriptModule)
        and getattr(part, "original_name", "") in ("RNN", "LSTM", "GRU")
        for part in module.modules()
    )
