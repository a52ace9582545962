"""Notes out of probabilities made by hand, and out of a line of pitch."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.arrays import Float64Array
from bridge.errors import InputError
from bridge.midi.note_bends import follow_pitch
from bridge.midi.note_track import PlayedNote
from bridge.midi.pick_notes import NoteFrames, PickSettings, pick_notes
from bridge.midi.split_line import split_line

FRAME_S = 0.01
N_KEYS, N_FRAMES = 24, 300


def frames(
    *notes: tuple[int, int, int], onsets: dict[tuple[int, int], float] | None = None, level_db: float = -20.0
) -> NoteFrames:
    """Make notes of probability 0.8, given as row, first frame and end; each with an onset of 0.9 by default.

    Args:
        notes: The notes.
        onsets: Row and frame to a probability; in place of those of the notes.
        level_db: Of everything.
    """
    heard = NoteFrames(
        notes=np.full((N_KEYS, N_FRAMES), 0.1),
        onsets=np.full((N_KEYS, N_FRAMES), 0.05),
        contours=np.full((3 * N_KEYS, N_FRAMES), 0.1),
        level_db=np.full((N_KEYS, N_FRAMES), level_db),
        frame_s=FRAME_S,
        lowest_key=48,
    )
    for row, start, end in notes:
        heard.notes[row, start:end] = 0.8
        heard.contours[3 * row : 3 * row + 3, start:end] = np.array([0.3, 0.9, 0.3])[:, None]
        if onsets is None:
            heard.onsets[row, start] = 0.9
    for (row, frame), probability in (onsets or {}).items():
        heard.onsets[row, frame] = probability
    return heard


def spans(notes: list[PlayedNote]) -> list[tuple[int, int, int]]:
    return [(one.key, round(one.start_s / FRAME_S), round(one.end_s / FRAME_S)) for one in notes]


def draw_pitch(heard: NoteFrames, pitch: Float64Array, start: int) -> None:
    """Draw contours and probabilities of a pitch, in rows, from a frame on."""
    for frame, row in enumerate(pitch.tolist(), start):
        bins = np.arange(3 * N_KEYS)
        heard.contours[:, frame] = 0.1 + 0.8 * np.exp(-(((bins - 1) / 3 - row) ** 2) / (2 * 0.2**2))
        keys = np.arange(N_KEYS)
        heard.notes[:, frame] = 0.1 + 0.75 * np.exp(-((keys - row) ** 2) / (2 * 0.45**2))


def test_a_chord_is_as_many_notes() -> None:
    notes = pick_notes(frames((2, 50, 120), (6, 50, 130), (9, 52, 90)))

    assert spans(notes) == [(50, 50, 120), (54, 50, 130), (57, 52, 90)]


def test_a_key_struck_again_is_two_notes() -> None:
    heard = frames((5, 50, 150), onsets={(5, 50): 0.9, (5, 100): 0.9})

    assert spans(pick_notes(heard)) == [(53, 50, 100), (53, 100, 150)]


def test_a_faint_onset_within_a_steady_note_is_none() -> None:
    """Where others begin weak onsets are heard on what sounds already; a dip or a rise confirms one."""
    steady = frames((5, 50, 150), onsets={(5, 50): 0.9, (5, 100): 0.6})
    dipped = frames((5, 50, 150), onsets={(5, 50): 0.9, (5, 100): 0.6})
    dipped.notes[5, 96:100] = 0.35
    louder = frames((5, 50, 150), onsets={(5, 50): 0.9, (5, 100): 0.6})
    louder.level_db[5, 100:] = -5.0

    assert spans(pick_notes(steady)) == [(53, 50, 150)]
    assert spans(pick_notes(dipped)) == spans(pick_notes(louder)) == [(53, 50, 100), (53, 100, 150)]


@pytest.mark.parametrize(("gap", "n_notes"), [(4, 1), (8, 1), (12, 2)])
def test_short_gaps_are_bridged(gap: int, n_notes: int) -> None:
    heard = frames((5, 50, 90), (5, 90 + gap, 150), onsets={(5, 50): 0.9})

    assert len(pick_notes(heard)) == n_notes


def test_notes_without_an_onset_are_found_where_they_are_clear_and_long() -> None:
    assert spans(pick_notes(frames((5, 50, 90), onsets={}))) == [(53, 50, 90)]
    assert pick_notes(frames((5, 50, 60), onsets={})) == []
    faint = frames((5, 50, 90), onsets={})
    faint.notes[5, 50:90] = 0.4
    assert pick_notes(faint) == []


def test_notes_that_are_too_short_are_left_out() -> None:
    heard = frames((5, 50, 55), (7, 50, 62))

    assert spans(pick_notes(heard)) == [(55, 50, 62)]
    assert len(pick_notes(heard, PickSettings(shortest_s=0.05))) == 2


def test_what_is_as_good_as_silent_has_no_notes() -> None:
    """A network that hears every two seconds at the same level hears notes in dither too."""
    assert pick_notes(frames((5, 50, 150), level_db=-90.0)) == []


def test_a_faint_key_a_partial_above_is_no_note() -> None:
    """An octave that is as probable as the note below it is one."""
    ghost, octave = frames((5, 50, 150), (17, 50, 150)), frames((5, 50, 150), (17, 50, 150))
    ghost.notes[17, 50:150] = 0.4

    assert spans(pick_notes(ghost)) == [(53, 50, 150)]
    assert spans(pick_notes(octave)) == [(53, 50, 150), (65, 50, 150)]


def test_a_key_with_nothing_at_its_pitch_is_no_note_where_a_partial_is_one() -> None:
    """A chord sounds like the key whose partials it is; a note with a faint fundamental alone is kept."""
    heard, alone = frames((2, 50, 150), (14, 50, 150)), frames((2, 50, 150))
    heard.notes[2, 50:150] = 0.6
    assert spans(pick_notes(heard)) == [(50, 50, 150), (62, 50, 150)]
    for one in (heard, alone):
        one.level_db[2] = -40.0

    assert spans(pick_notes(heard)) == [(62, 50, 150)]
    assert spans(pick_notes(alone)) == [(50, 50, 150)]


def test_velocities_follow_levels() -> None:
    """12 dB are half a velocity, the loudest note has 112."""
    heard = frames((5, 50, 100), (9, 50, 100))
    heard.level_db[9:] = -32.04

    assert [one.velocity for one in pick_notes(heard)] == [112, 56]


def test_a_note_in_tune_is_not_bent() -> None:
    heard = frames((5, 50, 150))
    draw_pitch(heard, np.full(100, 5.1), 50)

    assert [one.bends for one in pick_notes(heard)] == [()]


def test_a_vibrato_bends_as_far_as_it_goes() -> None:
    """30 cents at 5.5 Hz: smoothing leaves nine tenths."""
    heard = frames((5, 50, 250))
    draw_pitch(heard, 5 + 0.3 * np.sin(2 * np.pi * 5.5 * FRAME_S * np.arange(200)), 50)
    (one,) = pick_notes(heard)
    semitones = np.array([bend for _, bend in one.bends])[10:-10]

    assert one.key == 53
    assert 0.26 < semitones.max() < 0.31
    assert -0.31 < semitones.min() < -0.26


def test_a_glide_is_one_note_and_a_step_is_two() -> None:
    glide, step = frames((5, 50, 51), onsets={(5, 50): 0.9}), frames((5, 50, 51), onsets={(5, 50): 0.9})
    draw_pitch(glide, 5 + np.clip((np.arange(150) - 40) / 30, 0, 1), 50)
    draw_pitch(step, np.where(np.arange(150) < 60, 5.0, 6.0), 50)
    (one,) = pick_notes(glide)

    assert spans([one]) == [(54, 50, 200)]
    assert abs(one.bends[10][1] + 1.0) < 0.03
    assert abs(one.bends[-20][1]) < 0.03
    assert spans(pick_notes(step)) == [(53, 50, 110), (54, 110, 200)]


def test_bends_can_be_left_out() -> None:
    heard = frames((5, 50, 150))
    draw_pitch(heard, np.full(100, 5.3), 50)

    assert pick_notes(heard)[0].is_bent
    assert not pick_notes(heard, PickSettings(has_bends=False))[0].is_bent


@pytest.mark.parametrize("cents", [-45, -20, 0, 10, 33, 45])
def test_pitch_between_bins_is_read_off_a_parabola(cents: int) -> None:
    heard = frames((5, 50, 51))
    draw_pitch(heard, np.full(1, 5 + cents / 100), 50)

    # A parabola through three points of a bell curve this wide is up to 4.2 cents off.
    assert abs(follow_pitch(heard.contours, np.array([5.0]), 50)[0] - (5 + cents / 100)) < 0.043


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_heard_notes_are_whole(seed: int) -> None:
    """Noise for probabilities: keys that are there, times within the sound, bends within their reach."""
    rng = np.random.default_rng(seed)
    shape = (N_KEYS, N_FRAMES)
    heard = NoteFrames(
        notes=rng.random(shape) ** 0.5,
        onsets=rng.random(shape),
        contours=rng.random((3 * N_KEYS, N_FRAMES)),
        level_db=rng.uniform(-60, 0, shape),
        frame_s=FRAME_S,
        lowest_key=48,
    )
    notes = pick_notes(heard, PickSettings(shortest_s=0.01))

    assert len(notes) > 100
    for one in notes:
        assert 48 <= one.key < 48 + N_KEYS
        assert 0 <= one.start_s < one.end_s <= N_FRAMES * FRAME_S + 1e-9
        assert all(one.start_s <= time_s < one.end_s for time_s, _ in one.bends)
        # Two keys away, and 0.83 of one beyond: what lies past a full bend is held at it as it is written.
        assert all(abs(bend) < 2.84 for _, bend in one.bends)


def test_nothing_heard_is_no_notes() -> None:
    assert pick_notes(frames()) == []


@pytest.mark.parametrize("given", [{"onset": 0.0}, {"note": 1.5}, {"shortest_s": 0.0}])
def test_settings_that_make_no_sense_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(InputError, match="accepted"):
        PickSettings(**given)  # type: ignore[arg-type]


def test_a_line_is_split_at_rests_steps_and_strokes() -> None:
    keys = np.full(400, np.nan)
    keys[50:100] = 60.0
    keys[120:160] = 62.05
    keys[160:200] = 65.0
    keys[200:300] = 65.0
    level_db = np.full(400, -20.0)
    level_db[190:200] = -35.0

    assert spans(split_line(keys, level_db, FRAME_S)) == [
        (60, 50, 100),
        (62, 120, 160),
        (65, 160, 200),
        (65, 200, 300),
    ]


def test_a_line_with_vibrato_is_one_bent_note_and_short_rests_are_none() -> None:
    keys = 60 + 0.3 * np.sin(2 * np.pi * 5.5 * FRAME_S * np.arange(200))
    keys[100:102] = np.nan
    (one,) = split_line(keys, np.full(200, -20.0), FRAME_S)

    assert spans([one]) == [(60, 0, 200)]
    assert max(bend for _, bend in one.bends) > 0.25
