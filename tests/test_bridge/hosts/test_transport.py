"""Plugins see the song's clock where the backend can tell it, and a warning says where it cannot."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest
from helpers.vst3 import EFFECT, INSTRUMENT, PROBE_SCALE, SAMPLE_RATE, needs_plugins, noise

from bridge.arrays import AudioArray
from bridge.clock.tempo_map import TempoMap
from bridge.errors import PluginError
from bridge.hosts.contract import BackendName
from bridge.hosts.open_plugin import choose_backend, wants_clock
from bridge.parameters import ParamValue
from bridge.processors.vst3 import VST3

pytestmark = needs_plugins

HAS_MINIHOST = importlib.util.find_spec("minihost") is not None
needs_minihost = pytest.mark.skipif(
    not HAS_MINIHOST, reason="minihost is not installed: pip install minihost"
)

SONG = TempoMap.constant(97.0)
BLOCK = 512
N_SAMPLES = 20 * BLOCK


def probe(vst3: VST3, what: str) -> AudioArray:
    """Return what the plugin saw at the start of every block."""
    vst3.set_parameter("probe", what)
    return vst3.process(noise(N_SAMPLES), SAMPLE_RATE, BLOCK)[0, ::BLOCK].astype(np.float64) * PROBE_SCALE


def test_pedalboard_shows_every_plugin_120_bpm_and_says_so() -> None:
    """Under pedalboard tempo and position stand still whatever the song does; one warning tells."""
    with pytest.warns(UserWarning, match="120 BPM") as caught:
        vst3 = VST3(EFFECT, backend="pedalboard", tempo_map=SONG)
    assert len(caught) == 1
    with vst3:
        assert set(probe(vst3, "Tempo")) == {120.0}
        assert set(probe(vst3, "Beats")) == {0.0}


def test_a_plugin_without_a_clock_is_left_where_it_is() -> None:
    """A plugin none of whose parameters speaks of tempo stays with pedalboard, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with VST3(INSTRUMENT, tempo_map=SONG) as vst3:
            assert vst3.description.backend == "pedalboard"
            assert not wants_clock(vst3.description)


def test_every_block_is_offline() -> None:
    """Plugins are told that the render is offline, so that they may take their time."""
    with VST3(EFFECT) as vst3:
        assert set(probe(vst3, "Process Mode")) == {2.0}
        assert set(probe(vst3, "Sample Rate")) == {SAMPLE_RATE}


def test_backends_are_chosen_by_need() -> None:
    """Auto takes pedalboard unless the song's clock or a sidechain is needed and minihost is there."""
    assert choose_backend("auto") == "pedalboard"
    assert choose_backend("auto", has_clock=True) == ("minihost" if HAS_MINIHOST else "pedalboard")


