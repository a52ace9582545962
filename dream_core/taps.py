"""Listen in on a network's layers, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dream_core.errors import LayerNotFoundError
from dream_core.naming import nearest_names
from dream_core.networks.card import Network

__all__ = ["tap"]


@contextmanager
def tap(network: Network, layers: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of named layers while the block runs.

    The hooks are removed when the block ends, also when it ends in an error.

    Args:
        network: The network to listen in on.
        layers: Names from its card.

    Returns:
        A mapping that is filled at every forward pass: layer name to its latest output.

    Raises:
        LayerNotFoundError: The network has no layer of that name.
    """
    modules = network.layer_modules()
    activations: dict[str, Tensor] = {}
    handles: list[RemovableHandle] = []

    def keeper(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            activations[name] = output

        return keep

    try:
        for name in layers:
            if name not in modules:
                raise LayerNotFoundError(
                    f"network {network.card.name!r} has no layer {name!r}; {nearest_names(name, modules)}"
                )
            handles.append(modules[name].register_forward_hook(keeper(name)))
        yield activations
    finally:
        for handle in handles:
            handle.remove()
