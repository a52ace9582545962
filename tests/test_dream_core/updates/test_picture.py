"""The waveform dreamed as a picture, against the published algorithm and against what it is heard to do."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers.nets import SmallNet, SmallPictureNet

from dream_core.errors import NonFiniteError, SettingError
from dream_core.loop.dream import dream, open_stream
from dream_core.loop.pending_steps import StepReport
from dream_core.settings import DreamSettings, parse_row
from dream_core.updates.registry import build_update, check_networks, list_updates

RATE = 16000
FREE: dict[str, Any] = {"guard": False, "peak_guard": 0.0}
Samples = npt.NDArray[np.float32]


def noise(seconds: float, channels: int = 1, level: float = 0.2, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal((channels, round(seconds * RATE)))).astype(np.float32)


def settings(**given: Any) -> DreamSettings:
    return DreamSettings(**{"update": "picture", "objective": "layer:second", "window_s": 2.0, **given})


def dreamed(sound: Samples, depth: float = 3.0, rate: int = RATE, rows: Any = None, **given: Any) -> Samples:
    chosen = settings(**given)
    if rows is None:
        return np.asarray(dream(sound, rate, SmallPictureNet(), chosen, depth=depth))
    stream = open_stream(SmallPictureNet(), chosen, rate, len(sound))
    return streamed(stream, sound, depth, rows)


def streamed(stream: Any, sound: Samples, depth: float, rows: Any, block: int = 1 << 20) -> Samples:
    pieces = []
    for start in range(0, sound.shape[1], block):
        part = slice(start, start + block)
        lane = torch.from_numpy(np.ascontiguousarray(rows[part]))
        depths = torch.full((len(lane),), depth, dtype=torch.float64)
        pieces.append(stream.push(torch.from_numpy(sound[:, part].copy()), depths, {"rows": lane}))
    done: Samples = torch.cat([*pieces, stream.finish()], 1).numpy()
    return done


def likeness(change: Samples, lag: int) -> float:
    """Return how like itself a change is so many samples later, -1..1."""
    still = change - change.mean()
    early, late = still[..., :-lag], still[..., lag:]
    return float((early * late).sum() / np.sqrt((early**2).sum() * (late**2).sum()))


def published(sound: Samples, network: SmallPictureNet, n_steps: int, size: float) -> Samples:
    """Restate the published algorithm: three pictures' worth of 48 kHz stereo, 412 rows of 500 pixels each.

    A plane is 103 000 samples of the left channel, then as many of the right, row by row. Nothing of the
    program is used but the network's two convolutions.
    """
    rows, columns, chunk = 412, 500, 103_000
    peak = np.abs(sound).max()
    current = sound.copy()
    for _ in range(n_steps):
        picture = np.zeros((rows, columns, 3), np.float32)
        for plane in range(3):
            for channel in range(2):
                part = current[channel, plane * chunk : (plane + 1) * chunk]
                top = channel * rows // 2
                for row in range(rows // 2):
                    picture[top + row, :, plane] = part[row * columns : (row + 1) * columns]
        leaf = torch.tensor(0.5 * (picture + 1.0), requires_grad=True)
        # To the network: colours first, columns from the left, rows from the bottom.
        shown = torch.stack([leaf[..., c].flip(0).T for c in range(3)])[None]
        score = network.second(network.act(network.first(network.soft(shown)))).mean()
        (found,) = torch.autograd.grad(score, leaf)
        gradient = found.double().numpy()
        gradient /= gradient.std()
        for plane in range(3):
            for channel in range(2):
                top = channel * rows // 2
                part = gradient[top : top + rows // 2, :, plane].reshape(-1)
                current[channel, plane * chunk : (plane + 1) * chunk] += (size * part).astype(np.float32)
        current = np.clip(current, -peak, peak)
    return current


def test_the_published_algorithm_gives_the_same_samples() -> None:
    """At 48 kHz in stereo, 412 high, a step of 4 is the published 0.02; to float32's rounding."""
    rng = np.random.default_rng(1)
    sound = (0.2 * rng.standard_normal((2, 309_000))).astype(np.float32)
    given = {"row": "500", "window_s": 6.4375, "step": 4.0, **FREE}
    found = dreamed(sound, 3.0, 48000, picture_height=412, **given)
    expected = published(sound, SmallPictureNet(), 3, 0.02)

    assert np.abs(expected - sound).max() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(found, dreamed(sound, 3.0, 48000, **given))  # that is what fits


def test_depth_0_is_the_sound_bit_for_bit_whatever_a_row_is() -> None:
    sound = noise(3.0, 2)
    lane = np.arange(sound.shape[1]) / 1234.5
    for row, rows in (("200", None), ("A1", None), ("1/16", lane)):
        assert np.array_equal(dreamed(sound, 0.0, row=row, rows=rows), sound)


