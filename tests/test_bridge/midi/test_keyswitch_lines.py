"""Which keyswitch was pressed last."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np

from bridge.clock.tempo_map import TempoMap
from bridge.midi.file import MidiFile, read_midi
from bridge.midi.keyswitch_lines import FADE_S, read_keyswitches

CLOCK = TempoMap.constant(120.0)


def song(folder: Path, *presses: tuple[float, int]) -> MidiFile:
    """Write keys pressed for a 32nd at some beats, at 120 BPM."""
    file = mido.MidiFile(type=0, ticks_per_beat=960)
    events = [(beat, mido.Message("note_on", note=key)) for beat, key in presses]
    events += [(beat + 0.125, mido.Message("note_off", note=key)) for beat, key in presses]
    track, now = mido.MidiTrack(), 0
    for beat, message in sorted(events, key=lambda event: event[0]):
        track.append(message.copy(time=round(beat * 960) - now))
        now = round(beat * 960)
    file.tracks.append(track)
    file.save(folder / "song.mid")
    return read_midi(folder / "song.mid")


def test_the_last_key_pressed_holds(tmp_path: Path) -> None:
    """Until the next one, long after it was let go; other keys are only notes."""
    lines = read_keyswitches(song(tmp_path, (2.0, 38), (3.0, 60), (6.0, 36)), CLOCK, [(36, None), (38, None)])
    at = np.array([0.5, 0.99, 1.0 + FADE_S, 2.9, 3.0 + FADE_S, 60.0])

    assert lines.values(0, at).tolist() == [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]
    assert lines.values(1, at).tolist() == [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]


def test_weights_cross_fade_and_add_up_to_one(tmp_path: Path) -> None:
    """Straight over 50 ms, also where the next key comes before the fade is over."""
    lines = read_keyswitches(
        song(tmp_path, (2.0, 38), (2.05, 40), (2.06, 36)), CLOCK, [(36, None), (38, None), (40, None)]
    )
    at = np.linspace(0.9, 1.2, 3001)
    weights = np.stack([lines.values(index, at) for index in range(3)])

    assert np.allclose(weights.sum(axis=0), 1.0)
    assert np.abs(np.diff(weights, axis=1)).max() <= 1e-4 / FADE_S * 1.001
    assert np.isclose(lines.values(1, np.array([1.0125]))[0], 0.25)
    assert weights[0, -1] == 1.0


def test_what_stands_before_any_key_holds_until_one_is_pressed(tmp_path: Path) -> None:
    """A place of its own that no key presses."""
    lines = read_keyswitches(song(tmp_path, (2.0, 36)), CLOCK, [(-1, None), (36, None)])

    assert lines.values(0, np.array([0.0, 0.99, 1.1])).tolist() == [1.0, 1.0, 0.0]


def test_of_keys_pressed_together_the_last_listed_counts(tmp_path: Path) -> None:
    """Whatever their order in the file."""
    for presses in (((2.0, 36), (2.0, 40)), ((2.0, 40), (2.0, 36))):
        lines = read_keyswitches(song(tmp_path, *presses), CLOCK, [(36, None), (40, None)])
        assert lines.values(1, np.array([1.2])).tolist() == [1.0]


def test_without_a_song_the_first_holds() -> None:
    """Nothing presses any key."""
    assert read_keyswitches(None, CLOCK, [(36, None), (38, None)]).values(
        0, np.array([0.0, 99.0])
    ).tolist() == [1.0, 1.0]


def test_drums_press_no_key_and_a_channel_may_be_named(tmp_path: Path) -> None:
    """A kick drum is C1 too; a bass on channel 2 plays it as well, and the switches are on 16."""
    file = mido.MidiFile(type=1, ticks_per_beat=960)
    for channel in (10, 2, 16):
        press = mido.Message("note_on", channel=channel - 1, note=38, time=960 * channel)
        file.tracks.append(
            mido.MidiTrack([press, mido.Message("note_off", channel=channel - 1, note=38, time=9)])
        )
    file.save(tmp_path / "song.mid")
    midi, after_s = read_midi(tmp_path / "song.mid"), np.array([1.1, 5.1, 8.1])

    assert read_keyswitches(midi, CLOCK, [(36, None), (38, None)]).values(1, after_s).tolist() == [1, 1, 1]
    assert read_keyswitches(midi, CLOCK, [(36, None), (38, 16)]).values(1, after_s).tolist() == [0, 0, 1]
    assert read_keyswitches(midi, CLOCK, [(36, None), (38, 10)]).values(1, after_s).tolist() == [0, 1, 1]
