"""Names of delivered files: templates with wildcards, and never two outputs under one name.

A template is text with ``{wildcards}``; a part in ``[brackets]`` is left out where a wildcard in it has no
value: ``{stem}__{preset}[-{variation}]``.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from bridge.errors import OutputError, escape, nearest_names
from bridge.plan.model import Plan, StemPlan

__all__ = [
    "TEMPLATES",
    "WILDCARDS",
    "audio_values",
    "build_name",
    "check_template",
    "manifest_path",
    "report_path",
    "rung_path",
    "stem_outputs",
]

TEMPLATES: Mapping[str, str] = {
    "reverie": "{stem}__{preset}[-{variation}][__{section}]",
    "pe-wing": "{stem}[_{variation}][_{section}]_{rate_khz}k{bits}",
}
"""Templates by name.

``pe-wing`` ends as the Recording Academy's "Delivery Recommendations" (2018) ask; initials, title and mix go
in front as they are: ``AB_Song_MI01_{stem}_{rate_khz}k{bits}``.
"""

WILDCARDS: Mapping[str, str] = {
    "stem": "name of the input file without its suffix",
    "preset": "name of the preset",
    "variation": "name of the variation, if any",
    "midi": "name of the MIDI file without its suffix, if any",
    "section": "section of the song, if not all of it is rendered",
    "index": "number of the stem, 01 ...",
    "bpm": "tempo at the start",
    "rate": "sample rate in Hz",
    "rate_khz": "sample rate in kHz",
    "bits": "bits a sample",
    "date": "day of the render, YYYY-MM-DD",
}
"""What a template may hold, and what it means."""

# Of 255: a manifest adds `.manifest.json`, its journal a dot in front and `.finished`.
_MAX_BYTES = 230
# What is cut keeps so much of a hash of what it was: names that begin alike stay apart.
_HASH_DIGITS = 6
_CUT_FIRST = ("stem", "midi")
# What some file system refuses, what commands a terminal, what turns the direction of text.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]')
_RESERVED = re.compile(r"^(con|prn|aux|nul|com[1-9]|lpt[1-9])(\.|$)", re.IGNORECASE)
_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
_WILDCARD = re.compile(r"\{([^{}]*)\}")


def check_template(template: str) -> str:
    """Return the template a user means, by its name or its text.

    Raises:
        OutputError: An unknown wildcard, or braces and brackets that do not match.

    >>> check_template("reverie")
    '{stem}__{preset}[-{variation}][__{section}]'
    """
    text = TEMPLATES.get(template, template)
    for name in _WILDCARD.findall(text):
        if name not in WILDCARDS:
            raise OutputError(
                f"name template {text!r}: no wildcard {{{escape(name)}}}; {nearest_names(name, WILDCARDS)}"
            )
    if re.search(r"[\[\]{}]", _WILDCARD.sub("", _OPTIONAL.sub(r"\1", text))):
        raise OutputError(f"name template {text!r}: a bracket or brace is not closed; write it like {{stem}}")
    if not _WILDCARD.search(text):
        raise OutputError(
            f"name template {text!r}: holds no wildcard, so all outputs would have one name; add {{stem}}"
        )
    return text


def build_name(template: str, values: Mapping[str, object], suffix: str) -> str:
    """Return the file name a template gives.

    Characters that some file system refuses become underscores. Where the name would be too long, the longest
    values are cut, ``{stem}`` and ``{midi}`` before any other, so that what tells renders apart stays.

    Args:
        template: As `check_template` returns it.
        values: By wildcard; missing and empty ones count as having no value.
        suffix: Such as ``.wav``.

    Raises:
        OutputError: A wildcard outside brackets has no value, or nothing is left of the name.

    >>> build_name("{stem}__{preset}[-{variation}]", {"stem": "Lead Vox", "preset": "bloom"}, ".wav")
    'Lead Vox__bloom.wav'
    """
    texts = {name: _clean(str(value)) for name, value in values.items() if value}

    def choose(match: re.Match[str]) -> str:
        return match[1] if all(name in texts for name in _WILDCARD.findall(match[1])) else ""

    for name in _WILDCARD.findall(_OPTIONAL.sub("", template)):
        if name not in texts:
            raise OutputError(
                f"name template {template!r}: {{{name}}} has no value here; put it in brackets to leave it "
                f"out, like [_{{{name}}}]"
            )
    stem = _fill(_OPTIONAL.sub(choose, template), texts).strip().rstrip(".")
    if _RESERVED.match(stem):
        stem = f"_{stem}"
    stem = _cut(stem, _MAX_BYTES)
    if not stem:
        raise OutputError(f"name template {template!r}: gives an empty name; add {{stem}}")
    return stem + suffix


def _clean(text: str) -> str:
    # Names need not be valid Unicode.
    return _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text.encode(errors="replace").decode()))


def _fill(template: str, texts: dict[str, str]) -> str:
    """Put values into a template, cut so that the whole fits into a file name."""

    def filled() -> str:
        return _clean(_WILDCARD.sub(lambda match: texts[match[1]], template))

    used = _WILDCARD.findall(template)
    for name in sorted(set(used), key=lambda name: (name not in _CUT_FIRST, -len(texts[name].encode()))):
        excess = len(filled().encode()) - _MAX_BYTES
        if excess > 0:
            texts[name] = _cut(texts[name], len(texts[name].encode()) - -(-excess // used.count(name)))
    return filled()


def _cut(text: str, n_bytes: int) -> str:
    """Cut a text to so many bytes or its shortest form, and mark it with a hash of what it was."""
    if len(text.encode()) <= n_bytes:
        return text
    mark = f"~{hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]}"
    return text.encode()[: max(0, n_bytes - len(mark))].decode(errors="ignore").rstrip() + mark


def audio_values(stem: str, sample_rate: int, bits: int) -> dict[str, object]:
    """Return what a stem's own file gives a template.

    >>> audio_values("kick", 44100, 24)["rate_khz"]
    '44.1'
    """
    return {"stem": stem, "rate": sample_rate, "rate_khz": f"{sample_rate / 1000:g}", "bits": bits}


_SUFFIX = ".manifest.json"


def manifest_path(plan: Plan) -> Path:
    """Return where a plan's manifest is: beside its outputs, under the plan's name."""
    return Path(plan.out_dir) / f"{plan.name}{_SUFFIX}"


def rung_path(target: Path | str, depth: int) -> Path:
    """Return where a stem is delivered at one depth of a ladder: beside the stem itself.

    >>> rung_path("out/lead__bloom.wav", 5).name
    'lead__bloom.depth05.wav'
    """
    path = Path(target)
    return path.with_name(f"{path.stem}.depth{depth:02d}{path.suffix}")


def stem_outputs(stem: StemPlan, ladder: Iterable[int]) -> dict[int | None, Path]:
    """Return all files that a stem gives, by depth of the ladder; the stem itself is under None."""
    return {None: Path(stem.target), **{depth: rung_path(stem.target, depth) for depth in ladder}}


def report_path(manifest: Path) -> Path:
    """Return where a manifest's report is: beside it, under the same name."""
    return manifest.with_name(manifest.name.removesuffix(_SUFFIX) + ".report.html")
