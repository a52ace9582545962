"""Objectives of notes: heard in the right place, at the right time, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from helpers.nets import KeyNet, SmallNet
from torch import Tensor

from dream_core.errors import ClassNotFoundError, ObjectiveError
from dream_core.loop.dream import dream
from dream_core.names import key_hz
from dream_core.objectives.ear import When
from dream_core.objectives.listener import Listener
from dream_core.objectives.parse import parse_objective
from dream_core.objectives.targets import N_KEYS, Targets
from dream_core.settings import DreamSettings

RATE = 16000
FREE = {"motion": 1.0, "balance": 0.0}


def noise(seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    n = round(seconds * RATE)
    return (0.1 * np.random.default_rng(seed).standard_normal((1, n))).astype(np.float32)


def wanted(*notes: tuple[int, float, float], length_s: float = 8.0) -> Targets:
    """Return targets of notes: key, start and end in seconds."""
    values = torch.zeros(N_KEYS, round(length_s * 100))
    for key, start_s, end_s in notes:
        values[key, round(start_s * 100) : round(end_s * 100)] = 1.0
    return Targets(values=values, frame_s=0.01)


def level_db(sound: np.ndarray, keys: Sequence[int], part: slice) -> float:
    """Return the level around keys' first two partials beside all of it, dB."""
    spectrum = np.abs(np.fft.rfft(sound[0, part])) ** 2
    hz = np.fft.rfftfreq(sound[0, part].size, 1 / RATE)
    near = np.zeros(len(hz), bool)
    for key in keys:
        for partial in (1, 2):
            near |= np.abs(hz - partial * key_hz(key)) < 0.03 * partial * key_hz(key)
    return float(10 * np.log10(spectrum[near].sum() / spectrum.sum()))


def gradient_of(
    text: str, network: torch.nn.Module, sound: np.ndarray, targets: Targets | None, when: When
) -> Tensor:
    mono = torch.from_numpy(sound).requires_grad_(True)
    given = {} if targets is None else {"x": targets}
    Listener(network, parse_objective(text), RATE, targets=given).score(mono, when=when).sum().backward()
    assert mono.grad is not None
    return mono.grad[0]


@pytest.mark.parametrize("layer", ["", "frames"])
def test_each_note_comes_where_it_is_wanted(layer: str) -> None:
    """C3 in the first half, A3 in the second: each at least 6 dB up there, not up in the other's."""
    sound = noise()
    targets = wanted((60, 0.0, 2.0), (69, 2.0, 4.0))
    dreamed = dream(
        sound, RATE, KeyNet(layer), DreamSettings(objective="notes:x", **FREE), 8.0, targets={"x": targets}
    )

    for key, here, there in (
        (60, slice(0, 2 * RATE), slice(2 * RATE, None)),
        (69, slice(2 * RATE, None), slice(0, 2 * RATE)),
    ):
        rises = [level_db(dreamed, [key], part) - level_db(sound, [key], part) for part in (here, there)]
        assert rises[0] > 6.0
        assert rises[1] < 1.0


@pytest.mark.parametrize(("layer", "reach_s"), [("", 0.128), ("frames", 0.016)])
def test_only_what_hears_a_note_has_a_slope(layer: str, reach_s: float) -> None:
    """A note of 0.2 s in a window that begins at 3 s: the gradient lies there, to a patch or a frame."""
    targets = wanted((69, 3.5, 3.7))
    gradient = gradient_of("notes:x", KeyNet(layer), noise(2.0), targets, When(starts_s=[3.0]))
    led = torch.nonzero(gradient).flatten() / RATE + 3.0

    assert 3.5 - reach_s <= float(led.min()) < 3.5 + reach_s
    assert 3.7 - reach_s < float(led.max()) <= 3.7 + reach_s


