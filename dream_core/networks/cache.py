"""Networks kept once loaded, for threads that dream with the same ones."""

from __future__ import annotations

import threading

import torch

from dream_core.networks.card import Network
from dream_core.networks.registry import load_network

__all__ = ["NetworkCache"]


class NetworkCache:
    """Load each network once a device; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._networks: dict[tuple[str, str], Network] = {}

    def load(self, name: str, device: torch.device) -> Network:
        """Return a network, the same object to everybody who asks for it.

        Args:
            name: As :func:`dream_core.load_network` takes it.
            device: Where it runs.

        Raises:
            DreamError: As :func:`dream_core.load_network`.
        """
        with self._lock:
            key = (name, str(device))
            if key not in self._networks:
                self._networks[key] = load_network(name, device=device)
            return self._networks[key]
