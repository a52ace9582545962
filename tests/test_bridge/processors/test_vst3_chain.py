"""Hosted plugins stand in chains and parallel branches like everything else: aligned, automated, mixed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from helpers.vst3 import EFFECT, SAMPLE_RATE, needs_plugins, noise

from bridge.arrays import AudioArray
from bridge.errors import PluginFaultError
from bridge.processors.chain import Chain, Node
from bridge.processors.mix import Mix
from bridge.processors.vst3 import VST3

pedalboard = pytest.importorskip("pedalboard")

pytestmark = needs_plugins

SOUND = noise(60000)


@pytest.fixture(scope="module")
def loaded() -> Iterator[list[VST3]]:
    plugins = [VST3(EFFECT) for _ in range(3)]
    yield plugins
    for plugin in plugins:
        plugin.close()


@pytest.fixture
def plugins(loaded: list[VST3]) -> list[VST3]:
    for plugin, latency in zip(loaded, (1, 777, 2048), strict=True):
        plugin.reset()
        for name, spec in plugin.parameters.items():
            plugin.set_parameter(name, spec.default)
        plugin.set_parameter("latency_samples", float(latency))
    return loaded


def streamed(processor: Chain | Mix, piece: int) -> AudioArray:
    pieces = [
        processor.process(SOUND[:, i : i + piece], SAMPLE_RATE, 512, False)
        for i in range(0, SOUND.shape[1], piece)
    ]
    return np.concatenate([*pieces, processor.flush()], axis=1)


@pytest.mark.parametrize("piece", [333, 4096, 60000])
def test_late_plugins_in_series_null(plugins: list[VST3], piece: int) -> None:
    """Three plugins in a row, late by 1, 777 and 2048 samples, give back the input bit for bit."""
    chain = Chain(plugins)
    assert np.array_equal(streamed(chain, piece), SOUND)
    assert chain.latency_samples == 1 + 777 + 2048


def test_late_plugins_in_parallel_null(plugins: list[VST3]) -> None:
    """A late branch, inverted, cancels a dry one and one of another latency, to the last bit."""
    plugins[1].set_parameter("mode", "Invert")
    plugins[2].set_parameter("latency_samples", 48000.0)
    mix = Mix([Chain([plugins[1]]), Chain([plugins[2]])])
    assert not streamed(mix, 5000).any()
    assert not mix.process(SOUND, SAMPLE_RATE).any()


def test_a_half_mixed_late_plugin_is_aligned(plugins: list[VST3]) -> None:
    """At mix 0.5 the dry half is as late as the wet half: the sum is the input."""
    chain = Chain([Node(processor=plugins[2], name="late", mix=0.5)])
    assert np.abs(streamed(chain, 4096) - SOUND).max() < 1e-6


def test_built_ins_and_plugins_stand_in_one_chain(plugins: list[VST3]) -> None:
    """A pedalboard gain of +6 dB before a plugin of -6 dB is the input, to float32's rounding."""
    plugins[1].set_parameter("gain_db", -6.0)
    chain = Chain([pedalboard.Gain(6.0), plugins[1], plugins[0]])
    assert np.abs(chain.process(SOUND, SAMPLE_RATE) / SOUND - 1.0).max() < 1e-5


def test_automation_elsewhere_leaves_the_null(plugins: list[VST3]) -> None:
    """While a parameter without effect moves in one plugin, a chain of three still nulls."""
    chain = Chain(
        [Node(processor=plugin, name=name, mix=1.0) for plugin, name in zip(plugins, "abc", strict=True)]
    )
    lanes = {"b.seed": np.linspace(0.0, 255.0, SOUND.shape[1])}
    assert np.array_equal(chain.process(SOUND, SAMPLE_RATE, automation=lanes), SOUND)


def test_automation_reaches_a_plugin_through_the_chain(plugins: list[VST3]) -> None:
    """A lane on a node's parameter moves the sound it belongs to, though a plugin before it is late."""
    chain = Chain(
        [Node(processor=plugins[2], name="late", mix=1.0), Node(processor=plugins[1], name="fx", mix=1.0)]
    )
    lane = np.linspace(-12.0, 12.0, SOUND.shape[1])
    output = chain.process(SOUND, SAMPLE_RATE, automation={"fx.gain_db": lane})
    expected = SOUND * np.repeat(10.0 ** (lane[::64] / 20.0), 64)[: SOUND.shape[1]]
    assert np.allclose(output, expected, rtol=1e-6, atol=1e-9)


def test_a_fault_in_a_chain_names_the_plugin(plugins: list[VST3]) -> None:
    """A crash inside a chain comes out as the plugin's fault; the others can go on."""
    plugins[1].set_parameter("fault", "Crash")
    plugins[1].set_parameter("fault_at_samples", 10000.0)
    with pytest.raises(PluginFaultError, match="Conformance Effect: crash at sample"):
        Chain(plugins).process(SOUND, SAMPLE_RATE)
    plugins[1].set_parameter("fault", "None")
    assert np.array_equal(Chain(plugins).process(SOUND, SAMPLE_RATE), SOUND)
