"""A whole sound heard by `notes`: seams, blocks, levels, and what it says of tones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet
from helpers.notes_net import play, published_notes, random_notes

from dream_core.errors import SettingError
from dream_core.networks.hear_notes import (
    EDGE_FRAMES,
    FRAME_S,
    NoteListener,
    hear_note_frames,
    hear_notes,
    join_frames,
)
from dream_core.networks.notes import KEYS, N_FRAMES, PATCH_SAMPLES
from dream_core.objectives.taps import tap

RATE = 22050


def noise(n_samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(n_samples, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_a_frame_is_what_the_network_says_of_the_patch_around_it() -> None:
    """Patches cut by hand, with zeros before and after, heard one by one through the layers' hooks."""
    network, sound = random_notes(), noise(3 * RATE + 77)
    frames = hear_note_frames(network, sound, RATE)

    n_kept = N_FRAMES - 2 * EDGE_FRAMES
    padded = torch.cat([torch.zeros(EDGE_FRAMES * 256), sound, torch.zeros(PATCH_SAMPLES)])
    expected: dict[str, list[torch.Tensor]] = {"notes": [], "onsets": [], "contours": []}
    for first in range(0, len(frames), n_kept):
        with tap(network, expected) as heard:
            network(padded[None, first * 256 : first * 256 + PATCH_SAMPLES])
        for name, parts in expected.items():
            parts.append(heard[name][0][:, EDGE_FRAMES : EDGE_FRAMES + n_kept])
    assert len(frames) == -(-len(sound) // 256)
    for name, parts in expected.items():
        whole = torch.cat(parts, dim=1)[:, : len(frames)]
        # One patch after the other or four at once: float64 sums in another order.
        torch.testing.assert_close(getattr(frames, name), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("block", [1000, 100_000])
def test_blocks_do_not_change_what_is_heard(block: int) -> None:
    """Of three patches: blocks much shorter than one, and one block that holds more than one."""
    network, sound = random_notes(), noise(5 * RATE)
    listener = NoteListener(network)
    pieces = [piece for part in sound.split(block) for piece in listener.push(part)]
    blocks = join_frames([*pieces, *listener.finish()])
    whole = hear_note_frames(network, sound, RATE)

    for name in ("notes", "onsets", "contours"):
        torch.testing.assert_close(getattr(blocks, name), getattr(whole, name), rtol=0, atol=1e-9)
    torch.testing.assert_close(blocks.level_db, whole.level_db, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_samples", [0, 1, 256, 257])
def test_there_is_a_frame_for_all_that_has_begun(n_samples: int) -> None:
    assert len(hear_note_frames(random_notes(), noise(n_samples), RATE)) == -(-n_samples // 256)


def test_other_networks_and_stereo_are_refused() -> None:
    with pytest.raises(SettingError, match=r"'small' does not tell .* 'notes' does"):
        hear_notes(SmallNet(), noise(1000), RATE)
    with pytest.raises(SettingError, match="mono"):
        hear_notes(random_notes(), noise(1000)[None], RATE)


@pytest.mark.parametrize("sample_rate", [22050, 44100, 48000])
def test_a_note_is_heard_where_it_is(sample_rate: int) -> None:
    """Two notes at known times at any rate: they sound in their frames and begin where they begin."""
    sound = torch.from_numpy(play([(0.5, 1.5, 60), (1.7, 3.0, 67)], 3.5, sample_rate))
    probabilities, frame_s = hear_notes(published_notes(), sound, sample_rate)
    frames = hear_note_frames(published_notes(), sound, sample_rate)

    assert frame_s == FRAME_S == 256 / 22050
    for start_s, end_s, key in ((0.5, 1.5, 60), (1.7, 3.0, 67)):
        row, start, end = KEYS.index(key), round(start_s / frame_s), round(end_s / frame_s)
        assert probabilities[row, start + 6 : end - 6].min() > 0.5
        assert max(probabilities[row, : start - 6].max(), probabilities[row, end + 6 :].max()) < 0.4
        assert frames.onsets[row].max() > 0.5
        # Two frames are what the network is off by.
        assert abs(int(frames.onsets[row].argmax()) - start) <= 2


@pytest.mark.parametrize("key", [33, 57, 69, 93])
def test_levels_are_those_of_sines(key: int) -> None:
    """Full scale is 0 dB on every key: amplitude 0.5 is -6.02; and in tune a key is bin 3 k + 1."""
    t = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    hz = 440.0 * 2.0 ** ((key - 69) / 12)
    frames = hear_note_frames(published_notes(), 0.5 * torch.sin(2 * np.pi * hz * t), RATE)
    row = KEYS.index(key)

    # In the lowest bins the kernel is 1.3 s long; this is its middle.
    assert abs(float(frames.level_db[row, 86]) + 6.02) < 0.05
    assert int(frames.contours[:, 86].argmax()) == 3 * row + 1
