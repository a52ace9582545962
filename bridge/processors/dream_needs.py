"""What a dream needs beside itself: networks that are installed, a device; and its errors as the bridge's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from bridge.errors import ProcessorError, RenderError, RenderStoppedError
from bridge.processors.pitch_sources import pitch_networks
from dream_core.errors import CancelledError, DreamError, NonFiniteError, WeightsError
from dream_core.networks.registry import PUBLISHED, get_card, is_ready, weights_owner, weights_sha256
from dream_core.objectives.objective import KEYS
from dream_core.objectives.parse import parse_objective
from dream_core.runtime import default_threads, resolve_device
from dream_core.settings import DEFAULT_NETWORK

__all__ = [
    "border",
    "check_installed",
    "hash_networks",
    "is_installed",
    "networks_of",
    "resolve_compute",
    "wants_notes_alone",
]


def resolve_compute(device: str, threads: int | None) -> tuple[str, int | None]:
    """Return the device dreams will run on, and the threads where that is a CPU.

    Raises:
        ProcessorError: The device is not there.
    """
    with border():
        resolved = resolve_device(device)
    if resolved.type == "cpu":
        return "cpu", threads or default_threads()
    return str(resolved), None


def networks_of(params: Mapping[str, object]) -> frozenset[str]:
    """Return the networks a dream needs: its own, those of its objective, and who hears the pitch."""
    own = str(params.get("network", DEFAULT_NETWORK))
    try:
        named = parse_objective(str(params.get("objective", "class:auto"))).networks
    except DreamError:
        named = ()  # which is said where the dream is checked
    with contextlib.suppress(DreamError):
        named = tuple(name for name in named if name != get_card(own).name)
    return frozenset({own, *named, *pitch_networks(params)} - {""})


def check_installed(names: Iterable[str], where: str = "dream") -> None:
    """Say which network's weights are not here, and how they come here.

    Args:
        names: The networks.
        where: Who needs them.

    Raises:
        ProcessorError: There is no such network, or its weights are not installed.
    """
    with border(where):
        for name in sorted(names):
            if not is_ready(name):
                raise WeightsError(f"network {name!r} is not installed; {_remedy(name)}")


def is_installed(name: str) -> bool:
    """Say whether a network's weights are here."""
    with border():
        return is_ready(name)


def wants_notes_alone(objective: str) -> bool:
    """Say whether all that an objective asks of a dream's own network is notes.

    >>> wants_notes_alone("note:A3 + timbre@class:flute"), wants_notes_alone("note:A3 + layer:contours")
    (True, False)
    """
    try:
        terms = parse_objective(objective).terms
    except DreamError:
        return False  # which is said where the dream is checked
    return all(term.network or term.layers == {KEYS} for term in terms)


def _remedy(name: str) -> str:
    if (owner := weights_owner(name)) != name:
        return f"it hears by {owner}'s weights: {_remedy(owner)}"
    if name.startswith("image:"):
        return (
            f"`reverie networks import {name} FILE` takes torchvision's weights from a file, "
            f"`reverie networks import {name} --from-torch-hub` those that torch.hub has fetched before"
        )
    if name != "yamnet" and name not in PUBLISHED:
        return "the package that offers it says how its weights come here"
    return (
        f"`reverie networks get {name}` fetches its weights, `reverie networks import {name} FILE` takes "
        "them from a file"
    )


def hash_networks(names: Iterable[str]) -> dict[str, str]:
    """Return the hash of each network's weights.

    Raises:
        ProcessorError: There is no such network.
    """
    with border():
        return {name: weights_sha256(name) for name in sorted(names)}


@contextlib.contextmanager
def border(where: str = "dream") -> Iterator[None]:
    """Turn the dream core's errors into the bridge's, once; they begin with who needs what is wrong."""
    try:
        yield
    except CancelledError as error:
        raise RenderStoppedError("stopped while dreaming") from error
    except NonFiniteError as error:
        raise RenderError(f"{where}: {error}") from error
    except DreamError as error:
        raise ProcessorError(f"{where}: {error}") from error
