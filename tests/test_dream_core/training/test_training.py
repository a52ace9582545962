"""The training pipeline on a dataset small enough to understand: tones of two harmonic recipes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.note_tables import harmonic_notes

from dream_core import load_network
from dream_core.errors import SettingError
from dream_core.networks.mel_cnn import MelCnn, fold_batch_norm
from dream_core.networks.timbre import CARD, CLASSES, SPEC
from dream_core.training import augmentation, notes
from dream_core.training.attack import attack
from dream_core.training.fluidsynth import midi_bytes
from dream_core.training.heads import join_heads
from dream_core.training.model_card import confusion_table
from dream_core.training.sampler import NoteSampler
from dream_core.training.synthesis import synthesise_notes

RATE = SPEC.frontend.sample_rate


@pytest.fixture(scope="module")
def tones() -> notes.NoteTable:
    """Three presets of each family."""
    return harmonic_notes()


def test_batches_follow_from_seed_and_epoch(tones: notes.NoteTable) -> None:
    sampler = NoteSampler(tones, 4)
    [(sounds, targets)] = sampler.batches(1, seed=1, epoch=2)
    [(again, _)] = sampler.batches(1, seed=1, epoch=2)
    [(other, _)] = sampler.batches(1, seed=1, epoch=3)

    assert torch.equal(sounds, again)
    assert not torch.equal(sounds, other)
    assert sounds.shape == (4, SPEC.frontend.patch_samples)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))


def test_held_out_notes_are_never_drawn(tones: notes.NoteTable) -> None:
    sampler = NoteSampler(tones, 64)
    rng = np.random.default_rng(0)

    drawn = {int(row) for _ in range(20) for chord in sampler._draw_rows(rng)[1] for row in chord}

    assert drawn == set(np.flatnonzero(~tones.held_out))


def test_banks_hold_out_the_same_programs() -> None:
    """A program that is held out of one soundfont is heard in none of the others."""
    for bank in notes.BANKS:
        for family, presets in bank.presets.items():
            assert [p for p in presets if notes.is_held_out(*p)] == [
                p for p in notes.FAMILY_PRESETS[family] if notes.is_held_out(*p)
            ]


def test_tables_joined_keep_their_notes_and_count_presets_on(tones: notes.NoteTable) -> None:
    both = notes.join([tones, tones])
    n_notes, n_presets = len(tones.families), int(tones.presets.max()) + 1

    assert np.array_equal(both.waveforms[n_notes:], tones.waveforms)
    assert np.array_equal(both.presets[n_notes:], tones.presets + n_presets)
    assert int(both.held_out.sum()) == 2 * int(tones.held_out.sum())


def test_drawn_instruments_play_the_pitch_they_are_told() -> None:
    """The strongest partials of an organ's notes are multiples of one pitch in its range; a seed draws it."""
    table = synthesise_notes(3, RATE, seed=1)
    again = synthesise_notes(3, RATE, seed=1)

    assert np.array_equal(table.waveforms, again.waveforms)
    assert not table.held_out.any()
    assert np.abs(table.waveforms.astype(int)).max(axis=1).min() == 32767
    lowest, highest = (440.0 * 2.0 ** ((key - 69) / 12) for key in notes.PITCH_RANGES["vocal"])
    for row in table.waveforms[table.families == CLASSES.index("vocal")]:
        spectrum = np.abs(np.fft.rfft(row[2000:12000] * np.hanning(10000)))
        autocorrelation = np.fft.irfft(spectrum**2)
        lags = np.arange(len(autocorrelation))
        allowed = (lags >= RATE / highest * 0.9) & (lags <= RATE / lowest * 1.1)
        assert autocorrelation[allowed].max() > 0.4 * autocorrelation[0]


