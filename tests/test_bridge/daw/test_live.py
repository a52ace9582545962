"""Live sets give the tempo that Live's MIDI files lack, and where their audio lies."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from bridge.daw.read import read_session
from bridge.errors import SessionError

SET = """<?xml version="1.0" encoding="UTF-8"?>
<Ableton MajorVersion="5" MinorVersion="12.0" Creator="Ableton Live 12.0">
  <LiveSet>
    <Tracks>
      <AudioTrack Id="1">
        <Name><EffectiveName Value="Vox"/></Name>
        <DeviceChain>
          <Mixer><Speaker><Manual Value="false"/></Speaker></Mixer>
          <MainSequencer><Sample><ArrangerAutomation><Events>
            <AudioClip Id="0" Time="4">
              <CurrentStart Value="4"/><CurrentEnd Value="8"/>
              <Name Value="unwarped"/><IsWarped Value="false"/>
              <Loop><LoopStart Value="0.5"/><StartRelative Value="0"/></Loop>
              <SampleRef><FileRef><Path Value="/sounds/vox.wav"/></FileRef></SampleRef>
            </AudioClip>
            <AudioClip Id="1" Time="8">
              <CurrentStart Value="8"/><CurrentEnd Value="12"/>
              <Name Value="straight"/><IsWarped Value="true"/>
              <Loop><LoopStart Value="2"/><StartRelative Value="0"/></Loop>
              <WarpMarkers>
                <WarpMarker SecTime="0" BeatTime="0"/><WarpMarker SecTime="4" BeatTime="8"/>
              </WarpMarkers>
              <SampleRef><FileRef><Path Value="/sounds/vox.wav"/></FileRef></SampleRef>
            </AudioClip>
            <AudioClip Id="2" Time="12">
              <CurrentStart Value="12"/><CurrentEnd Value="14"/>
              <Name Value="slower"/><IsWarped Value="true"/>
              <Loop><LoopStart Value="0"/><StartRelative Value="0"/></Loop>
              <WarpMarkers>
                <WarpMarker SecTime="0" BeatTime="0"/><WarpMarker SecTime="5" BeatTime="8"/>
              </WarpMarkers>
              <SampleRef><FileRef><Path Value="/sounds/vox.wav"/></FileRef></SampleRef>
            </AudioClip>
          </Events></ArrangerAutomation></Sample></MainSequencer>
        </DeviceChain>
      </AudioTrack>
    </Tracks>
    <MainTrack>
      <AutomationEnvelopes><Envelopes>
        <AutomationEnvelope Id="0">
          <EnvelopeTarget><PointeeId Value="8"/></EnvelopeTarget>
          <Automation><Events>
            <FloatEvent Id="0" Time="-63072000" Value="120"/>
            <FloatEvent Id="1" Time="16" Value="120"/>
            <FloatEvent Id="2" Time="24" Value="90"/>
            <FloatEvent Id="3" Time="24" Value="140"/>
          </Events></Automation>
        </AutomationEnvelope>
        <AutomationEnvelope Id="1">
          <EnvelopeTarget><PointeeId Value="10"/></EnvelopeTarget>
          <Automation><Events>
            <EnumEvent Id="0" Time="-63072000" Value="201"/><EnumEvent Id="1" Time="16" Value="303"/>
          </Events></Automation>
        </AutomationEnvelope>
      </Envelopes></AutomationEnvelopes>
      <DeviceChain><Mixer>
        <Tempo><Manual Value="120"/><AutomationTarget Id="8"/></Tempo>
        <TimeSignature><Manual Value="201"/><AutomationTarget Id="10"/></TimeSignature>
      </Mixer></DeviceChain>
    </MainTrack>
    <Locators><Locators>
      <Locator Id="0"><Time Value="16"/><Name Value="Chorus"/></Locator>
    </Locators></Locators>
  </LiveSet>
