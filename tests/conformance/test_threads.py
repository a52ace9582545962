"""Threads that share a processor: whole sounds wait for each other, streams that would mix are refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pedalboard
import pytest
from helpers.audio import noise
from helpers.nets import SmallNet
from helpers.vst3 import EFFECT, needs_plugins

from bridge.errors import ProcessorError
from bridge.processors.chain import Chain, Node
from bridge.processors.dream import Dream
from bridge.processors.mix import Mix
from bridge.processors.pedalboard_plugin import PedalboardPlugin, build_builtin
from bridge.processors.vst3 import VST3

RATE = 16000
N_THREADS = 4


def _dream() -> Dream:
    return Dream(SmallNet(), objective="layer:second", window_s=0.5, depth=1.0)


FACTORIES: dict[str, Callable[[], Any]] = {
    "filter": lambda: build_builtin("lowpass_filter", {"cutoff_frequency_hz": 500.0}),
    "late": lambda: build_builtin("mp3_compressor"),
    "run": lambda: PedalboardPlugin(pedalboard.Pedalboard([pedalboard.Delay(0.05), pedalboard.Reverb()])),
    "dream": _dream,
    "mix": lambda: Mix([pedalboard.Reverb(), pedalboard.PitchShift(2)]),
    "chain": lambda: Chain(
        [pedalboard.Delay(0.05), pedalboard.Reverb(), Node(processor=pedalboard.PitchShift(3), mix=0.5)]
    ),
    "vst3": lambda: VST3(EFFECT, params={"cutoff_hz": 900.0, "latency_samples": 777.0}),
}
CASES = [pytest.param(name, marks=needs_plugins if name == "vst3" else ()) for name in FACTORIES]

SOUNDS = [noise(12000 + 1000 * i, 2, seed=i) for i in range(N_THREADS)]


def together(tasks: list[Callable[[], Any]]) -> list[Any]:
    """Run tasks in threads of their own that start at once; return what each gave, or what it raised."""
    gate = threading.Barrier(len(tasks))

    def run(task: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return task()
        except ProcessorError as error:
            return error

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


@pytest.mark.parametrize("name", CASES)
def test_whole_sounds_are_right_from_four_threads(name: str) -> None:
    """Each is what it is alone, again and again."""
    processor = FACTORIES[name]()
    expected = [processor.process(sound, RATE) for sound in SOUNDS]

    for _ in range(3):
        outs = together([lambda sound=sound: processor.process(sound, RATE) for sound in SOUNDS])  # type: ignore[misc]
        for out, alone in zip(outs, expected, strict=True):
            assert np.array_equal(out, alone)


@pytest.mark.parametrize("name", CASES)
def test_whole_sounds_are_right_through_chains_that_share_a_node(name: str) -> None:
    """Four chains, one node in all of them."""
    shared = FACTORIES[name]()
    chains = [Chain([pedalboard.Gain(-i), shared, pedalboard.Delay(0.01)]) for i in range(N_THREADS)]
    expected = [chain.process(sound, RATE) for chain, sound in zip(chains, SOUNDS, strict=True)]

    for _ in range(2):
        outs = together(
            [
                lambda chain=chain, sound=sound: chain.process(sound, RATE)  # type: ignore[misc]
                for chain, sound in zip(chains, SOUNDS, strict=True)
            ]
        )
        for out, alone in zip(outs, expected, strict=True):
            assert np.array_equal(out, alone)


def test_whole_sounds_are_right_through_one_plugin_of_pedalboards() -> None:
    """The object itself in four chains, with automation in each."""
    plugin = pedalboard.LowpassFilter(500)
    chains = [Chain([Node(processor=plugin, name="lp")]) for _ in range(N_THREADS)]
    lanes = [
        {"lp.cutoff_frequency_hz": np.geomspace(100, 5000 + i, s.shape[1])} for i, s in enumerate(SOUNDS)
    ]
    jobs = list(zip(chains, SOUNDS, lanes, strict=True))
    expected = [chain.process(sound, RATE, automation=lane) for chain, sound, lane in jobs]

    outs = together(
        [lambda job=job: job[0].process(job[1], RATE, automation=job[2]) for job in jobs]  # type: ignore[misc]
    )
    for out, alone in zip(outs, expected, strict=True):
        assert np.array_equal(out, alone)


def stream(processor: Any, sound: np.ndarray) -> np.ndarray:
    processor.reset()
    pieces = [
        processor.process(sound[:, i : i + 700], RATE, reset=False) for i in range(0, sound.shape[1], 700)
    ]
    return np.concatenate([*pieces, processor.flush()], axis=1)


@pytest.mark.parametrize("name", CASES)
def test_streams_from_four_threads_are_right_or_refused(name: str) -> None:
    """No thread gets another's sound; who is refused is told whose stream it is and what to do."""
    processor = FACTORIES[name]()
    expected = [stream(processor, sound) for sound in SOUNDS]

    outs = together([lambda sound=sound: stream(processor, sound) for sound in SOUNDS])  # type: ignore[misc]

    for out, alone in zip(outs, expected, strict=True):
        if isinstance(out, ProcessorError):
            assert "has a stream open, and two through one processor would mix" in str(out)
        else:
            assert np.array_equal(out, alone)


