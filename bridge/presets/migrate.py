"""Presets of older versions of the format, read as they were meant."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

__all__ = ["migrate"]

_DREAMS_OF_1: Mapping[str, object] = {
    "context": False,
    "motion": 1.0,
    "balance": 0.0,
    "peak_guard": 0.0,
    "smooth_frames": 0.0,
    "smooth_bins": 0.0,
    "excitation_db": -45.0,
    "fade_s": 0.05,
    "n_fft": 2048,
}
"""What a dream's settings were where version 1 did not say them."""


def migrate(data: Mapping[str, Any], inherited: Container[object] = ()) -> dict[str, Any]:
    """Return a preset's data in the present version; malformed parts are left for the validation.

    Version 2 has other defaults of dreams: they hear the sound around their windows, are steadier in time and
    keep the balance of thirds of an octave.

    Args:
        data: What a file says.
        inherited: Ids of nodes that it only changes: what they were is for the preset they come from to say.

    >>> migrate({"version": 1, "chain": [{"use": "dream"}]})["chain"][0]["params"]["motion"]
    1.0
    """
    if data.get("version", 2) != 1 or not isinstance(data.get("chain", []), list):
        return dict(data)
    chain = [_migrate_node(node, inherited) for node in data.get("chain", [])]
    return {**data, "version": 2} | ({"chain": chain} if "chain" in data else {})


def _migrate_node(node: Any, inherited: Container[object]) -> Any:
    if not isinstance(node, dict) or node.get("use") != "dream" or node.get("id") in inherited:
        return node
    params = node.get("params", {})
    return {**node, "params": {**_DREAMS_OF_1, **params}} if isinstance(params, dict) else node
