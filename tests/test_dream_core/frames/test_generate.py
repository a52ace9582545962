"""Playing on: as if everything were heard anew each time, in time with what was heard, as loud as it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.frames_net import RATE, loop, trained, untrained

from dream_core.errors import CancelledError, SettingError
from dream_core.frames.generate import DENORMALISE, GrowthPolicy, grow, grow_frames
from dream_core.frames.network import FramesNet

BEAT = RATE // 2


def rms(sound: torch.Tensor) -> float:
    return float(sound.square().mean().sqrt())


def likeness(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))


def heard(network: FramesNet, n_frames: int = 20) -> torch.Tensor:
    return network.standardise(network.hear(loop()))[:n_frames]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_carried_state_plays_what_hearing_it_all_again_plays(cell: str) -> None:
    """All that was heard, its own frames too, run anew for every frame from nothing: the slow restatement."""
    network = untrained(cell=cell)
    with torch.no_grad():
        played = grow_frames(network, heard(network), 40, GrowthPolicy())
        everything = torch.cat([heard(network), played.heard])
        for index in range(40):
            said = network(everything[None, : 20 + index]).expected[:, -1]
            shape, level = network.join(said * network.scale + network.mean)
            torch.testing.assert_close((shape * level)[0], played.frames[index], atol=1e-5, rtol=0)


def test_it_plays_on_what_it_learnt_in_time() -> None:
    """Of a beat cut anywhere it plays what comes next in the loop, and not half a low period late."""
    for start in (0, 7777):
        twice = loop(3)
        before, after = twice[start : start + BEAT], twice[start + BEAT : start + 3 * BEAT]
        played = grow(trained().network, before, 2 * BEAT)
        assert played.fit > -0.5
        assert likeness(played.sound, after) > 0.9
        assert likeness(played.sound, after.roll(44)) < 0.0


def test_it_plays_as_loud_as_what_it_learnt() -> None:
    """Eight bars from a beat are within 3 dB of the loop, each of them."""
    played = grow(trained().network, loop()[:BEAT], 32 * BEAT).sound
    for bar in played.unflatten(0, (8, -1)):
        assert rms(bar) == pytest.approx(rms(loop()), rel=0.41)


def test_the_same_seed_gives_the_same_samples_and_no_temperature_needs_none() -> None:
    network, straying = trained().network, GrowthPolicy(temperature=0.5, seed=1)
    first, second = (grow(network, loop()[:BEAT], BEAT, straying).sound for _ in range(2))
    other = grow(network, loop()[:BEAT], BEAT, replace(straying, seed=2)).sound
    plain, also = (grow(network, loop()[:BEAT], BEAT, GrowthPolicy(seed=seed)).sound for seed in (1, 2))

    assert torch.equal(first, second)
    assert not torch.allclose(first, other, atol=1e-3)
    assert torch.equal(plain, also)


def test_a_short_memory_is_another_music() -> None:
    """With as many frames as there are it is the same as all; with two it is not."""
    network = untrained()
    with torch.no_grad():
        everything, long, short = (
            grow_frames(network, heard(network), 30, GrowthPolicy(memory_frames=n)).frames
            for n in (0, 1000, 2)
        )

    torch.testing.assert_close(long, everything, atol=1e-5, rtol=0)
    assert not torch.allclose(short, everything, atol=1e-4)


def test_scaling_back_changes_what_is_heard_and_not_what_goes_back_in() -> None:
    network = trained().network
    with torch.no_grad():
        played = {
            how: grow_frames(network, heard(network), 20, GrowthPolicy(denormalise=how))
            for how in DENORMALISE
        }
    for how in ("mean", "scale", "none"):
        assert torch.equal(played[how].heard, played["both"].heard)
        assert not torch.allclose(played[how].frames, played["both"].frames, atol=1e-4)
        levels = [one.frames.square().mean(dim=1).sqrt() for one in (played[how], played["both"])]
        torch.testing.assert_close(*levels, atol=1e-4, rtol=1e-3)


def test_a_tail_fades_or_rises_and_nothing_else_does() -> None:
    """By the feedback, each second of it; before it nothing changes."""
    network, second = trained().network, 2 * BEAT
    plain = grow(network, loop()[:BEAT], 3 * second).sound
    faded = grow(network, loop()[:BEAT], 3 * second, GrowthPolicy(tail_s=2.0, feedback=0.25)).sound
    risen = grow(network, loop()[:BEAT], 3 * second, GrowthPolicy(tail_s=2.0, feedback=2.0)).sound

    assert torch.equal(faded[: second - 256], plain[: second - 256])
    assert rms(faded[-second // 2 :]) < 0.2 * rms(plain[-second // 2 :])
    assert rms(risen[-second // 2 :]) > 1.5 * rms(plain[-second // 2 :])


def test_frames_that_do_not_overlap_are_joined() -> None:
    """The jump from the last sample of a frame to the first of the next is a tenth, where 40 samples fade."""
    network = untrained(domain="time", frame_samples=128)
    joined, bare = (
        grow(network, loop()[:0], 4096, GrowthPolicy(join_s=join_s)).sound.diff().abs()[127::128].mean()
        for join_s in (0.005, 0.0)
    )

    assert 0.0 < joined < 0.1 * bare


@pytest.mark.parametrize("n_before", [0, 1, 100])
def test_little_or_nothing_before_is_enough(n_before: int) -> None:
    played = grow(untrained(), loop()[:n_before], 500).sound

    assert played.shape == (500,)
    assert torch.isfinite(played).all()


def test_wrong_growth_is_explained_and_a_running_one_stops() -> None:
    with pytest.raises(SettingError, match="0 samples"):
        grow(untrained(), loop(), 0)
    with pytest.raises(SettingError, match="shape"):
        grow(untrained(), loop()[None], 10)
    with pytest.raises(SettingError, match="did you mean 'scale'"):
        GrowthPolicy(denormalise="scales")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"temperature = -1 is outside 0\.\.4"):
        GrowthPolicy(temperature=-1.0)
    with pytest.raises(CancelledError):
        grow(untrained(), loop(), 1000, is_cancelled=lambda: True)
