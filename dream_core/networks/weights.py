"""Weights on disk: safetensors only, checked before they are used; nothing is ever fetched by itself.

A weights file of ours says in its own header which network it belongs to, so a network trained by a user is
one file. Pickles can run code when they are opened; they are never opened here except with
``weights_only=True``, which refuses all but plain tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor, nn

from dream_core.errors import WeightsError
from dream_core.files import hash_file, open_regular, read_regular, write_whole

__all__ = [
    "check_file",
    "hash_tensors",
    "load_into",
    "networks_folder",
    "read_header",
    "read_tensors",
    "write_tensors",
]

_HEADER_KEY = "reverie"
_MAX_BYTES = 2 << 30


def networks_folder() -> Path:
    """Return the folder of the weights the user brought: ``$REVERIE_HOME/networks``, or the system's place.

    >>> networks_folder().name
    'networks'
    """
    home = os.environ.get("REVERIE_HOME")
    return (Path(home) if home else platformdirs.user_data_path("reverie", appauthor=False)) / "networks"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """Write tensors and a description of their network; the file appears whole or not at all.

    Returns:
        The SHA-256 of the file.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with write_whole(path) as part:
        # In one piece: of a full disk the system says so, safetensors says less.
        part.write_bytes(save_bytes(plain, metadata={_HEADER_KEY: json.dumps(header, sort_keys=True)}))
    return hash_file(path)


def read_header(path: Path) -> dict[str, Any]:
    """Read what a weights file says of its network; empty where it says nothing.

    Raises:
        WeightsError: The file is absent, or no safetensors file.
    """
    with _open(path) as file:
        text = (file.metadata() or {}).get(_HEADER_KEY, "{}")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: what it says of its network cannot be read; the file is damaged")
    return header


def read_tensors(path: Path, sha256: str = "") -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: The file.
        sha256: What its hash must be; empty where nothing is known of it.

    Raises:
        WeightsError: The file is absent, damaged, no safetensors file, or another file than expected.
    """
    check_file(path)
    try:
        data = read_regular(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error})") from None
    # The bytes that are used are those that are hashed: the file may be replaced meanwhile.
    if sha256 and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise WeightsError(
            f"{path} has sha256 {found[:16]}..., expected {sha256[:16]}...; the file was changed or damaged: "
            "delete it and install or import it again"
        )
    try:
        return load_bytes(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _not_weights(path, error) from None


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 of tensors with their names and shapes, whatever file they came in."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_file(path: Path, limit_bytes: int = _MAX_BYTES) -> None:
    """Refuse what is no file, or larger than weights are.

    Raises:
        WeightsError: It is absent, a folder, a pipe, a device, unreadable or too large.
    """
    try:
        with open_regular(path) as file:
            n_bytes = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise WeightsError(f"{path} is not there") from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error})") from None
    if n_bytes > limit_bytes:
        raise WeightsError(f"{path} is larger than {limit_bytes >> 20} MiB, which weights are not")


def _open(path: Path) -> Any:
    check_file(path)
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError) as error:
        raise _not_weights(path, error) from None


def _not_weights(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path} is not a complete safetensors file ({error}); it is damaged or of another kind: delete "
        "it, and install or import it again"
    )


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Put tensors into a network, after checking that they are its own: every name, shape and value.

    Args:
        network: Where they go.
        tensors: Floating-point, one for every parameter.
        origin: The file or the like, for messages.

    Raises:
        WeightsError: A name is missing or too many, a shape differs, or a value is not finite.
    """
    wanted = network.state_dict()
    if missing := [name for name in wanted if name not in tensors]:
        raise WeightsError(
            f"{origin} lacks {missing[0]!r} and {len(missing) - 1} more of {len(wanted)} tensors; "
            "it holds the weights of another network"
        )
    if extra := [name for name in tensors if name not in wanted]:
        raise WeightsError(
            f"{origin} holds {extra[0]!r}, which the network does not have; it is of another network"
        )
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise WeightsError(
                f"{origin}: {name!r} has shape {tuple(tensor.shape)}, the network needs "
                f"{tuple(wanted[name].shape)}; it is of another network"
            )
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{origin}: {name!r} holds values that are not finite; the file is damaged")
    network.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()})
