"""What a plugin's parameters are for, in which order it hears of them, and what they mean at which rate."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.vst3 import (
    EFFECT,
    INSTRUMENT,
    PACKAGES,
    PAIR,
    PROBE_SCALE,
    SAMPLE_RATE,
    misbehaving_copy,
    needs_packages,
    needs_plugins,
    noise,
)

from bridge.arrays import AudioArray
from bridge.errors import PluginError, PluginFaultError, ProcessorError
from bridge.hosts.contract import BackendName, StreamChannels
from bridge.hosts.module_facts import ParameterFlag
from bridge.hosts.open_plugin import has_minihost
from bridge.hosts.parameter_roles import parameter_roles, telling_order
from bridge.hosts.vst2_state import convert_vst2_state
from bridge.hosts.vstpreset import build_juce_state, parse_vstpreset
from bridge.processors.vst3 import VST3

pytestmark = needs_plugins

needs_minihost = pytest.mark.skipif(
    not has_minihost(), reason="minihost is not installed: pip install minihost"
)
BOTH = [pytest.param("pedalboard"), pytest.param("minihost", marks=needs_minihost)]


@pytest.fixture(params=BOTH)
def backend(request: pytest.FixtureRequest) -> BackendName:
    name: BackendName = request.param
    return name


@pytest.fixture(scope="module")
def loaded() -> Iterator[Callable[[BackendName], tuple[VST3, bytes]]]:
    """Load the effect once a backend: one for each test would only cost time."""
    found: dict[str, tuple[VST3, bytes]] = {}

    def load(backend: BackendName) -> tuple[VST3, bytes]:
        if backend not in found:
            vst3 = VST3(EFFECT, backend=backend)
            found[backend] = vst3, vst3.preset_data
        return found[backend]

    yield load
    for vst3, _ in found.values():
        vst3.close()


@pytest.fixture
def effect(backend: BackendName, loaded: Callable[[BackendName], tuple[VST3, bytes]]) -> VST3:
    """The effect in its first state, nothing set."""
    vst3, first_state = loaded(backend)
    vst3.preset_data = first_state
    return vst3


def level_db(vst3: VST3, sample_rate: float = SAMPLE_RATE) -> float:
    """Return by how much the plugin changes the level of noise."""
    output = vst3.process(noise(4800), sample_rate)
    return 20.0 * float(np.log10(max(1e-9, np.abs(output).max()) / np.abs(noise(4800)).max()))


def test_what_is_the_hosts_is_never_written(effect: VST3) -> None:
    """The plugin falls silent where a host writes its buffer size or sample rate; it stays at its level."""
    assert level_db(effect) == pytest.approx(0.0, abs=1e-4)
    effect.set_parameter("gain_db", -6.0)
    assert level_db(effect) == pytest.approx(-6.0, abs=1e-4)
    assert level_db(effect, 96000.0) == pytest.approx(-6.0, abs=1e-4)


@pytest.mark.parametrize("order", ["before", "after"])
def test_what_is_set_stands_above_the_program(effect: VST3, order: str) -> None:
    """A program brings its own gain and tail; a gain that was set stays, whichever was said first."""
    if order == "before":
        effect.set_parameter("gain_db", -6.0)
    effect.set_program("Quiet")
    if order == "after":
        assert effect.get_parameter("gain_db") == pytest.approx(-20.0, abs=1e-4)
        assert level_db(effect) == pytest.approx(-20.0, abs=1e-3)
        effect.set_parameter("gain_db", -6.0)
    assert (effect.get_parameter("program"), effect.programs) == ("Quiet", ("Init", "Quiet", "Echo"))
    assert level_db(effect) == pytest.approx(-6.0, abs=1e-4)
    effect.set_program("Echo")
    assert effect.get_parameter("tail_s") == pytest.approx(1.0, abs=1e-5)


def test_a_wrong_program_names_those_there_are(effect: VST3) -> None:
    """A program the plugin does not have is an error with what is near, and none at all is said."""
    with pytest.raises(ProcessorError, match="no program 'Quite'; did you mean 'Quiet'"):
        effect.set_program("Quite")
    with VST3(INSTRUMENT) as instrument, pytest.raises(ProcessorError, match="offers no programs"):
        instrument.set_program("Quiet")


def test_meters_and_the_hosts_own_are_refused_with_the_reason(effect: VST3) -> None:
    """Each says what it is, however it is written; the rest of the parameters is what can be set."""
    assert set(effect.read_only) == {"buffer_size_frames", "sample_rate_hz", "peak_db"}
    assert not set(effect.read_only) & set(effect.parameters)
    with pytest.raises(ProcessorError, match="peak_db cannot be set: it is a meter"):
        effect.set_parameter("peak_db", -6.0)
    with pytest.raises(ProcessorError, match="buffer_size_frames cannot be set: it belongs to the host"):
        effect.set_raw("buffer_size_frames", 0.5)
    with pytest.raises(ProcessorError, match="is a meter"):
        effect.process(noise(100), SAMPLE_RATE, automation={"peak_db": np.zeros(100)})


def test_a_word_among_numbers_is_a_value_of_its_own(effect: VST3) -> None:
    """Decibels down to "oo" take numbers and the word; another word is told both."""
    spec = effect.parameters["trim_db"]
    assert (spec.minimum, spec.maximum, spec.words) == (-60.0, 0.0, ("oo",))
    effect.set_parameter("trim_db", -12.0)
    assert level_db(effect) == pytest.approx(-12.0, abs=1e-3)
    effect.set_parameter("trim_db", "oo")
    assert effect.get_parameter("trim_db") == "oo"
    assert not effect.process(noise(100), SAMPLE_RATE).any()
    with pytest.raises(ProcessorError, match="'off' is not a number or one of 'oo'"):
        effect.set_parameter("trim_db", "off")


@pytest.mark.parametrize("sample_rate", [44100.0, 48000.0, 96000.0])
def test_real_units_are_those_of_the_renders_rate(effect: VST3, sample_rate: float) -> None:
    """100 ms are 100 ms at every rate, though the plugin's travel is in samples; half a sample is allowed."""
    effect.set_parameter("shift_ms", 90.0)
    effect.set_parameter("probe", "Shift")
    shift_samples = effect.process(noise(100), sample_rate)[0, 0] * PROBE_SCALE
    assert shift_samples == pytest.approx(0.09 * sample_rate, abs=0.5)
    assert effect.get_parameter("shift_ms") == pytest.approx(90.0, abs=0.01)


