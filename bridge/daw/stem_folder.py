"""The exchange every DAW takes: a folder of aligned files, the song's clock as MIDI, and a page of advice."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bridge.arrays import BLOCK_SAMPLES
from bridge.audio.quantiser import stem_dither_seed
from bridge.audio.reader import AudioReader, read_info, read_metadata
from bridge.audio.writer import AudioWriter
from bridge.clock.tempo_map import TempoMap
from bridge.daw.model import StemTrack
from bridge.errors import InputError, OutputError
from bridge.files import check_names, write_whole
from bridge.midi.write import WrittenLane, build_midi

__all__ = ["write_exchange_folder"]

_IMPORT_TEXT = """# How to import these stems

{n_stems} stems in `stems/`, all {rate} Hz, {duration}, all beginning at the same moment.
`song.mid` holds tempo, meter, markers and one track a depth lane (controller 1, 0 to 127).
{offset}
Import `song.mid` first, with its tempo, so that bars and markers are there before the audio is.

| program | tempo and markers | stems |
|---|---|---|
| Ableton Live | Drag `song.mid` into the arrangement and accept its tempo. Markers are in `markers.csv`. | \
Switch "Auto-Warp Long Samples" off (Settings, Record/Warp/Launch), or Warp off in every clip; drag to \
1.1.1. |
| Ardour | Import `song.mid` with its tempo map. Ardour keeps tempo changes on whole quarter notes, so \
bars within a ramp lie some milliseconds off. | Import to new tracks at the session start. |
| Bitwig Studio | Drag `song.mid` to the start; tempo comes with it. | Drag to the start; clip mode Raw. |
| Cubase, Nuendo | File, Import, MIDI File; then Project, Tempo Track. | Import at the project start; leave \
Musical Mode off. |
| FL Studio | File, Import, MIDI file, with "Realtime tempo". | \
Drag to bar 1; Stretch mode "Resample", time 0. |
| Logic Pro | File, Import, MIDI File, with tempo. | Drag to bar 1; Flex off, Follow Tempo off. |
| Pro Tools | File, Import, MIDI, with tempo and key. | Import to tracks, location Session Start; or \
Spot, since WAV files keep their time stamp. |
| Reaper | Insert, Media file; choose "Merge tempo map". | Insert at 0, or at the time stamp; item \
timebase Time. |
| Studio One | Open `song.mid` as a song, or drag to the tempo track. | Drag to the start; Tempo mode \
"Don't follow". |
"""


def write_exchange_folder(
    folder: Path | str,
    stems: Sequence[StemTrack],
    tempo_map: TempoMap,
    *,
    pro_tools: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write stems, song and advice into one folder.

    Args:
        folder: Made where it is missing.
        stems: All of one rate and length, all beginning at the start of the session.
        tempo_map: Tempo, meter and markers.
        pro_tools: Whether every stem becomes what Pro Tools takes as it is: a 24-bit WAV file with a time
            stamp (bext) that says where it begins, so that Spot places it.
        overwrite: Whether files there may be replaced.

    Returns:
        The folder.

    Raises:
        InputError: The stems do not line up, two have one file name, or one is too loud for 24 bits.
        OutputError: A file exists or cannot be written.
    """
    folder = Path(folder)
    infos = [read_info(stem.audio) for stem in stems]
    if not infos:
        raise InputError("no stems to exchange were given")
    odd = next(
        (
            i
            for i, s in zip(infos, stems, strict=True)
            if (i.sample_rate, i.n_samples, s.start_s)
            != (infos[0].sample_rate, infos[0].n_samples, stems[0].start_s)
        ),
        None,
    )
    if odd is not None:
        raise InputError(
            f"{odd.path}: differs from {infos[0].path} in rate, length or start; render the stems of a "
            "session together, so that they line up"
        )
    files = [folder / "stems" / (f"{s.audio.stem}.wav" if pro_tools else s.audio.name) for s in stems]
    check_names((stem.name, file) for stem, file in zip(stems, files, strict=True))
    lanes = [_depth_lane(stem, tempo_map) for stem in stems if stem.depth_points]
    texts = {
        "song.mid": build_midi(tempo_map, lanes, length_s=infos[0].duration_s),
        "tempo.csv": _tempo_csv(tempo_map),
        "markers.csv": _markers_csv(tempo_map),
        "IMPORT.md": _import_text(tempo_map, len(stems), infos[0].sample_rate, infos[0].duration_s).encode(),
    }
    targets = [folder / name for name in texts] + files
    sources = {stem.audio.resolve() for stem in stems}
    taken = next((t for t in targets if t.exists() and t.resolve() not in sources), None)
    if taken is not None and not overwrite:
        raise OutputError(f"{taken}: exists already. Give another folder, or allow it with --overwrite.")
    for stem, file in zip(stems, files, strict=True):
        if pro_tools and not _is_for_pro_tools(stem):
            _convert(stem, file, overwrite)
        else:
            _copy(stem.audio, file, overwrite)
    for name, data in texts.items():
        with write_whole(folder / name, overwrite=overwrite) as part:
            part.write_bytes(data)
    return folder


