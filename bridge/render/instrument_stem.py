"""Make a stem of MIDI: an instrument plays a song's notes into an audio file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from bridge.arrays import BLOCK_SAMPLES, AudioArray
from bridge.audio.writer import AudioWriter
from bridge.clock.tempo_map import TempoMap
from bridge.errors import MidiFileError, ProcessorError
from bridge.midi.file import MidiFile
from bridge.midi.notes import timed_messages
from bridge.processors.vst3 import VST3

__all__ = ["play_midi"]


def play_midi(
    plugin: VST3,
    midi: MidiFile,
    tempo_map: TempoMap,
    path: Path,
    *,
    sample_rate: int = 48000,
    channel: int | None = None,
    track: int | str | None = None,
    overwrite: bool = False,
    has_all_outputs: bool = False,
) -> float:
    """Write what an instrument plays as stereo float, from the start of the song to its last sound.

    Args:
        plugin: The instrument.
        midi: Notes, bends and controllers.
        tempo_map: The song's clock.
        path: The stem.
        sample_rate: Hz.
        channel: Play only this MIDI channel, 1..16.
        track: Play only this track, by number from 1 or by name.
        overwrite: Whether a file of that name may be replaced.
        has_all_outputs: Whether every output of the instrument becomes a stem: the main one is `path`, the
            others have their number before its suffix (``bass.2.wav``).

    Returns:
        The stem's length in seconds.

    Raises:
        MidiFileError: No such track, or nothing to play.
        ProcessorError: The plugin is an effect.
        PluginError: All outputs are wanted and the plugin has one, or its host gives one.
    """
    if not plugin.is_instrument:
        raise ProcessorError(f"{plugin.name}: an effect takes audio, not notes; render a stem through it")
    messages = timed_messages(midi, tempo_map, channel=channel, track=track)
    if not any(message[0] & 0xF0 == 0x90 for _, message in messages):
        raise MidiFileError(
            f"{midi.name}: no notes to play there; to see its tracks and channels run: reverie midi show"
        )
    duration_s = float(tempo_map.ticks_to_seconds(midi.end_tick)) + plugin.tail_seconds
    n_samples = round(duration_s * sample_rate)
    plugin.play(messages)
    others = plugin.open_outputs() if has_all_outputs else ()
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                AudioWriter(
                    place,
                    sample_rate=sample_rate,
                    n_channels=n_channels,
                    subtype="FLOAT",
                    overwrite=overwrite,
                    n_samples=n_samples,
                )
            )
            for place, n_channels in zip(_places(path, len(others)), (2, *others), strict=True)
        ]

        def write(sound: AudioArray) -> None:
            parts = np.split(sound, np.cumsum((2, *others))[:-1].tolist())
            for writer, part in zip(writers, parts, strict=True):
                writer.write(np.ascontiguousarray(part))

        for start in range(0, n_samples, BLOCK_SAMPLES):
            silence = np.zeros((2, min(BLOCK_SAMPLES, n_samples - start)), np.float32)
            write(plugin.process(silence, sample_rate, reset=False))
        write(plugin.flush())
    return n_samples / sample_rate


def _places(path: Path, n_others: int) -> list[Path]:
    return [path, *(path.with_name(f"{path.stem}.{i}{path.suffix}") for i in range(2, n_others + 2))]
