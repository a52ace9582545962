"""Renders with hosted plugins: faults stay in their stem, what is missing is said, what played is kept."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import soxr
from helpers.session import PRESET, write_midi, write_preset, write_stem
from helpers.vst3 import EFFECT, INSTRUMENT, PAIR

from bridge import build_plan, load_preset, read_tempo_map, render_plan
from bridge.errors import InputError, PluginError, PresetError
from bridge.hosts.open_plugin import has_minihost
from bridge.hosts.vstpreset import build_vstpreset, encode_state
from bridge.midi.file import read_midi
from bridge.midi.notes import timed_messages
from bridge.processors.vst3 import VST3

needs_plugins = pytest.mark.skipif(
    not PAIR.exists(), reason="the conformance plugins are not built; run: bash tests/plugins/build.sh"
)

NODE = """
[[chain]]
id = "fx"
use = "vst3"
plugin = "{plugin}"
params = {{ {params} }}
{more}

[level]
mode = "keep"
"""


def preset_with(folder: Path, plugin: Path | str, params: str = "", more: str = "") -> Path:
    return write_preset(folder, depth=0.0, more=NODE.format(plugin=plugin, params=params, more=more))


@needs_plugins
def test_a_plugin_plays_and_is_recorded(tmp_path: Path) -> None:
    """A stem through a hosted gain is that gain, aligned, and the manifest names the plugin."""
    stem = write_stem(tmp_path / "s.wav", subtype="FLOAT", n_channels=2)
    preset = preset_with(tmp_path, EFFECT, "gain_db = -6.0")
    report = render_plan(build_plan([stem], preset, out_dir=tmp_path / "out", trust=True))

    source, target = soundfile.read(stem)[0], soundfile.read(report.stems[0].target)[0]
    np.testing.assert_allclose(target, source * 10 ** (-6 / 20), atol=1e-6)
    assert report.stems[0].record is not None
    assert report.stems[0].record.plugins["fx"]["sha256"]


@needs_plugins
def test_a_crash_fails_its_stem_alone(tmp_path: Path) -> None:
    """The short stem ends before the crash and is complete; the long one names plugin and position."""
    write_stem(tmp_path / "stems" / "long.wav", seconds=3.0, n_channels=2)
    write_stem(tmp_path / "stems" / "short.wav", seconds=0.5, n_channels=2)
    preset = preset_with(tmp_path, EFFECT, 'fault = "Crash", fault_at_samples = 30000.0')
    # Aligned stems are equally long, and both would crash.
    report = render_plan(
        build_plan([tmp_path / "stems"], preset, out_dir=tmp_path / "out", trust=True, align=False)
    )

    assert [(s.name, s.status) for s in report.stems] == [("long", "failed"), ("short", "done")]
    assert "crash" in report.failed[0].error
    assert "sample" in report.failed[0].error


@needs_plugins
def test_a_crash_can_be_bypassed_and_is_told(tmp_path: Path) -> None:
    """With on_fault = bypass the stem is whole, and the report says from where it is dry."""
    stem = write_stem(tmp_path / "s.wav", seconds=2.0, n_channels=2)
    params = 'fault = "Crash", fault_at_samples = 20000.0'
    preset = preset_with(tmp_path, EFFECT, params, 'on_fault = "bypass"')
    report = render_plan(build_plan([stem], preset, out_dir=tmp_path / "out", trust=True))

    assert report.stems[0].status == "done"
    assert any("bypassed from there on" in warning for warning in report.stems[0].warnings)


def test_a_missing_plugin_fails_or_is_bypassed_as_asked(tmp_path: Path) -> None:
    """What is not installed is an error with the way out, or a warning; never a silent dry render."""
    stem = write_stem(tmp_path / "s.wav")
    preset = preset_with(tmp_path, "Nobody Has This")
    with pytest.raises(PluginError, match="--on-missing bypass"):
        build_plan([stem], preset, out_dir=tmp_path / "out", trust=True)
    plan = build_plan([stem], preset, out_dir=tmp_path / "out", trust=True, on_missing="bypass")
    report = render_plan(plan)

    assert any("Nobody Has This" in warning for warning in plan.warnings)
    assert any("bypassed" in warning for warning in report.stems[0].warnings)


def test_a_state_file_beside_the_preset_travels_with_it(tmp_path: Path) -> None:
    """A .vstpreset that a node names is read into the preset; one that is not there is said."""
    state = build_vstpreset("A" * 32, {"Comp": b"state"})
    (tmp_path / "sound.vstpreset").write_bytes(state)
    preset = preset_with(tmp_path, "Any", more='state = "sound.vstpreset"')

    assert load_preset(preset).node("fx").state == encode_state(state)
    (tmp_path / "sound.vstpreset").unlink()
    with pytest.raises(PresetError, match=r"sound\.vstpreset"):
        load_preset(preset)


@needs_plugins
def test_a_plugin_that_cannot_hear_the_tempo_is_told_of_in_the_report(tmp_path: Path) -> None:
    """A plugin that wants the song's tempo under a host without one is a warning of its stem."""
    stem = write_stem(tmp_path / "s.wav", n_channels=2)
    preset = preset_with(tmp_path, EFFECT, "gain_db = -6.0", 'backend = "pedalboard"')
    report = render_plan(build_plan([stem], preset, out_dir=tmp_path / "out", trust=True))

    assert [True for warning in report.stems[0].warnings if "120 BPM" in warning] == [True]


