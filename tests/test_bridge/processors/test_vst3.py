"""A hosted plugin sounds as its parameters say, is late by nothing, and refuses what it does not know."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.vst3 import EFFECT, INSTRUMENT, PAIR, SAMPLE_RATE, misbehaving_copy, needs_plugins, noise

from bridge.arrays import AudioArray
from bridge.errors import OutputError, PluginError, ProcessorError
from bridge.processors.contract import Processor
from bridge.processors.vst3 import VST3

pytestmark = needs_plugins

NOTE = [(0.1, bytes([0x90, 69, 100])), (0.5, bytes([0x80, 69, 0]))]


@pytest.fixture(scope="module")
def loaded_effect() -> Iterator[VST3]:
    with VST3(EFFECT) as vst3:
        yield vst3


@pytest.fixture
def effect(loaded_effect: VST3) -> VST3:
    """The effect with every parameter at its default: loading one for each test would only cost time."""
    loaded_effect.reset()
    for name, spec in loaded_effect.parameters.items():
        loaded_effect.set_parameter(name, spec.default)
    return loaded_effect


@pytest.fixture(scope="module")
def instrument() -> Iterator[VST3]:
    with VST3(INSTRUMENT) as vst3:
        yield vst3


def stream(
    vst3: VST3, sound: AudioArray, piece: int, buffer_size: int = 512, **lanes: AudioArray
) -> AudioArray:
    pieces = [
        vst3.process(
            sound[:, start : start + piece],
            SAMPLE_RATE,
            buffer_size,
            False,
            automation={name: lane[start : start + piece] for name, lane in lanes.items()},
        )
        for start in range(0, sound.shape[1], piece)
    ]
    return np.concatenate([*pieces, vst3.flush()], axis=1)


def test_it_is_a_processor(effect: VST3) -> None:
    """A hosted plugin satisfies the processor contract and says who it is."""
    assert isinstance(effect, Processor)
    assert (effect.name, effect.vendor, effect.version) == ("Conformance Effect", "Reverie", "1.0.0")
    assert effect.uid == "52564346584546464543540000000001"
    assert len(effect.sha256) == 64
    assert effect.is_effect
    assert not effect.is_instrument


@pytest.mark.parametrize("latency", [0, 1, 777, 2048, 48000])
def test_neutral_is_the_input_bit_for_bit(effect: VST3, latency: int) -> None:
    """At neutral settings the output equals the input, whatever the latency, whole and streamed."""
    sound = noise(60000)
    effect.set_parameter("latency_samples", latency)
    assert np.array_equal(effect.process(sound, SAMPLE_RATE), sound)
    assert effect.latency_samples == latency
    assert np.array_equal(stream(effect, sound, 7777), sound)


@pytest.mark.parametrize("samples", [1, 2, 3, 100])
def test_short_sounds_are_whole(effect: VST3, samples: int) -> None:
    """A sound shorter than the latency, and as short as its channels are many, comes back whole."""
    effect.set_parameter("latency_samples", 777)
    sound = noise(samples)
    assert np.array_equal(effect.process(sound, SAMPLE_RATE), sound)
    assert np.array_equal(stream(effect, sound, 1), sound)


def test_an_empty_sound_is_an_empty_sound(effect: VST3) -> None:
    """No samples in, none out."""
    assert effect.process(np.zeros((2, 0), np.float32), SAMPLE_RATE).shape == (2, 0)


def test_a_growing_block_does_not_restart_the_plugin(effect: VST3) -> None:
    """A first block cut short by automation does not make the plugin forget when larger ones follow."""
    effect.set_parameter("cutoff_hz", 20.0)
    sound = noise(20000)
    whole = effect.process(sound, SAMPLE_RATE, 4096)
    lane = np.zeros(20000)
    lane[64:] = 7.0  # of a parameter without effect: it only cuts the first block
    assert np.array_equal(effect.process(sound, SAMPLE_RATE, 4096, automation={"seed": lane}), whole)


def test_pieces_make_no_difference(effect: VST3) -> None:
    """A stream in pieces from one sample to thousands is the sound as a whole."""
    effect.set_parameter("cutoff_hz", 200.0)
    sound = noise(20000)
    whole = effect.process(sound, SAMPLE_RATE, 4096)
    cuts = np.cumsum([0, 1, 2, 64, 4096, 20000]).clip(max=20000)
    pieces = [effect.process(sound[:, a:b], SAMPLE_RATE, 4096, False) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate([*pieces, effect.flush()], axis=1), whole)


def test_the_filter_has_the_time_constant_it_says(effect: VST3) -> None:
    """A step through the one-pole low-pass reaches 1 - 1/e after 1 / (2 pi cutoff)."""
    effect.set_parameter("cutoff_hz", 100.0)
    step = np.ones((1, 4800), np.float32)
    reached = int(np.argmax(effect.process(step, SAMPLE_RATE)[0] >= 1 - np.exp(-1)))
    assert abs(reached / SAMPLE_RATE - 1 / (2 * np.pi * 100.0)) < 2 / SAMPLE_RATE


def test_gain_is_exact_and_not_snapped_to_thousandths(effect: VST3) -> None:
    """-12.345 dB is that to float32 of the travel (120 dB / 2^24), not to a thousandth of it (0.12 dB)."""
    effect.set_parameter("gain_db", -12.345)
    assert effect.get_parameter("gain_db") == pytest.approx(-12.345, abs=1e-5)
    output = effect.process(np.ones((2, 100), np.float32), SAMPLE_RATE)
    assert output == pytest.approx(10 ** (-12.345 / 20), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [("cutoff_hz", 440.0), ("mode", "Swap"), ("mute", True), ("seed", 200.0), ("tail_s", 0.125)],
)
def test_parameters_read_back_as_they_were_set(effect: VST3, name: str, value: float | bool | str) -> None:
    """Logarithmic, listed, switched, stepped and linear parameters return what they were given."""
    effect.set_parameter(name, value)
    got = effect.get_parameter(name)
    assert got == (value if not isinstance(value, float) else pytest.approx(value, rel=1e-6))


def test_specs_tell_unit_range_and_choices(effect: VST3) -> None:
    """Specs carry what presets and routes need."""
    cutoff = effect.parameters["cutoff_hz"]
    assert (cutoff.minimum, cutoff.maximum, cutoff.unit, cutoff.curve) == (20.0, 20000.0, "Hz", "log")
    assert effect.parameters["mode"].choices == ("Normal", "Invert", "Swap")
    assert effect.parameters["mute"].default is False
    assert effect.parameters["gain_db"].automation == "block"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("gian_db", 0.0, "did you mean 'gain_db'"),
        ("mode", "Swop", "did you mean 'Swap'"),
        ("gain_db", 61.0, "outside -60..60 dB"),
        ("gain_db", "loud", "not a number"),
        ("mute", 1.0, "true or false"),
        ("latency_samples", 1.5, "between two steps; the nearest is 2"),
    ],
)
def test_wrong_parameters_are_refused(effect: VST3, name: str, value: float | str, says: str) -> None:
    """An unknown name, an unknown choice or a value out of range is an error that says what is right."""
    with pytest.raises(ProcessorError, match=says):
        effect.set_parameter(name, value)


def test_raw_positions_are_exact(effect: VST3) -> None:
    """A raw position arrives as the float32 it is, and positions outside 0..1 are refused."""
    third = float(np.float32(1 / 3))
    effect.set_raw("gain_db", third)
    assert effect.get_raw("gain_db") == third
    with pytest.raises(ProcessorError, match=r"outside 0\.\.1"):
        effect.set_raw("gain_db", 1.01)


def staircase(lane: AudioArray, block: int = 64) -> AudioArray:
    return np.repeat(10.0 ** (lane[::block] / 20.0), block)[: len(lane)]


@pytest.mark.parametrize("latency", [0, 777])
def test_automation_is_the_ideal_staircase(effect: VST3, latency: int) -> None:
    """Gain automated at block 64 equals the lane held over each block, within 1e-6 of it."""
    effect.set_parameter("latency_samples", latency)
    lane = np.linspace(-20.0, 20.0, 24000)
    output = effect.process(np.ones((2, 24000), np.float32), SAMPLE_RATE, automation={"gain_db": lane})
    assert np.abs(output / staircase(lane) - 1.0).max() < 1e-6


def test_automation_does_not_depend_on_chunks(effect: VST3) -> None:
    """The blocks of automation lie on a grid from the start of the stream, so pieces make no difference."""
    lane = np.linspace(-20.0, 20.0, 24000)
    sound = noise()
    whole = effect.process(sound, SAMPLE_RATE, 512, automation={"gain_db": lane})
    effect.set_parameter("gain_db", 0.0)
    assert np.array_equal(stream(effect, sound, 777, gain_db=lane), whole)


def test_automation_at_block_1_is_the_lane_itself(effect: VST3) -> None:
    """At an automation block of one sample every sample has its own value."""
    lane = np.linspace(-20.0, 20.0, 2400)
    effect.automation_block_samples = 1
    output = effect.process(np.ones((2, 2400), np.float32), SAMPLE_RATE, automation={"gain_db": lane})
    effect.automation_block_samples = 64
    assert np.abs(output / 10.0 ** (lane / 20.0) - 1.0).max() < 1e-6


def test_a_held_lane_costs_no_extra_block(effect: VST3) -> None:
    """A lane that does not move cuts no block: the plugin still sees blocks of 512."""
    effect.set_parameter("probe", "Block Size")
    held = {"gain_db": np.zeros(4096)}
    assert np.all(effect.process(noise(4096), SAMPLE_RATE, 512, automation=held) * 2.0**20 == 512)
    moving = {"gain_db": np.linspace(0.0, 1.0, 4096)}
    assert np.all(effect.process(noise(4096), SAMPLE_RATE, 512, automation=moving) * 2.0**20 == 64)


def test_null_holds_while_another_parameter_moves(effect: VST3) -> None:
    """Automation of a parameter that has no effect on the sound leaves it bit for bit."""
    effect.set_parameter("latency_samples", 777)
    sound = noise()
    lanes = {"seed": np.linspace(0.0, 255.0, 24000), "noise_db": np.full(24000, -120.0)}
    assert np.array_equal(effect.process(sound, SAMPLE_RATE, automation=lanes), sound)


def test_switches_and_choices_can_be_automated(effect: VST3) -> None:
    """A switch follows 0 and 1, a choice its position in the list."""
    mute = np.repeat([0.0, 1.0], 640)
    output = effect.process(np.ones((2, 1280), np.float32), SAMPLE_RATE, automation={"mute": mute})
    assert np.array_equal(output[0], 1.0 - mute)
    mode = np.repeat([0.0, 1.0], 640)
    effect.set_parameter("mute", False)
    output = effect.process(np.ones((2, 1280), np.float32), SAMPLE_RATE, automation={"mode": mode})
    assert np.array_equal(output[0], 1.0 - 2.0 * mode)


@pytest.mark.parametrize(
    ("lanes", "says"),
    [
        ({"gain_db": np.full(1000, 70.0)}, "automation reaches 70 at sample 0; -60"),
        ({"gain_db": np.full(1000, np.nan)}, "automation reaches nan"),
        ({"gain_db": np.zeros(999)}, "999 values of automation for 1000 samples"),
        ({"gane_db": np.zeros(1000)}, "did you mean 'gain_db'"),
    ],
)
def test_wrong_automation_is_refused(effect: VST3, lanes: dict[str, AudioArray], says: str) -> None:
    """A lane out of range, not finite, of another length or for no parameter is an error."""
    with pytest.raises(ProcessorError, match=says):
        effect.process(noise(1000), SAMPLE_RATE, automation=lanes)


@pytest.mark.parametrize("at_samples", [3000, 10000])
def test_a_latency_that_changes_in_the_sound_is_realigned(effect: VST3, at_samples: int) -> None:
    """When the plugin becomes 256 samples later on its way, the sound stays where it was."""
    effect.set_parameter("latency_samples", 50)
    effect.set_parameter("fault", "Latency")
    effect.set_parameter("fault_at_samples", at_samples)
    sound = noise()
    assert np.array_equal(effect.process(sound, SAMPLE_RATE, 512), sound)


def test_a_falling_latency_leaves_the_rest_in_place(effect: VST3) -> None:
    """When the latency falls by 700 samples, what follows the change is where it belongs."""
    sound = noise()
    lane = np.repeat([777.0, 77.0], 12000)
    output = effect.process(sound, SAMPLE_RATE, 512, automation={"latency_samples": lane})
    assert output.shape == sound.shape
    assert np.array_equal(output[:, 12032:], sound[:, 12032:])


def test_a_latency_that_falls_far_loses_no_sample(effect: VST3) -> None:
    """When the latency falls by more than is handed over at once, the sound is whole and in place."""
    sound = noise(120000)
    lane = np.repeat([65535.0, 0.0], 60000)
    output = effect.process(sound, SAMPLE_RATE, 512, automation={"latency_samples": lane})
    assert output.shape == sound.shape
    assert np.array_equal(output[:, 60032:], sound[:, 60032:])


def test_the_tail_is_measured(effect: VST3) -> None:
    """A dry plugin has no tail; an echo that falls 60 dB in 1 s is silent to -80 dB within 1.2 to 2 s."""
    assert effect.tail_seconds == 0.0
    effect.set_parameter("tail_s", 1.0)
    assert 1.2 < effect.tail_seconds < 2.0


def test_a_tail_is_bought_with_silence(effect: VST3) -> None:
    """Silence fed after a click returns the echo, 50 ms apart."""
    effect.set_parameter("tail_s", 1.0)
    click = np.zeros((2, 9600), np.float32)
    click[:, 0] = 1.0
    echoes = np.flatnonzero(effect.process(click, SAMPLE_RATE)[0])
    assert echoes.tolist() == [0, 2400, 4800, 7200]


def test_mono_through_a_stereo_plugin_stays_mono(tmp_path: Path) -> None:
    """A plugin that is only stereo gets a mono sound on both channels; the mean comes back, bit for bit."""
    with VST3(misbehaving_copy(tmp_path, "Stereo", channels=2)) as vst3:
        sound = noise(channels=1)
        assert np.array_equal(vst3.process(sound, SAMPLE_RATE), sound)


def test_stereo_through_a_mono_plugin_uses_two(tmp_path: Path) -> None:
    """A plugin that is only mono gets an instance for each channel, with the same parameters."""
    with VST3(misbehaving_copy(tmp_path, "Mono", channels=1), params={"latency_samples": 777}) as vst3:
        sound = noise()
        assert np.array_equal(vst3.process(sound, SAMPLE_RATE), sound)
        vst3.set_parameter("gain_db", -6.0)
        expected = sound * np.float32(10 ** (-6 / 20))
        assert np.abs(stream(vst3, sound, 5000) - expected).max() < 1e-6


def test_a_plugin_with_more_channels_than_the_stem_is_refused(tmp_path: Path) -> None:
    """Six channels cannot be made of two."""
    bundle = misbehaving_copy(tmp_path, "Surround", channels=6)
    with VST3(bundle) as vst3, pytest.raises(PluginError, match="runs with 6 channels, the sound has 2"):
        vst3.process(noise(100), SAMPLE_RATE)


def test_more_than_stereo_is_refused(effect: VST3) -> None:
    """A sound of four channels does not go through a stereo plugin."""
    with pytest.raises(PluginError, match="the sound has 4"):
        effect.process(noise(100, channels=4), SAMPLE_RATE)


def test_state_survives_bytes_and_files(effect: VST3, tmp_path: Path) -> None:
    """State saved to bytes or a .vstpreset brings every parameter back, and the plugin's own sound."""
    effect.set_parameter("gain_db", -6.0)
    effect.set_parameter("mode", "Invert")
    path = tmp_path / "a.vstpreset"
    effect.save_state(path)
    effect.set_parameter("gain_db", 3.0)
    effect.set_parameter("mode", "Normal")
    effect.load_state(path)
    assert effect.get_parameter("mode") == "Invert"
    assert effect.get_parameter("gain_db") == pytest.approx(-6.0, abs=1e-5)
    output = effect.process(np.ones((2, 64), np.float32), SAMPLE_RATE)
    assert output == pytest.approx(-(10 ** (-6 / 20)), rel=1e-6)


