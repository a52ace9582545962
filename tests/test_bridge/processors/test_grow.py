"""A network plays on in a song: where it shall, cross-faded, the same in any blocks, mistakes named."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.frames_net import loop, trained, untrained

from bridge.clock.tempo_map import TempoMap
from bridge.errors import ProcessorError, RenderStoppedError, TempoError
from bridge.processors.chain import Chain, Node
from bridge.processors.grow import Grow, is_missing, load_player
from bridge.processors.grow_places import Lengths, find_places, parse_from
from dream_core.frames.generate import grow

RATE = 8000
CLOCK = TempoMap.constant(120)
BEAT = RATE // 2


def sound(n_beats: int = 12, n_channels: int = 1) -> np.ndarray:
    mono = loop(-(-n_beats // 4))[: n_beats * BEAT].numpy()
    gains = np.array([[1.0], [0.5]])[:n_channels]
    return (gains * mono).astype(np.float32)


def player(begin: str = "1 bars", **values: object) -> Grow:
    return Grow(untrained(), begin, tempo_map=CLOCK, **values)  # type: ignore[arg-type]


def starts(text: str, clock: TempoMap = CLOCK, n: int = 3, **song: object) -> list[float]:
    lengths = Lengths(seed_beats=1.0, length_beats=1.0)
    return [place.start_s for place in islice(find_places(parse_from(text), clock, lengths, **song), n)]  # type: ignore[arg-type]


def test_places_are_found_on_the_songs_clock() -> None:
    song = CLOCK.with_markers([(6.0, "Drop")])

    assert starts("2 bars") == [4.0, 8.0, 12.0]
    assert starts("1/8T") == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    assert starts("start") == [0.5]
    assert starts("@Drop", song) == [3.0]
    assert starts("3:2") == [4.5]
    assert starts("end-1 bars", length_s=10.0) == [8.0]
    assert starts("notes", note_starts_s=(2.0, 1.0, 2.0)) == [1.0, 2.0]
    with pytest.raises(TempoError, match="Drop"):
        starts("@Dropp", song)


def test_lengths_follow_the_tempo() -> None:
    """Through a change of tempo: a beat before it, two after it, at twice the speed."""
    clock = TempoMap.from_points([(0, 60, "hold"), (4, 120, "hold")])
    lengths = Lengths(seed_beats=1.0, length_beats=2.0, tail_beats=4.0)
    place = next(find_places(parse_from("4 beats"), clock, lengths))

    assert (place.start_s, place.seed_s, place.length_s, place.tail_s, place.beat_s) == (
        4.0,
        1.0,
        3.0,
        2.0,
        0.5,
    )


@pytest.mark.parametrize("text", ["", "4 bras", "0 bars", "9:0"])
def test_places_that_are_none_are_explained(text: str) -> None:
    with pytest.raises(ProcessorError, match="accepted"):
        parse_from(text)


def test_it_plays_what_the_network_plays_of_the_last_beat() -> None:
    """Past the fade in and before the fade out: the network's own samples, then the sound, bit for bit."""
    dry = sound()
    wet = player("2 bars", length_beats=2.0, fade_s=0.01)(dry, RATE)
    at = 8 * BEAT
    wanted = grow(untrained(), torch.from_numpy(dry[0, at - BEAT : at]), 2 * BEAT).sound.numpy()

    assert np.array_equal(wet[:, :at], dry[:, :at])
    np.testing.assert_allclose(wet[0, at + 80 : at + 2 * BEAT], wanted[80:], atol=1e-6)
    assert np.array_equal(wet[:, at + 2 * BEAT + 80 :], dry[:, at + 2 * BEAT + 80 :])


def test_a_trained_network_goes_on_in_time() -> None:
    """A loop that plays itself from the second beat on is the loop, nearly: no beat is early or late."""
    dry = sound(12)
    wet = Grow(trained().network, "start", tempo_map=CLOCK, length_beats=10.0)(dry, RATE)
    likeness = float((wet * dry).sum() / np.sqrt((wet**2).sum() * (dry**2).sum()))

    assert not np.array_equal(wet, dry)
    assert likeness > 0.9


def test_fades_are_of_equal_power() -> None:
    """The squares of both gains add up to 1: seen with ones that fade out and nothing that fades in."""
    network = untrained()
    network.mean[-1] = -20.0  # it plays nothing
    network.scale[-1] = 1e-8
    ones = np.ones((1, 8 * BEAT), np.float32)
    wet = Grow(network, "1 bars", tempo_map=CLOCK, length_beats=2.0, fade_s=0.1)(ones, RATE)
    fade = RATE // 10
    out, back = wet[0, 4 * BEAT : 4 * BEAT + fade], wet[0, 6 * BEAT : 6 * BEAT + fade]

    np.testing.assert_allclose(out**2 + back**2, 1.0, atol=1e-3)
    assert np.abs(wet[0, 4 * BEAT + fade + 1 : 6 * BEAT - 1]).max() < 1e-3


