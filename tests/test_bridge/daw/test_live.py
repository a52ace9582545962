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


def curved(controls: tuple[float, float, float, float]) -> str:
    names = ("CurveControl1X", "CurveControl1Y", "CurveControl2X", "CurveControl2Y")
    facts = " ".join(f'{name}="{value}"' for name, value in zip(names, controls, strict=True))
    start = '<FloatEvent Id="0" Time="{}" Value="{}"'
    text = with_tempo([(0, 120), (726, 120), (738, 20)]).replace('Value="303"', 'Value="201"')
    return text.replace(f"{start.format(726, 120)}/>", f"{start.format(726, 120)} {facts}/>")


def test_a_curve_of_tempo_takes_the_time_live_wrote_into_warp_markers(tmp_path: Path) -> None:
    """Times at which Live 11 itself put beats of a clip recorded along such a tempo."""
    session = read_session(live_set(tmp_path, curved((0.40234375, 0.19921875, 0.80078125, 0.59765625))))
    times_s = session.tempo_map.beats_to_seconds([726.25, 737.25, 737.5, 737.75, 738])
    np.testing.assert_allclose(times_s, [363.125, 371.8881, 372.3652, 372.9026, 373.5283], atol=0.007)
    assert "tempo curves are read as Bezier curves" in session.warnings[0]


def test_a_curve_with_its_controls_on_the_line_is_the_line(tmp_path: Path) -> None:
    """At a third and two thirds of the way."""
    third = 1 / 3
    line = read_session(live_set(tmp_path, with_tempo([(0, 120), (726, 120), (738, 20)]))).tempo_map
    bent = read_session(live_set(tmp_path, curved((third, third, 2 * third, 2 * third)))).tempo_map
    beats = np.linspace(720, 740, 81)
    np.testing.assert_allclose(bent.beats_to_seconds(beats), line.beats_to_seconds(beats), atol=1e-9)


def test_a_curve_of_a_fader_is_lines_along_it(tmp_path: Path) -> None:
    """With controls at (1/3, 0) and (2/3, 1), beats go evenly and the value is 3t² - 2t³."""
    facts = f'CurveControl1X="{1 / 3}" CurveControl1Y="0" CurveControl2X="{2 / 3}" CurveControl2Y="1"'
    points = f'<FloatEvent Time="0" Value="0" {facts}/><FloatEvent Time="8" Value="1"/>'
    lane = (
        '<AutomationEnvelopes><Envelopes><AutomationEnvelope><EnvelopeTarget><PointeeId Value="77"/>'
        f"</EnvelopeTarget><Automation><Events>{points}</Events></Automation></AutomationEnvelope></Envelopes>"
        "</AutomationEnvelopes>"
    )
    volume = '<Volume><Manual Value="1"/><AutomationTarget Id="77"/></Volume>'
    text = SET.replace("<Mixer><Speaker>", f"<Mixer>{volume}<Speaker>", 1).replace(
        "<DeviceChain>", f"{lane}<DeviceChain>", 1
    )
    (found,) = read_session(live_set(tmp_path, text)).tracks[0].automation
    beats, values, is_line = zip(*found.points, strict=True)
    at = np.array(beats) / 8
    np.testing.assert_allclose(values, 3 * at**2 - 2 * at**3, atol=1e-9)
    assert len(beats) == 33
    assert all(is_line)


def test_a_song_with_far_too_many_steps_is_read_as_lines_and_says_how_far_they_lead(tmp_path: Path) -> None:
    """Steps begin a ramp from 100 to 200 BPM too slowly by half of 0.15 s - 0.075 s in the end."""
    session = read_session(live_set(tmp_path, with_tempo([(0, 100), (26_000, 200)])))
    assert "moves over 26000 beats, more than the 25000" in session.warnings[0]
    assert "up to 0.037 s away" in session.warnings[0] or "up to 0.038 s away" in session.warnings[0]
    ramp_s = 60 * 26_000 * np.log(2) / 100
    assert float(session.tempo_map.beats_to_seconds(26_000)) == pytest.approx(ramp_s, abs=1e-3)


def test_locators_without_names_are_numbered_and_a_missing_tempo_is_said(tmp_path: Path) -> None:
    """A place has a name to go to; 120 BPM are a guess."""
    start, end = SET.index("<AutomationEnvelopes>"), SET.index("</AutomationEnvelopes>") + 22
    text = (SET[:start] + SET[end:]).replace('<Name Value="Chorus"/>', '<Name Value=""/>')
    session = read_session(live_set(tmp_path, text.replace('<Tempo><Manual Value="120"/>', "<Tempo>")))
    assert [marker.name for marker in session.tempo_map.markers] == ["Locator 1"]
    assert "says no tempo: 120 BPM are taken" in session.warnings[0]


def test_loops_and_starts_are_met_within_rounding(tmp_path: Path) -> None:
    """A loop of a third of 8 beats in six decimals plays thrice; a note a hair early is the first."""
    clip = MIDI_CLIP.format(loops="true").replace('LoopStart Value="1"', 'LoopStart Value="0"')
    clip = clip.replace('LoopEnd Value="4"', 'LoopEnd Value="2.666666"').replace(
        'StartRelative Value="1"', 'StartRelative Value="0"'
    )
    clip = clip.replace('Time="1" Duration', 'Time="-0.0000003" Duration')
    events = f"<ClipTimeable><ArrangerAutomation><Events>{clip}</Events></ArrangerAutomation></ClipTimeable>"
    text = SET.replace("<MainSequencer>", "<MainSequencer>" + events)
    starts = [n.start_beats for n in read_session(live_set(tmp_path, text)).tracks[0].notes]
    assert starts == pytest.approx([4.0, 6.666666, 9.333332])


def test_a_file_that_is_no_gzip_is_told_in_words(tmp_path: Path) -> None:
    """Without the bytes as Python writes them."""
    path = tmp_path / "junk.als"
    path.write_bytes(b"JUNK")
    with pytest.raises(SessionError, match=r"cannot be unpacked \(it is no gzip file\)"):
        read_session(path)


def test_clips_are_named_with_their_track_and_place(tmp_path: Path) -> None:
    """A clip without a name is found again too."""
    text = SET.replace('<Name Value="slower"/>', '<Name Value=""/><PitchCoarse Value="1"/>')
    (warning,) = read_session(live_set(tmp_path, text)).warnings
    assert warning.startswith("track 'Vox' at 6.000 s: a clip without a name is transposed: left out")
