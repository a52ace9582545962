"""The shipped network of keys: its file is the card's, it hears notes, and dreams towards them sound them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dream_core import dream, load_network
from dream_core.files import hash_file
from dream_core.names import key_hz
from dream_core.networks import pitch
from dream_core.networks.card import Network
from dream_core.objectives.heard import heard_targets
from dream_core.objectives.taps import tap
from dream_core.settings import DreamSettings

RATE = 22050


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network("pitch")


def plucked(key: int, seconds: float = 1.5) -> torch.Tensor:
    """A tone of eight partials that fades, quieter the higher."""
    time_s = torch.arange(round(seconds * RATE)) / RATE
    partials = [torch.sin(2 * torch.pi * key_hz(key) * n * time_s) / n for n in range(1, 9)]
    return 0.1 * torch.exp(-2.0 * time_s) * torch.stack(partials).sum(dim=0)


def heard_keys(network: Network, sound: torch.Tensor) -> torch.Tensor:
    """Return the probability of every key in the middle frames of a sound's first patch."""
    with torch.no_grad(), tap(network, ["keys"]) as heard:
        network(network.listen(sound[None])[0, :1])
    return heard["keys"][0, :, 8:32].sigmoid()


def test_the_shipped_file_is_the_one_on_the_card(network: Network) -> None:
    """It is small, its model card is about it and states what it hears of a soundfont it never heard."""
    assert hash_file(pitch.SHIPPED_WEIGHTS) == network.card.sha256
    assert pitch.SHIPPED_WEIGHTS.stat().st_size <= 1_500_000
    text = pitch.SHIPPED_WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    told = re.search(r"TimGM6mb[^\n]*F1 \**(0\.\d+)", text)
    assert network.card.sha256 in text
    assert told is not None
    assert float(told[1]) >= 0.6  # below it would not have been shipped


@pytest.mark.parametrize("key", [45, 57, 69, 76])
def test_a_plucked_note_is_heard_and_no_other(network: Network, key: int) -> None:
    """In most frames the key is above a half and above all others, its octaves among them."""
    heard = heard_keys(network, plucked(key))
    row = network.card.keys.index(key)

    assert (heard[row] > 0.5).float().mean() > 0.8
    assert (heard.argmax(dim=0) == row).float().mean() > 0.8


def test_a_chord_is_heard_as_its_three_notes(network: Network) -> None:
    rows = [network.card.keys.index(key) for key in (57, 60, 64)]
    heard = heard_keys(network, sum(plucked(key) for key in (57, 60, 64))).mean(dim=1)  # type: ignore[arg-type]

    assert set(heard.topk(3).indices.tolist()) == set(rows)


def test_silence_and_noise_hold_no_notes(network: Network) -> None:
    noise = 0.05 * torch.randn(RATE * 2, generator=torch.Generator().manual_seed(0))
    assert float(heard_keys(network, torch.zeros(RATE * 2)).max()) < 0.5
    assert float((heard_keys(network, noise) > 0.5).float().mean()) < 0.01


def test_a_dream_towards_a_note_sounds_it(network: Network) -> None:
    """On noise the share of the energy at A3's partials rises, more than at those of the key beside it."""
    noise = np.random.default_rng(2).standard_normal((1, 2 * RATE)).astype(np.float32) * 0.05
    settings = DreamSettings(objective="note:A3", motion=1.0, balance=0.0, varispeed_octaves=0.0)
    dreamed = dream(noise, RATE, network, settings, 6.0)

    def share_db(sound: np.ndarray, key: int) -> float:
        power = np.abs(np.fft.rfft(sound[0])) ** 2
        hz = np.fft.rfftfreq(sound.shape[1], 1 / RATE)
        near = sum(abs(12 * np.log2(np.maximum(hz, 1.0) / (n * key_hz(key)))) < 0.3 for n in range(1, 5))
        return float(10 * np.log10(power[near > 0].sum() / power.sum()))

    rise = {key: share_db(dreamed, key) - share_db(noise, key) for key in (69, 70)}
    assert rise[69] > 3.0
    assert rise[69] > rise[70] + 3.0


def test_what_is_played_in_another_sound_is_wanted_when_it_is_played(network: Network) -> None:
    """Two notes a second each: each is wanted while it sounds, within what a window of 186 ms smears."""
    sound = torch.zeros(4 * RATE)
    for key, start_s in ((57, 0.5), (64, 2.0)):
        begin = round(start_s * RATE)
        sound[begin : begin + RATE] = plucked(key, 1.0) * torch.linspace(1.0, 8.0, RATE)
    targets = heard_targets(network, sound, RATE)

    assert targets.values.shape == (88, 1 + -(-(4 * RATE - 2048) // 512))
    for key, start_s in ((57, 0.5), (64, 2.0)):
        wanted = torch.nonzero(targets.values[key - 21] > 0.5)[:, 0]
        times_s = targets.start_s + targets.frame_s * wanted
        assert float(times_s[0]) == pytest.approx(start_s, abs=0.12)
        assert float(times_s[-1]) == pytest.approx(start_s + 1.0, abs=0.12)
        assert len(wanted) * targets.frame_s > 0.8


@pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not Path("/usr/share/sounds/sf2/TimGM6mb.sf2").exists(),
    reason="FluidSynth and TimGM6mb.sf2 are needed",
)
def test_keys_of_a_soundfont_it_never_heard_are_heard(network: Network, tmp_path: Path) -> None:
    """F1 of frames of a few presets is above 0.5; the model card states it for all."""
    from bridge.datasets.notes import NoteSettings, render_instruments
    from bridge.datasets.prepare import PrepareSettings, prepare_table
    from dream_core.training.key_hearing import hear_keys

    settings = NoteSettings(n_notes=2, n_chords=2, families=("string",), seed=2)
    render_instruments([Path("/usr/share/sounds/sf2/TimGM6mb.sf2")], [], tmp_path / "notes", settings)
    prepared = prepare_table(
        tmp_path / "notes" / "data.csv",
        tmp_path / "set",
        PrepareSettings(segment_s=2.0, stretches=False),
    ).segments
    heard = hear_keys(network, prepared, np.arange(len(prepared)))

    assert prepared.notes is not None
    assert heard.accuracy > 0.5
