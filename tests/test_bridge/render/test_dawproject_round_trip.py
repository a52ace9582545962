"""From a DAWproject to stems and back in one command: the new tracks sound as the old ones did.

The mixer here is written for the test: it knows the format's words and arithmetic, and nothing of the bridge.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import soundfile
from helpers.dawproject import schema_faults
from typer.testing import CliRunner

from bridge.arrays import Float64Array
from bridge.cli import COMMANDS
from bridge.cli.app import build_app

RATE = 22_050
LENGTH_S = 8.0
NULL = """uuid = "00000000-0000-4000-8000-0000000000e2"
[meta]
name = "Null"
category = "Utility"
[level]
mode = "keep"
[[chain]]
id = "same"
use = "gain"
params = {gain_db = 0.0}
"""
TIME = """<Markers id="mk"><Marker time="6" name="Drop"/></Markers>
<TempoAutomation unit="bpm" id="ta"><Target parameter="tempo"/>
<RealPoint time="0" value="120" interpolation="linear"/><RealPoint time="8" value="90" interpolation="hold"/>
</TempoAutomation>
<TimeSignatureAutomation id="sa"><Target parameter="meter"/>
<TimeSignaturePoint time="0" numerator="4" denominator="4"/>
<TimeSignaturePoint time="4" numerator="7" denominator="8"/></TimeSignatureAutomation>"""


def seconds(beats: Float64Array | float) -> Float64Array:
    """Integrate the ramp of `TIME`: from 120 to 90 BPM in a line over eight beats, then 90."""
    ramped, slope = np.minimum(beats, 8.0), (90 - 120) / 8
    return 60 / slope * np.log((120 + slope * ramped) / 120) + np.maximum(np.asarray(beats) - 8, 0) * 60 / 90


def track(number: int) -> tuple[str, str]:
    """Return a track's element and its lane in the arrangement."""
    file = f"audio/{'ab'[number % 2]}.wav"
    muted = "true" if number == 7 else "false"
    volume = f'unit="linear" min="0" max="2" value="{0.5 + 0.04 * number}"'
    if number == 5:
        volume = 'unit="decibel" min="-60" max="6" value="-3"'
    send = (
        '<Sends><Send destination="fxc" type="post" id="sn"><Volume unit="linear" value="0.3" id="sv"/>'
        "</Send></Sends>"
        if number == 10
        else ""
    )
    destination = "gc" if number in (3, 4) else "mc"
    element = (
        f'<Track contentType="audio" loaded="true" id="t{number}" name="T{number}">'
        f'<Channel audioChannels="2" destination="{destination}" role="regular" solo="false" id="c{number}">'
        f'<Mute value="{muted}" id="u{number}"/>'
        f'<Pan unit="normalized" min="0" max="1" value="{0.2 + 0.05 * number}" id="p{number}"/>{send}'
        f'<Volume {volume} id="v{number}"/></Channel></Track>'
    )
    audio = (
        f'<Audio algorithm="raw" channels="2" duration="2" sampleRate="{RATE}"><File path="{file}"/></Audio>'
    )

    def clip(time: float, duration: float, more: str) -> str:
        return f'<Clip time="{time}" duration="{duration}" contentTimeUnit="seconds" {more}>{audio}</Clip>'

    clips = [
        clip(0.2 * number, 2.0, f'playStart="{0.02 * number}" fadeTimeUnit="seconds" fadeInTime="0.1"'),
        clip(
            4.0, 7.5, 'playStart="0.1" loopStart="0.2" loopEnd="1.0" fadeTimeUnit="seconds" fadeOutTime="0.5"'
        ),
        clip(5.0, 1.5, 'playStart="0" enable="false"'),
        clip(6.5, 20.0, 'playStart="1.5"'),
    ]
    automation = (
        '<Points unit="linear" id="pv"><Target parameter="v2"/>'
        '<RealPoint time="0" value="0.2" interpolation="linear"/>'
        '<RealPoint time="6" value="1" interpolation="hold"/><RealPoint time="9" value="0.5"/></Points>'
        if number == 2
        else ""
    )
    return (
        element,
        f'<Lanes track="t{number}" id="l{number}"><Clips id="k{number}">{"".join(clips)}</Clips>'
        f"{automation}</Lanes>",
    )


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Twelve tracks with their audio inside: two in a group, one with a send, one with a moving fader."""
    elements, lanes = zip(*(track(number) for number in range(12)), strict=True)
    group = (
        '<Track contentType="tracks" loaded="true" id="g" name="Band"><Channel audioChannels="2" '
        'destination="mc" role="submix" solo="false" id="gc"><Volume unit="linear" value="0.8" id="gv"/>'
        f"</Channel>{elements[3]}{elements[4]}</Track>"
    )
    others = "".join(
        f'<Track contentType="audio" loaded="true" id="{name}" name="{name}"><Channel audioChannels="2" {to} '
        f'role="{role}" solo="false" id="{name}c"><Volume unit="linear" value="{value}" id="{name}v"/>'
        "</Channel></Track>"
        for name, role, value, to in (("fx", "effect", 0.7, 'destination="mc"'), ("m", "master", 0.9, ""))
    )
    project = (
        '<Project version="1.0"><Application name="Some DAW" version="5.1"/><Transport>'
        '<Tempo unit="bpm" value="120" id="tempo"/>'
        '<TimeSignature denominator="4" numerator="4" id="meter"/>'
        f"</Transport><Structure>{''.join(elements[:3])}{group}{''.join(elements[5:])}{others}</Structure>"
        f'<Arrangement id="arr"><Lanes timeUnit="beats" id="lanes">{"".join(lanes)}</Lanes>{TIME}'
        "</Arrangement></Project>"
    )
    assert schema_faults(ET.fromstring(project)) == []
    rng = np.random.default_rng(5)
    path = tmp_path / "song.dawproject"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.xml", project)
        archive.writestr("metadata.xml", "<MetaData/>")
        for name, n_channels in (("a", 1), ("b", 2)):
            file = io.BytesIO()
            sound = rng.uniform(-0.1, 0.1, (2 * RATE, n_channels))
            soundfile.write(file, sound, RATE, format="WAV", subtype="FLOAT")
            archive.writestr(f"audio/{name}.wav", file.getvalue())
    (tmp_path / "null.toml").write_text(NULL)
    return path


def play(clip: ET.Element, archive: zipfile.ZipFile, total: Float64Array) -> None:
    """Add what a clip plays, by sums done here."""
    with archive.open(str(clip.find("Audio/File").get("path"))) as file:  # type: ignore[union-attr]
        audio = soundfile.read(io.BytesIO(file.read()), always_2d=True)[0].T
    number = {name: float(clip.get(name, "nan")) for name in ("time", "duration", "loopStart", "loopEnd")}
    start = round(float(seconds(number["time"])) * RATE)
    n = np.arange(round(float(seconds(number["time"] + number["duration"])) * RATE) - start)
    places = n + round(float(clip.get("playStart", "0")) * RATE)
    if not math.isnan(number["loopEnd"]):
        first, last = round(number["loopStart"] * RATE), round(number["loopEnd"] * RATE)
        places = np.where(places >= last, first + (places - first) % (last - first), places)
    sound = np.where(places < audio.shape[1], audio[:, np.minimum(places, audio.shape[1] - 1)], 0.0)
    for length, at in ((clip.get("fadeInTime"), n), (clip.get("fadeOutTime"), len(n) - n)):
        sound *= 1.0 if length is None else np.clip(at / (float(length) * RATE), 0, 1)
    kept = max(0, min(len(n), total.shape[1] - start))
    total[:, start : start + kept] += sound[:, :kept]


def level(channel: ET.Element, points: dict[str, ET.Element], beats: Float64Array) -> Float64Array:
    """Return a channel's gain on either side at every sample; pan makes the other side fainter."""
    volume, pan = channel.find("Volume"), channel.find("Pan")
    value = 1.0 if volume is None else float(volume.get("value", "1"))
    if volume is not None and volume.get("unit") == "decibel":
        value = 10 ** (value / 20)
    gain = np.full(len(beats), value)
    moved = None if volume is None else points.get(str(volume.get("id")))
    if moved is not None:
        rows = moved.findall("RealPoint")
        at, values = ([float(row.get(name, "0")) for row in rows] for name in ("time", "value"))
        held = np.array(values)[np.maximum(np.searchsorted(at, beats, side="right") - 1, 0)]
        is_line = np.array([row.get("interpolation") == "linear" for row in rows])
        lines = is_line[np.maximum(np.searchsorted(at, beats, side="right") - 1, 0)]
        gain = np.where(lines, np.interp(beats, at, values), held)
    side = 0.0 if pan is None else 2 * float(pan.get("value", "0.5")) - 1
    return gain * np.array([[min(1, 1 - side)], [min(1, 1 + side)]])