def test_where_the_depth_is_0_nothing_changes() -> None:
    """Also between samples that do."""
    sound = noise(2.0)
    stream = open_stream(SmallPictureNet(), settings(row="A1"), RATE, 1)
    depth = torch.zeros(sound.shape[1], dtype=torch.float64)
    depth[8000:16000] = 2.0
    out = torch.cat([stream.push(torch.from_numpy(sound), depth), stream.finish()], 1).numpy()

    assert np.array_equal(out[:, :8000], sound[:, :8000])
    assert np.array_equal(out[:, 16000:], sound[:, 16000:])
    assert np.abs(out - sound)[:, 8000:16000].mean() > 1e-3


@pytest.mark.parametrize("step", [1.0, 4.0])
def test_no_sample_goes_beyond_the_highest_of_its_window(step: float) -> None:
    sound = noise(2.0, 2)
    out = dreamed(sound, 6.0, row="200", step=step, **FREE)

    assert np.abs(out).max() <= np.abs(sound).max()
    assert np.abs(out - sound).max() > 0.01


def test_what_is_drawn_repeats_from_row_to_row() -> None:
    """Half a row later it is something else. Rows of no round number, so that no grid helps."""
    sound = noise(3.0)
    change = (dreamed(sound, 5.0, row="211", window_s=3.0, **FREE) - sound)[0]

    assert likeness(change, 211) >= 0.3
    assert abs(likeness(change, 105)) <= 0.1


