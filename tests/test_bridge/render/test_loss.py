"""What chains lose: silence that nobody asked for fails a stem, and a loss is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pedalboard
import pytest
from helpers.audio import noise, sine
from helpers.paths import SHARED
from helpers.session import write_midi
from helpers.vst3 import EFFECT, INSTRUMENT, needs_plugins

from bridge.arrays import AudioArray
from bridge.audio.reader import read_audio
from bridge.audio.writer import AudioWriter
from bridge.clock.settings import ClockSettings
from bridge.errors import EnvelopeError
from bridge.plan.planner import build_plan
from bridge.presets.model import parse_preset
from bridge.processors.pedalboard_members import leaves_of
from bridge.processors.pedalboard_plugin import PedalboardPlugin
from bridge.render.manifest import read_manifest
from bridge.render.results import RenderReport
from bridge.render.runner import render_plan

RATE = 16000
TONE = sine(330, 3.0, RATE, -12, n_channels=2)


def render(
    folder: Path, chain: list[dict[str, Any]], sound: AudioArray = TONE, **tables: Any
) -> RenderReport:
    """Render one stem through a chain."""
    folder.mkdir(exist_ok=True)
    path = folder / "stem.wav"
    with AudioWriter(path, sample_rate=RATE, n_channels=len(sound), subtype="FLOAT") as writer:
        writer.write(sound)
    midi = tables.pop("midi", None)
    preset = {
        "format": "reverie/preset",
        "version": 1,
        "uuid": "11111111-2222-3333-4444-555555555555",
        "meta": {"name": "Loss", "category": "Utility"},
        "chain": chain,
        **tables,
    }
    plan = build_plan(
        [path],
        parse_preset(preset, "test"),
        out_dir=folder / "out",
        midi=midi,
        clock=None if midi else ClockSettings(bpm=120),
        trust=True,
    )
    return render_plan(plan)


def node(use: str, node_id: str = "node", wet: float = 1.0, **params: Any) -> dict[str, Any]:
    return {"id": node_id, "use": use, "mix": wet, "params": params}


def moving(target: str, **route: Any) -> dict[str, Any]:
    """Return the tables that hold a parameter at the middle of its route for the whole song."""
    lfo = {"id": "still", "type": "lfo", "shape": "sine", "rate": "64 bars"}
    return {
        "modulators": [lfo],
        "routes": [{"source": "still", "target": target, "op": "replace", **route}],
    }


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pedalboard's phaser lose its sound in streams, as plugins with faults do, after half a second."""
    stream = PedalboardPlugin._stream

    def lose(self: PedalboardPlugin, block: AudioArray, lanes: Any) -> AudioArray:
        start = self._n_in
        out = stream(self, block, lanes)
        if any(isinstance(leaf, pedalboard.Phaser) for leaf in leaves_of(self.plugin)):
            out = out * (start + np.arange(out.shape[1]) < RATE // 2)
        return out.astype(np.float32)

    monkeypatch.setattr(PedalboardPlugin, "_stream", lose)


@pytest.mark.usefixtures("deaf")
def test_a_node_that_falls_silent_fails_its_stem_and_is_named(tmp_path: Path) -> None:
    """Nothing is delivered; others in the chain, a gate too, do not excuse it."""
    chain = [
        node("noise_gate", "gate", wet=0.9),
        node("phaser", "sweep"),
        node("gain", "up", wet=0.5, gain_db=3.0),
    ]
    report = render(tmp_path, chain)

    assert report.failed[0].error == (
        "node 'sweep' (phaser) gives digital silence from 0.5 s on, where there is sound in the stem; "
        "disable it, or say level.allow_loss = true if it is meant"
    )
    assert not Path(report.failed[0].target).exists()


@pytest.mark.usefixtures("deaf")
def test_that_silence_is_meant_can_be_said(tmp_path: Path) -> None:
    """Then it is neither a failure nor a warning."""
    report = render(tmp_path, [node("phaser", "sweep")], level={"allow_loss": True})

    assert report.failed == ()
    assert report.stems[0].warnings == ()


LEFT_ALONE: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "gain": ([node("gain", gain_db=-100.0)], {}),
    "moving gain": ([node("gain")], moving("node.gain_db", min=-120.0, max=-110.0)),
    "gate": ([node("noise_gate", threshold_db=0.0, ratio=100.0)], {}),
    "clipping": ([node("clipping", threshold_db=-100.0)], {}),
    "bitcrush": ([node("bitcrush", bit_depth=0.5)], {}),
    "reverb": ([node("reverb", wet_level=0.0, dry_level=0.0)], {}),
    "cancelled": ([node("invert", wet=0.5)], {}),
    "delay": ([node("delay", delay_seconds=2.5, mix=1.0)], {}),
    "moving delay": (
        [node("delay", mix=1.0)],
        moving("node.delay_seconds", min=1.9, max=2.1),
    ),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_silence_that_is_asked_for_does_not_fail(tmp_path: Path, name: str) -> None:
    """It is a loss all the same, which the user is told."""
    chain, tables = LEFT_ALONE[name]
    report = render(tmp_path, chain, **tables)

    assert report.failed == ()
    has_sound = "delay" in name
    if not has_sound and name != "gate":
        assert not read_audio(report.stems[0].target)[0].any()
        assert report.stems[0].warnings == (
            "the chain loses all sound; level.allow_loss = true says that it is meant",
        )


@pytest.mark.usefixtures("deaf")
def test_a_delay_is_silent_for_its_time_and_no_longer(tmp_path: Path) -> None:
    """What gets lost behind it is found."""
    long = sine(330, 6.0, RATE, -12, n_channels=2)
    report = render(tmp_path, [node("delay", delay_seconds=1.0, mix=1.0), node("phaser", "sweep")], long)

    assert report.failed[0].error.startswith(
        "one of the nodes 'node' (delay), 'sweep' (phaser) gives digital silence from 0.0 s on"
    )


@pytest.mark.parametrize(
    ("chain", "sound"),
    [
        ([node("highpass_filter", cutoff_frequency_hz=5000.0)], np.full_like(TONE, 0.3)),
        ([node("ladder_filter", mode="BPF24", cutoff_hz=7000.0)], sine(40, 3.0, RATE, -30, n_channels=2)),
        ([node("lowpass_filter", cutoff_frequency_hz=10.0)], sine(7000, 3.0, RATE, -59, n_channels=2)),
        ([node("invert", "a"), node("invert", "b")], TONE),
        ([node("gain", gain_db=-5.5)], TONE),
        ([node("noise_gate", threshold_db=-50.0)], noise(3 * RATE, 2, level=1e-4)),
    ],
    ids=["constant", "band without sound", "steep", "twice inverted", "a little less", "gate below -60 dBFS"],
)
def test_little_sound_is_no_silence(tmp_path: Path, chain: list[dict[str, Any]], sound: AudioArray) -> None:
    """Filters that leave next to nothing, and stems without anything to lose, do not fail."""
    assert render(tmp_path, chain, sound, level={"mode": "keep"}).failed == ()


def test_a_loss_is_told_in_manifest_and_summary(tmp_path: Path) -> None:
    """By how much, before the level is set; up to 6 dB nothing is said."""
    loss = render(tmp_path, [node("gain", gain_db=-9.0)])
    kept = render(tmp_path / "kept", [node("gain", gain_db=-5.9)])

    text = "the chain loses 9.0 dB; level.allow_loss = true says that it is meant"
    assert loss.stems[0].warnings == (text,)
    assert read_manifest(loss.manifest).stems["stem"].warnings == (text,)
    assert kept.stems[0].warnings == ()


def test_a_silent_stem_loses_nothing(tmp_path: Path) -> None:
    report = render(tmp_path, [node("gain", gain_db=-60.0)], np.zeros_like(TONE))

    assert report.failed == ()
    assert report.stems[0].warnings == ()


@pytest.mark.parametrize("mark", [pytest.param(None, marks=needs_plugins)])
def test_a_hosted_effect_that_is_silent_is_a_warning(tmp_path: Path, mark: None) -> None:
    """It may be a gate, or muted on purpose; nobody can know."""
    del mark
    effect = {"id": "fx", "use": "vst3", "plugin": str(EFFECT), "params": {"mute": True}}
    report = render(tmp_path, [effect])

    assert report.failed == ()
    assert report.stems[0].warnings[0].startswith(f"node 'fx' ({EFFECT}) gives digital silence from 0.0 s on")


@pytest.mark.parametrize("mark", [pytest.param(None, marks=needs_plugins)])
def test_an_instrument_is_not_judged(tmp_path: Path, mark: None) -> None:
    """It plays notes in place of the sound; where there are none it is silent."""
    del mark
    midi = write_midi(tmp_path / "song.mid", [])
    player = {"id": "synth", "use": "vst3", "plugin": str(INSTRUMENT)}
    report = render(tmp_path, [player], midi=midi)

    assert report.failed == ()
    assert not any("loses" in w or "digital silence" in w for w in report.stems[0].warnings)


def test_a_pitch_shifter_sounds_to_the_end_of_a_render(tmp_path: Path) -> None:
    """A steady tone, to within a dB of pedalboard's own call; a route to its pitch is refused by the plan."""
    report = render(tmp_path, [node("pitch_shift", semitones=5.0)], level={"mode": "keep"})
    expected = pedalboard.PitchShift(5)(TONE, RATE)
    out = read_audio(report.stems[0].target)[0]

    half = RATE // 2
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert np.std(out[:, -half:]) > 0.1
    with pytest.raises(EnvelopeError, match="semitones is fixed for a render and cannot move"):
        render(tmp_path / "moving", [node("pitch_shift")], **moving("node.semitones"))


@pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="the reference cases are not here")
def test_the_reference_preset_sounds_to_the_end(tmp_path: Path) -> None:
    stem = tmp_path / "tone.wav"
    sound = sine(440, 2.0, 48000, -12, n_channels=2)
    with AudioWriter(stem, sample_rate=48000, n_channels=2, subtype="FLOAT") as writer:
        writer.write(sound)
    plan = build_plan(
        [stem],
        SHARED / "cases" / "pitch_shift_5st.toml",
        out_dir=tmp_path / "out",
        clock=ClockSettings(bpm=120),
    )
    out = read_audio(render_plan(plan).stems[0].target)[0]
    expected = pedalboard.PitchShift(5)(sound, 48000)

    ends = [20 * np.log10(np.std(one[:, -24000:])) for one in (out, expected)]
    assert abs(ends[0] - ends[1]) < 1.0