def mix(path: Path) -> Float64Array:
    """Mix a project down: tracks, sends, groups, the effect track (which has no effect) and the master."""
    n_samples = round(LENGTH_S * RATE)
    table = np.arange(0, 16, 1e-3)
    beats = np.interp(np.arange(n_samples) / RATE, seconds(table), table)
    with zipfile.ZipFile(path) as archive:
        root = ET.fromstring(archive.read("project.xml"))
        assert schema_faults(root) == []
        points = {str(p.find("Target").get("parameter")): p for p in root.iter("Points")}  # type: ignore[union-attr]
        inputs = {str(c.get("id")): np.zeros((2, n_samples)) for c in root.iter("Channel")}
        channels = {str(t.get("id")): t.find("Channel") for t in root.iter("Track")}
        for lane in root.iter("Lanes"):
            channel = channels.get(str(lane.get("track")))
            for clip in lane.iter("Clip") if channel is not None else ():
                if clip.get("enable") != "false":
                    play(clip, archive, inputs[str(channel.get("id"))])  # type: ignore[union-attr]
    order = {"regular": 0, "submix": 1, "effect": 1, "master": 2}
    for channel in sorted(root.iter("Channel"), key=lambda one: order[str(one.get("role"))]):
        mute = channel.find("Mute")
        out = inputs[str(channel.get("id"))] * level(channel, points, beats)
        if mute is not None and mute.get("value") == "true":
            continue
        if channel.get("role") == "master":
            return out
        inputs[str(channel.get("destination"))] += out
        for send in channel.findall("Sends/Send"):
            inputs[str(send.get("destination"))] += out * float(send.find("Volume").get("value", "0"))  # type: ignore[union-attr]
    raise AssertionError("the project has no master")


