"""Words of a command line: settings, templates of names, levels, devices; and names that are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from helpers.terminal import UNSAFE

from bridge.cli.quantities import parse_quantity
from bridge.errors import escape
from bridge.plan.output_names import build_name, check_template
from bridge.presets.load import load_preset
from bridge.presets.overrides import apply_settings
from dream_core.runtime import resolve_device
from fuzz.reader import Reader

__all__ = ["CLI_READERS"]

_SEEDS = {
    "depth.setting": b"dream.depth=4",
    "macro.setting": b"macro.depth=50%",
    "level.setting": b"level.mode=keep",
    "swell.setting": b"swell.length=2 bars",
    "names.template": b"{index}_{stem}__{preset}[-{variation}]_{rate_khz}k{bits}",
    "stem.name": b"Lead Vox [dry] (1)",
    "peak.level": b"-90.5 dB",
    "here.device": b"cpu",
}


def _build(template: str, text: str) -> None:
    values = {
        "stem": text,
        "preset": text,
        "variation": "deep",
        "index": "01",
        "rate_khz": "44.1",
        "bits": 24,
    }
    name = build_name(check_template(template), values, ".wav")
    assert len(name.encode()) <= 234
    assert "/" not in name
    assert UNSAFE.search(name) is None


def _show(text: str) -> None:
    assert UNSAFE.search(escape(text)) is None
    _build("{stem}__{preset}-{variation}", text)


def _set(text: str) -> None:
    apply_settings(load_preset("factory:lucid-bloom"), [text]).digest()


_READ: Mapping[str, Callable[[str], object]] = {
    ".setting": _set,
    ".template": lambda text: _build(text, "x" * 200),
    ".name": _show,
    ".level": lambda text: parse_quantity(text, "dB", "--tolerance"),
    ".device": resolve_device,
}


def _read_words(path: Path) -> object:
    # As the system hands over arguments: bytes that are not UTF-8 become halves of characters.
    return _READ[path.suffix](path.read_bytes().decode("utf-8", "surrogateescape"))


CLI_READERS = (Reader(name="words", seeds=lambda: _SEEDS, read=_read_words),)
