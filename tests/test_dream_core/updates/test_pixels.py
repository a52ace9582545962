"""Which sample is which pixel: the mapping, its inverse and its layouts, against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dream_core.updates.pixels import lay_out, rows_in_time, rows_of_pitch, rows_of_samples


def sound(channels: int, n_samples: int, items: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((items, channels, n_samples), generator=generator) * 2.0 - 1.0


def test_rows_of_samples_go_to_pixels_and_back_bit_for_bit() -> None:
    x = sound(2, 1037)
    grid = rows_of_samples(50, 1037)
    pixels = grid.to_pixels(x)

    assert pixels.shape == (2, 2, 21 * 50)
    assert torch.equal(pixels[..., :1037], x)
    assert not pixels[..., 1037:].any()
    assert torch.equal(grid.to_samples(pixels), x)


def at(picture: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """Return a pixel of pictures by its row from the top and its column from the left."""
    return picture[:, :, column, picture.shape[3] - 1 - row]


def test_chunks_are_laid_out_as_published_and_every_sample_once() -> None:
    """Left rows above right rows, a third of the sound in each colour."""
    x = sound(2, 3 * 4 * 10)
    picture = lay_out(x, 10, 4)

    assert picture.shape == (2, 3, 10, 8)
    for plane in range(3):
        for channel in range(2):
            for row in range(4):
                for column in range(10):
                    pixel = at(picture, 4 * channel + row, column)[:, plane]
                    expected = 0.5 * (x[:, channel, plane * 40 + row * 10 + column] + 1.0)
                    assert torch.equal(pixel, expected)


def test_channels_are_colours_left_right_and_their_mean() -> None:
    x = sound(2, 60)
    picture = lay_out(x, 10, 6, "channels")

    assert picture.shape == (2, 3, 10, 6)
    for plane, one in enumerate((x[:, 0], x[:, 1], x.mean(dim=1))):
        torch.testing.assert_close(at(picture, 4, 7)[:, plane], 0.5 * (one[:, 47] + 1.0))
    mono = lay_out(x[:, :1], 10, 6, "channels")
    assert torch.equal(mono[:, 0], mono[:, 1])
    torch.testing.assert_close(mono[:, 0], mono[:, 2])


def test_delays_are_colours_a_row_apart_and_grey_after_the_end() -> None:
    x = sound(1, 60)
    picture = lay_out(x, 10, 6, "delays")

    for plane in range(3):
        assert torch.equal(at(picture, 2, 7)[:, plane], 0.5 * (x[:, 0, 10 * (2 + plane) + 7] + 1.0))
    assert torch.equal(at(picture, 5, 3)[:, 1], torch.full((2,), 0.5))


def test_columns_are_rows_upright_and_interleaved_rows_take_turns() -> None:
    x = sound(2, 60)
    rows, columns, turns = (
        lay_out(x, 10, 2, "chunks", order) for order in ("rows", "columns", "interleaved")
    )

    assert columns.shape == (2, 3, 4, 10)
    assert torch.equal(at(columns, 7, 3), at(rows, 3, 7))
    for channel in range(2):
        for row in range(2):
            assert torch.equal(at(turns, 2 * row + channel, 4), at(rows, 2 * channel + row, 4))


def test_a_gradient_comes_back_to_every_pixel_from_every_colour_that_shows_it() -> None:
    pixels = sound(1, 60, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(lay_out(pixels, 10, 6, "delays").sum(), pixels)

    # Half, as -1..1 becomes 0..1, of one, two or three colours.
    assert gradient[0, 0, ::10].tolist() == [0.5, 1.0, 1.5, 1.5, 1.5, 1.5]


def test_a_period_of_a_pitch_is_a_row_that_begins_where_the_period_does() -> None:
    """Pixels and samples are each other's inverse; the first row is the one the window begins in."""
    starts = torch.tensor([0.0, 12345.0], dtype=torch.float64)
    grid = rows_of_pitch(100.7, 16000, starts, 5000)

    assert grid.width == 159
    assert grid.pixels is not None
    assert grid.samples is not None
    for item, start in enumerate(starts.tolist()):
        passed = (start + np.arange(5000)) * 100.7 / 16000
        expected = (passed - np.floor(passed[0])) * 159
        np.testing.assert_allclose(grid.pixels[item].numpy(), expected, atol=1e-6)
        there = np.interp(np.arange(200, 4000), grid.pixels[item].numpy(), np.arange(5000))
        np.testing.assert_allclose(grid.samples[item, 200:4000].numpy(), there, atol=1e-6)
        assert grid.pixels[item, -1] < grid.n_rows * 159


def test_rows_in_time_turn_a_clock_round() -> None:
    """Quadratic, as a ramp of tempo is: places are found within a thousandth of a sample."""
    time = torch.arange(20000, dtype=torch.float64)
    rows = 3.4 + time / 900.0 + (time / 20000.0) ** 2
    grid = rows_in_time(rows)
    assert grid.samples is not None
    assert grid.width == round(19999 / float(rows[-1] - rows[0]))
    places = grid.samples[0]
    inside = (places >= 0) & (places <= 19999)
    found = 3.4 + places / 900.0 + (places / 20000.0) ** 2
    expected = 3.0 + torch.arange(len(places), dtype=torch.float64) / grid.width

    torch.testing.assert_close(found[inside], expected[inside], rtol=0.0, atol=1e-6)
    assert inside.sum() >= 20000 * 0.95
    assert bool((places[1:] > places[:-1]).all())


def test_what_is_slow_comes_back_from_pixels_between_samples() -> None:
    """A tone of a tenth of the rate, to a hundredth."""
    time = torch.arange(8000, dtype=torch.float64)
    tone = torch.sin(2 * torch.pi * 0.1 * time).float()[None, None]
    grid = rows_in_time(time / 333.3 + 0.25 * (time / 8000) ** 2)
    back = grid.to_samples(grid.to_pixels(tone))

    assert (back - tone)[..., 50:-50].abs().max() <= 0.01
    assert back.shape == tone.shape


def test_pixels_beyond_the_sound_are_told_from_those_that_show_it() -> None:
    n_valid = torch.tensor([[[500.0]], [[250.0]]])
    exact = rows_of_samples(100, 520).is_sound(n_valid)
    assert exact.sum(dim=2).flatten().tolist() == [500, 250]
    warped = rows_of_pitch(100.0, 16000, torch.tensor([80.0, 0.0], dtype=torch.float64), 520).is_sound(
        n_valid
    )
    # Half a row before the first window began does not count.
    assert warped.shape == (2, 1, 5 * 160)
    assert not bool(warped[0, 0, :80].any())
    assert warped.sum(dim=2).flatten().tolist() == [500, 250]


@pytest.mark.parametrize("height", [3, 9])
def test_what_does_not_fit_is_left_out_and_what_is_missing_is_grey(height: int) -> None:
    x = sound(1, 60)
    picture = lay_out(x, 10, height, "channels")

    assert picture.shape[3] == height
    assert torch.equal(at(picture, 2, 0)[:, 0], 0.5 * (x[:, 0, 20] + 1.0))
    if height > 6:
        assert torch.equal(at(picture, 8, 0), torch.full((2, 3), 0.5))