@pytest.mark.parametrize("offset", [0, 1, 7])
def test_the_grid_may_move_under_the_notes(offset: int) -> None:
    """Wherever the patches begin, the gradient stays with the note."""
    mono = torch.from_numpy(noise(2.0)).requires_grad_(True)
    listener = Listener(KeyNet(), parse_objective("notes:x"), RATE, targets={"x": wanted((69, 3.5, 3.7))})
    listener.score(mono, offset, when=When(starts_s=[3.0])).sum().backward()
    assert mono.grad is not None
    led = torch.nonzero(mono.grad[0]).flatten() / RATE + 3.0

    assert float(led.min()) >= 3.5 - 0.128
    assert float(led.max()) <= 3.7 + 0.128


def test_where_nothing_is_wanted_the_sound_stays() -> None:
    """A window whose notes are all rests takes no step, and is no error."""
    sound = noise(9.0)
    settings = DreamSettings(objective="notes:x", window_s=2.0, **FREE)
    dreamed = dream(sound, RATE, KeyNet(), settings, 3.0, targets={"x": wanted((69, 0.2, 1.0))})

    assert np.array_equal(dreamed[:, 5 * RATE :], sound[:, 5 * RATE :])
    assert not np.array_equal(dreamed[:, :RATE], sound[:, :RATE])


def test_velocity_is_a_weight() -> None:
    """A note pressed half as hard leads half as far."""
    sound, when = noise(1.0), When(starts_s=[0.0])
    targets = wanted((69, 0.0, 8.0))
    soft = Targets(values=targets.values * 0.5, frame_s=0.01)
    loud, half = (gradient_of("notes:x", KeyNet(), sound, one, when) for one in (targets, soft))
    along = float((half * loud).sum() / loud.square().sum())

    assert along == pytest.approx(0.5, rel=0.02)  # a key half wanted is a little kept out as well


def test_folded_notes_let_any_octave_do() -> None:
    """The gradient is the same whichever C is wanted, and another without the fold."""
    sound, when = noise(1.0), When(starts_s=[0.0])
    low, high = wanted((60, 0.0, 8.0)), wanted((72, 0.0, 8.0))
    folded = [gradient_of("notes:x:fold", KeyNet(), sound, one, when) for one in (low, high)]
    plain = [gradient_of("notes:x", KeyNet(), sound, one, when) for one in (low, high)]

    assert torch.equal(*folded)
    assert not torch.equal(*plain)


def test_transposed_notes_are_other_notes() -> None:
    """Wanted an octave lower and played an octave higher is the same."""
    sound, when = noise(1.0), When(starts_s=[0.0])
    low, high = wanted((60, 0.0, 8.0)), wanted((72, 0.0, 8.0))

    assert torch.equal(
        gradient_of("notes:x:transpose=12", KeyNet(), sound, low, when),
        gradient_of("notes:x", KeyNet(), sound, high, when),
    )


def test_a_note_and_a_scale_need_no_targets() -> None:
    """A note is the note at all times; a scale raises its keys beside all others."""
    sound, when = noise(1.0), When(starts_s=[0.0])
    assert torch.allclose(
        gradient_of("note:A3", KeyNet(), sound, None, when),
        gradient_of("notes:x", KeyNet(), sound, wanted((69, 0.0, 8.0)), when),
    )
    dreamed = dream(
        noise(2.0), RATE, KeyNet(), DreamSettings(objective='scale:"C minor pentatonic"', **FREE), 8.0
    )
    inside = [key for key in KeyNet.KEYS if key % 12 in (0, 3, 5, 7, 10)]
    every = slice(None)
    assert level_db(dreamed, inside, every) - level_db(noise(2.0), inside, every) > 2.0


