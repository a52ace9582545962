"""Batch normalisation in training: measured anew for a running mean, and shared by processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from dream_core.training.team import Team

__all__ = ["measure_norms", "share_norms"]


def measure_norms(module: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Measure batch normalisation anew, as a plain mean over batches, and leave the module to evaluate.

    What was tracked in training belongs to weights that are noisier than their running mean.

    Args:
        module: Its normalisation is measured, nothing else of it changes.
        inputs: Batches of what it is given; none are drawn where it has no batch normalisation.
    """
    norms = [one for one in module.modules() if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    if norms:
        with torch.no_grad():
            for batch in inputs:
                module(batch)
    module.eval()


def share_norms(module: nn.Module, team: Team) -> nn.Module:
    """Return the module with its batch normalisation measured over the batches of all processes.

    Names and weights stay what they are, so states can be exchanged with one that is not shared.
    """
    if team.size == 1:
        return module
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, _SharedNorm(child, team))
        else:
            share_norms(child, team)
    return module


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, team: Team) -> Tensor:
        ctx.team = team
        return team.sum(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return ctx.team.sum(gradients[0]), None


class _SharedNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the batches of all processes, on any device."""

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, team: Team) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.team = team
        for name, tensor in (*norm.named_parameters(), *norm.named_buffers()):
            setattr(self, name, tensor)

    def _check_input_dim(self, _input: Tensor) -> None:
        """Take maps of any number of dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised maps."""
        if not self.training:
            return super().forward(x)
        others = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = self.team.sum(torch.tensor(float(x.numel() // x.shape[1]), device=x.device))
        mean = self._sum(x.sum(others)) / count
        centred = x - mean.view(shape)
        variance = self._sum(centred.square().sum(others)) / count
        running_mean, running_var = cast(Tensor, self.running_mean), cast(Tensor, self.running_var)
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * count / (count - 1.0), momentum)
            cast(Tensor, self.num_batches_tracked).add_(1)
        scaled = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            scaled = scaled * self.weight.view(shape) + self.bias.view(shape)
        return scaled

    def _sum(self, value: Tensor) -> Tensor:
        return cast(Tensor, _Sum.apply(value, self.team))