needs_minihost = pytest.mark.skipif(
    not has_minihost(), reason="minihost is not installed: pip install 'reverie-audio[host]'"
)
RATE = 22050


def chain_preset(folder: Path, node: str) -> Path:
    """Write a preset of one plugin node, sound as it comes."""
    head = PRESET[: PRESET.index("[[chain]]")].format(name="plugins", update="add", depth=0.0)
    path = folder / "plugins.toml"
    path.write_text(head + '[[chain]]\nid = "fx"\nuse = "vst3"\n' + node + '\n[level]\nmode = "keep"\n')
    return path


SIDECHAIN = f"""
plugin = "{EFFECT}"
params = {{ sidechain = "Replace", latency_samples = 777.0 }}
sidechain = "drums"
"""


@needs_plugins
@needs_minihost
def test_a_preset_feeds_a_sidechain_from_another_stem(tmp_path: Path) -> None:
    """A plugin that plays its second input plays the stem named there, sample for sample, then silence."""
    bass = write_stem(tmp_path / "in" / "bass.wav", seconds=6.5, subtype="FLOAT", n_channels=2, seed=1)
    drums = write_stem(tmp_path / "in" / "drums.wav", seconds=4.0, subtype="FLOAT", n_channels=2, seed=2)
    plan = build_plan([bass, drums], chain_preset(tmp_path, SIDECHAIN), out_dir=tmp_path / "out", trust=True)
    report = render_plan(plan)

    assert [set(stem.reference_stems) for stem in plan.stems] == [{"drums"}, {"drums"}]
    heard, wanted = soundfile.read(report.stems[0].target)[0], soundfile.read(drums)[0]
    assert np.array_equal(heard[: len(wanted)], wanted)
    assert not heard[len(wanted) :].any()


@needs_plugins
@needs_minihost
def test_a_sidechain_at_another_rate_is_converted(tmp_path: Path) -> None:
    """Stems that keep their own rates are keyed by each other at the hearer's rate, in time."""
    write_stem(tmp_path / "in" / "bass.wav", seconds=2.0, subtype="FLOAT", n_channels=2, sample_rate=44100)
    drums = write_stem(tmp_path / "in" / "drums.wav", seconds=2.0, subtype="FLOAT", n_channels=2, seed=2)
    plan = build_plan(
        [tmp_path / "in"],
        chain_preset(tmp_path, SIDECHAIN),
        out_dir=tmp_path / "out",
        align=False,
        trust=True,
    )
    report = render_plan(plan)

    assert [stem.sample_rate for stem in plan.stems] == [44100, RATE]
    wanted = soxr.resample(soundfile.read(drums)[0], RATE, 44100, "VHQ")
    # The reader converts in blocks, the reference at once: they differ at rounding level.
    np.testing.assert_allclose(soundfile.read(report.stems[0].target)[0], wanted, atol=1e-5)


