"""What a step tells: which class is heard before it, and how much it changes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet

from dream_core.dsp.resample import resample
from dream_core.loop.dream import dream, open_stream
from dream_core.loop.pending_steps import StepReport
from dream_core.loop.shared_batches import SharedBatches
from dream_core.networks.registry import load_network
from dream_core.settings import DreamSettings

RATE = 22050


def sound(seconds: float = 1.5, n_channels: int = 1, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * 220.0 * t) * np.exp(-2.0 * (t % 0.5))
    return (0.2 * tone + 0.01 * rng.standard_normal((n_channels, len(t)))).astype(np.float32)


def reports(x: np.ndarray, objective: str, depth: float = 3.0, **settings: object) -> list[StepReport]:
    told: list[StepReport] = []
    chosen = DreamSettings(objective=objective, jitter=False, context=False, **settings)  # type: ignore[arg-type]
    dream(x, RATE, SmallNet(), chosen, depth=depth, on_step=told.append, batch=2)
    return told


def test_the_class_is_the_one_the_network_hears_most() -> None:
    """The mean of its probabilities by the levels of the patches, reckoned here from the network itself."""
    x, network = sound(), SmallNet()

    first = reports(x, "class:auto")[0]

    heard = resample(torch.from_numpy(x), RATE, 16000)
    patches = network.listen(heard)[0]
    share = network(patches).softmax(dim=1)
    energy = network.measure_energy(patches)
    levels = (10 * torch.log10(energy / energy.max()) + 60).clamp(min=0)
    means = (share * (levels / levels.sum())[:, None]).sum(dim=0)
    assert first.heard is not None
    assert first.heard[0] == network.card.classes[int(means.argmax())]
    assert first.heard[1] == pytest.approx(float(means.max()), abs=1e-5)


def test_the_class_dreamed_of_is_heard_more_with_every_step() -> None:
    told = [one.heard for one in reports(sound(), "class:auto", depth=5.0)]

    assert all(one is not None for one in told)
    values = [one[1] for one in told if one is not None]
    assert values == sorted(values)
    assert values[-1] > values[0]


@pytest.mark.parametrize("objective", ["layer:second", "channel:first:3"])
def test_where_no_class_is_asked_for_none_is_told(objective: str) -> None:
    assert {one.heard for one in reports(sound(), objective)} == {None}


def test_a_window_hears_its_own_class_whatever_shares_its_batch() -> None:
    """Full windows and the short last one: each as when it is dreamed alone, and so in mid and side."""
    x = sound(4.3, n_channels=2)
    for stereo in ("linked", "mid_side"):
        options = {"window_s": 1.0, "stereo": stereo}
        together = reports(x, "class:auto", depth=1.0, **options)
        assert len(together) > 4
        alone: list[StepReport] = []
        settings = DreamSettings(objective="class:auto", jitter=False, context=False, **options)  # type: ignore[arg-type]
        dream(x, RATE, SmallNet(), settings, depth=1.0, on_step=alone.append, batch=1)

        by_window = {one.window_index: one.heard for one in alone}
        for one in together:
            mine, other = one.heard, by_window[one.window_index]
            assert mine is not None
            assert other is not None
            assert mine[0] == other[0]
            assert mine[1] == pytest.approx(other[1], abs=1e-5)


def test_the_change_is_what_the_step_adds() -> None:
    """Of one whole step, the level of the output less the input beside the input."""
    x = sound()
    told: list[StepReport] = []
    settings = DreamSettings(objective="class:auto", jitter=False)

    out = dream(x, RATE, SmallNet(), settings, depth=1.0, on_step=told.append)

    wanted = 10 * np.log10(np.sum((out.astype(np.float64) - x) ** 2) / np.sum(x.astype(np.float64) ** 2))
    assert told[0].change_db == pytest.approx(wanted, abs=0.01)
    assert (
        StepReport(
            window_index=0, step_index=0, start_s=0.0, score=0.0, window_steps=1, done_steps=1, total_steps=1
        ).change_db
        == -np.inf
    )


def test_streams_that_share_a_batch_are_told_of_their_own_windows() -> None:
    """Two sounds in two threads hear what each hears alone."""
    sounds = [sound(seed=1), 0.3 * sound(seed=9)[:, ::-1].copy()]
    network, settings = load_network("timbre"), DreamSettings(objective="class:auto")

    def run(index: int, shared: SharedBatches | None, told: list[StepReport]) -> None:
        stream = open_stream(network, settings, RATE, 1, batch=2, on_step=told.append, shared_batches=shared)
        stream.push(torch.from_numpy(sounds[index]), torch.full((sounds[index].shape[1],), 2.0))
        stream.finish()

    alone: list[list[StepReport]] = [[], []]
    shared: list[list[StepReport]] = [[], []]
    for index in (0, 1):
        run(index, None, alone[index])
    batches = SharedBatches()
    threads = [threading.Thread(target=run, args=(i, batches, shared[i])) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert shared == alone
    assert shared[0][0].heard != shared[1][0].heard
