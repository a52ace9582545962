"""Collect the outputs of a network's layers through temporary hooks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dream_core.errors import LayerNotFoundError
from dream_core.names import nearest_names
from dream_core.networks.card import Network

__all__ = ["tap"]


class _AllLayersSeenError(Exception):
    """Ends a forward pass early when the rest of it is not needed."""


@contextmanager
def tap(
    network: Network,
    layers: Collection[str],
    *,
    leaves_early: bool = False,
    outputs: dict[str, object] | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of named layers while the block runs.

    The hooks are removed when the block ends, also when it ends in an error.

    Args:
        network: The network to listen in on.
        layers: Names from its card.
        leaves_early: Leave the block as soon as every layer has been heard: what lies behind the last one
            costs nothing.
        outputs: Filled with what the modules themselves gave, before it is read: what a gradient reaches.

    Returns:
        A mapping that is filled at every forward pass: layer name to its latest output.

    Raises:
        LayerNotFoundError: The network has no layer of that name.
    """
    modules = network.layer_modules()
    activations: dict[str, Tensor] = {}
    handles: list[RemovableHandle] = []

    def keeper(name: str) -> Callable[[nn.Module, Any, object], None]:
        def keep(_module: nn.Module, _inputs: Any, output: object) -> None:
            activations[name] = network.read_layer(name, output)
            if outputs is not None:
                outputs[name] = output
            if leaves_early and len(activations) == len(layers):
                raise _AllLayersSeenError

        return keep

    try:
        for name in layers:
            if name not in modules:
                raise LayerNotFoundError(
                    f"network {network.card.name!r} has no layer {name!r}; {nearest_names(name, modules)}"
                )
            handles.append(modules[name].register_forward_hook(keeper(name)))
        with suppress(_AllLayersSeenError):
            yield activations
    finally:
        for handle in handles:
            handle.remove()