def test_a_sidechain_needs_its_stem_and_its_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stem that is not given is told with those that are; a host that is not installed with its command."""
    stem = write_stem(tmp_path / "bass.wav")
    preset = load_preset(chain_preset(tmp_path, 'plugin = "Any"\nsidechain = "drms"\n'))
    monkeypatch.setattr("bridge.hosts.open_plugin.has_minihost", lambda: True)
    with pytest.raises(PresetError, match=r"'fx' has stem 'drms' for its sidechain.*bass"):
        build_plan([stem], preset, out_dir=tmp_path / "out", trust=True, on_missing="bypass")
    monkeypatch.setattr("bridge.hosts.open_plugin.has_minihost", lambda: False)
    with pytest.raises(PluginError, match=r"reverie-audio\[host\]"):
        build_plan([stem], preset, out_dir=tmp_path / "out", trust=True, on_missing="bypass")


def write_song(path: Path) -> Path:
    """A at tick 480 on channel 1, and an octave higher on channel 2, at 100 BPM: 0.6 s."""
    return write_midi(
        path,
        [
            (0, mido.MetaMessage("set_tempo", tempo=600_000)),
            (480, mido.Message("note_on", channel=0, note=69, velocity=64)),
            (1440, mido.Message("note_off", channel=0, note=69)),
            (480, mido.Message("note_on", channel=1, note=81, velocity=32)),
            (1440, mido.Message("note_off", channel=1, note=81)),
        ],
    )


def frequency_hz(sound: np.ndarray, sample_rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 8 * len(sound)))
    return float(spectrum.argmax()) * sample_rate / (8 * len(sound))


@needs_plugins
@pytest.mark.parametrize(("channel", "pitch_hz", "level"), [(1, 440.0, 64 / 127), (2, 880.0, 32 / 127)])
def test_an_instrument_plays_the_songs_notes_into_a_stem(
    tmp_path: Path, channel: int, pitch_hz: float, level: float
) -> None:
    """The stem becomes the instrument: the chosen channel's note, from its sample on, at its velocity."""
    stem = write_stem(tmp_path / "lead.wav", seconds=6.5, subtype="FLOAT", n_channels=2)
    preset = chain_preset(tmp_path, f'plugin = "{INSTRUMENT}"\nchannel = {channel}\n')
    plan = build_plan(
        [stem], preset, midi=write_song(tmp_path / "song.mid"), out_dir=tmp_path / "out", trust=True
    )
    sound = soundfile.read(render_plan(plan).stems[0].target, always_2d=True)[0][:, 0]
    loudest = render_directly(tmp_path / "song.mid", channel, 127)

    onset = round(0.6 * RATE)
    assert not sound[:onset].any()
    assert sound[onset : onset + 8].any()
    playing = sound[onset + 1000 : onset + 20000]
    assert abs(frequency_hz(playing, RATE) - pitch_hz) < 0.5  # the window's resolution
    assert np.abs(playing).max() / loudest == pytest.approx(level, rel=0.01)


@needs_plugins
def test_a_program_and_the_songs_midi_reach_an_effect(tmp_path: Path) -> None:
    """A preset names a program, which is 20 dB down, and lets the effect hear MIDI, which leaves it so."""
    pytest.importorskip("minihost")
    stem = write_stem(tmp_path / "s.wav", subtype="FLOAT", n_channels=2)
    preset = preset_with(tmp_path, EFFECT, more='program = "Quiet"\nmidi = true\nchannel = 1')
    song = write_song(tmp_path / "song.mid")
    report = render_plan(build_plan([stem], preset, midi=song, out_dir=tmp_path / "out", trust=True))
    source, target = soundfile.read(stem)[0], soundfile.read(report.stems[0].target)[0]
    np.testing.assert_allclose(target, source * 0.1, atol=1e-6)
    assert report.stems[0].record is not None
    assert report.stems[0].record.plugins["fx"]["backend"] == "minihost"


