"""The update `harmonic`: in tune, as loud, and the same however the sound arrives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyloudnorm
import pytest
import torch
from scipy.signal import butter, sosfiltfilt

from dream_core import DreamSettings, dream, load_network, open_stream
from dream_core.errors import SettingError
from dream_core.networks.card import Network

FloatArray = npt.NDArray[np.float32]
RATE = 44100


@pytest.fixture(scope="module")
def timbre() -> Network:
    return load_network("timbre")


def settings(**changes: Any) -> DreamSettings:
    return DreamSettings(**{"update": "harmonic", "objective": "class:brass", **changes})


def saw(f0_hz: float | npt.NDArray[np.float64], seconds: float = 1.5, n: int = 30) -> FloatArray:
    """Return a saw of a pitch that may move, below full scale."""
    f0 = np.broadcast_to(f0_hz, round(seconds * RATE))
    phase = 2.0 * np.pi * (np.cumsum(f0) - f0) / RATE
    parts = [np.sin(k * phase) / k for k in range(1, n) if k * f0.max() < 16000]
    return (0.15 * np.sum(parts, axis=0))[None].astype(np.float32)


def peaks_near(
    sound: FloatArray, f0_hz: float, numbers: range
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return where the spectrum peaks near multiples of a pitch, Hz, and how far above what is around, dB.

    By a parabola through the log of a peak; what is around is the median of the levels there.
    """
    windowed = sound[0] * np.blackman(sound.shape[1])
    n_fft = 1 << 19
    level = 20.0 * np.log10(np.abs(np.fft.rfft(windowed, n_fft)) + 1e-12)
    found, above_db = [], []
    for k in numbers:
        centre, reach = k * f0_hz * n_fft / RATE, 0.4 * f0_hz * n_fft / RATE
        low = round(centre - reach)
        around = level[low : round(centre + reach)]
        i = low + int(np.argmax(around))
        above_db.append(level[i] - np.median(around))
        a, b, c = level[i - 1 : i + 2]
        found.append((i + 0.5 * (a - c) / (a - 2.0 * b + c)) * RATE / n_fft)
    return np.array(found), np.array(above_db)


@pytest.mark.parametrize(
    ("sound", "f0_hz", "objective"), [("saw", 220.0, "class:brass"), ("sine", 441.3, "class:reed")]
)
def test_partials_lie_on_multiples_of_the_pitch(
    timbre: Network, sound: str, f0_hz: float, objective: str
) -> None:
    """Also of those a sine has not: within one cent, though the dream has moved their levels far.

    Of partials turned down one hears the noise between, and which of a sine's a dream turns up is a matter of
    rounding: so those count that stand out of the noise.
    """
    x = saw(f0_hz, n=30 if sound == "saw" else 2)
    chosen = settings(objective=objective, excitation_db=-40.0)
    y = dream(x, RATE, timbre, chosen, depth=8.0, f0_hz=f0_hz)
    numbers = range(1, 9)
    peaks_hz, above_db = peaks_near(y[:, 6000:-6000], f0_hz, numbers)
    cents = 1200.0 * np.log2(peaks_hz / (f0_hz * np.array(numbers)))
    stands_out = above_db > 30.0

    assert np.abs(cents[stands_out]).max() < 1.0
    assert stands_out.sum() >= 4
    # With a few roundings more or less, a sine's change was 0.04 to 0.6 of it.
    assert np.sqrt(np.mean((y - x) ** 2)) > 0.02 * np.sqrt(np.mean(x**2))


def test_partials_follow_a_glide(timbre: Network) -> None:
    """Heard on the clock of the glide itself, a partial's phase stands still wherever it is loud."""
    f0_hz = 200.0 * 2.0 ** (np.arange(round(1.5 * RATE)) / (1.5 * RATE))
    y = dream(saw(f0_hz, n=8), RATE, timbre, settings(), depth=8.0, f0_hz=f0_hz)
    cycles = (np.cumsum(f0_hz) - f0_hz) / RATE
    hop, n_heard = 1323, 0
    for k in range(1, 8):
        still = y[0] * np.exp(-2j * np.pi * k * cycles)
        heard = np.convolve(still, np.hanning(2 * hop) / hop, "same")[3000:-3000:hop]
        is_loud = np.abs(heard) > 0.15 * 10.0 ** (-30.0 / 20.0)
        turned = np.angle(heard[1:] * heard[:-1].conj())[is_loud[1:] & is_loud[:-1]]
        cents = 1200.0 * np.log2(1.0 + turned * RATE / hop / (2.0 * np.pi * k * f0_hz.min()))
        n_heard += len(turned)
        assert np.abs(cents).max() < 2.0
    assert n_heard > 80


