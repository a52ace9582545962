"""Chains: lists that sound like pedalboard's, and line everything up."""

from __future__ import annotations

import numpy as np
import pedalboard
import pytest
from helpers.nets import SmallNet

from bridge.errors import ProcessorError
from bridge.processors.chain import Chain, Node
from bridge.processors.dream import Dream
from bridge.processors.mix import Mix
from bridge.processors.pedalboard_plugin import PedalboardPlugin

RATE = 48000


def noise(n_samples: int = 40000, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((2, n_samples))).astype(np.float32)


class Late:
    """Withholds samples while it streams and gives them back aligned, like a plugin with latency."""

    is_effect, is_instrument, tail_seconds, parameters = True, False, 0.0, {}

    def __init__(self, latency_samples: int, gain: float = 1.0) -> None:
        self.latency_samples, self.gain = latency_samples, gain
        self.reset()

    def get_parameter(self, name: str) -> float:
        raise ProcessorError(name)

    def set_parameter(self, name: str, value: object) -> None:
        raise ProcessorError(name)

    def reset(self) -> None:
        self.held = np.zeros((2, 0), np.float32)

    def process(self, input_array, sample_rate, buffer_size=8192, reset=True, *, automation=None):
        if reset:
            return self.gain * input_array
        self.held = np.concatenate([self.held, input_array], 1)
        n_ready = max(0, self.held.shape[1] - self.latency_samples)
        ready, self.held = self.held[:, :n_ready], self.held[:, n_ready:]
        return self.gain * ready

    def flush(self):
        rest = self.gain * self.held
        self.reset()
        return rest


def test_it_is_a_list_of_what_was_put_in() -> None:
    """Append, insert, index, replace, delete and iterate as with a pedalboard."""
    gain, reverb, dream = pedalboard.Gain(1), pedalboard.Reverb(), Dream(SmallNet())
    chain = Chain([gain])
    chain.append(dream)
    chain.insert(1, reverb)

    assert list(chain) == [gain, reverb, dream]
    del chain[1]
    chain[0] = reverb
    assert list(chain) == [reverb, dream]
    assert len(chain) == 2


def test_native_plugins_sound_as_in_a_pedalboard() -> None:
    """A chain of pedalboard's plugins is a pedalboard."""
    plugins = [pedalboard.HighpassFilter(200), pedalboard.Compressor(-30, 4), pedalboard.Delay(0.02)]
    sound = noise()
    expected = pedalboard.Pedalboard(plugins)(sound, RATE)

    assert np.array_equal(expected, Chain(plugins)(sound, RATE))


def test_mix_meets_the_dry_sound_at_its_sample() -> None:
    """Half wet through a processor that withholds samples is the same sound, whatever it withholds."""
    sound = noise()
    for latency in (0, 1, 777, 48000):
        chain = Chain([Node(processor=Late(latency, gain=3.0), mix=0.25)])
        out = np.concatenate(
            [chain.process(sound[:, i : i + 1000], RATE, reset=False) for i in range(0, 40000, 1000)]
            + [chain.flush()],
            axis=1,
        )

        # dry + 0.25 * (wet - dry) in float32: one rounding of each operation.
        np.testing.assert_allclose(out, 1.5 * sound, rtol=1e-6)


def test_branches_meet_at_their_sample() -> None:
    """Parallel branches with different latencies sum sample for sample."""
    sound = noise()
    mix = Mix([Late(0), Late(2048, gain=-1.0), Chain([Late(777), pedalboard.Gain(0)])])
    out = np.concatenate(
        [mix.process(sound[:, i : i + 999], RATE, reset=False) for i in range(0, 40000, 999)] + [mix.flush()],
        axis=1,
    )

    # 1 - 1 + 1: exact but for the order of the sum.
    np.testing.assert_allclose(out, sound, atol=1e-7)


def test_automation_waits_for_its_samples() -> None:
    """Behind a processor that withholds samples, a lane still moves the sample it was written for."""
    sound = np.ones((2, 30000), np.float32)
    lane = (np.arange(30000) >= 12345).astype(np.float64)
    chain = Chain([Late(5000), Node(processor=Late(100, gain=0.0), name="mute")])
    out = []
    for i in range(0, 30000, 700):
        block = sound[:, i : i + 700]
        out.append(
            chain.process(block, RATE, reset=False, automation={"mute.mix": lane[i : i + block.shape[1]]})
        )
    out.append(chain.flush())

    assert np.array_equal(np.concatenate(out, 1)[0], 1.0 - lane)