@pytest.mark.parametrize("backend", ["auto", "minihost"])
def test_minihost_needed_and_absent_is_an_error(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sidechain without the host that feeds one names the command that installs it."""
    monkeypatch.setattr("bridge.hosts.open_plugin.has_minihost", lambda: False)
    assert choose_backend("auto", has_clock=True) == "pedalboard"
    with pytest.raises(PluginError, match=r"pip install 'reverie-audio\[host\]'"):
        choose_backend(backend, has_sidechain=True)  # type: ignore[arg-type]


@needs_minihost
def test_minihost_shows_the_songs_clock() -> None:
    """Tempo, meter and position in beats follow the song, block by block."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vst3 = VST3(EFFECT, tempo_map=SONG)
    with vst3:
        starts = np.arange(0, N_SAMPLES, BLOCK)
        assert set(probe(vst3, "Tempo")) == {97.0}
        assert set(probe(vst3, "Playing")) == {1.0}
        assert set(probe(vst3, "Numerator")) == {4.0}
        assert np.array_equal(probe(vst3, "Samples"), starts)
        # One part in 2^24: the probe speaks float32.
        assert np.allclose(probe(vst3, "Beats"), starts / SAMPLE_RATE * 97.0 / 60.0, rtol=2**-23, atol=0)


@needs_minihost
def test_the_clock_goes_on_inside_a_block_cut_by_automation() -> None:
    """Where automation cuts a block, the later part's position is the later sample's."""
    with VST3(EFFECT, tempo_map=SONG, params={"probe": "Beats"}) as vst3:
        lanes = {"gain_db": np.linspace(0.0, 1.0, N_SAMPLES)}
        seen = vst3.process(noise(N_SAMPLES), SAMPLE_RATE, BLOCK, automation=lanes)[0, ::64] * PROBE_SCALE
    expected = np.arange(0, N_SAMPLES, 64) / SAMPLE_RATE * 97.0 / 60.0
    assert np.allclose(seen, expected, rtol=2**-22, atol=0)


@needs_minihost
def test_tempo_and_meter_changes_arrive() -> None:
    """A tempo change and a 7/8 bar are seen from the first block after them."""
    song = TempoMap.from_points(tempos=[(0.0, 120.0, "hold"), (0.125, 60.0, "hold")], meters=[(0.0, 7, 8)])
    change_sample = int(song.beats_to_seconds(0.125) * SAMPLE_RATE)
    with VST3(EFFECT, tempo_map=song) as vst3:
        tempo = probe(vst3, "Tempo")
        assert set(probe(vst3, "Numerator")) == {7.0}
        assert set(probe(vst3, "Denominator")) == {8.0}
    first_after = -(-change_sample // BLOCK)
    assert set(tempo[:first_after]) == {120.0}
    assert set(tempo[first_after:]) == {60.0}


@needs_minihost
def test_minihost_feeds_the_sidechain() -> None:
    """The second input arrives, sample for sample, next to the first."""
    main, side = noise(seed=1), noise(seed=2)
    with VST3(EFFECT, has_sidechain=True, params={"sidechain": "Replace", "latency_samples": 100.0}) as vst3:
        assert np.array_equal(vst3.process(main, SAMPLE_RATE, BLOCK, sidechain=side), side)
        vst3.set_parameter("sidechain", "Add")
        assert np.array_equal(vst3.process(main, SAMPLE_RATE, BLOCK, sidechain=side), main + side)


def test_pedalboard_refuses_a_sidechain() -> None:
    """A sidechain that would not be heard is an error that names the backend that hears it."""
    with VST3(EFFECT, backend="pedalboard") as vst3, pytest.raises(PluginError, match="minihost"):
        vst3.process(noise(), SAMPLE_RATE, sidechain=noise())


@needs_minihost
@pytest.mark.parametrize(("n_main", "n_side"), [(1, 2), (2, 1), (1, 1)])
def test_a_sidechain_is_heard_with_the_channels_of_the_input(n_main: int, n_side: int) -> None:
    """A mono key reaches both sides of a stereo plugin; a stereo one is heard by a mono sound as its mean."""
    main, side = noise(channels=n_main, seed=1), noise(channels=n_side, seed=2)
    expected = np.repeat(side.mean(axis=0, keepdims=True), n_main, axis=0)
    with VST3(EFFECT, has_sidechain=True, params={"sidechain": "Replace"}) as vst3:
        heard = vst3.process(main, SAMPLE_RATE, BLOCK, sidechain=side)
    # A mean of two float32 rounds once.
    np.testing.assert_allclose(heard, expected, atol=1e-7)


@needs_minihost
@pytest.mark.parametrize("latency", [0, 777, 48000])
def test_both_backends_are_the_same_plugin(latency: int) -> None:
    """Names, specs, state and sound agree between the backends."""
    params = {"cutoff_hz": 500.0, "tail_s": 1.0, "latency_samples": float(latency)}
    sound, lane = noise(), {"gain_db": np.linspace(-20.0, 0.0, 24000)}
    with VST3(EFFECT, backend="pedalboard", params=params) as one, VST3(EFFECT, backend="minihost") as other:
        assert dict(one.parameters) == dict(other.parameters)
        assert one.uid == other.uid
        other.preset_data = one.preset_data
        assert other.get_parameter("latency_samples") == latency
        assert np.array_equal(
            one.process(sound, SAMPLE_RATE, BLOCK, automation=lane),
            other.process(sound, SAMPLE_RATE, BLOCK, automation=lane),
        )
        assert other.latency_samples == latency


@needs_minihost
def test_minihost_realigns_a_latency_that_changes() -> None:
    """A plugin that becomes later on its way stays aligned under minihost too."""
    params: dict[str, ParamValue] = {"latency_samples": 50.0, "fault": "Latency", "fault_at_samples": 10000.0}
    sound = noise()
    with VST3(EFFECT, backend="minihost", params=params) as vst3:
        assert np.array_equal(vst3.process(sound, SAMPLE_RATE, BLOCK), sound)


@needs_minihost
def test_minihost_plays_instruments() -> None:
    """Notes and bends land on the same samples as under pedalboard."""
    notes = [(0.1, bytes([0x90, 69, 100])), (0.2, bytes([0xE0, 0, 96])), (0.5, bytes([0x80, 69, 0]))]
    with VST3(INSTRUMENT, backend="pedalboard") as one, VST3(INSTRUMENT, backend="minihost") as other:
        assert np.array_equal(one.render(notes, 0.6, SAMPLE_RATE), other.render(notes, 0.6, SAMPLE_RATE))


@pytest.mark.parametrize("backend", ["pedalboard", pytest.param("minihost", marks=needs_minihost)])
def test_an_instrument_takes_the_place_of_what_goes_in(backend: BackendName) -> None:
    """Sound streamed into a playing instrument is not heard, and blocks cut anywhere play the same notes."""
    notes = [(0.01, bytes([0x90, 69, 100])), (0.04, bytes([0x80, 69, 0]))]
    sound = noise(4800)
    with VST3(INSTRUMENT, backend=backend) as vst3:
        rendered = vst3.render(notes, 0.1, SAMPLE_RATE)
        vst3.play(notes)
        blocks = np.split(sound, [100, 1000, 1001], axis=1)
        streamed = [vst3.process(np.ascontiguousarray(b), SAMPLE_RATE, reset=False) for b in blocks]
        assert np.array_equal(np.concatenate([*streamed, vst3.flush()], axis=1), rendered)


def test_blocks_that_go_together_are_the_plugins_own_size() -> None:
    """A parameter that moves cuts a block in two; before it and behind it the grid is of 512."""
    moves_at = 7 * BLOCK + 480
    with VST3(EFFECT, backend="pedalboard", params={"probe": "Block Size"}) as vst3:
        lane = np.repeat([0.0, 1.0], [moves_at, N_SAMPLES - moves_at])
        vst3.automation_block_samples = 32
        seen = vst3.process(noise(N_SAMPLES), SAMPLE_RATE, BLOCK, automation={"tail_s": lane})[0]
    sizes = seen.astype(np.float64) * PROBE_SCALE
    assert sizes[::32].tolist() == [512.0] * 112 + [480.0] * 15 + [32.0] + [512.0] * 192
