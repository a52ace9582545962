"""What a WAV says beside its samples: broadcast data, iXML, markers and text tags.

libsndfile's Python face drops all of it, and a stem that loses its time stamp can no longer be spotted to its
place in a session. Chunks of others are read without trust: sizes are cut to what is there, counts to what is
plausible, and text is decoded whatever it is.

Source: EBU Tech 3285 v2 (bext, 2011); iXML specification 3.01; Microsoft/IBM, "Multimedia Programming
Interface and Data Specifications 1.0" (cue, adtl, INFO; 1991).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Final

from bridge.audio.containers import Chunk, Container, walk_chunks
from bridge.audio.loudness import Loudness

__all__ = ["TAG_ATTRIBUTES", "AudioMetadata", "Broadcast", "CueMarker", "parse_metadata"]

TAG_ATTRIBUTES: Final = {
    "INAM": "title",
    "IART": "artist",
    "IPRD": "album",
    "ICMT": "comment",
    "ISFT": "software",
    "ICRD": "date",
    "ICOP": "copyright",
    "IGNR": "genre",
    "ITRK": "tracknumber",
}
"""Tags that containers other than WAV hold too: INFO name to libsndfile's."""

_MAX_PAYLOAD: Final = 1 << 24
_MAX_MARKERS: Final = 10_000
_MAX_TEXT: Final = 4_000
_BEXT_FIXED: Final = struct.Struct("<256s32s32s10s8sIIH64s5h180x")
_NO_LOUDNESS: Final = 0x7FFF
_TIMESTAMP: Final = rb"(<TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_%b>\s*)(\d{1,10})(\s*</)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """Hold the bext chunk of a Broadcast Wave file.

    Args:
        description: What it is, at most 256 bytes.
        originator: Who made it, at most 32 bytes.
        originator_reference: Their reference, at most 32 bytes.
        origination_date: ``YYYY-MM-DD``.
        origination_time: ``HH:MM:SS``.
        time_reference: First sample counted from midnight: where a DAW spots the file.
        umid: 64 bytes of SMPTE identifier.
        coding_history: One line a processing step, ``A=PCM,F=48000,W=24,M=stereo,T=...``.
        loudness: Measured, written into the loudness fields of version 2; never read back from a file,
            since it describes sound that is about to be changed.
    """

    description: str = ""
    originator: str = ""
    originator_reference: str = ""
    origination_date: str = ""
    origination_time: str = ""
    time_reference: int = 0
    umid: bytes = b""
    coding_history: str = ""
    loudness: Loudness | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CueMarker:
    """Hold one cue point.

    Args:
        position_samples: From the first sample of the file.
        label: Its name.
        length_samples: For a region; 0 for a point.
    """

    position_samples: int
    label: str = ""
    length_samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioMetadata:
    """Hold everything an audio file says beside its samples that is worth keeping.

    Args:
        broadcast: The bext chunk.
        ixml: The iXML document as it stands.
        markers: Cue points and regions in order of position.
        tags: Text by four-letter INFO name: ``INAM`` title, ``IART`` artist, ``ICMT`` comment, ``ISFT``
            software, ``ICRD`` date ...
    """

    broadcast: Broadcast | None = None
    ixml: bytes | None = None
    markers: tuple[CueMarker, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def start_samples(self) -> int | None:
        """Where the file begins, in samples since midnight; None where it does not say."""
        if self.broadcast is not None:
            return self.broadcast.time_reference
        if self.ixml is not None:
            high, low = (re.search(_TIMESTAMP % part, self.ixml) for part in (b"HI", b"LO"))
            if low is not None:
                return ((int(high[2]) if high else 0) << 32) + int(low[2])
        return None

    def moved(
        self, start_samples: int | None, shift_samples: int = 0, rate_ratio: float = 1.0
    ) -> AudioMetadata:
        """Return the same metadata for a file that begins elsewhere.

        Args:
            start_samples: New position of the first sample, in samples since midnight; None leaves it unsaid.
            shift_samples: How many samples were put in front of the sound; markers move along.
            rate_ratio: New sample rate divided by the old one; markers keep their time.
        """
        markers = tuple(
            replace(
                m,
                position_samples=max(0, round(m.position_samples * rate_ratio) + shift_samples),
                length_samples=round(m.length_samples * rate_ratio),
            )
            for m in self.markers
        )
        if start_samples is None:
            return replace(self, markers=markers)
        ixml = self.ixml
        if ixml is not None:
            for part, value in ((b"HI", start_samples >> 32), (b"LO", start_samples & 0xFFFFFFFF)):
                ixml = re.sub(_TIMESTAMP % part, rb"\g<1>%d\g<3>" % value, ixml)
        broadcast = replace(self.broadcast or Broadcast(), time_reference=start_samples)
        return replace(self, broadcast=broadcast, ixml=ixml, markers=markers)

    def processed(
        self, *, sample_rate: int, n_channels: int, bits: int, text: str, loudness: Loudness | None = None
    ) -> AudioMetadata:
        """Return the metadata of a file made from this one: one line more in its coding history.

        Args:
            sample_rate: Of the new file, in Hz.
            n_channels: Its channels.
            bits: Its bits a sample.
            text: What was done, such as ``Reverie, Lucid Bloom``.
            loudness: Of the new file, where it is known before it is written.

        >>> before = AudioMetadata(broadcast=Broadcast(coding_history="A=PCM,F=44100,W=16,M=mono,T=Mic"))
        >>> done = before.processed(sample_rate=48000, n_channels=2, bits=24, text="Reverie")
        >>> print(done.broadcast.coding_history.splitlines()[1])
        A=PCM,F=48000,W=24,M=stereo,T=Reverie
        """
        tags = {**self.tags, "ISFT": text}
        if self.broadcast is None:
            return replace(self, tags=tags)
        mode = {1: "mono", 2: "stereo"}.get(n_channels, "multichannel")
        # A comma or a line break within the text would end it.
        line = f"A=PCM,F={sample_rate},W={bits},M={mode},T={text.replace(',', ';')}"
        history = "\r\n".join([*self.broadcast.coding_history.splitlines(), " ".join(line.split())])
        broadcast = replace(self.broadcast, coding_history=history, loudness=loudness)
        return replace(self, tags=tags, broadcast=broadcast)

    def build_chunks(self) -> list[tuple[bytes, bytes]]:
        """Return the chunks of a WAV file as ``(id, payload)``, bext first."""
        chunks: list[tuple[bytes, bytes]] = []
        if self.broadcast is not None:
            chunks.append((b"bext", _even(_build_bext(self.broadcast), b"\0")))
        if self.ixml is not None:
            chunks.append((b"iXML", _even(self.ixml, b" ")))
        markers = tuple(m for m in self.markers if m.position_samples < 1 << 32)  # all a cue point can state
        if markers:
            chunks.append((b"cue ", _build_cues(markers)))
            chunks.append((b"LIST", b"adtl" + _build_labels(markers)))
        if self.tags:
            chunks.append((b"LIST", b"INFO" + b"".join(_build_tag(k, v) for k, v in self.tags.items())))
        return chunks


def parse_metadata(file: BinaryIO) -> AudioMetadata:
    """Read what a RIFF, RF64 or BW64 file says beside its samples; damaged chunks are left out.

    Args:
        file: Open for reading, seekable.

    >>> import io
    >>> parse_metadata(io.BytesIO(b"no container at all"))
    AudioMetadata(broadcast=None, ixml=None, markers=(), tags={})
    """
    container = walk_chunks(file)
    if container is None or container.magic not in (b"RIFF", b"RF64", b"BW64"):
        return AudioMetadata()
    bext = _read_payload(file, container.find(b"bext"))
    ixml = _read_payload(file, container.find(b"iXML"))
    lists = dict(_read_lists(file, container))
    return AudioMetadata(
        broadcast=_parse_bext(bext),
        ixml=ixml.rstrip(b"\0 \r\n") or None,
        markers=_parse_markers(_read_payload(file, container.find(b"cue ")), lists.get(b"adtl", b"")),
        tags=_parse_tags(lists.get(b"INFO", b"")),
    )


def _even(payload: bytes, pad: bytes) -> bytes:
    """Make a length even: libsndfile 1.2.2 loses its way behind a chunk of odd length in RF64."""
    return payload + pad * (len(payload) & 1)


def _read_payload(file: BinaryIO, chunk: Chunk | None) -> bytes:
    if chunk is None or chunk.size > _MAX_PAYLOAD:
        return b""
    file.seek(chunk.offset)
    return file.read(chunk.size)


def _read_lists(file: BinaryIO, container: Container) -> Iterator[tuple[bytes, bytes]]:
    for chunk in container.chunks:
        if chunk.chunk_id == b"LIST":
            payload = _read_payload(file, chunk)
            yield payload[:4], payload[4:]


def _subchunks(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 0
    while offset + 8 <= len(payload):
        chunk_id, size = struct.unpack_from("<4sI", payload, offset)
        yield chunk_id, payload[offset + 8 : offset + 8 + size]
        offset += 8 + size + (size & 1)


def _text(raw: bytes, limit: int = _MAX_TEXT) -> str:
    raw = raw.split(b"\0", 1)[0][:limit]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _fixed(text: str, size: int) -> bytes:
    """Encode into a field of fixed size, never cutting a character in two."""
    return text.encode()[:size].decode(errors="ignore").encode()


def _parse_bext(payload: bytes) -> Broadcast | None:
    if len(payload) < _BEXT_FIXED.size:
        return None
    fields = _BEXT_FIXED.unpack_from(payload)
    description, originator, reference, date, time = (_text(raw) for raw in fields[:5])
    low, high, version, umid = fields[5:9]
    return Broadcast(
        description=description,
        originator=originator,
        originator_reference=reference,
        origination_date=date,
        origination_time=time,
        time_reference=(high << 32) + low,
        umid=umid.rstrip(b"\0") if version >= 1 else b"",
        coding_history=_text(payload[_BEXT_FIXED.size :], limit=1 << 16).rstrip("\r\n"),
    )


def _build_bext(broadcast: Broadcast) -> bytes:
    fixed = _BEXT_FIXED.pack(
        _fixed(broadcast.description, 256),
        _fixed(broadcast.originator, 32),
        _fixed(broadcast.originator_reference, 32),
        _fixed(broadcast.origination_date, 10),
        _fixed(broadcast.origination_time, 8),
        broadcast.time_reference & 0xFFFFFFFF,
        broadcast.time_reference >> 32,
        2,
        broadcast.umid,
        *_loudness_fields(broadcast.loudness),
    )
    history = broadcast.coding_history.encode()
    return fixed + (history + b"\r\n" if history else b"")


def _loudness_fields(loudness: Loudness | None) -> tuple[int, ...]:
    if loudness is None:
        return (_NO_LOUDNESS,) * 5
    values = (
        loudness.integrated_lufs,
        loudness.range_lu,
        loudness.true_peak_dbtp,
        loudness.momentary_max_lufs,
        loudness.short_term_max_lufs,
    )
    return tuple(round(v * 100) if abs(v) < 100 else _NO_LOUDNESS for v in values)


def _parse_markers(cue: bytes, adtl: bytes) -> tuple[CueMarker, ...]:
    if len(cue) < 4:
        return ()
    count = min(struct.unpack_from("<I", cue)[0], (len(cue) - 4) // 24, _MAX_MARKERS)
    positions: dict[int, int] = {}
    for index in range(count):
        identifier, _, _, _, _, sample = struct.unpack_from("<II4sIII", cue, 4 + 24 * index)
        positions[identifier] = sample
    labels: dict[int, str] = {}
    lengths: dict[int, int] = {}
    for chunk_id, payload in _subchunks(adtl):
        if len(payload) < 4:
            continue
        identifier = struct.unpack_from("<I", payload)[0]
        if chunk_id == b"labl":
            labels[identifier] = _text(payload[4:])
        elif chunk_id == b"ltxt" and len(payload) >= 8:
            lengths[identifier] = struct.unpack_from("<I", payload, 4)[0]
    markers = (
        CueMarker(position_samples=position, label=labels.get(i, ""), length_samples=lengths.get(i, 0))
        for i, position in positions.items()
    )
    return tuple(sorted(markers, key=lambda m: m.position_samples))


def _build_cues(markers: tuple[CueMarker, ...]) -> bytes:
    points = (
        struct.pack("<II4sIII", i, m.position_samples, b"data", 0, 0, m.position_samples)
        for i, m in enumerate(markers, 1)
    )
    return struct.pack("<I", len(markers)) + b"".join(points)


def _build_labels(markers: tuple[CueMarker, ...]) -> bytes:
    parts: list[bytes] = []
    for i, marker in enumerate(markers, 1):
        parts.append(_build_subchunk(b"labl", struct.pack("<I", i) + marker.label.encode() + b"\0"))
        if marker.length_samples:
            region = struct.pack("<II4s4H", i, min(marker.length_samples, 0xFFFFFFFF), b"rgn ", 0, 0, 0, 0)
            parts.append(_build_subchunk(b"ltxt", region))
    return b"".join(parts)


def _parse_tags(info: bytes) -> dict[str, str]:
    tags: dict[str, str] = {}
    for chunk_id, payload in _subchunks(info):
        if re.fullmatch(rb"[A-Z0-9]{4}", chunk_id):
            tags[chunk_id.decode()] = _text(payload)
    return tags


def _build_tag(name: str, text: str) -> bytes:
    return _build_subchunk(name.encode(), text.encode() + b"\0")


def _build_subchunk(chunk_id: bytes, payload: bytes) -> bytes:
    return struct.pack("<4sI", chunk_id, len(payload)) + payload + b"\0" * (len(payload) & 1)