def test_a_value_that_another_rate_does_not_have_is_an_error() -> None:
    """200 ms at 48 kHz is the end of the travel; at 96 kHz it would be beyond it."""
    with (
        VST3(EFFECT, sample_rate=48000.0, params={"shift_ms": 200.0}) as vst3,
        pytest.raises(ProcessorError, match=r"shift_ms = 200 does not exist at 96000 Hz, .* 0\.\.100 ms"),
    ):
        vst3.process(noise(100), 96000.0)


def test_a_plugin_that_does_not_notify_is_read_back(backend: BackendName, tmp_path: Path) -> None:
    """After a state the positions are the state's, in what is shown and in what is heard."""
    silent = misbehaving_copy(tmp_path, "Silent", notify="off")
    with VST3(silent, backend=backend, params={"gain_db": -6.0}) as vst3:
        data = vst3.preset_data
    with VST3(silent, backend=backend, state=data) as vst3:
        assert vst3.get_parameter("gain_db") == pytest.approx(-6.0, abs=1e-4)
        for _ in range(2):
            assert level_db(vst3) == pytest.approx(-6.0, abs=1e-4)


def test_a_plugin_without_state_takes_its_own_file(backend: BackendName, tmp_path: Path) -> None:
    """Its file holds nothing, which is said; loading it changes nothing, and parameters go on top."""
    bundle, path = misbehaving_copy(tmp_path, "Stateless", state="none"), tmp_path / "a.vstpreset"
    with VST3(bundle, backend=backend, params={"gain_db": -6.0}) as vst3:  # noqa: SIM117
        with pytest.warns(UserWarning, match="keeps nothing in its state"):
            vst3.save_state(path)
    with VST3(bundle, backend=backend, state=path, params={"gain_db": -3.0}) as vst3:
        assert level_db(vst3) == pytest.approx(-3.0, abs=1e-4)


def test_a_stream_begins_fresh_in_a_plugin_that_does_not_clear(backend: BackendName, tmp_path: Path) -> None:
    """Noise that is seeded once is the same in every sound, whatever was measured and heard before."""
    bundle = misbehaving_copy(tmp_path, "Keeper", clear="off")
    with VST3(bundle, backend=backend, params={"noise_db": -20.0}) as vst3:
        first = vst3.process(noise(), SAMPLE_RATE)
        assert vst3.latency_samples == 0
        assert vst3.tail_seconds > 0
        assert np.array_equal(vst3.process(noise(), SAMPLE_RATE), first)