@pytest.mark.parametrize(
    "values", [{}, {"length_beats": 4.0}, {"fade_s": 0.0}, {"fade_s": 0.5, "length_beats": 3.7}]
)
def test_blocks_do_not_matter(values: dict[str, float]) -> None:
    """Sample for sample, also where growths follow each other, and where fades are long."""
    dry = sound(9, n_channels=2)
    node = player("1 bars", temperature=0.5, **{"length_beats": 1.0, **values})
    whole = node(dry, RATE)
    for size in (997, 4 * BEAT):
        pieces = [node.process(dry[:, i : i + size], RATE, reset=False) for i in range(0, dry.shape[1], size)]
        assert np.array_equal(np.concatenate([*pieces, node.flush()], axis=1), whole)


def test_growths_that_follow_each_other_leave_none_of_the_sound() -> None:
    """A bar every bar: what is played changes with the seed everywhere from the first bar on."""
    dry = sound()
    first, second = (player("1 bars", temperature=1.0, seed=seed)(dry, RATE) for seed in (1, 2))
    differs = np.abs(first - second)[0] > 1e-6

    assert not differs[: 4 * BEAT].any()
    assert differs[4 * BEAT + 200 :][: 39 * 200].reshape(-1, 200).any(axis=1).all()


def test_mix_0_is_the_sound_bit_for_bit() -> None:
    dry = sound(n_channels=2)
    wet = Chain([Node(processor=player(), mix=0.0)])(dry, RATE)

    assert np.array_equal(wet, dry)


def test_the_same_seed_gives_the_same_samples_and_each_growth_strays_otherwise() -> None:
    dry = sound()
    node = player("1 bars", temperature=1.0, length_beats=2.0, seed=4)
    first, second = node(dry, RATE), node(dry, RATE)

    assert np.array_equal(first, second)
    bar = 4 * BEAT  # the loop, so every growth hears the same
    assert not np.allclose(first[0, bar : bar + BEAT], first[0, 2 * bar : 2 * bar + BEAT], atol=1e-4)


def test_the_temperature_counts_where_a_growth_begins() -> None:
    dry = sound(12)
    lane = np.zeros(dry.shape[1])
    lane[4 * BEAT] = 1.0
    moved = player("1 bars", length_beats=2.0)(dry, RATE, automation={"temperature": lane})
    still = player("1 bars", length_beats=2.0)(dry, RATE)

    assert not np.allclose(moved[0, 4 * BEAT : 6 * BEAT], still[0, 4 * BEAT : 6 * BEAT], atol=1e-4)
    assert np.array_equal(moved[0, 8 * BEAT : 10 * BEAT], still[0, 8 * BEAT : 10 * BEAT])
    with pytest.raises(ProcessorError, match="cannot be automated"):
        player()(dry, RATE, automation={"seed": lane})


def test_channels_are_as_loud_against_each_other_as_they_were() -> None:
    wet = player("1 bars", length_beats=3.0)(sound(8, 2), RATE)

    np.testing.assert_allclose(wet[1, 4 * BEAT :], 0.5 * wet[0, 4 * BEAT :], atol=1e-5)


def test_it_plays_on_when_the_sound_has_ended() -> None:
    """From the end, into the silence that is fed in after it."""
    node = player("end", length_beats=2.0)
    node._length_s = 2.0
    dry = sound(8)
    dry[:, 4 * BEAT :] = 0.0
    pieces = [node.process(dry[:, i : i + BEAT], RATE, reset=False) for i in range(0, 8 * BEAT, BEAT)]
    wet = np.concatenate(pieces, axis=1)

    assert np.array_equal(wet[:, : 4 * BEAT], dry[:, : 4 * BEAT])
    assert np.abs(wet[:, 4 * BEAT : 6 * BEAT]).max() > 1e-3
    assert not wet[:, 6 * BEAT + 200 :].any()
    assert node.tail_seconds == 1.0


def test_mistakes_are_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path))
    dry = sound()
    with pytest.raises(ProcessorError, match="no clock came"):
        Grow(untrained(), "1 bars")(dry, RATE)
    with pytest.raises(
        ProcessorError, match=r"not made yet; `reverie networks train-frames STEM --name amen`"
    ):
        Grow("amen", tempo_map=CLOCK)(dry, RATE)
    with pytest.raises(ProcessorError, match="listens and cannot play on"):
        load_player("timbre")
    with pytest.raises(ProcessorError, match="no network is named"):
        load_player("")
    with pytest.raises(ProcessorError, match="give length_s"):
        player("end").process(dry, RATE, reset=False)
    with pytest.raises(ProcessorError, match="did you mean 'seed_beats'"):
        player(seed_beat=1.0)
    with pytest.raises(ProcessorError, match="neither how often nor where"):
        player("sometimes")
    with pytest.raises(RenderStoppedError):
        Grow(untrained(), "1 bars", tempo_map=CLOCK, is_cancelled=lambda: True)(dry, RATE)
    node = player()
    node.process(dry, RATE, reset=False)
    with pytest.raises(ProcessorError, match="fixed while a stream runs"):
        node.set_parameter("length_beats", 2.0)
    assert is_missing("amen")
    assert not is_missing("timbre")