def test_a_state_is_written_whole_or_not_at_all(effect: VST3, tmp_path: Path) -> None:
    """A link is replaced and not followed; what cannot be written leaves what was there."""
    victim, link = tmp_path / "victim.txt", tmp_path / "a.vstpreset"
    victim.write_text("mine")
    link.symlink_to(victim)
    effect.save_state(link)
    assert victim.read_text() == "mine"
    assert link.read_bytes() == effect.preset_data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.vstpreset", "victim.txt"]
    with pytest.raises(OutputError, match="cannot be written"):
        effect.save_state(victim / "a.vstpreset")
    assert victim.read_text() == "mine"


def test_parameters_go_on_top_of_a_state(effect: VST3) -> None:
    """A state given to the constructor is applied first, parameters after it."""
    effect.set_parameter("gain_db", -6.0)
    effect.set_parameter("mode", "Invert")
    data = effect.preset_data
    with VST3(EFFECT, state=data, params={"mode": "Swap"}) as other:
        assert other.get_parameter("mode") == "Swap"
        assert other.get_parameter("gain_db") == pytest.approx(-6.0, abs=1e-5)
        assert other.process(noise(64), SAMPLE_RATE) == pytest.approx(
            noise(64)[::-1] * 10 ** (-6 / 20), rel=1e-5
        )


