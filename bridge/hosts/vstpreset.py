"""Plugin state as ``.vstpreset``, read and checked before a plugin sees a byte of it.

Hosts and plugins take a wrong or truncated state in silence, or crash on it. The format says whose state it
is, so that can be refused here: 48 bytes of header (``VST3``, version, class id as 32 hexadecimal digits,
offset of the chunk list), the chunks, then ``List``, a count and per chunk an id, an offset and a size, all
little-endian.

Source: VST 3 SDK, ``public.sdk/source/vst/vstpresetfile.h``.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bridge.errors import PluginError
from bridge.files import read_regular

__all__ = [
    "MAX_STATE_BYTES",
    "VstPreset",
    "build_juce_state",
    "build_vstpreset",
    "decode_state",
    "encode_state",
    "parse_vstpreset",
    "read_state",
]

_HEADER = struct.Struct("<4si32sq")
_LIST_HEAD = struct.Struct("<4si")
_ENTRY = struct.Struct("<4sqq")
_MAX_ENTRIES = 128
_JUCE_LETTERS = b".ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+"
_STATE_SUFFIXES = (".vstpreset", ".fxp", ".fxb")
MAX_STATE_BYTES = 64 << 20
"""The largest state that is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VstPreset:
    """One plugin's state.

    Args:
        uid: Class id of the plugin it belongs to, 32 hexadecimal digits.
        chunks: The parts by their four-letter names: ``Comp`` for the processor, ``Cont`` for the controller.
    """

    uid: str
    chunks: Mapping[str, bytes]


def parse_vstpreset(data: bytes, where: str = "state") -> VstPreset:
    """Take the bytes of a ``.vstpreset`` apart.

    Args:
        data: The whole file.
        where: Put at the start of an error: the file, or the place in a preset.

    Raises:
        PluginError: It is not a .vstpreset, it is truncated, or its chunk list points outside the file.

    >>> parse_vstpreset(build_vstpreset("0" * 32, {"Comp": b"abc"})).chunks["Comp"]
    b'abc'
    """
    if len(data) < _HEADER.size or data[:4] != b"VST3":
        raise PluginError(
            f"{where}: not a .vstpreset ({len(data)} bytes that do not start with VST3, as such a file does)"
        )
    _, _, class_id, list_offset = _HEADER.unpack_from(data)
    if not _HEADER.size <= list_offset <= len(data) - _LIST_HEAD.size:
        raise PluginError(
            f"{where}: a truncated .vstpreset: its chunk list is at byte {list_offset}, the file ends at "
            f"{len(data)}. Save it again from the plugin."
        )
    mark, n_entries = _LIST_HEAD.unpack_from(data, list_offset)
    entries_end = list_offset + _LIST_HEAD.size + n_entries * _ENTRY.size
    if mark != b"List" or not 0 <= n_entries <= _MAX_ENTRIES or entries_end > len(data):
        raise PluginError(f"{where}: a damaged .vstpreset: no chunk list at byte {list_offset}")
    chunks: dict[str, bytes] = {}
    for name, offset, size in _ENTRY.iter_unpack(data[list_offset + _LIST_HEAD.size : entries_end]):
        if offset < _HEADER.size or size < 0 or offset + size > list_offset:
            raise PluginError(
                f"{where}: a damaged .vstpreset: chunk {name.decode('latin-1')!r} lies outside the file"
            )
        chunks[name.decode("latin-1")] = data[offset : offset + size]
    if "Comp" not in chunks:
        raise PluginError(f"{where}: a .vstpreset without the processor's state (no chunk 'Comp')")
    return VstPreset(uid=class_id.decode("ascii", "replace").upper(), chunks=chunks)


def build_vstpreset(uid: str, chunks: Mapping[str, bytes]) -> bytes:
    """Write the bytes of a ``.vstpreset``; the inverse of `parse_vstpreset`."""
    body, entries = b"", b""
    for name, chunk in chunks.items():
        entries += _ENTRY.pack(name.encode("latin-1"), _HEADER.size + len(body), len(chunk))
        body += chunk
    header = _HEADER.pack(b"VST3", 1, uid.encode("ascii"), _HEADER.size + len(body))
    return header + body + _LIST_HEAD.pack(b"List", len(chunks)) + entries


def build_juce_state(chunks: Mapping[str, bytes]) -> bytes:
    """Write a state in the form JUCE hosts keep, by which they also look again where the parameters stand.

    Source: JUCE, ``AudioProcessor::copyXmlToBinary`` and ``MemoryBlock::toBase64Encoding``.
    """
    elements = [
        f"<{tag}>{_juce_base64(chunks[chunk])}</{tag}>"
        for chunk, tag in (("Comp", "IComponent"), ("Cont", "IEditController"))
        if chunks.get(chunk)
    ]
    text = f'<?xml version="1.0" encoding="UTF-8"?> <VST3PluginState>{"".join(elements)}</VST3PluginState>'
    data = text.encode("ascii")
    return b"VC2!" + struct.pack("<I", len(data)) + data + b"\0"


def _juce_base64(data: bytes) -> str:
    """Spell bytes as JUCE does: their number, and six bits a letter, the lowest first."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    padded = np.concatenate([bits, np.zeros(-len(bits) % 6, np.uint8)]).reshape(-1, 6)
    letters = np.frombuffer(_JUCE_LETTERS, np.uint8)[padded @ (1 << np.arange(6))]
    return f"{len(data)}.{bytes(letters).decode('ascii')}"


def read_state(state: bytes | str | Path) -> bytes:
    """Return the bytes of a state given in any way presets and people give one.

    Args:
        state: The bytes; a path; or text, which is a path where it ends in ``.vstpreset``, ``.fxp`` or
            ``.fxb``, else base64.

    Raises:
        PluginError: The file cannot be read, or the text is not base64.
    """
    if isinstance(state, bytes):
        return state
    if isinstance(state, str) and not state.lower().endswith(_STATE_SUFFIXES):
        return decode_state(state)
    path = Path(state)
    try:
        data = read_regular(path, MAX_STATE_BYTES)
    except OSError as error:
        raise PluginError(f"{path}: the plugin state cannot be read: {error.strerror}") from error
    if path.suffix.lower() == ".vstpreset":
        parse_vstpreset(data, str(path))
    return data


def encode_state(data: bytes) -> str:
    """Spell a state for a text file, as base64.

    >>> decode_state(encode_state(b"abc"))
    b'abc'
    """
    return base64.b64encode(data).decode("ascii")


def decode_state(text: str, where: str = "state") -> bytes:
    """Read a state out of a text file.

    Raises:
        PluginError: It is not base64.
    """
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:  # also what is not ASCII
        raise PluginError(
            f"{where}: the embedded plugin state is not base64 ({error}); save the preset again"
        ) from error