@pytest.mark.parametrize("name", CASES)
def test_a_stream_stays_with_its_thread(name: str) -> None:
    """While the thread that began it lives no other goes on with it, ends it or cuts in; then it does."""
    processor, sound = FACTORIES[name](), SOUNDS[0]
    expected = stream(processor, sound)
    processor.reset()
    head = processor.process(sound[:, :700], RATE, reset=False)
    for act in (
        lambda: processor.process(sound, RATE, reset=False),
        lambda: processor.process(sound, RATE),
        lambda: processor.flush(),
        lambda: processor.reset(),
    ):
        (refusal,) = together([act])
        assert isinstance(refusal, ProcessorError)
        assert "'MainThread' has a stream open" in str(refusal)

    rest = [
        processor.process(sound[:, i : i + 700], RATE, reset=False) for i in range(700, sound.shape[1], 700)
    ]
    assert np.array_equal(np.concatenate([head, *rest, processor.flush()], 1), expected)
    (out,) = together([lambda: processor.process(sound, RATE)])
    assert isinstance(out, np.ndarray)


@pytest.mark.parametrize("name", CASES)
def test_a_stream_of_a_thread_that_has_ended_can_be_taken_over(name: str) -> None:
    """Nobody else would end it."""
    processor, sound = FACTORIES[name](), SOUNDS[0]
    processor.reset()
    thread = threading.Thread(target=lambda: processor.process(sound[:, :700], RATE, reset=False))
    thread.start()
    thread.join()

    processor.reset()
    assert processor.process(sound, RATE).shape == sound.shape


@pytest.mark.parametrize("name", CASES)
def test_two_chains_do_not_share_a_stream(name: str) -> None:
    """In one thread too: the chain whose node was taken is told, before it gives wrong sound."""
    shared = FACTORIES[name]()
    first, second = (Chain([Node(processor=shared, mix=0.9)]) for _ in range(2))
    sound = SOUNDS[0]
    first.process(sound[:, :9000], RATE, reset=False)
    second.process(sound[:, :9000], RATE, reset=False)

    with pytest.raises(ProcessorError, match=r"(used elsewhere|another chain has used)"):
        first.process(sound[:, 9000:], RATE, reset=False)


def test_a_raw_plugin_is_not_shared_by_two_streams() -> None:
    """Nor where each chain wraps it in a wrapper of its own."""
    plugin = pedalboard.Reverb()
    first, second = Chain([plugin]), Chain([plugin, pedalboard.Gain(0)])
    first.process(SOUNDS[0][:, :9000], RATE, reset=False)
    second.process(SOUNDS[0][:, :9000], RATE, reset=False)

    with pytest.raises(ProcessorError, match="another chain has used this plugin"):
        first.process(SOUNDS[0][:, 9000:], RATE, reset=False)


def test_asking_for_latency_does_not_spoil_a_stream_in_silence() -> None:
    """A codec is measured with silence; a stream that runs through it is told."""
    chain = Chain([Node(processor=pedalboard.MP3Compressor(), name="mp3"), pedalboard.Gain(0)])
    chain.process(SOUNDS[0][:, :9000], RATE, reset=False)
    assert chain.latency_samples > 0
    chain.process(SOUNDS[0][:, 9000:], RATE, reset=False)
    assert chain.flush().shape[1] > 0