def test_an_attack_convinces_of_another_family_within_its_bounds() -> None:
    """Gains stay within twice what is asked for, silence stays silent, and the own family is heard less."""
    network = load_network("timbre")
    generator = torch.Generator().manual_seed(0)
    # Tones with a little noise: noise alone is no family to be talked out of.
    sounds = 1e-4 * torch.randn(6, SPEC.frontend.patch_samples, generator=generator)
    f0_hz = 110.0 * 2.0 ** (torch.arange(6)[:, None] / 3.0)
    cycles = f0_hz * torch.arange(SPEC.frontend.patch_samples) / RATE
    sounds += sum(0.2 / k * torch.sin(2.0 * np.pi * k * cycles) for k in range(1, 12))
    sounds[:, : SPEC.frontend.patch_samples // 2] = 0.0
    with torch.no_grad():
        patches = network.log_mel(sounds)
        families = network(patches).argmax(dim=1)

    def attacked(nepers: float) -> torch.Tensor:
        draws = torch.Generator().manual_seed(4)
        return attack(network, patches, families, network.silence, draws, n_steps=3, most_nepers=nepers)

    moved = attacked(1.0)
    change = torch.log(moved.exp() - np.exp(network.silence) + 1e-6)
    change = change - torch.log(patches.exp() - np.exp(network.silence) + 1e-6)
    assert float(change.abs().max()) <= 2.0 + 1e-3
    torch.testing.assert_close(moved[:, :20], patches[:, :20])  # a frame's silence
    torch.testing.assert_close(attacked(0.0), patches, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        own = torch.nn.functional.cross_entropy(network(moved), families)
        before = torch.nn.functional.cross_entropy(network(patches), families)
    assert float(own) > float(before) + 0.5


def test_notes_that_are_validated_belong_to_one_preset_of_each_family() -> None:
    for family, presets in notes.FAMILY_PRESETS.items():
        held_out = [preset for preset in presets if notes.is_held_out(*preset)]
        variations = [p for p in presets if p[0] != 0 and p[1] % 8 == 5 and p[1] == held_out[0][1]]

        assert len(held_out) == 1, family
        assert variations == [], family


def test_heads_joined_add_up(tones: notes.NoteTable) -> None:
    """The logits are the first head's and a share of the second's, on the first one's blocks."""
    torch.manual_seed(0)
    shape = replace(SPEC, n_embedding=8)
    first, second = MelCnn(CARD, shape).double(), MelCnn(CARD, shape).double()
    second.blocks.load_state_dict(first.blocks.state_dict())
    patches = first.log_mel(torch.from_numpy(tones.waveforms[:3, : SPEC.frontend.patch_samples] / 32768.0))
    with torch.no_grad():
        expected = first(patches) + 0.3 * second(patches)
        torch.testing.assert_close(join_heads(first, second, 0.3)(patches), expected)


def test_folding_leaves_what_the_network_hears() -> None:
    torch.manual_seed(0)
    network = MelCnn(CARD, SPEC, has_batch_norm=True).double()
    patches = torch.randn(8, 96, 96, dtype=torch.float64)
    network.train()
    for _ in range(5):
        network(patches)
    network.eval()

    folded = fold_batch_norm(network).double()

    assert sum(p.numel() for p in folded.parameters()) == CARD.n_parameters
    # fold_batch_norm stores float32.
    torch.testing.assert_close(folded(patches), network(patches), rtol=1e-4, atol=1e-5)


def test_a_crop_at_speed_one_is_the_note_itself() -> None:
    note = torch.randn(1, 100)

    crop = augmentation.crop_at_speed(note, torch.tensor([10.0]), torch.tensor([1.0]), 50)
    early = augmentation.crop_at_speed(note, torch.tensor([-20.0]), torch.tensor([1.0]), 50)

    torch.testing.assert_close(crop, note[:, 10:60])
    torch.testing.assert_close(early[:, :20], torch.zeros(1, 20))
    torch.testing.assert_close(early[:, 20:], note[:, :30])


def test_a_crop_at_double_speed_is_an_octave_higher() -> None:
    time_s = torch.arange(8000) / 8000
    note = torch.sin(2 * torch.pi * 100 * time_s)[None]

    crop = augmentation.crop_at_speed(note, torch.tensor([0.0]), torch.tensor([2.0]), 4000)

    assert int(torch.fft.rfft(crop).abs().argmax()) == 100  # 100 cycles in 4000 samples: 200 Hz


def test_levels_are_reached() -> None:
    sounds = torch.randn(3, 1000)

    levelled = augmentation.level_to(sounds, torch.tensor([-40.0, -20.0, -6.0]))

    levels = 20 * levelled.square().mean(dim=1).sqrt().log10()
    torch.testing.assert_close(levels, torch.tensor([-40.0, -20.0, -6.0]), rtol=0, atol=1e-3)


def test_mixing_up_keeps_targets_in_the_shares_of_the_sounds() -> None:
    generator = torch.Generator().manual_seed(0)
    identity = torch.eye(64)

    mixed, targets = augmentation.mix_up(identity, identity, generator, 1 / 3)

    assert torch.equal(mixed, targets)  # the sounds are their own targets, so shares must agree
    assert (targets.diagonal() >= 0.5).all()
    assert 5 < int((targets.diagonal() < 1.0).sum()) < 40  # a third of 64


def test_masks_silence_a_stretch_of_bands_and_one_of_frames() -> None:
    masked = augmentation.mask_bands_and_frames(
        torch.zeros(200, 96, 96), -4.0, torch.Generator().manual_seed(0)
    )
    is_masked = masked == -4.0
    frames, bands = is_masked.all(dim=2), is_masked.all(dim=1)

    assert torch.equal(is_masked, frames[:, :, None] | bands[:, None, :])
    assert int(frames.sum(dim=1).max()) <= 13
    assert int(bands.sum(dim=1).max()) <= 13
    assert (frames.any(dim=1) & bands.any(dim=1)).float().mean() > 0.5


def test_the_confusion_table_shows_counts_and_shares() -> None:
    table = confusion_table(np.array([[3, 1], [0, 4]]), ("low", "high"))

    assert "| **low** | 3 | 1 | 75% |" in table
    assert "| **high** |  | 4 | 100% |" in table


def test_rendered_midi_holds_the_notes_that_were_drawn() -> None:
    mido = pytest.importorskip("mido")
    drawn = notes._draw_notes(8, 38, "bass", notes.BANKS[0])

    messages = list(mido.MidiFile(file=io.BytesIO(midi_bytes((8, 38), [(note,) for note in drawn]))))

    assert [(m.note, m.velocity) for m in messages if m.type == "note_on"] == [
        (note.pitch, note.velocity) for note in drawn
    ]
    assert [m.value for m in messages if m.type == "control_change" and m.control == 0] == [8]
    starts_s, now_s = [], 0.0
    for message in messages:
        now_s += message.time
        if message.type == "note_on":
            starts_s.append(now_s)
    np.testing.assert_allclose(starts_s, 2.0 * np.arange(len(drawn)), atol=1e-9)


def test_an_absent_soundfont_is_answered_with_what_to_install(tmp_path: Path) -> None:
    absent = replace(notes.BANKS[0], soundfont=tmp_path / "gone.sf2")
    with pytest.raises(SettingError, match="apt install fluidsynth"):
        notes.render_notes(absent, tmp_path / "notes", sample_rate=RATE)