</Ableton>
"""


def live_set(folder: Path, text: str = SET) -> Path:
    path = folder / "song.als"
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.mark.parametrize("master", ["MainTrack", "MasterTrack"])
def test_tempo_meter_and_locators_are_read(tmp_path: Path, master: str) -> None:
    """A ramp, a jump at its end, 7/8 and a locator; before Live 12 the main track was the master track."""
    clock = read_session(live_set(tmp_path, SET.replace("MainTrack", master))).tempo_map
    assert float(clock.beats_to_seconds(16)) == pytest.approx(8)
    # The ramp from 120 to 90 over 8 beats, held for a sixteenth at a time, then 140 at once.
    ramp_s = sum(15.0 / (120 - 30 * step / 32) for step in range(32))
    assert float(clock.beats_to_seconds(24)) == pytest.approx(8 + ramp_s, abs=1e-9)
    assert float(clock.beats_to_seconds(38)) == pytest.approx(8 + ramp_s + 6, abs=1e-9)
    assert (str(clock.meter_at(0)), str(clock.meter_at(16))) == ("4/4", "7/8")
    assert [(m.name, m.beats) for m in clock.markers] == [("Chorus", 16)]


def test_clips_are_read_where_they_are_not_bent(tmp_path: Path) -> None:
    """Unwarped clips and clips warped to the set's own tempo are placed; a stretched one has a rate."""
    session = read_session(live_set(tmp_path))
    track = session.tracks[0]
    assert (track.name, track.is_muted) == ("Vox", True)
    placed = [(c.name, c.start_s, c.duration_s, c.offset_s, c.media) for c in track.clips]
    assert placed == [
        ("unwarped", 2.0, 2.0, 0.5, "/sounds/vox.wav"), ("straight", 4.0, 2.0, 1.0, "/sounds/vox.wav"),
        ("slower", 6.0, 1.0, 0.0, "/sounds/vox.wav"),
    ]  # fmt: skip
    assert [(c.rate, c.keeps_pitch) for c in track.clips] == [(1.0, False), (1.0, False), (1.25, True)]


def test_a_bent_clip_is_left_out_by_name(tmp_path: Path) -> None:
    """Warp markers at two tempos within a clip are no one rate."""
    bent = SET.replace(
        '<WarpMarker SecTime="5" BeatTime="8"/>',
        '<WarpMarker SecTime="0.7" BeatTime="1"/><WarpMarker SecTime="5" BeatTime="8"/>',
    )
    session = read_session(live_set(tmp_path, bent))
    assert len(session.tracks[0].clips) == 2
    assert "clip 'slower' is stretched by a changing rate" in session.warnings[0]


def with_tempo(points: list[tuple[float, float]]) -> str:
    events = "".join(f'<FloatEvent Id="0" Time="{at}" Value="{bpm}"/>' for at, bpm in points)
    start = SET.index('<FloatEvent Id="0" Time="-63072000" Value="120"/>')
    end = SET.index("</Events></Automation>", start)
    return SET[:start] + events + SET[end:]


def test_a_ramp_takes_the_time_it_was_measured_to_take_in_live(tmp_path: Path) -> None:
    """Bars of a ramp from 150 to 50 BPM over four bars, as read off Live's own ruler."""
    text = with_tempo([(-63072000, 150), (0, 150), (16, 50)]).replace('Value="303"', 'Value="201"')
    clock = read_session(live_set(tmp_path, text)).tempo_map
    bars_s = clock.beats_to_seconds([0, 4, 8, 12, 16])
    np.testing.assert_allclose(bars_s, [0, 1.740, 3.867, 6.604, 10.447], atol=6e-4)  # shown in milliseconds


def test_points_between_sixteenths_count_from_the_next_one(tmp_path: Path) -> None:
    """Live looks once a sixteenth: points closer than that, or on one beat, are what is found there."""
    clock = read_session(
        live_set(tmp_path, with_tempo([(0, 120), (4, 120), (4.00001, 140), (8, 140)]))
    ).tempo_map
    assert float(clock.beats_to_seconds(8)) == pytest.approx(4 * 0.5 + 0.125 + 3.75 * 60 / 140)
    three = with_tempo([(0, 120), (4, 120), (4, 90), (4, 60)])
    assert float(read_session(live_set(tmp_path, three)).tempo_map.bpm_at(4)) == 60


@pytest.mark.parametrize(("creator", "n_warnings"), [("12.2", 0), ("12.3", 1)])
def test_a_newer_live_whose_ramps_were_not_measured_is_named(
    tmp_path: Path, creator: str, n_warnings: int
) -> None:
    """From 12.3 on the law may be another."""
    text = SET.replace("Ableton Live 12.0", f"Ableton Live {creator}")
    warnings = read_session(live_set(tmp_path, text)).warnings
    assert sum("steps of a sixteenth" in warning for warning in warnings) == n_warnings