def test_the_rows_of_a_note_repeat_with_its_period_and_from_window_to_window() -> None:
    """F2 is 174.6 Hz, 91.6 samples: no whole number, and windows begin anywhere in it."""
    f0_hz = parse_row("F2").f0_hz
    assert f0_hz == pytest.approx(174.614, abs=1e-3)
    sound = noise(6.0)
    change = (dreamed(sound, 5.0, row="F2", window_s=1.5, **FREE) - sound)[0]
    period = RATE / f0_hz

    # Between samples: the change through a grid of its own, sixteen places a sample.
    fine = np.fft.irfft(np.fft.rfft(change), 16 * len(change)).astype(np.float32)
    assert likeness(fine, round(16 * period)) >= 0.3
    assert abs(likeness(fine, round(16 * (period / 2)))) <= 0.1
    # The mean of all periods: through windows whose rows began elsewhere it would cancel.
    places = (np.arange(len(change)) / period % 1.0 * 64).astype(int)
    folded = np.bincount(places, change, 64) / np.bincount(places, minlength=64)
    for first in (0, len(change) // 2):
        part = slice(first, first + len(change) // 2)
        own = np.bincount(places[part], change[part], 64) / np.bincount(places[part], minlength=64)
        assert np.corrcoef(own, folded)[0, 1] >= 0.8


def sixteenths(n_samples: int, start_s: float = 0.0) -> npt.NDArray[np.float64]:
    """Return how many sixteenths have passed where the tempo goes from 100 to 140 in ten seconds."""
    time_s = np.arange(n_samples) / RATE + start_s
    beats: npt.NDArray[np.float64] = (100.0 * time_s + 40.0 * time_s**2 / 20.0) / 60.0
    return 4.0 * beats


def repetition_s(change: Samples, rows: npt.NDArray[np.float64], reach_s: float = 0.02) -> float:
    """Return how late what is drawn in a row comes again, beside when the next row says that it should.

    Every row's beginnings are compared with those of the next one, and the likeness of all is added up.
    """
    reach, length = round(reach_s * RATE), round(0.03 * RATE)
    begins = [int(np.searchsorted(rows, k)) for k in range(int(rows[0]) + 1, int(rows[-1]) - 1)]
    begins = [b for b in begins if b > reach]
    lags = np.arange(-reach, reach + 1)
    total = np.zeros(len(lags))
    for here, there in itertools.pairwise(begins):
        if there + reach + length > len(change):
            continue
        own = change[here : here + length]
        total += [float(own @ change[there + lag : there + lag + length]) for lag in lags]
    return float(lags[int(np.argmax(total))] / RATE)


def test_rows_of_sixteenths_repeat_on_the_songs_grid_through_a_change_of_tempo() -> None:
    """Within a millisecond; a grid of the first tempo would be off by tens of them."""
    sound = noise(10.0)
    rows = sixteenths(sound.shape[1])
    change = (dreamed(sound, 5.0, row="1/16", rows=rows, window_s=4.0, planes="delays", **FREE) - sound)[0]

    assert abs(repetition_s(change, rows)) <= 1e-3
    assert np.abs(change).mean() > 1e-3


def test_rows_on_a_clock_are_as_exact_late_in_a_song_as_at_its_beginning() -> None:
    """Float32 would count a hundred thousand rows in steps of dozens of samples."""
    sound = noise(2.0)
    rows = np.arange(sound.shape[1]) / 1000.3
    given = {"row": "1/16", "planes": "delays", **FREE}
    early, late = (dreamed(sound, 2.0, rows=rows + first, **given) for first in (0.0, 100_000.0))

    np.testing.assert_allclose(early, late, atol=1e-5)
    assert np.abs(early - sound).max() > 1e-3


def test_a_clock_that_counts_samples_draws_what_rows_of_samples_draw() -> None:
    """Where every pixel is a sample, interpolation has nothing to do."""
    sound = noise(2.0, 2)
    given = {"planes": "delays", **FREE}
    exact = dreamed(sound, 2.0, row="400", **given)
    counted = dreamed(sound, 2.0, row="1/16", rows=np.arange(sound.shape[1]) / 400.0, **given)

    np.testing.assert_allclose(counted, exact, atol=1e-4)
    assert np.abs(exact - sound).max() > 0.01


def test_rows_on_a_clock_do_not_depend_on_blocks_or_batches() -> None:
    sound = noise(5.0)
    rows = sixteenths(sound.shape[1])
    chosen = settings(row="1/16", planes="delays", window_s=2.0)
    network = SmallPictureNet()
    whole = streamed(open_stream(network, chosen, RATE, 1), sound, 2.0, rows)
    cut = streamed(open_stream(network, chosen, RATE, 1), sound, 2.0, rows, block=7919)

    assert np.array_equal(whole, cut)
    one, four = (streamed(open_stream(network, chosen, RATE, 1, batch=n), sound, 2.0, rows) for n in (1, 4))
    np.testing.assert_allclose(one, four, atol=1e-6)


@pytest.mark.parametrize("row", ["211", "A1", "1/16"])
def test_a_change_is_held_to_the_sounds_envelope_and_peaks_where_that_is_asked_for(row: str) -> None:
    """Silence stays silent, and with a limit of peaks the change has none above a tenth of the sound's."""
    sound = noise(2.0)
    sound[:, 10000:20000] *= 1e-5
    rows = np.arange(sound.shape[1]) / 700.0 if row == "1/16" else None
    given = {"row": row, "rows": rows, "planes": "delays"}
    free = dreamed(sound, 3.0, **FREE, **given) - sound
    held = dreamed(sound, 3.0, guard=True, peak_guard=0.1, **given) - sound

    assert np.abs(free[:, 11000:19000]).max() > 1e-2
    assert np.abs(held[:, 11000:19000]).max() <= 1e-4
    assert np.abs(held).max() <= 0.1 * np.abs(sound).max() + 1e-6
    assert np.abs(held).max() > 0.01


def test_a_band_limits_the_change_only_where_one_is_asked_for() -> None:
    """The network's own band says nothing of pixels."""
    sound = noise(2.0)
    above = np.fft.rfftfreq(sound.shape[1], 1 / RATE) > 2000.0
    free = np.abs(np.fft.rfft(dreamed(sound, row="211", **FREE) - sound))[0]
    low = np.abs(np.fft.rfft(dreamed(sound, row="211", high_hz=1000.0, **FREE) - sound))[0]

    assert free[above].max() > 0.1 * free.max()
    assert low[above].max() <= 0.02 * low.max()


@pytest.mark.parametrize("planes", ["chunks", "channels", "delays"])
@pytest.mark.parametrize("order", ["rows", "columns", "interleaved"])
def test_the_score_rises_in_every_layout(planes: str, order: str) -> None:
    scores: list[float] = []
    sound = noise(2.0, 2)
    chosen = settings(row="211", planes=planes, order=order, **FREE)
    dream(sound, RATE, SmallPictureNet(), chosen, depth=8.0, on_step=lambda step: scores.append(step.score))

    assert len(scores) == 8
    assert scores[-1] > scores[0] + 0.05


def test_a_weight_scores_each_picture_by_its_own_time() -> None:
    """Where the weight is 0 there is nothing to do, also beside others in a batch."""
    sound = noise(3.6)
    chosen = settings(objective="{air}*layer:second", row="1/16", planes="delays", window_s=2.0, **FREE)
    air = torch.from_numpy((np.arange(sound.shape[1]) < 20000).astype(np.float64))
    stream = open_stream(SmallPictureNet(), chosen, RATE, 1, weights={"air": 1.0}, batch=2)
    lanes = {"rows": torch.arange(sound.shape[1], dtype=torch.float64) / 700.0, "air": air}
    depth = torch.full((sound.shape[1],), 2.0, dtype=torch.float64)
    out = torch.cat([stream.push(torch.from_numpy(sound), depth, lanes), stream.finish()], 1).numpy()

    assert np.array_equal(out[:, 33000:], sound[:, 33000:])
    assert np.abs(out - sound)[:, :20000].mean() > 1e-3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"row": "4000"},
            r"row = '4000' is 0.25 s long, .* 2 s holds 8 rows, .* 24 or more .*: set window_s = 6",
        ),
        ({"row": "9000", "planes": "delays"}, r"8 or more make a picture: set window_s = 4.5"),
        ({"row": "200000"}, "take shorter rows"),
        (
            {"row": "100", "picture_height": 40},
            r"holds 0.75 s of the window of 2 s; set window_s = 0.75, or .* 107",
        ),
        ({"row": "3"}, r"16\.\.1048576 samples"),
        ({"row": " "}, "row is empty"),
        ({"row": "1/16"}, "neither samples .* nor a note .* give a lane of rows"),
        ({"row": "C9"}, "is not a note"),
    ],
)
def test_rows_that_make_no_picture_say_what_would(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        dreamed(noise(2.5), 1.0, **given)


def test_rows_above_each_other_want_a_height_for_both_channels() -> None:
    with pytest.raises(SettingError, match="a multiple of 2 is accepted"):
        dreamed(noise(2.0, 2), 1.0, row="100", picture_height=301)


def test_rows_that_do_not_rise_are_refused() -> None:
    for lane in (np.zeros(32000), np.arange(32000)[::-1] / 700.0):
        with pytest.raises(SettingError, match="must rise"):
            dreamed(noise(2.0), 1.0, row="1/16", rows=lane.copy(), planes="delays")


def test_a_network_that_does_not_see_is_refused_and_so_are_two() -> None:
    with pytest.raises(SettingError, match=r"looks at pictures: image.*'small' does not"):
        open_stream(SmallNet(), settings(), RATE, 1)
    with pytest.raises(SettingError, match="one network, 2 listen"):
        check_networks(build_update("picture"), [SmallPictureNet().card] * 2, settings())
    assert "picture" in list_updates()


def test_an_objective_that_compares_sounds_says_that_pixels_are_none() -> None:
    for objective in ("content:second", "guided:second:pad", "invert:second:pad"):
        with pytest.raises(SettingError, match="of which there is no picture"):
            check_networks(build_update("picture"), [SmallPictureNet().card], settings(objective=objective))


def test_another_speed_is_refused_for_samples_have_none() -> None:
    with pytest.raises(SettingError, match="varispeed_octaves = 1, 0 is accepted"):
        check_networks(build_update("picture"), [SmallPictureNet().card], settings(varispeed_octaves=1.0))


def test_pictures_too_small_for_a_network_are_told_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def see(self: SmallPictureNet, pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.max_pool2d(pictures, 1024).mean((2, 3))

    monkeypatch.setattr(SmallPictureNet, "see", see)
    with pytest.raises(SettingError, match=r"cannot look at pictures of 200 x \d+ pixels .* change row"):
        dreamed(noise(2.0), 1.0, row="200")


@pytest.mark.parametrize("row", ["200", "1/16"])
def test_steps_tell_the_class_that_is_seen(row: str) -> None:
    """Where a class is asked for: in one picture for all windows, and in one for each."""
    reports: list[StepReport] = []
    asked = settings(objective="logit:high", row=row, window_s=1.0, planes="delays")
    stream = open_stream(SmallPictureNet(), asked, RATE, 1, on_step=reports.append)
    sound = torch.from_numpy(noise(2.5))
    lanes = {"rows": torch.arange(sound.shape[1]) / 200.0} if row == "1/16" else {}
    stream.push(sound, torch.ones(sound.shape[1]), lanes)
    stream.finish()

    assert len(reports) > 1
    assert {report.heard[0] for report in reports if report.heard} <= {*SmallPictureNet().card.classes}
    assert all(report.heard for report in reports)


def test_what_leads_nowhere_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        SmallPictureNet,
        "see",
        lambda self, pictures: (
            0.0 * self.second(pictures.mean() * torch.zeros(1, 8, 4, 4)).mean((2, 3))[:, :3]
        ),
    )
    with pytest.raises(NonFiniteError, match="has no gradient"):
        dreamed(noise(2.0), 1.0, row="200")


def test_a_short_sound_is_a_picture_too() -> None:
    """Shorter than a window, and than the fewest rows: what is missing is grey."""
    sound = noise(0.3)
    out = dreamed(sound, 2.0, row="1000", planes="delays", **FREE)

    assert out.shape == sound.shape
    assert np.abs(out - sound).max() > 1e-3