def test_the_way_a_window_is_reached_does_not_matter() -> None:
    """Blocks, batches and windows hear the same notes: the change is the same however it is cut."""
    sound, targets = noise(6.0), wanted((60, 0.0, 2.5), (69, 2.5, 6.0))
    settings = DreamSettings(objective="notes:x", window_s=2.0, **FREE)
    whole, batched = (
        dream(sound, RATE, KeyNet(), settings, 2.0, targets={"x": targets}, batch=batch) for batch in (1, 3)
    )
    assert np.abs(whole - batched).max() < 1e-6  # another batch orders sums otherwise


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("notes:midi", ObjectiveError, "no targets are called 'midi'"),
        ("note:H3", ObjectiveError, "'H3' is not a note"),
        ("note:C-1", ClassNotFoundError, "it hears C3 to B4"),
        ("notes", ObjectiveError, "cannot read"),
        ("notes:stem", ObjectiveError, "notes:stem:STEM"),
        ("notes:midi:a:b", ObjectiveError, "write it as notes:midi"),
        ("notes:midi:fold:lead", ObjectiveError, "'lead' is not an option"),
        ("notes:midi:transpose=x", ObjectiveError, "whole semitones"),
        ("notes:midi:transpose=99", ObjectiveError, "from -48 to 48"),
        ('scale:"D dorain"', ObjectiveError, "did you mean 'dorian'"),
        ("scale:Q", ObjectiveError, "begins with its root"),
        ("chords:Am7|Xm", ObjectiveError, "bar 2"),
    ],
)
def test_mistakes_are_told(text: str, error: type[Exception], said: str) -> None:
    """Each with what was given and what is accepted."""
    with pytest.raises(error) as caught:
        dream(noise(1.0), RATE, KeyNet(), DreamSettings(objective=text), 1.0)

    assert said in str(caught.value)


def test_a_network_without_notes_says_who_has_some() -> None:
    """The message names networks that hear notes and the command."""
    with pytest.raises(
        ObjectiveError, match=r"hears no notes; take `pitch`, which is shipped, `notes` or `crepe` "
    ):
        dream(noise(1.0), RATE, SmallNet(), DreamSettings(objective="note:A3"), 1.0)


def test_notes_are_not_heard_at_other_speeds() -> None:
    """A varispeed would hear others than are played."""
    settings = DreamSettings(objective="note:A3", varispeed_octaves=0.5)
    with pytest.raises(ObjectiveError, match="set it to 0"):
        dream(noise(1.0), RATE, KeyNet(), settings, 1.0)


def test_an_option_in_quotes_is_a_name() -> None:
    """A track may be called fold."""
    plain, quoted = (
        parse_objective(text).terms[0].target for text in ("notes:midi:fold", 'notes:midi:"fold"')
    )

    assert plain is not None
    assert quoted is not None
    assert (plain.name, plain.fold) == ("midi", True)
    assert (quoted.name, quoted.fold) == ("midi:fold", False)


def test_streams_of_other_notes_share_no_batch() -> None:
    """Those of equal notes may, whoever made the matrix."""
    kinds = []
    for key in (69, 69, 60):
        listener = Listener(
            KeyNet(), parse_objective("notes:x"), RATE, targets={"x": wanted((key, 0.0, 1.0))}
        )
        kinds.append(listener.identity[1:])  # type: ignore[index]

    assert kinds[0] == kinds[1] != kinds[2]


def test_spectra_are_measured_as_they_should_be() -> None:
    """The judge of these tests hears a sine of A3 as A3."""
    t = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * key_hz(69) * t)[None].astype(np.float32)

    assert level_db(tone, [69], slice(None)) > -0.1
    assert level_db(tone, [60], slice(None)) < -30


@pytest.mark.parametrize(
    "text",
    [
        "0.5*{air}*crepe@notes:midi:hold",
        '- 2*{air}*chords:"Am7 D7|G":transpose=2',
        "notes:midi:'the \"one\"':fold",
    ],
)
def test_notes_are_written_as_they_are_read(text: str) -> None:
    """Factor, weights and network stand once, and reading it again gives the same terms."""
    once = parse_objective(text)

    assert once.text.replace(" ", "") == text.replace(" ", "")
    assert parse_objective(once.text) == once
