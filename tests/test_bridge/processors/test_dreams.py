"""Several dreams of one sound: each is dreamed as if alone, and they are added up as said."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.nets import SmallNet

from bridge.errors import ProcessorError
from bridge.processors.dream import Dream
from bridge.processors.dreams import Dreams
from dream_core import DreamSettings, dream, dream_each

RATE = 16000
EACH = ["layer:second", "channel:first:2", "class:high"]


def make_sound(seconds: float = 1.6, n_channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(4)
    t = np.arange(round(seconds * RATE)) / RATE
    tone = 0.1 * np.sin(2 * np.pi * 440 * t) + 0.05 * np.sin(2 * np.pi * 1750 * t)
    return (tone + 0.02 * rng.standard_normal((n_channels, len(t)))).astype(np.float32)


def stream(processor: Dreams, sound: np.ndarray, block: int, lanes: dict[str, np.ndarray]) -> np.ndarray:
    pieces = []
    for start in range(0, sound.shape[1], block):
        part = slice(start, start + block)
        moving = {name: lane[part] for name, lane in lanes.items()}
        pieces.append(processor.process(sound[:, part], RATE, reset=False, automation=moving))
    return np.concatenate([*pieces, processor.flush()], axis=1)


def test_changes_are_those_of_dream_each() -> None:
    """The processor, whole and in blocks, is what the dream core's own function gives, bit for bit."""
    sound, network = make_sound(), SmallNet()
    wanted = dream_each(sound, RATE, network, EACH, DreamSettings(window_s=0.5), depth=2.0)
    dreams = Dreams(network, 2.0, each="; ".join(EACH), window_s=0.5)

    assert np.array_equal(dreams(sound, RATE), wanted)
    assert np.array_equal(stream(dreams, sound, 1234, {}), wanted)


def test_sounds_are_the_mean_of_the_dreams() -> None:
    """Whole dreams added up and divided by their number, each of them dreamed here by itself."""
    sound, network = make_sound(), SmallNet()
    alone = [
        dream(sound, RATE, network, DreamSettings(objective=one, window_s=0.5), depth=2.0) for one in EACH
    ]
    dreams = Dreams(network, 2.0, each="; ".join(EACH), sum="sounds", window_s=0.5)

    # Float32, three additions.
    np.testing.assert_allclose(dreams(sound, RATE), sum(alone) / 3, atol=2e-7)


def test_depth_moves_all_of_them_and_a_weight_its_own() -> None:
    """A lane of depth reaches each dream; a named weight only the one whose objective has it."""
    sound, network = make_sound(), SmallNet()
    n = sound.shape[1]
    lanes = {"depth": np.linspace(0.0, 3.0, n), "air": np.linspace(0.0, 1.0, n)}
    each = "layer:second; {air}*class:high"
    whole = Dreams(network, each=each, window_s=0.5)(sound, RATE, automation=lanes)
    first = Dream(network, objective="layer:second", window_s=0.5)
    second = Dream(network, objective="{air}*class:high", window_s=0.5)
    wanted = sound.copy()
    wanted += first(sound, RATE, automation={"depth": lanes["depth"]}) - sound
    wanted += second(sound, RATE, automation=lanes) - sound

    np.testing.assert_allclose(whole, wanted, atol=1e-7)
    assert np.array_equal(stream(Dreams(network, each=each, window_s=0.5), sound, 3000, lanes), whole)
    with pytest.raises(ProcessorError, match="cannot be automated"):
        Dreams(network, each=each)(sound, RATE, automation={"wind": lanes["air"]})


@pytest.mark.parametrize("total", ["changes", "sounds"])
def test_its_ladder_is_dreams_of_that_depth(total: str) -> None:
    """Each rung is what dreams held to that depth give, bit for bit, whole and in blocks."""
    sound, network = make_sound(), SmallNet()
    options = {"each": "layer:second; class:high", "sum": total, "window_s": 0.5}
    for block in (sound.shape[1], 2000):
        dreams = Dreams(network, 4.0, ladder=(1, 3), **options)  # type: ignore[arg-type]
        rungs: dict[int, list[np.ndarray]] = {1: [], 3: []}
        for start in range(0, sound.shape[1], block):
            out = dreams.process(sound[:, start : start + block], RATE, reset=False)
            for depth, piece in dreams.take_ladder().items():
                assert piece.shape == out.shape
                rungs[depth].append(piece)
        dreams.flush()
        for depth, piece in dreams.take_ladder().items():
            rungs[depth].append(piece)
        for depth, pieces in rungs.items():
            wanted = Dreams(network, float(depth), **options)(sound, RATE)  # type: ignore[arg-type]
            assert np.array_equal(np.concatenate(pieces, axis=1), wanted)


def test_they_share_one_network_where_none_listens_to_another_sound() -> None:
    """The network is loaded once; with references each dream has one that nobody else hears by."""
    dreams = Dreams("texture", each="layer:frames4; layer:frames2")
    dreams.open()
    assert dreams.dreams[0]._network is dreams.dreams[1]._network
    apart = Dreams("texture", each="layer:frames4; guided:frames4:pad", references={"pad": make_sound()})
    apart.open()
    assert apart.dreams[0]._network is not apart.dreams[1]._network
    assert apart.reference_stems == {"pad"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"each": " ; "}, "each names no objective"),
        ({"sum": "product"}, "'changes'"),
        ({"objective": "layer:block2"}, "no parameter 'objective'"),
        ({"each": "{sum}*layer:block2"}, "cannot be called 'sum'"),
    ],
)
def test_what_does_not_fit_is_said(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ProcessorError, match=message):
        Dreams(**settings)  # type: ignore[arg-type]