def test_another_plugins_state_is_refused(effect: VST3, instrument: VST3) -> None:
    """The instrument's state is not taken by the effect, in silence or otherwise."""
    with pytest.raises(PluginError, match="belongs to another plugin"):
        effect.preset_data = instrument.preset_data


def test_a_truncated_state_is_refused(effect: VST3, tmp_path: Path) -> None:
    """Every truncation of a state is refused before the plugin sees it."""
    data = effect.preset_data
    for length in (0, 10, 47, 60, len(data) // 2, len(data) - 1):
        path = tmp_path / "cut.vstpreset"
        path.write_bytes(data[:length])
        with pytest.raises(PluginError, match=r"truncated|not a \.vstpreset|damaged"):
            effect.load_state(path)


def test_a_plugin_that_writes_garbage_refuses_it_again(effect: VST3) -> None:
    """A state whose inside is garbage is refused by the plugin, and that is said."""
    effect.set_parameter("fault", "State")
    garbage = effect.preset_data
    effect.set_parameter("fault", "None")
    with pytest.raises(PluginError, match="refuses this state"):
        effect.preset_data = garbage


def test_notes_land_on_their_sample(instrument: VST3) -> None:
    """A sine sounds from the sample after its note-on (sin 0 = 0) to its note-off, at its velocity."""
    output = instrument.render(NOTE, 1.0, SAMPLE_RATE)
    heard = np.flatnonzero(output[0])
    assert output.shape == (2, 48000)
    assert (heard[0], heard[-1]) == (4801, 23999)
    assert np.abs(output).max() == pytest.approx(100 / 127, rel=1e-3)
    expected = 100 / 127 * np.sin(2 * np.pi * 440.0 * np.arange(19200) / SAMPLE_RATE)
    assert np.abs(output[0, 4800:24000] - expected).max() < 1e-4


def test_instruments_are_compensated_and_do_not_depend_on_blocks(instrument: VST3) -> None:
    """An instrument's latency is taken out, and its blocks make no difference."""
    reference = instrument.render(NOTE, 1.0, SAMPLE_RATE)
    instrument.set_parameter("latency_samples", 100)
    late = instrument.render(NOTE, 1.0, SAMPLE_RATE, buffer_size=333)
    instrument.set_parameter("latency_samples", 0)
    assert np.array_equal(late, reference)


def test_pitch_bend_lands_on_its_sample(instrument: VST3) -> None:
    """A bend, which hosts turn into a parameter, changes the sound at its sample and not before."""
    bent = instrument.render([*NOTE, (0.2, bytes([0xE0, 127, 127]))], 1.0, SAMPLE_RATE)
    straight = instrument.render(NOTE, 1.0, SAMPLE_RATE)
    assert np.flatnonzero(bent[0] != straight[0])[0] in (9600, 9601)


def test_notes_are_not_audio(effect: VST3, instrument: VST3) -> None:
    """Audio into an instrument and notes into an effect are refused with the call that is right."""
    with pytest.raises(ProcessorError, match="call render"):
        instrument.process(noise(10), SAMPLE_RATE)
    with pytest.raises(ProcessorError, match="call process"):
        effect.render(NOTE, 1.0, SAMPLE_RATE)
    with pytest.raises(ProcessorError, match="cannot be played"):
        instrument.render([(0.0, bytes([0xF0, 1, 2]))], 1.0, SAMPLE_RATE)


def test_bundles_with_several_plugins_want_a_name() -> None:
    """A bundle with two plugins asks which; a wrong name is told the right ones."""
    with pytest.raises(
        PluginError, match="holds 2 plugins: 'Conformance Effect B', 'Conformance Instrument B'"
    ):
        VST3(PAIR)
    with pytest.raises(PluginError, match="did you mean 'Conformance Effect B'"):
        VST3(PAIR, plugin_name="Conformance Efect B")
    with VST3(PAIR, plugin_name="Conformance Instrument B") as vst3:
        assert vst3.is_instrument


def test_the_parent_needs_no_pedalboard() -> None:
    """An isolated plugin is loaded in the child: the parent never imports pedalboard."""
    script = (
        "import sys\nimport numpy as np\nfrom bridge.processors.vst3 import VST3\n"
        f"with VST3({str(EFFECT)!r}) as vst3:\n"
        "    vst3.process(np.zeros((2, 100), np.float32), 48000)\n"
        "assert 'pedalboard' not in sys.modules\nassert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_in_process_is_the_same_sound() -> None:
    """Without isolation the same code gives the same samples; run in a process of its own, as JUCE wants."""
    script = (
        "import numpy as np\nfrom bridge.processors.vst3 import VST3\n"
        "sound = np.random.default_rng(0).uniform(-.5, .5, (2, 24000)).astype(np.float32)\n"
        "lane = np.linspace(-20, 20, 24000)\n"
        "outputs = []\n"
        "for isolation in ('process', 'none'):\n"
        f"    with VST3({str(EFFECT)!r}, isolation=isolation, params={{'cutoff_hz': 900.0}}) as vst3:\n"
        "        outputs.append(vst3.process(sound, 48000, 512, automation={'gain_db': lane}))\n"
        "assert np.array_equal(*outputs)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_use_after_close_is_refused() -> None:
    """A closed plugin does not come back to life."""
    vst3 = VST3(EFFECT)
    vst3.close()
    vst3.close()
    with pytest.raises(PluginError, match="used after close"):
        vst3.process(noise(10), SAMPLE_RATE)