@pytest.mark.parametrize("isolation", ["process", "none"])
def test_what_a_plugin_prints_is_not_shown(tmp_path: Path, isolation: str) -> None:
    """Neither stream of this process carries a line of a talkative plugin while it is loaded."""
    bundle = misbehaving_copy(tmp_path, "Talker", chatter="on")
    script = (
        f"from bridge.processors.vst3 import VST3\nVST3({str(bundle)!r}, isolation={isolation!r}).close()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert b"conformance" not in done.stdout + done.stderr


def test_the_last_line_printed_is_in_the_fault(tmp_path: Path) -> None:
    """A crash is told with what the plugin said last."""
    bundle = misbehaving_copy(tmp_path, "Talker", chatter="on")
    with VST3(bundle, params={"fault": "Crash"}) as vst3:  # noqa: SIM117
        with pytest.raises(PluginFaultError, match="SIGSEGV; it last printed 'conformance: a line on"):
            vst3.process(noise(20000), SAMPLE_RATE, 512)


@needs_minihost
def test_minihost_takes_what_pedalboard_cannot_load(tmp_path: Path) -> None:
    """`auto` falls back and says so once; pedalboard by name does not."""
    bundle = misbehaving_copy(tmp_path, "Picky", host="minihost/_core")
    warned: list[str] = []
    with VST3(bundle, on_warning=warned.append) as vst3:
        assert vst3.identity["backend"] == "minihost"
        assert np.array_equal(vst3.process(noise(), SAMPLE_RATE), noise())
    assert len(warned) == 1
    assert "pedalboard cannot load it" in warned[0]
    with pytest.raises(PluginError, match="Picky"):
        VST3(bundle, backend="pedalboard")


@needs_minihost
@pytest.mark.parametrize("channels", [1, 2])
def test_one_channel_in_and_two_out_is_played(tmp_path: Path, channels: int) -> None:
    """Such a plugin hears the mean of a stereo sound and gives both sides, or their mean to a mono one."""
    sound = noise(channels=channels)
    with VST3(misbehaving_copy(tmp_path, "Widener", layout="1to2"), on_warning=lambda _: None) as vst3:
        output = vst3.process(sound, SAMPLE_RATE)
    expected = np.repeat(sound.mean(axis=0, keepdims=True), channels, axis=0)
    np.testing.assert_allclose(output, expected, atol=1e-7)


@needs_minihost
def test_every_plugin_of_a_bundle_opens_in_minihost() -> None:
    """The second of a bundle is found by its class id, and is an instrument."""
    with VST3(PAIR, plugin_name="Conformance Instrument B", backend="minihost") as vst3:
        assert vst3.is_instrument
        assert vst3.uid == "52564346494E53545200000000000002"
        assert vst3.render([(0.0, bytes([0x90, 69, 100]))], 0.1, SAMPLE_RATE).any()


def test_roles_without_the_modules_answer_are_guessed_with_care() -> None:
    """Titles decide only for what cannot be automated; a knob called Output Level stays a knob."""
    titles = ["Buffer Size", "Gain Reduction", "Output Level", "Output Level", "Current Program", "Gain"]
    automatable = [False, False, False, True, True, True]
    expected = ["host", "meter", "meter", "sound", "program", "sound"]
    assert parameter_roles(titles, automatable, None) == expected


def test_a_program_after_another_parameter_needs_a_block_between() -> None:
    """Within one block a plugin hears parameters by index, so a later program would undo an earlier one."""
    assert telling_order({2: 0.5, 0: 0.1}, ["program", "sound", "sound"]).needs_a_block is False
    assert telling_order({2: 0.5, 0: 0.1}, ["sound", "sound", "program"]).needs_a_block is True
    assert ParameterFlag.PROGRAM_CHANGE == 1 << 15


@pytest.mark.parametrize("piece_samples", [1000, 2000])
def test_a_step_is_heard_on_its_sample(effect: VST3, piece_samples: int) -> None:
    """A jump of a gain and a switch off the grid lands on its sample, however the stream is cut."""
    gain, mute = np.repeat([0.0, -40.0, 0.0], [700, 333, 967]), np.repeat([0.0, 1.0, 0.0], [1301, 7, 692])
    sound, pieces = np.ones((2, 2000), np.float32), []
    for start in range(0, 2000, piece_samples):
        stop = start + piece_samples
        lanes = {"gain_db": gain[start:stop], "mute": mute[start:stop]}
        pieces.append(effect.process(sound[:, start:stop], SAMPLE_RATE, reset=False, automation=lanes))
    heard = np.concatenate([*pieces, effect.flush()], axis=1)
    # float32 of the position is 4e-6 dB of this gain.
    np.testing.assert_allclose(heard[0], 10.0 ** (gain / 20.0) * (1.0 - mute), rtol=2e-6)


def test_the_sustain_pedal_is_heard_on_its_sample(backend: BackendName) -> None:
    """A note that ends while the pedal is down sounds until the pedal comes up."""
    on, off = bytes([0x90, 69, 100]), bytes([0x80, 69, 0])
    down, up = bytes([0xB0, 64, 127]), bytes([0xB0, 64, 0])
    with VST3(INSTRUMENT, backend=backend) as vst3:
        held = vst3.render([(0.0, on), (0.01, down), (0.02, off), (0.05, up)], 0.1, SAMPLE_RATE)
    assert np.flatnonzero(held[0])[-1] == 2399


@needs_minihost
def test_an_effect_hears_midi_beside_its_sound() -> None:
    """`has_midi` takes minihost; the sound goes through, and pedalboard says what it lacks."""
    notes = [(0.0, bytes([0x90, 69, 100]))]
    with VST3(EFFECT, has_midi=True) as vst3:
        assert vst3.description.backend == "minihost"
        vst3.play(notes)
        assert np.array_equal(vst3.process(noise(), SAMPLE_RATE), noise())
    with VST3(EFFECT, backend="pedalboard") as vst3, pytest.raises(ProcessorError, match="has_midi=True"):
        vst3.play(notes)


@needs_minihost
def test_every_output_of_an_instrument_is_rendered(tmp_path: Path) -> None:
    """Two outputs are two sounds, the second the first turned over; pedalboard says that it gives one."""
    bundle = misbehaving_copy(tmp_path, "Twofold", INSTRUMENT, outputs=2)
    notes = [(0.0, bytes([0x90, 69, 100]))]
    with VST3(bundle, backend="minihost", params={"latency_samples": 100.0}) as vst3:
        main, other = vst3.render_outputs(notes, 0.1, SAMPLE_RATE)
        assert np.array_equal(vst3.render(notes, 0.1, SAMPLE_RATE), main)
    assert main.any()
    assert np.array_equal(other, -main)
    with VST3(INSTRUMENT, backend="minihost") as vst3, pytest.raises(PluginError, match="one output only"):
        vst3.render_outputs(notes, 0.1, SAMPLE_RATE)


VST2_HEAD = struct.Struct(">4si4si4si")
SUCCESSOR = "565354" + b"mday".hex() + b"mda delay".hex()


def test_a_vst2_program_becomes_the_bank_its_successor_reads() -> None:
    """A program of parameters stands in a bank behind the header that VST3 successors look for."""
    program = VST2_HEAD.pack(b"CcnK", 48, b"FxCk", 1, b"mday", 1) + bytes(32)
    preset = parse_vstpreset(convert_vst2_state(program, SUCCESSOR))
    assert preset.uid == SUCCESSOR.upper()
    head, bank = preset.chunks["Comp"][:16], preset.chunks["Comp"][16:]
    assert head == struct.pack(">4siii", b"VstW", 8, 1, 0)
    assert VST2_HEAD.unpack_from(bank) == (b"CcnK", len(bank) - 8, b"FxBk", 2, b"mday", 1)
    assert bank[156:] == program


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"CcnK\0", "truncated"),
        (VST2_HEAD.pack(b"CcnK", 900, b"FxCk", 1, b"mday", 1), "damaged"),
        (VST2_HEAD.pack(b"CcnK", 16, b"FxCk", 1, b"mdax", 1), "VST2 plugin 'mdax'; .* not its successor"),
    ],
)
def test_a_vst2_state_of_another_plugin_is_refused(data: bytes, says: str) -> None:
    """Damage and foreign states are told apart, before a plugin sees a byte."""
    with pytest.raises(PluginError, match=says):
        convert_vst2_state(data, SUCCESSOR)