def test_a_dream_stays_as_loud(timbre: Network) -> None:
    """Within one loudness unit, with steps that move partials by many decibels."""
    meter = pyloudnorm.Meter(RATE)
    for x, f0_hz in ((saw(220.0), 220.0), (saw(440.0, n=2), 440.0)):
        y = dream(x, RATE, timbre, settings(objective="class:flute"), depth=10.0, f0_hz=f0_hz)
        change = meter.integrated_loudness(y[0].astype(np.float64)) - meter.integrated_loudness(
            x[0].astype(np.float64)
        )
        assert abs(change) < 1.0


def test_depth_zero_is_the_sound(timbre: Network) -> None:
    """Bit for bit, and where depth begins later, until then."""
    x = saw(220.0)
    depth = np.zeros(x.shape[1])
    depth[40000:] = 3.0
    y = dream(x, RATE, timbre, settings(), depth=depth, f0_hz=220.0)

    assert np.array_equal(dream(x, RATE, timbre, settings(), depth=0.0, f0_hz=220.0), x)
    assert np.array_equal(y[:, :40000], x[:, :40000])
    assert not np.array_equal(y, x)


@pytest.mark.parametrize("mix", [0.0, 0.4, 1.0])
def test_a_first_step_begins_with_the_sound(timbre: Network, mix: float) -> None:
    """A step of size zero changes nothing one could hear, whatever the mix."""
    x = saw(220.0)
    y = dream(x, RATE, timbre, settings(step=0.0, harmonic_mix=mix), depth=1.0, f0_hz=220.0)

    assert np.abs(y - x).max() < 1e-6


def in_blocks(
    x: FloatArray,
    network: Network,
    chosen: DreamSettings,
    lanes: Mapping[str, npt.NDArray[Any]],
    size: int,
    **options: Any,
) -> FloatArray:
    stream = open_stream(network, chosen, RATE, x.shape[0], **options)
    done = []
    for start in range(0, x.shape[1], size):
        part = slice(start, start + size)
        moving = {name: torch.from_numpy(lane[part].copy()) for name, lane in lanes.items()}
        block = torch.from_numpy(x[:, part].copy())
        done.append(stream.push(block, torch.full((block.shape[1],), 2.0), moving))
    done.append(stream.finish())
    return torch.cat(done, 1).numpy()


def test_a_stream_is_one_block_bit_for_bit(timbre: Network) -> None:
    """In three windows, with moving pitch, step and band, in odd blocks."""
    n = round(1.8 * RATE)
    t = np.arange(n) / RATE
    f0_hz = 220.0 * 2.0 ** (0.03 * np.sin(2 * np.pi * 5.0 * t))
    x = saw(f0_hz, 1.8)
    lanes = {
        "f0_hz": np.where(t % 0.8 < 0.7, f0_hz, 0.0),
        "step": 0.5 + 0.5 * t / 1.8,
        "low_hz": 100.0 + 50.0 * t,
        "high_hz": 8000.0 - 1000.0 * t,
    }
    chosen = settings(window_s=0.8)
    whole = in_blocks(x, timbre, chosen, lanes, n)

    assert np.array_equal(in_blocks(x, timbre, chosen, lanes, 1777), whole)
    np.testing.assert_allclose(in_blocks(x, timbre, chosen, lanes, n, batch=3), whole, atol=2e-4)


def test_windows_agree_on_the_phase(timbre: Network) -> None:
    """A partial that a sine lacks has one phase in all windows: they do not cancel where they meet."""
    f0_hz = 441.3  # no whole number of cycles in a window
    chosen = settings(window_s=0.5, fade_s=0.1)
    y = dream(saw(f0_hz, 1.4, n=2), RATE, timbre, chosen, depth=6.0, f0_hz=f0_hz)[0]
    t = np.arange(len(y)) / RATE
    still = y * np.exp(-2j * np.pi * 2 * f0_hz * t)
    heard = np.convolve(still, np.hanning(2646) / 1323.0, "same")[3000:-6000:1323]
    loud = heard[np.abs(heard) > 0.15 * 10.0 ** (-40.0 / 20.0)]
    # Up to its sign, as what is turned down takes away.
    phase = np.angle(loud.astype(np.complex128) ** 2)

    assert len(loud) > 10
    assert np.abs(np.angle(np.exp(1j * (phase - np.median(phase))))).max() < 0.3