def test_audio_of_live_up_to_10_is_found_by_its_folders(tmp_path: Path) -> None:
    """A folder an element, and the name beside it; an empty folder is the one above."""
    old = """<FileRef><RelativePath><RelativePathElement Dir="Samples"/><RelativePathElement Dir="Imported"/>
    </RelativePath><Name Value="vox.wav"/></FileRef>"""
    text = SET.replace('<FileRef><Path Value="/sounds/vox.wav"/></FileRef>', old, 1)
    clip = read_session(live_set(tmp_path, text)).tracks[0].clips[0]
    assert clip.media == str(tmp_path / "Samples/Imported/vox.wav")


MIDI_CLIP = """<MidiClip Id="0" Time="4"><CurrentStart Value="4"/><CurrentEnd Value="12"/>
  <Loop><LoopStart Value="1"/><LoopEnd Value="4"/><StartRelative Value="1"/><LoopOn Value="{loops}"/></Loop>
  <Name Value="riff"/><Notes><KeyTracks><KeyTrack Id="0"><Notes>
    <MidiNoteEvent Time="1" Duration="0.5" Velocity="127" IsEnabled="true"/>
    <MidiNoteEvent Time="3.5" Duration="2" Velocity="64" IsEnabled="true"/>
    <MidiNoteEvent Time="2" Duration="1" Velocity="64" IsEnabled="false"/>
  </Notes><MidiKey Value="60"/></KeyTrack></KeyTracks></Notes></MidiClip>"""


@pytest.mark.parametrize(("loops", "notes"), [
    ("false", [(5.5, 2.0)]),
    ("true", [(5.5, 0.5), (6.0, 0.5), (8.5, 0.5), (9.0, 0.5), (11.5, 0.5)]),
])  # fmt: skip
def test_midi_clips_are_read_as_they_sound(
    tmp_path: Path, loops: str, notes: list[tuple[float, float]]
) -> None:
    """From the start marker on, cut at the loop's end and begun again; disabled notes are silent."""
    events = "<ClipTimeable><ArrangerAutomation><Events>{}</Events></ArrangerAutomation></ClipTimeable>"
    text = SET.replace("<MainSequencer>", "<MainSequencer>" + events.format(MIDI_CLIP.format(loops=loops)))
    track = read_session(live_set(tmp_path, text)).tracks[0]
    assert [(n.start_beats, n.duration_beats) for n in track.notes] == notes
    assert {n.key for n in track.notes} == {60}


def test_without_automation_the_plain_tempo_counts(tmp_path: Path) -> None:
    """A set without envelopes has the tempo and meter of its controls."""
    start, end = SET.index("<AutomationEnvelopes>"), SET.index("</AutomationEnvelopes>") + 22
    plain = (SET[:start] + SET[end:]).replace('<Manual Value="120"/>', '<Manual Value="97.5"/>')
    clock = read_session(live_set(tmp_path, plain)).tempo_map
    assert [t.bpm for t in clock.tempos] == [pytest.approx(97.5)]


@pytest.mark.parametrize(("data", "match"), [
    (b"not gzip", "cannot be unpacked|cannot be read"),
    (gzip.compress(SET.encode())[:200], "cannot be unpacked"),
    (gzip.compress(b"<Ableton/>"), "not a Live set"),
    (gzip.compress(b'<!DOCTYPE a [<!ENTITY b "c">]><Ableton/>'), "declares a document type"),
    (gzip.compress(SET.replace('"-63072000"', '"x"').encode()), "is not a usable number"),
], ids=["not-gzip", "truncated", "no-set", "entity", "no-number"])  # fmt: skip
def test_damaged_sets_are_refused_in_one_line(tmp_path: Path, data: bytes, match: str) -> None:
    """Foreign, truncated and hostile files name file and fault."""
    path = tmp_path / "song.als"
    path.write_bytes(data)
    with pytest.raises(SessionError, match=match) as caught:
        read_session(path)
    assert "song.als" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """Unpacking stops at the limit."""
    from bridge.daw.untrusted import read_gzip

    path = tmp_path / "bomb.als"
    path.write_bytes(gzip.compress(bytes(4 << 20)))
    with pytest.raises(SessionError, match="unpacks to more than 1 MiB"):
        list(read_gzip(path, limit_bytes=1 << 20))
