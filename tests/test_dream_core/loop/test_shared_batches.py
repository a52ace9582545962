"""Streams of several threads share batches, and nobody hears it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.nets import SmallNet

from dream_core import DreamSettings, dream
from dream_core.errors import NonFiniteError
from dream_core.loop.shared_batches import SharedBatches

RATE = 16000
SETTINGS = DreamSettings(objective="layer:second", window_s=0.5, fade_s=0.03)
BATCH = 16


@pytest.fixture(scope="module")
def network() -> SmallNet:
    return SmallNet()


def make_sounds(n_sounds: int) -> list[np.ndarray]:
    """Sounds of two windows each."""
    return [
        0.1 * np.random.default_rng(seed).standard_normal((1, 9000 + 500 * seed)).astype(np.float32)
        for seed in range(n_sounds)
    ]


def dream_together(
    network: SmallNet, sounds: list[np.ndarray], shared_batches: SharedBatches
) -> list[np.ndarray | Exception]:
    def one(sound: np.ndarray) -> np.ndarray | Exception:
        try:
            return dream(
                sound, RATE, network, SETTINGS, depth=3.0, batch=BATCH, shared_batches=shared_batches
            )
        except NonFiniteError as error:
            return error

    pool = ThreadPoolExecutor(len(sounds))
    with shared_batches.joined():  # so that no batch is stepped before all have come
        futures = [pool.submit(one, sound) for sound in sounds]
        while len(shared_batches) < len(sounds):
            time.sleep(0.001)
    pool.shutdown()
    return [future.result() for future in futures]


def test_sounds_dreamed_together_are_those_dreamed_alone(network: SmallNet) -> None:
    """Every sample is the same, and the batches are as many as one full one a step needs."""
    sounds = make_sounds(6)
    alone = [dream(sound, RATE, network, SETTINGS, depth=3.0, batch=BATCH) for sound in sounds]
    shared_batches = SharedBatches()
    together = dream_together(network, sounds, shared_batches)

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    # Twelve windows fit one batch: three steps take three, and a few more where sounds drift apart.
    n_alone = 3 * len(sounds)
    assert shared_batches.n_batches < n_alone


def test_a_fault_is_its_own_streams(network: SmallNet) -> None:
    """A sound whose dream is not finite fails; those in its batch do not."""
    sounds = make_sounds(4)
    sounds[2] = sounds[2] * np.float32(1e30)
    results = dream_together(network, sounds, SharedBatches())

    assert [isinstance(result, Exception) for result in results] == [False, False, True, False]
    np.testing.assert_array_equal(
        results[0], dream(sounds[0], RATE, network, SETTINGS, depth=3.0, batch=BATCH)
    )


def test_streams_of_other_kinds_step_apart(network: SmallNet) -> None:
    """Settings that differ make other batches, and the same sound as alone."""
    (sound,) = make_sounds(1)
    kinds = [SETTINGS, DreamSettings(objective="layer:first", window_s=0.5, fade_s=0.03)]
    shared_batches = SharedBatches()
    with ThreadPoolExecutor(2) as pool:
        together = list(
            pool.map(
                lambda kind: dream(
                    sound, RATE, network, kind, depth=2.0, batch=BATCH, shared_batches=shared_batches
                ),
                kinds,
            )
        )
    for kind, dreamed in zip(kinds, together, strict=True):
        np.testing.assert_array_equal(dreamed, dream(sound, RATE, network, kind, depth=2.0, batch=BATCH))
