"""Cards as data: what a weights file's header says of its network, believed only as far as it makes sense."""

from __future__ import annotations

from typing import Any

from dream_core.networks.card import LayerInfo, NetworkCard

__all__ = ["number", "parse_card", "whole"]


def parse_card(data: dict[str, Any]) -> NetworkCard:
    """Build a card from what a file's header says of it; older files say less.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: It is no card.
    """
    layers = tuple(
        LayerInfo(name=_text(layer["name"]), n_channels=whole(layer["n_channels"], 1 << 20))
        for layer in data["layers"]
    )
    texts = ("name", "title", "licence", "source", "weights", "sha256", "description")
    card = NetworkCard(
        **{
            **data,
            **{key: _text(data[key]) for key in texts},
            "layers": layers,
            # A file cannot hold its own hash, and what it says of it is not believed.
            "sha256": "",
            "weights": "import",
            "classes": tuple(_text(name) for name in data["classes"]),
            "band_hz": tuple(number(edge, 1e6) for edge in data["band_hz"]),
            "sample_rate": whole(data["sample_rate"], 1 << 20, least=4000),
            "n_parameters": whole(data["n_parameters"], 1 << 40),
            "patch_s": number(data["patch_s"], 1e6),
            "frame_s": number(data["frame_s"], 1e6),
            "outputs": _one_of(data.get("outputs", "exclusive"), ("exclusive", "independent")),
            "keys": tuple(whole(key, 127, least=0) for key in data.get("keys", ())),
            "looks": _one_of(data.get("looks", "log_mel"), ("log_mel", "waveform", "picture")),
        }
    )
    low, high = card.band_hz
    if not low < high or not 0 < card.frame_s <= card.patch_s:
        raise ValueError("its band or its patches make no sense")
    if len(card.keys) not in (0, len(card.classes)):
        raise ValueError("its keys are not those of its classes")
    return card


def whole(value: object, largest: int, *, least: int = 1) -> int:
    """Return a whole number, if it is one within limits."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= largest:
        raise ValueError(f"{str(value)[:20]!r} is not a number from {least} to {largest}")
    return value


def number(value: object, largest: float) -> float:
    """Return a number, if it is one from 0 to a limit."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= largest:
        raise ValueError(f"{str(value)[:20]!r} is not a number from 0 to {largest:g}")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{str(value)[:20]!r} is not a line of text")
    return value


def _one_of(value: object, accepted: tuple[str, ...]) -> str:
    if value not in accepted:
        raise ValueError(f"{str(value)[:20]!r} is none of {', '.join(accepted)}")
    return str(value)