def render_directly(song: Path, channel: int, velocity: int) -> float:
    """Return the peak of the same note at full velocity, played through the Python interface."""
    messages = timed_messages(read_midi(song), read_tempo_map(song), channel=channel)
    loud = [(s, m[:2] + bytes([velocity])) if m[0] & 0xF0 == 0x90 else (s, m) for s, m in messages]
    with VST3(INSTRUMENT) as vst3:
        return float(np.abs(vst3.render(loud, 2.0, RATE)).max())


@needs_plugins
def test_an_instrument_needs_notes_and_the_first_place(tmp_path: Path) -> None:
    """Without MIDI, after another node, or with a channel on an effect, the error says what to do."""
    stem, song = write_stem(tmp_path / "lead.wav", n_channels=2), write_song(tmp_path / "song.mid")
    instrument = f'plugin = "{INSTRUMENT}"\n'
    second = f'plugin = "{EFFECT}"\n[[chain]]\nid = "synth"\nuse = "vst3"\n{instrument}'
    for node, midi, message in (
        (instrument, None, "give --midi"),
        (second, song, "stands first in its chain"),
        (f'plugin = "{EFFECT}"\nchannel = 2\n', song, "this is an effect"),
        (f'{instrument}track = "Nobody"\n', song, "Nobody"),
    ):
        plan = build_plan(
            [stem], chain_preset(tmp_path, node), midi=midi, out_dir=tmp_path / "out", trust=True
        )
        with pytest.raises(InputError, match=message):
            render_plan(plan)
    assert not (tmp_path / "out").exists()


@needs_plugins
def test_a_state_of_another_version_is_a_warning_with_both(tmp_path: Path) -> None:
    """A state plays; where it was saved by another version than the plugin's, the report says both."""
    stem = write_stem(tmp_path / "s.wav", subtype="FLOAT", n_channels=2)
    with VST3(EFFECT, params={"gain_db": -6.0}) as vst3:
        state, version = encode_state(vst3.preset_data), vst3.version
    for said, n_warnings in ((version, 0), ("0.1", 1)):
        node = f'plugin = "{EFFECT}"\nstate = "{state}"\nplugin_version = "{said}"\n'
        plan = build_plan([stem], chain_preset(tmp_path, node), out_dir=tmp_path / said, trust=True)
        result = render_plan(plan).stems[0]
        told = [text for text in result.warnings if version in text and "0.1" in text]
        assert len(told) == n_warnings
        source, target = soundfile.read(stem)[0], soundfile.read(result.target)[0]
        np.testing.assert_allclose(target, source * 10 ** (-6 / 20), atol=1e-6)


@needs_plugins
@pytest.mark.parametrize(("damage", "message"), [("foreign", "another plugin"), ("cut", "truncated")])
def test_a_wrong_state_is_refused_before_anything_is_written(
    tmp_path: Path, damage: str, message: str
) -> None:
    """The state of another plugin, or half a state, ends the render with the reason and no output."""
    stem = write_stem(tmp_path / "s.wav", n_channels=2)
    with VST3(INSTRUMENT if damage == "foreign" else EFFECT) as vst3:
        data = vst3.preset_data
    state = encode_state(data if damage == "foreign" else data[: len(data) // 2])
    preset = chain_preset(tmp_path, f'plugin = "{EFFECT}"\nstate = "{state}"\n')
    with pytest.raises(PluginError, match=message):
        render_plan(build_plan([stem], preset, out_dir=tmp_path / "out", trust=True))
    assert not (tmp_path / "out").exists()