def test_a_filter_moves_in_blocks_of_the_stated_size() -> None:
    """Automating a built-in is the staircase of setting it by hand at every 64th sample."""
    sound = noise(10000)
    lane = np.geomspace(200, 8000, 10000)
    chain = Chain([Node(processor=pedalboard.LowpassFilter(200), name="lp")])
    automation = {"lp.cutoff_frequency_hz": lane}

    by_hand, plugin = [], pedalboard.LowpassFilter(200)
    for i in range(0, 10000, 64):
        plugin.cutoff_frequency_hz = lane[i]
        by_hand.append(plugin.process(sound[:, i : i + 64], RATE, reset=False))

    assert np.array_equal(np.concatenate(by_hand, 1), chain.process(sound, RATE, automation=automation))


def test_automation_does_not_depend_on_blocks() -> None:
    """The staircase is fixed from the first sample, not from where a block happens to begin."""
    sound = noise(10000)
    lane = np.geomspace(200, 8000, 10000)
    native = PedalboardPlugin(pedalboard.LadderFilter())
    whole = native.process(sound, RATE, automation={"cutoff_hz": lane})
    pieces = []
    for start, stop in ((0, 1), (1, 3), (3, 100), (100, 5000), (5000, 10000)):
        part = {"cutoff_hz": lane[start:stop]}
        pieces.append(native.process(sound[:, start:stop], RATE, reset=False, automation=part))
    pieces.append(native.flush())

    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, atol=1e-6)


def test_depth_moves_through_a_chain() -> None:
    """A dream's depth lane, behind a delay, changes nothing where it is 0."""
    sound = noise(30000)
    lane = np.zeros(30000)
    lane[10000:20000] = 1.5
    dream = Dream(SmallNet(), objective="layer:second", window_s=0.5)
    chain = Chain([Late(512), Node(processor=dream, name="dream")])
    out = chain.process(sound, RATE, automation={"dream.depth": lane})

    changed = np.flatnonzero((out != sound).any(axis=0))
    assert (changed.min(), changed.max()) == (10000, 19999)


def test_mistakes_are_said() -> None:
    """Foreign objects, doubled names, mixes out of range and lanes to nowhere are refused with a remedy."""
    with pytest.raises(ProcessorError, match="takes processors and pedalboard plugins; got int"):
        Chain([3])  # type: ignore[list-item]
    with pytest.raises(ProcessorError, match="two nodes are called 'a'"):
        Chain([Node(processor=pedalboard.Gain(), name="a"), Node(processor=pedalboard.Gain(), name="a")])
    with pytest.raises(ProcessorError, match=r"outside 0\.\.1"):
        Chain([Node(processor=pedalboard.Gain(), mix=1.4)])
    with pytest.raises(ProcessorError, match=r"did you mean 'gain\.gain_db'"):
        Chain([pedalboard.Gain()]).process(noise(10), RATE, automation={"gain.gain": np.zeros(10)})
    with pytest.raises(ProcessorError, match="at least one branch"):
        Mix([])


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_dream_holds_its_band_below_half_the_rate(rate: int) -> None:
    """Set or moved too high, it is what it is at 0.49 of the rate, and says so once."""
    sound, told = noise(rate)[:, :rate], []
    limit = 0.49 * rate
    make = {"objective": "layer:second", "window_s": 0.5, "depth": 1.0}
    held = Dream(SmallNet(), high_hz=9000.0, on_warning=told.append, **make).process(sound, rate)

    assert np.array_equal(held, Dream(SmallNet(), high_hz=limit, **make).process(sound, rate))
    assert told == [f"dream: high_hz = 9000 Hz is too high for sound at {rate} Hz; {limit:g} Hz is used"]
    lane = np.linspace(1000.0, 20000.0, rate)
    moved = Dream(SmallNet(), on_warning=told.append, **make).process(
        sound, rate, automation={"high_hz": lane}
    )
    low = {"high_hz": np.minimum(lane, limit)}
    assert np.array_equal(moved, Dream(SmallNet(), **make).process(sound, rate, automation=low))
    assert len(told) == 2
    with pytest.raises(ProcessorError, match="is empty"):
        Dream(SmallNet(), low_hz=8000.0, high_hz=9000.0, on_warning=told.append, **make).process(sound, rate)
