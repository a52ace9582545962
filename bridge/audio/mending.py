"""Headers that do not say what the file holds, set right before a decoder sees them.

The decoder reads a view of the file in which the header states the length that is there. The file itself is
never touched.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from bridge.audio.containers import Chunk, Container, walk_chunks
from bridge.audio.flac import count_samples, read_stream_info
from bridge.audio.mpeg import MpegFrames, end_of_id3, scan_frames
from bridge.audio.pieced_file import PiecedFile, patch
from bridge.audio.wide_pcm import PcmLayout, find_wide_pcm
from bridge.errors import AudioFileError

__all__ = ["MendedFile", "mend"]

_RIFF_LIMIT: Final = 0xFFFFFFFF
_MAX_FMT_BYTES: Final = 1024
_GUID_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
_MPEG_SUFFIXES: Final = (".mp3", ".mp2", ".mp1", ".mpga")
_MOST_FRAME_RATIO: Final = 64
"""The longest frame is no more than so many times the shortest one of its layer and rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MendedFile:
    """Hold how a file is read.

    Args:
        view: What the decoder reads in place of the file; None where the file itself is right.
        n_samples: Samples a channel, where they were counted and the header need not say so.
        is_counted: Whether all samples are known to be there.
        pcm: How the samples lie where libsndfile would misread them.
    """

    view: PiecedFile | None = None
    n_samples: int | None = None
    is_counted: bool = False
    pcm: PcmLayout | None = None


def mend(path: Path, file: BinaryIO) -> MendedFile:
    """Find how long a file really is where its header may not say so.

    Args:
        path: Its name, for messages.
        file: Open for reading; the view, if there is one, goes on reading from it.

    Raises:
        AudioFileError: The file is truncated.
    """
    container = walk_chunks(file)
    if container is not None:
        return _mend_container(path, file, container)
    file.seek(end_of_id3(file))
    head = file.read(4)
    if head == b"fLaC":
        return _mend_flac(path, file)
    is_frame = (
        len(head) == 4 and head[0] == 0xFF and head[1] >= 0xE0 and bool(head[1] & 6)
    )  # AAC has no layer
    if is_frame or path.suffix.lower() in _MPEG_SUFFIXES:
        frames = scan_frames(file)
        if frames is not None:
            return _mend_mpeg(path, file, frames)
    return MendedFile()


def _mend_container(path: Path, file: BinaryIO, container: Container) -> MendedFile:
    audio = container.audio
    if audio is None:
        return MendedFile()
    if audio.is_truncated:
        raise AudioFileError(
            f"{path}: truncated: its header promises {audio.declared_size} bytes of audio, {audio.size} are "
            "there. Copy or export it again."
        )
    pcm = find_wide_pcm(path, file, container)
    if pcm is not None:
        return MendedFile(pcm=pcm, is_counted=True)
    samples = range(audio.offset, audio.offset + audio.size)
    if audio.is_open and audio.size:
        return MendedFile(view=PiecedFile(file, [*_container_header(file, container, audio), samples]))
    # libsndfile 1.2.2 knows no BW64, and loses its way in RF64 behind a chunk of odd length.
    is_odd = any(c.declared_size & 1 for c in container.chunks if c.offset < audio.offset)
    if container.magic == b"BW64" or (container.magic == b"RF64" and is_odd):
        return MendedFile(view=PiecedFile(file, [_rf64_header(file, container, audio.size), samples]))
    patches = _w64_coding(file, container)
    if patches:
        return MendedFile(view=PiecedFile(file, list(patch(file.seek(0, 2), patches))))
    return MendedFile()


def _container_header(file: BinaryIO, container: Container, audio: Chunk) -> Iterable[bytes | range]:
    """Return what stands in front of the samples, with their real size in every place that states it."""
    begin, n_bytes = audio.offset - audio.n_skipped, audio.size
    total, magic = begin + n_bytes, container.magic
    if magic == b"riff":
        patches = {16: struct.pack("<Q", total), begin - 8: struct.pack("<Q", n_bytes + 24)}
        return patch(begin, patches | _w64_coding(file, container))
    if magic == b"caff":
        return patch(begin, {begin - 12: struct.pack(">Q", n_bytes + 4)})
    if magic == b".snd":
        return patch(begin, {8: struct.pack(">I", min(n_bytes, _RIFF_LIMIT))})
    if magic == b"FORM":
        patches = {4: struct.pack(">I", total - 8), begin - 12: struct.pack(">I", n_bytes + 8)}
        return patch(begin, patches | _aiff_frames(file, container, n_bytes))
    if magic in (b"RF64", b"BW64") or total - 8 > _RIFF_LIMIT:
        return [_rf64_header(file, container, n_bytes)]
    order = container.byte_order
    return patch(
        begin, {4: struct.pack(order + "I", total - 8), begin - 4: struct.pack(order + "I", n_bytes)}
    )