def test_the_form_of_juces_state_is_juces_own() -> None:
    """Bytes are spelt six bits a letter, the lowest first, after their number; what is empty is left out."""
    assert b"IComponent" not in build_juce_state({"Comp": b""})
    state = build_juce_state({"Comp": bytes(range(3))})
    assert state[:4] == b"VC2!"
    assert struct.unpack_from("<I", state, 4)[0] == len(state) - 9
    # Bytes 0, 1, 2 from their lowest bits are sixes of value 0, 4, 32, 0; "." is 0, "A" 1, "a" 27.
    assert b"<IComponent>3..Df.</IComponent>" in state


def test_a_state_is_taken_without_a_text_of_any_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin of two thousand parameters would be asked two million texts, for longer than a timeout."""
    import pedalboard._pedalboard as native

    from bridge.hosts.pedalboard_backend import PedalboardBackend

    def refuse(*_: object) -> None:
        raise AssertionError("a parameter was asked for its texts")

    monkeypatch.setattr(native.ExternalPlugin, "__set_initial_parameter_values__", lambda *_: None)
    monkeypatch.setattr(native.AudioProcessorParameter, "__init__", refuse)
    backend = PedalboardBackend(EFFECT, None)
    gain = next(at for at, one in enumerate(backend._parameters) if one.name == "Gain")
    backend.set_raw(gain, 0.25)
    state = backend.get_state()
    backend.set_raw(gain, 0.75)
    backend.set_state(state)
    assert backend.raw_values()[gain] == 0.25


class _Listening:
    """A plugin of pedalboard's that keeps what it is given to hear."""

    def __init__(self, plugin: object) -> None:
        self.plugin, self.heard = plugin, list[AudioArray]()
        self.woken_with: dict[str, float] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self.plugin, name)

    def process(self, *arguments: object) -> object:
        if isinstance(arguments[0], np.ndarray):
            self.heard.append(arguments[0])
        elif not self.woken_with:
            self.woken_with = {one.name: one.raw_value for one in self.plugin._parameters}  # type: ignore[attr-defined]
        return self.plugin.process(*arguments)  # type: ignore[attr-defined]