def _depth_lane(stem: StemTrack, tempo_map: TempoMap) -> WrittenLane:
    beats, values = np.array(stem.depth_points, np.float64).T
    return WrittenLane(name=f"{stem.name} depth", times_s=tempo_map.beats_to_seconds(beats), values=values)


def _copy(source: Path, target: Path, overwrite: bool) -> None:
    if target.exists() and target.samefile(source):
        return
    with write_whole(target, overwrite=overwrite) as part:
        shutil.copyfile(source, part)


def _is_for_pro_tools(stem: StemTrack) -> bool:
    info = read_info(stem.audio)
    is_stamped = read_metadata(stem.audio).broadcast is not None
    return (info.format, info.subtype) == ("WAV", "PCM_24") and is_stamped


def _convert(stem: StemTrack, target: Path, overwrite: bool) -> None:
    """Write a stem as a 24-bit WAV file with a time stamp: its own, or where it begins in the session."""
    with AudioReader(stem.audio) as reader:
        info = reader.info
        metadata = read_metadata(stem.audio)
        start = metadata.start_samples
        if start is None:
            start = max(0, round(stem.start_s * info.sample_rate))
        with AudioWriter(
            target,
            sample_rate=info.sample_rate,
            n_channels=info.n_channels,
            subtype="PCM_24",
            overwrite=overwrite,
            n_samples=info.n_samples,
            dither_seed=stem_dither_seed(0, stem.name),
            metadata=metadata.moved(start),
        ) as writer:
            peak = 0.0
            while (block := reader.read(BLOCK_SAMPLES)).shape[1]:
                peak = max(peak, float(np.abs(block).max()))
                writer.write(block)
            if peak > 1.0:
                raise InputError(
                    f"{stem.audio}: peaks {20.0 * math.log10(peak):.2f} dB above full scale, which 24 bits "
                    "cannot hold. Render it lower (--set level.mode=peak), or leave out --format"
                )


def _tempo_csv(tempo_map: TempoMap) -> bytes:
    rows = [("bar:beat:tick", "beats", "seconds", "bpm", "to the next")]
    for tempo in tempo_map.tempos:
        beats = tempo.tick / tempo_map.ticks_per_beat
        rows.append((*_when(tempo_map, beats), f"{tempo.bpm:.6f}", tempo.ramp))
    return _csv(rows)


def _markers_csv(tempo_map: TempoMap) -> bytes:
    rows = [("bar:beat:tick", "beats", "seconds", "name")]
    rows += [(*_when(tempo_map, marker.beats), marker.name) for marker in tempo_map.markers]
    return _csv(rows)


def _when(tempo_map: TempoMap, beats: float) -> tuple[str, str, str]:
    seconds = float(tempo_map.beats_to_seconds(beats))
    return tempo_map.position_text(beats), f"{beats:.6f}", f"{seconds:.6f}"


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _import_text(tempo_map: TempoMap, n_stems: int, sample_rate: int, duration_s: float) -> str:
    offset = ""
    if tempo_map.offset_s:
        offset = (
            f"\nBar 1 lies {tempo_map.offset_s:+.6f} s from the start of the stems: move `song.mid` by it.\n"
        )
    minutes, seconds = divmod(duration_s, 60)
    return _IMPORT_TEXT.format(
        n_stems=n_stems, rate=sample_rate, duration=f"{int(minutes)}:{seconds:06.3f}", offset=offset
    )
