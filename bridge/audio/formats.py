"""What audio files can be: suffixes, containers, sample types and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.errors import OutputError, nearest_names

__all__ = [
    "AUDIO_SUFFIXES",
    "MAX_CHANNELS",
    "MAX_SAMPLE_RATE",
    "OUTPUT_SUBTYPES",
    "SUBTYPE_BITS",
    "SYSTEM_SUFFIXES",
    "SampleFormat",
    "choose_output",
    "container_of",
]

MAX_CHANNELS: Final = 32
"""No layout of loudspeakers has more; a file with more holds several stems."""

MAX_SAMPLE_RATE: Final = 768_000

_CONTAINERS: Final = {
    ".wav": "WAV", ".wave": "WAV", ".bwf": "WAV", ".rf64": "RF64", ".w64": "W64",
    ".aiff": "AIFF", ".aif": "AIFF", ".aifc": "AIFF", ".flac": "FLAC", ".caf": "CAF",
}  # fmt: skip

OUTPUT_SUBTYPES: Final[dict[str, tuple[str, ...]]] = {
    "WAV": ("PCM_16", "PCM_24", "PCM_32", "FLOAT"),
    "RF64": ("PCM_16", "PCM_24", "PCM_32", "FLOAT"),
    "W64": ("PCM_16", "PCM_24", "PCM_32", "FLOAT"),
    "AIFF": ("PCM_16", "PCM_24", "PCM_32", "FLOAT"),
    "CAF": ("PCM_16", "PCM_24", "PCM_32", "FLOAT"),
    "FLAC": ("PCM_16", "PCM_24"),
}
"""What can be written: sample types by container."""

SYSTEM_SUFFIXES: Final = (".m4a", ".aac", ".mp4")
"""What libsndfile does not read and some systems do."""

AUDIO_SUFFIXES: Final = (
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".flac", ".caf", ".au", ".snd",
    ".ogg", ".oga", ".opus", ".mp3", *SYSTEM_SUFFIXES,
)  # fmt: skip
"""Suffixes under which a folder of stems is searched for audio."""

SUBTYPE_BITS: Final = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32}
"""Bits a sample takes in a file, by sample type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFormat:
    """Say how a file holds its samples.

    Args:
        container: ``WAV``, ``RF64``, ``W64``, ``AIFF``, ``CAF`` or ``FLAC``.
        subtype: A key of `SUBTYPE_BITS`.
        sample_rate: Hz.
        n_channels: Channels.
    """

    container: str
    subtype: str
    sample_rate: int
    n_channels: int

    @property
    def bits(self) -> int:
        """Bits a sample."""
        return SUBTYPE_BITS[self.subtype]

    @property
    def is_float(self) -> bool:
        """Whether samples are floats."""
        return self.subtype == "FLOAT"


_SUBTYPE_NAMES: Final = {
    name.casefold(): subtype
    for subtype, short in (("PCM_16", "16"), ("PCM_24", "24"), ("PCM_32", "32"), ("FLOAT", "32f"))
    for name in (subtype, subtype.replace("_", ""), short)
}


def choose_output(
    source_format: str, source_subtype: str, *, file_format: str | None = None, subtype: str | None = None
) -> tuple[str, str]:
    """Return suffix and sample type to write: what is asked for, else what loses least of what was read.

    Args:
        source_format: Container that was read.
        source_subtype: Sample type that was read.
        file_format: Container asked for, in any case: ``wav``, ``flac`` ...
        subtype: Sample type asked for, in any case: ``PCM_24``, ``pcm24``, ``24``, ``32f``, ``float`` ...

    Raises:
        OutputError: There is no such container or sample type, or the one cannot hold the other.

    >>> choose_output("WAV", "DOUBLE"), choose_output("MP3", "MPEG_LAYER_III", subtype="16")
    (('.wav', 'FLOAT'), ('.wav', 'PCM_16'))
    >>> choose_output("WAV", "FLOAT", file_format="flac")
    ('.flac', 'PCM_24')
    """
    wanted = None if subtype is None else _SUBTYPE_NAMES.get(subtype.casefold())
    if subtype is not None and wanted is None:
        raise OutputError(f"no sample type is called {subtype!r}; {nearest_names(subtype, _SUBTYPE_NAMES)}")
    container = source_format if source_format in ("AIFF", "FLAC", "W64", "CAF") else "WAV"
    if file_format is not None:
        container = file_format.upper()
        if container not in OUTPUT_SUBTYPES:
            raise OutputError(f"cannot write {file_format!r}; {nearest_names(container, OUTPUT_SUBTYPES)}")
    elif wanted is not None and wanted not in OUTPUT_SUBTYPES[container]:
        container = "WAV"
    accepted = OUTPUT_SUBTYPES[container]
    if wanted is not None and wanted not in accepted:
        raise OutputError(f"{container} cannot hold {wanted}; {nearest_names(wanted, accepted)}")
    suffix = next(suffix for suffix, name in _CONTAINERS.items() if name == container)
    return suffix, wanted or _nearest_subtype(source_subtype, accepted)


def _nearest_subtype(subtype: str, accepted: Sequence[str]) -> str:
    if subtype in accepted:
        return subtype
    if subtype in ("PCM_S8", "PCM_U8", "ULAW", "ALAW"):
        return "PCM_16"
    return "FLOAT" if subtype == "DOUBLE" and "FLOAT" in accepted else "PCM_24"


def container_of(path: Path) -> str:
    """Return the container a file's suffix stands for.

    Raises:
        OutputError: None that can be written.
    """
    name = _CONTAINERS.get(path.suffix.lower())
    if name is None:
        raise OutputError(
            f"{path}: no format for the suffix {path.suffix!r}; {nearest_names(path.suffix, _CONTAINERS)}"
        )
    return name
