"""Keys in frames: what is learnt from notes whose times are known, and how it is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.segments import MemorySegments, additive, played

from dream_core import load_network
from dream_core.errors import SettingError
from dream_core.names import key_hz
from dream_core.networks.kinds.key_body import KEYS
from dream_core.training.key_evaluation import THRESHOLDS, HeardKeys, key_loss
from dream_core.training.key_hearing import hear_keys
from dream_core.training.learners import learner_for
from dream_core.training.loop import train
from dream_core.training.run_settings import RunSettings
from dream_core.training.segment_notes import read_notes

TINY = {"contours": "4", "widths": "6", "patch_frames": "24"}


@pytest.fixture(scope="module")
def notes() -> MemorySegments:
    return played()


def test_frames_are_labelled_with_the_pitch_that_sounds_in_them(notes: MemorySegments) -> None:
    """A tone's strongest band is that of the key that is said to be down."""
    learner = learner_for("keys", TINY, notes, "x", 0)
    # Strength 0 plays each segment alone; its patch begins where it begins.
    patches, targets = next(iter(learner.batches(np.arange(24), 1, 24, (0, 0), 0.0)))
    for frames, down in zip(patches, targets, strict=True):
        for frame in torch.nonzero(down.sum(dim=0))[2:-2, 0].tolist():
            key = int(down[:, frame].argmax())
            # A frame hears 93 ms to both sides: only the middle of a note is all note.
            if 3 < frame < 15 and bool(down[key, frame - 3 : frame + 4].all()):
                assert abs(int(frames[frame, : 3 * len(KEYS)].argmax()) - (3 * key + 1)) <= 1


def test_moved_notes_keep_their_labels(notes: MemorySegments) -> None:
    """Moved in time and pitch, most frames with one key down are strongest at it or at a partial of it."""
    learner = learner_for("keys", TINY, notes, "x", 0)
    right = total = 0
    for patches, targets in learner.batches(np.arange(24), 3, 16, (0, 1), 1.0):
        for frames, down in zip(patches, targets, strict=True):
            for frame in range(4, 20):
                keys = torch.nonzero(down[:, frame])[:, 0].tolist()
                if len(keys) != 1 or not bool(down[keys[0], frame - 4 : frame + 4].all()):
                    continue
                strongest = int(frames[frame, : 3 * len(KEYS)].argmax()) - (3 * keys[0] + 1)
                right += any(abs(strongest - step) <= 2 for step in (0, 36, 57, 72))
                total += 1
    # Equalisers and other voices' tails may win now and then; labels that are off would be right in 12%.
    assert total > 50
    assert right / total > 0.8


def test_a_run_gives_a_network_that_hears_keys_and_resumes_to_the_same_bits(
    notes: MemorySegments, tmp_path: Path
) -> None:
    settings = RunSettings(epochs=2, steps_per_epoch=2, batch_size=4, heard_share=0.0, calibration_batches=1)
    whole = train(notes, "keys", settings, tmp_path / "a", name="mine", options=TINY)
    reports = []

    def stop(report: object) -> None:
        reports.append(report)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(notes, "keys", settings, tmp_path / "b", stop, name="mine", options=TINY)
    resumed = train(notes, "keys", settings, tmp_path / "b", name="mine", options=TINY, resume=True)
    network = load_network(str(whole.path))

    assert whole.sha256 == resumed.sha256
    assert network.card.keys == KEYS
    assert network.card.keys_layer == "keys"
    assert network.card.outputs == "independent"
    assert "F1" in network.card.description
    assert "F1" in (tmp_path / "a" / "card.md").read_text()
    heard = hear_keys(network, notes, np.arange(4))
    # Judged by name or in the loop, frames are counted once each.
    assert heard.counts.shape == (4, len(THRESHOLDS), 3)
    sounding = sum(float(notes.notes.ends_s[row] - notes.notes.starts_s[row]) for row in range(4))  # type: ignore[union-attr]
    counted = heard.counts[:, 0, [0, 2]].sum() * network.card.frame_s
    assert counted == pytest.approx(sounding, abs=4 * network.card.frame_s)


def test_scores_are_those_of_counts_by_hand() -> None:
    logits = torch.tensor([[4.0, 4.0, -4.0], [-4.0, 4.0, -4.0]])
    truth = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    heard = HeardKeys(rows=np.array([0]), counts=HeardKeys.count(logits, truth)[None], loss=0.0)

    assert heard.scores() == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    # Two of six are wrong by 4 nats: one is missed, which costs twice.
    small, large = float(np.log1p(np.exp(-4.0))), float(np.log1p(np.exp(4.0)))
    assert float(key_loss(logits, truth)) == pytest.approx(
        (2 * 2 * small + 2 * large + large + 2 * small) / 6
    )


def test_a_set_without_notes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"does not say which keys are down when; .*notes\.csv"):
        learner_for("keys", {}, additive(2, 2, 1), "x", 0)
    with pytest.raises(SettingError, match="hears no keys frame by frame"):
        hear_keys(load_network("timbre"), played(4), np.arange(2))


def test_notes_of_another_set_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("segment,pitch,start_s,end_s\n0,60,0.0,1.0\n7,60,0.0,1.0\n")
    assert read_notes(tmp_path / "notes.csv", 8).firsts.tolist() == [0, *[1] * 7, 2]
    with pytest.raises(ValueError, match="not those of 3 segments"):
        read_notes(tmp_path / "notes.csv", 3)


def test_keys_are_where_their_frequency_is() -> None:
    """Band 3 k + 1 of the front end is key k in tune: a sine there is strongest in it."""
    learner = learner_for("keys", {}, played(4, rate=22050), "x", 0)
    log_mel = learner.module.network.log_mel  # type: ignore[union-attr]
    time_s = torch.arange(22050) / 22050.0
    for key in (60, 81, 100):
        frames = log_mel(torch.sin(2 * torch.pi * key_hz(key) * time_s)[None])
        assert int(frames[0, 20].argmax()) == 3 * (key - KEYS[0]) + 1