def test_a_plugin_hears_nothing_before_the_sound() -> None:
    """Silence and a reset before it would change the last bits of a reverb that keeps what it heard."""
    from bridge.hosts.pedalboard_backend import PedalboardBackend

    backend = PedalboardBackend(EFFECT, None)
    backend._plugin = listening = _Listening(backend._plugin)
    sound = noise(512)
    backend.prepare(SAMPLE_RATE, StreamChannels(2), 512)
    backend.process(sound, (), None, 0)
    assert len(listening.heard) == 1
    assert np.array_equal(listening.heard[0], sound)


def test_an_instrument_that_was_prepared_is_loaded_anew() -> None:
    """Some synthesizers sound otherwise when woken a second time; a first sound is like any later one."""
    from bridge.hosts.pedalboard_backend import PedalboardBackend

    backend = PedalboardBackend(INSTRUMENT, None)
    backend.prepare(SAMPLE_RATE, StreamChannels(2), 512)
    woken = backend._plugin
    backend.prepare(SAMPLE_RATE, StreamChannels(2), 512)
    assert backend._plugin is not woken


def test_a_plugin_loaded_anew_is_told_before_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nekobi's first note sounds otherwise where its knobs move after that."""
    from bridge.hosts.pedalboard_backend import PedalboardBackend

    backend = PedalboardBackend(EFFECT, None)
    backend.set_raw(next(at for at, one in enumerate(backend._parameters) if one.name == "Gain"), 0.25)
    backend.prepare(SAMPLE_RATE, StreamChannels(2), 512)
    backend.process(noise(512), (), None, 0)
    load = backend._open

    def load_listening() -> None:
        load()
        backend._plugin = _Listening(backend._plugin)

    monkeypatch.setattr(backend, "_open", load_listening)
    backend.prepare(SAMPLE_RATE, StreamChannels(2), 512)
    assert backend._plugin.woken_with["Gain"] == 0.25


class TestOfOthers:
    """Plugins from Debian's packages."""

    pytestmark = needs_packages

    @pytest.mark.parametrize("backend", BOTH)
    def test_a_plugin_that_refuses_its_own_empty_state_takes_it(self, backend: BackendName) -> None:
        """ZamAutoSat has nothing to keep, writes one byte, and answers with an error when given it back."""
        sound = noise(4800)[:1]
        with VST3(PACKAGES / "ZamAutoSat.vst3", backend=backend) as vst3:
            state, before = vst3.preset_data, vst3.process(sound, SAMPLE_RATE)
        with VST3(PACKAGES / "ZamAutoSat.vst3", backend=backend, state=state) as vst3:
            assert np.array_equal(vst3.process(sound, SAMPLE_RATE), before)
