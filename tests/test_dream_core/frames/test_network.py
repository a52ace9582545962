"""The network: level apart from shape, the same numbers frame by frame as at once."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.frames_net import loop, trained, untrained

from dream_core.errors import SettingError
from dream_core.frames.domains import encode
from dream_core.frames.network import FramesNet, FramesSpec


def test_half_as_loud_changes_the_level_alone() -> None:
    """The shape stays, the last number falls by log 2; far above the floor where silence is told apart."""
    network = untrained()
    loud, quiet = network.hear(loop()), network.hear(0.5 * loop())
    is_loud = loud[:, -1] > math.log(0.02)

    torch.testing.assert_close(quiet[is_loud, :-1], loud[is_loud, :-1], atol=1e-4, rtol=0)
    torch.testing.assert_close(
        loud[is_loud, -1] - quiet[is_loud, -1],
        torch.full((int(is_loud.sum()),), math.log(2.0)),
        atol=1e-4,
        rtol=0,
    )


@pytest.mark.parametrize("domain", ["mdct", "time", "fft"])
def test_shape_and_level_join_to_the_frame(domain: str) -> None:
    network = FramesNet(FramesSpec(domain=domain, frame_samples=64))  # type: ignore[arg-type]
    frames = encode(loop(), domain, 64)  # type: ignore[arg-type]
    shape, level = network.join(network.part(frames))
    is_loud = level[:, 0] > 1e-3

    torch.testing.assert_close((shape * level)[is_loud], frames[is_loud], atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(shape[is_loud].square().mean(dim=1), torch.ones(int(is_loud.sum())))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_carried_state_is_as_good_as_hearing_it_all_again(cell: str) -> None:
    network = untrained(cell=cell)
    frames = network.standardise(network.hear(loop()[None]))[:, :40]
    at_once = network(frames).expected

    state, one_by_one = (), []
    for frame in frames.split(1, dim=1):
        expected, state = network(frame, state)
        one_by_one.append(expected)

    torch.testing.assert_close(torch.cat(one_by_one, dim=1), at_once, atol=1e-5, rtol=0)


def test_the_shape_counts_its_parameters() -> None:
    for cell in ("gru", "lstm"):
        spec = FramesSpec(cell=cell, width=24, n_layers=3)
        assert spec.n_parameters == sum(one.numel() for one in FramesNet(spec).parameters())


def test_fit_is_minus_the_mean_squared_error() -> None:
    network = trained().network
    frames = network.standardise(network.hear(loop()[None]))
    with torch.no_grad():
        expected = network(frames[:, :-1]).expected
        fit = network.fit(expected, frames[:, 1:])

    assert float(-fit[0, 5]) == pytest.approx(float(((expected - frames[:, 1:])[0, 5] ** 2).mean()))


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"domain": "mdcd"}, "did you mean 'mdct'"),
        ({"cell": "rnn"}, "gru"),
        ({"frame_samples": 513}, "odd"),
        ({"frame_samples": 4096}, "at most 2048"),
        ({"width": 0}, r"outside 4\.\.4096"),
        ({"sample_rate": 10}, "sample_rate = 10"),
    ],
)
def test_wrong_shapes_are_explained(wrong: dict[str, object], expected: str) -> None:
    with pytest.raises(SettingError, match=expected):
        FramesSpec(**wrong)  # type: ignore[arg-type]