def _rf64_header(file: BinaryIO, container: Container, n_bytes: int) -> bytes:
    """Return a header of only what decodes the samples, in the form that states any size."""
    fmt = container.find(b"fmt ")
    payload = b""
    if fmt is not None:
        file.seek(fmt.offset)
        payload = file.read(min(fmt.size, _MAX_FMT_BYTES) & ~1)
    head = struct.pack("<4sI", b"fmt ", len(payload)) + payload + b"data\xff\xff\xff\xff"
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 40 + len(head) + n_bytes, n_bytes, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + head


def _w64_coding(file: BinaryIO, container: Container) -> dict[int, bytes]:
    """Return the patch of the sample type of a W64 that states it in the extensible way.

    libsndfile 1.2.2 takes all of these for integers, floats too, and reads them as noise.
    """
    fmt = container.find(b"fmt ") if container.magic == b"riff" else None
    if fmt is None or fmt.size < 40:
        return {}
    file.seek(fmt.offset)
    head = file.read(40)
    if head[:2] != b"\xfe\xff" or head[26:] != _GUID_TAIL or head[24:26] == b"\1\0":
        return {}
    return {fmt.offset: head[24:26]}


def _aiff_frames(file: BinaryIO, container: Container, n_bytes: int) -> dict[int, bytes]:
    """Return the patch of the number of frames that an AIFF states beside its size."""
    common = container.find(b"COMM")
    if common is None or common.size < 18:
        return {}
    file.seek(common.offset)
    head = file.read(22)
    n_channels, bits = struct.unpack(">HIH", head[:8])[::2]
    coding = head[18:22] if container.form == b"AIFC" else b"NONE"
    sample_bytes = {b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8, b"ulaw": 1, b"ULAW": 1, b"alaw": 1,
                    b"ALAW": 1, b"ima4": 34}.get(coding, -(-bits // 8))  # fmt: skip
    n_frames = n_bytes // max(1, n_channels * sample_bytes)
    return {common.offset + 2: struct.pack(">I", min(n_frames, _RIFF_LIMIT))}


def _mend_flac(path: Path, file: BinaryIO) -> MendedFile:
    info = read_stream_info(file)
    if info is None or info.n_samples:
        return MendedFile()
    n_samples = count_samples(file, info)
    if n_samples is None:
        raise AudioFileError(
            f"{path}: truncated: its header states no length, and it does not end with a whole frame. "
            "Copy or export it again."
        )
    stop = file.seek(0, 2)
    patches = {info.patch_offset: info.patched(file, n_samples)}
    return MendedFile(view=PiecedFile(file, list(patch(stop, patches))))


def _mend_mpeg(path: Path, file: BinaryIO, frames: MpegFrames) -> MendedFile:
    if frames.tag is None:
        view = PiecedFile(
            file,
            [frames.id3, *frames.runs],
            claimed_bytes=_MOST_FRAME_RATIO * (len(frames.id3) + sum(map(len, frames.runs))),
        )
        n_samples = frames.n_frames * frames.frame_samples
        return MendedFile(view=view, n_samples=n_samples, is_counted=True)
    n_missing = frames.tagged_frames - frames.n_frames
    if n_missing > 1 or (n_missing == 1 and frames.is_cut):  # some encoders count the tag itself
        raise AudioFileError(
            f"{path}: truncated: its length tag promises {frames.tagged_frames} frames, {frames.n_frames} "
            "are there. Copy or export it again."
        )
    if n_missing == 0 and frames.tag.start == frames.id3.stop and len(frames.runs) == 1:
        return MendedFile(is_counted=True)
    place = frames.tag_count - frames.tag.start
    file.seek(frames.tag.start)
    tag = file.read(len(frames.tag))
    # The number of frames is followed by one of bytes, if the tag has that.
    sizes = struct.pack(">II", frames.n_frames, len(tag) + sum(map(len, frames.runs)))
    sizes = sizes[: 8 if tag[place - 1] & 2 else 4]
    tag = tag[:place] + sizes + tag[place + len(sizes) :]
    view = PiecedFile(file, [frames.id3, tag, *frames.runs])
    return MendedFile(view=view, is_counted=True)