@pytest.mark.parametrize("objective", ["class:flute", "class:brass"])
def test_the_objective_rises_for_a_tone(timbre: Network, objective: str) -> None:
    """With depth, above where it began."""
    scores: list[float] = []
    dream(
        saw(220.0), RATE, timbre, settings(objective=objective, jitter=False), depth=9.0, f0_hz=220.0,
        on_step=lambda report: scores.append(report.score),
    )  # fmt: skip

    assert scores[4] > scores[0] + 0.2
    assert scores[8] > scores[0] + 0.3


def test_noise_falls_to_bands_and_says_so_once(timbre: Network) -> None:
    """Without any pitch the objective still rises, and the user reads why no partial came."""
    x = (0.1 * np.random.default_rng(0).standard_normal((1, 3 * RATE // 2))).astype(np.float32)
    scores: list[float] = []
    told: list[str] = []
    dream(
        x, RATE, timbre, settings(objective="class:flute", jitter=False), depth=9.0, f0_hz=0.0,
        on_step=lambda report: scores.append(report.score), on_warning=told.append,
    )  # fmt: skip

    assert scores[8] > scores[0] + 0.3
    assert len(told) == 1
    assert "no pitch" in told[0]


def test_a_pitched_sound_says_nothing(timbre: Network) -> None:
    """Nor does another update."""
    told: list[str] = []
    dream(saw(220.0), RATE, timbre, settings(), depth=1.0, f0_hz=220.0, on_warning=told.append)
    dream(saw(220.0), RATE, timbre, DreamSettings(objective="class:flute"), depth=1.0, on_warning=told.append)

    assert told == []


def test_the_stereo_image_stays(timbre: Network) -> None:
    """Linked rows share their gains: a sound panned by 12 dB stays panned by 12 dB."""
    x = np.concatenate([saw(220.0, 1.0), 0.25 * saw(220.0, 1.0)])
    y = dream(x, RATE, timbre, settings(), depth=4.0, f0_hz=220.0)
    left, right = (float(np.sqrt(np.mean(row[6000:-6000].astype(np.float64) ** 2))) for row in y)

    assert abs(20.0 * np.log10(left / right) - 12.04) < 0.1
    assert not np.allclose(x, y, atol=0.01)


def test_the_mix_decides_what_becomes_of_the_sound(timbre: Network) -> None:
    """Mixed in, none of the sound's own partials falls by more than half; in their place, some all but go."""
    x = saw(220.0)
    # Free of the energy rule, which turns all of them down together where one has risen.
    lowest_db = []
    for mix in (0.0, 1.0):
        chosen = settings(harmonic_mix=mix, energy=False)
        y = dream(x, RATE, timbre, chosen, depth=8.0, f0_hz=220.0)
        lowest_db.append(min(level_of_partial_db(y, k) - level_of_partial_db(x, k) for k in range(1, 13)))

    assert -6.1 < lowest_db[0] < -1.0
    assert lowest_db[1] < -12.0


def level_of_partial_db(sound: FloatArray, number: int) -> float:
    """Return the level of a partial of 220 Hz, over fifths of a second."""
    t = np.arange(sound.shape[1]) / RATE
    still = sound[0] * np.exp(-2j * np.pi * number * 220.0 * t)
    heard = still[: len(t) // 8820 * 8820].reshape(-1, 8820) @ np.hanning(8820) / 4410.0
    return float(10.0 * np.log10(np.mean(np.abs(heard) ** 2)))


def test_nothing_above_the_band_is_touched(timbre: Network) -> None:
    """A band set to end at 2 kHz leaves what is above 2.2 kHz."""
    x = saw(220.0)
    change = dream(x, RATE, timbre, settings(high_hz=2000.0), depth=6.0, f0_hz=220.0) - x
    spectrum = np.abs(np.fft.rfft(change[0] * np.hanning(change.shape[1])))
    hz = np.fft.rfftfreq(change.shape[1], 1 / RATE)

    assert spectrum[hz > 2300].max() < 1e-3 * spectrum.max()


def test_nothing_is_heard_before_it_is_played(timbre: Network) -> None:
    """Held to the sound's envelope, a dream leaves the silence before a tone and after it alone."""
    x = saw(220.0, 2.0)
    x[:, : RATE // 2] = x[:, 3 * RATE // 2 :] = 0.0
    y = dream(x, RATE, timbre, settings(), depth=6.0, f0_hz=220.0)

    assert np.abs(y[:, : RATE // 2 - 441]).max() < 1e-6
    assert np.abs(y[:, 3 * RATE // 2 + 441 :]).max() < 1e-6
    assert np.abs(y - x)[:, RATE // 2 : 3 * RATE // 2].max() > 0.01


def test_no_click_is_heard_where_a_pitch_ends(timbre: Network) -> None:
    """The sound goes on, its partials are let go softly: far above the band nothing is heard of it."""
    x = saw(220.0)
    f0_hz = np.where(np.arange(x.shape[1]) < 33400, 220.0, 0.0)
    change = dream(x, RATE, timbre, settings(high_hz=2000.0), depth=6.0, f0_hz=f0_hz) - x
    above = sosfiltfilt(butter(8, 5000.0, "high", fs=RATE, output="sos"), change[0])[33000:33800]

    assert np.abs(change[0, 30000:33000]).max() > 0.01
    assert np.abs(above).max() < 1e-3 * np.abs(change[0, 30000:33000]).max()


def test_a_free_envelope_is_left_by_twelve_decibels_at_most(timbre: Network) -> None:
    """Without the rule of energy a dream may grow louder, but not without end."""
    x = saw(220.0)
    chosen = settings(objective="class:flute", energy=False, guard=False)
    y = dream(x, RATE, timbre, chosen, depth=12.0, f0_hz=220.0)
    rise_db = 20.0 * np.log10(np.std(y[:, 6000:-6000]) / np.std(x[:, 6000:-6000]))

    assert 1.0 < abs(rise_db) < 13.0


@pytest.fixture(scope="module")
def tone(timbre: Network) -> tuple[FloatArray, FloatArray]:
    """A sound, and what becomes of it with the settings as they are."""
    x = saw(220.0, 1.0)
    return x, dream(x, RATE, timbre, settings(), depth=2.0, f0_hz=220.0)


@pytest.mark.parametrize("name", ["step", "low_hz", "high_hz"])
def test_a_lane_moves_its_setting(timbre: Network, tone: tuple[FloatArray, FloatArray], name: str) -> None:
    """What stands still in a lane is what the setting says."""
    x, plain = tone
    value = {"step": 0.5, "low_hz": 300.0, "high_hz": 3000.0}[name]
    lanes = {"f0_hz": np.full(x.shape[1], 220.0), name: np.full(x.shape[1], value)}
    moved = in_blocks(x, timbre, settings(), lanes, x.shape[1])
    still = dream(x, RATE, timbre, settings(**{name: value}), depth=2.0, f0_hz=220.0)

    np.testing.assert_allclose(moved, still, atol=1e-5)
    assert not np.allclose(moved, plain, atol=1e-3)


@pytest.mark.parametrize("lane", [np.full(10, -1.0), np.full(10, np.nan), np.full(10, 9000.0), np.zeros(9)])
def test_a_lane_that_is_no_pitch_is_refused(timbre: Network, lane: npt.NDArray[np.float64]) -> None:
    """Negative, not a number, too high or too short: the message says what is accepted."""
    stream = open_stream(timbre, settings(), RATE, 1)
    with pytest.raises(SettingError, match="f0_hz"):
        stream.push(torch.zeros(1, 10), torch.zeros(10), {"f0_hz": torch.from_numpy(lane)})


@pytest.fixture(scope="module")
def panned(timbre: Network) -> tuple[FloatArray, FloatArray]:
    """A sound of two rows, and what becomes of it with the settings as they are."""
    x = np.concatenate([saw(220.0, 1.0), 0.5 * saw(220.0, 1.0)])
    return x, dream(x, RATE, timbre, settings(), depth=2.0, f0_hz=220.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "adam"},
        {"optimiser": "plain", "momentum": 0.0},
        {"energy": False},
        {"guard": False},
        {"protect_transients": 1.0},
        {"excitation_db": -96.0},
        {"normalisation": "window"},
        {"stereo": "mid_side"},
    ],
)
def test_other_settings_are_followed(
    timbre: Network, panned: tuple[FloatArray, FloatArray], changes: dict[str, Any]
) -> None:
    """Each makes another dream, of finite samples."""
    x, plain = panned
    other = dream(x, RATE, timbre, settings(**changes), depth=2.0, f0_hz=220.0)

    assert np.isfinite(other).all()
    assert not np.array_equal(plain, other)