def render_into(session: Path, original: str) -> Path:
    """Render a session by a preset that does nothing, with the session written back, in one command.

    Once it is rendered, it is written from that render.
    """
    target = session.parent / f"{original}.dawproject"
    if (session.parent / "out").exists():
        words = ["session", "write", session.parent / "out/null.manifest.json", "--into", session]
        words += ["--out", target, "--original", original]
    else:
        words = ["render", session, "-p", session.parent / "null.toml", "--out", session.parent / "out"]
        words += ["--subtype", "float", "--session-out", target, "--original", original]
    app = build_app(COMMANDS)
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return target


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        root = ET.fromstring(archive.read("project.xml"))
    return [str(track.get("name")) for track in root.iter("Track")]


def test_the_mix_of_new_tracks_nulls_against_the_old_ones(session: Path) -> None:
    """To -120 dB, with faders, pans, a group, a send, a moving fader and a ramp of tempo, old tracks muted.

    Kept, old and new sound at once, 6 dB louder; replaced, the old ones are gone and the mix is the same.
    """
    before = mix(session)
    assert np.abs(before).max() > 0.1
    for original, times in (("mute", 1.0), ("replace", 1.0), ("keep", 2.0)):
        written = render_into(session, original)
        apart = np.abs(mix(written) - times * before).max()
        assert 20 * np.log10(apart + 1e-21) <= -120, original
        tracks = names(written)
        new = [name for name in tracks if name.endswith("[Null]")]
        assert len(new) == 11  # the muted track gives no stem
        assert ("T3" in tracks) == (original != "replace")
        with zipfile.ZipFile(written) as archive:
            assert sum(name.endswith("__null.wav") for name in archive.namelist()) == 11
            assert archive.testzip() is None
