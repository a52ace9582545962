"""Updates and techniques: what they promise about level, band, silence, onsets and smoothness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet
from scipy.signal import sosfreqz

from bridge.audio.loudness import k_weighting as k_weighting_filters
from bridge.audio.loudness import measure_loudness
from dream_core import DreamSettings, dream, list_updates, open_stream
from dream_core.dsp.stft import istft, k_weighting, stft
from dream_core.errors import SettingError
from dream_core.updates.conditioning import (
    gaussian_smooth,
    normalise,
    onset_strength,
    total_variation_gradient,
)
from dream_core.updates.envelope_guard import envelope_guard, excitation
from dream_core.updates.registry import build_update
from dream_core.updates.spectral_cut import SpectralCut

RATE = 44100


def make_sound(seconds: float = 1.5, n_channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(4)
    t = np.arange(round(seconds * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * f * t) for f in (60, 220, 1100, 5200, 12500))
    return (
        0.08 * chord * (0.6 + 0.4 * np.sin(9 * t)) + 0.01 * rng.standard_normal((n_channels, len(t)))
    ).astype(np.float32)


def level_db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(x.astype(np.float64) ** 2) + 1e-20))


def band_level_db(x: np.ndarray, low_hz: float, high_hz: float) -> float:
    spectrum = np.fft.rfft(x.astype(np.float64) * np.hanning(x.shape[-1]))
    frequencies = np.fft.rfftfreq(x.shape[-1], 1 / RATE)
    inside = (frequencies >= low_hz) & (frequencies <= high_hz)
    return float(10 * np.log10(np.sum(np.abs(spectrum[..., inside]) ** 2)))


def dreamed(sound: np.ndarray, depth: float = 6.0, **changes: object) -> np.ndarray:
    settings = DreamSettings(objective="layer:second", **changes)  # type: ignore[arg-type]
    return dream(sound, RATE, SmallNet(), settings, depth=depth)


@pytest.mark.parametrize("n_fft", [256, 1024, 4096])
def test_the_inverse_transform_inverts(n_fft: int) -> None:
    """istft(stft(x)) is x to rounding, edges included, and the two gradients match Torch's own."""
    x = torch.randn(2, 5000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spectrum = stft(x, n_fft, n_fft // 4)
    window = torch.hann_window(n_fft, dtype=torch.float64)
    expected = torch.stft(x, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)

    torch.testing.assert_close(spectrum, expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(istft(spectrum, n_fft, n_fft // 4, 5000), x, atol=1e-10, rtol=0)


def test_the_transforms_differentiate() -> None:
    """The hand-written gradients of framing agree with finite differences."""
    x = torch.randn(
        1, 96, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(1)
    )

    assert torch.autograd.gradcheck(lambda v: istft(stft(v, 32, 8) * 0.5, 32, 8, 96), (x,))


def test_the_energy_rule_holds_the_level() -> None:
    """With it the mask's level moves by less than a decibel, without it by several, all else the same."""
    sound = make_sound()

    assert abs(level_db(dreamed(sound)) - level_db(sound)) < 1.0
    # A held balance is half an energy rule of its own: thirds may not move far either.
    assert abs(level_db(dreamed(sound, balance=0.0)) - level_db(sound)) < 1.0
    assert level_db(dreamed(sound, balance=0.0, energy=False)) - level_db(sound) > 3.0


@pytest.mark.parametrize("update", ["mask", "add", "hard_cut", "hard_cut_add", "gradient"])
def test_nothing_outside_the_band_is_touched(update: str) -> None:
    """With a band of 200 Hz to 5 kHz, bass and air change by at most a tenth of a decibel."""
    sound = make_sound()
    out = dreamed(
        sound, update=update, low_hz=200.0, high_hz=5000.0, depth=3.0 if update != "gradient" else 0.5
    )

    # The windows' own leakage reaches a little past the edges: measure a third of an octave away.
    for low, high in [(30, 150), (7000, 20000)]:
        assert abs(band_level_db(out, low, high) - band_level_db(sound, low, high)) <= 0.1
    assert not np.array_equal(out, sound)


@pytest.mark.parametrize("update", ["mask", "add", "hard_cut_add"])
def test_a_moving_band_edge_is_heard_when_it_moves(update: str) -> None:
    """The lane of low_hz closes the dream's band in the second half of the sound."""
    sound = make_sound(3.0)
    n = sound.shape[1]
    settings = DreamSettings(objective="layer:second", high_hz=7000.0, update=update)
    stream = open_stream(SmallNet(), settings, RATE, 1)
    lanes = {"low_hz": torch.where(torch.arange(n) < n // 2, 100.0, 6900.0)}
    depth = torch.full((n,), 4.0, dtype=torch.float64)
    out = torch.cat([stream.push(torch.from_numpy(sound), depth, lanes), stream.finish()], 1).numpy()
    change = out - sound

    # Past the frame that straddles the edge.
    assert level_db(change[:, : n // 2 - 4096]) > level_db(change[:, n // 2 + 4096 :]) + 20


@pytest.mark.parametrize("update", ["mask", "add", "hard_cut", "expand:gradient:sound:sound:add"])
def test_windows_that_step_together_do_not_hear_each_other(update: str) -> None:
    """A loud passage beside a soft one in a batch changes it no more than it does alone: sums of float32."""
    sound = make_sound(3.0)
    sound[:, : 3 * RATE // 2] *= np.float32(0.05)
    settings = DreamSettings(objective="layer:second", update=update, window_s=0.6)
    alone, together = (
        dream(sound, RATE, SmallNet(), settings, depth=2.0, batch=batch) - sound for batch in (1, 4)
    )

    assert level_db(together - alone) < level_db(alone) - 60.0
    quiet = slice(0, RATE)
    assert level_db((together - alone)[:, quiet]) < level_db(alone[:, quiet]) - 40.0


@pytest.mark.parametrize("knee_db", [0.0, 6.0])
def test_a_cut_opens_at_its_threshold(knee_db: float) -> None:
    """Bins well above it pass whole, bins well below not at all, and a knee of 0 leaves nothing between."""
    settings = DreamSettings(threshold_db=-30.0, knee_db=knee_db)
    levels_db = torch.arange(0.0, -60.0, -0.5, dtype=torch.float64)
    spectrum = torch.polar(10.0 ** (levels_db / 20.0), torch.zeros_like(levels_db))[None, None, :, None]
    cut = SpectralCut(operand="sound", mask="sound", phase="sound", adds=True)
    opening = cut._cut(spectrum, settings)[0, 0, :, 0]

    assert bool(torch.isfinite(opening).all())
    assert bool((opening[levels_db > -30.0 + knee_db / 2] == 1.0).all())
    assert not opening[levels_db < -30.0 - knee_db / 2].any()
    middle = (levels_db + 30.0).abs() < knee_db / 2
    torch.testing.assert_close(opening[middle], 0.5 + (levels_db[middle] + 30.0) / max(knee_db, 1.0))


@pytest.mark.parametrize("form", ["cut", "expand"])
def test_a_silent_target_opens_no_cut(form: str) -> None:
    """Nothing is louder than silence's loudest bin: all stays as it is, and nothing is divided by zero."""
    sound = make_sound()
    silence = np.zeros((1, RATE), np.float32)
    settings = DreamSettings(objective="layer:second", update=f"{form}:sound:target:sound:add")
    out = dream(
        sound, RATE, SmallNet(), settings, depth=2.0, references={"silence": silence}, target="silence"
    )

    np.testing.assert_array_equal(out, sound)


@pytest.mark.parametrize("lane_hz", [0.0, 20000.0])
def test_a_lane_of_the_upper_edge_stays_in_the_networks_band(lane_hz: float) -> None:
    """0 stands for the network's own edge, and what lies above that edge is held to it."""
    sound = make_sound()
    n = sound.shape[1]
    plain = dreamed(sound, depth=2.0)
    stream = open_stream(SmallNet(), DreamSettings(objective="layer:second"), RATE, 1)
    depth = torch.full((n,), 2.0, dtype=torch.float64)
    lanes = {"high_hz": torch.full((n,), lane_hz)}
    out = torch.cat([stream.push(torch.from_numpy(sound), depth, lanes), stream.finish()], 1).numpy()

    # Band edges in float32 lanes against float64 settings.
    np.testing.assert_allclose(out, plain, atol=1e-5)
    assert np.abs(out - sound).max() > 0.01


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut:gradient:sound:add", "write it as cut:OPERAND:MASK:PHASE:add"),
        ("cut:gradiant:sound:sound:add", "did you mean 'gradient'"),
        ("expand:sound:sound:sound:swap", "write it as expand:"),
    ],
)
def test_a_misspelt_cut_is_said(name: str, message: str) -> None:
    """The form and the nearest source are named."""
    with pytest.raises(SettingError, match=message):
        build_update(name)


@pytest.mark.parametrize("change", [{"low_hz": 200.0}, {"high_hz": 5000.0}])
def test_legacy_updates_refuse_a_band(change: dict[str, object]) -> None:
    """What the package has not is not silently left out."""
    with pytest.raises(SettingError, match="a package that has no band"):
        dreamed(make_sound(), depth=1.0, update="legacy_0163_0", **change)


def test_loudness_weights_are_those_of_the_standard() -> None:
    """The curve the mask keeps loudness by is that of the digital filters of ITU-R BS.1770 at 48 kHz."""
    sos = k_weighting_filters(48000)
    frequencies = np.array([30.0, 60.0, 100.0, 500.0, 1000.0, 2000.0, 5000.0])
    _, response = sosfreqz(
        np.insert(sos, 3, 1.0, axis=1) if sos.shape[1] == 5 else sos, frequencies, fs=48000
    )
    ours = 10 * np.log10(k_weighting(torch.from_numpy(frequencies)).numpy())

    # Below a tenth of the rate the bilinear transform bends the curve by less than a tenth of a decibel.
    np.testing.assert_allclose(ours, 20 * np.log10(np.abs(response)), atol=0.1)


@pytest.mark.parametrize("seconds", [1.5, 4.5])
def test_mask_keeps_loudness(seconds: float) -> None:
    """Ten steps move integrated loudness by at most half a unit; without the rule they move it by more.

    In one window, and in two.
    """
    sound = make_sound(seconds)
    before = measure_loudness(sound, RATE).integrated_lufs

    kept = measure_loudness(dreamed(sound, depth=10.0), RATE).integrated_lufs - before
    free = measure_loudness(dreamed(sound, depth=10.0, energy=False), RATE).integrated_lufs - before
    assert abs(kept) <= 0.5
    assert abs(free) > 1.0


@pytest.mark.parametrize(
    ("update", "balance", "reach"), [("add", 0.0, 0), ("mask", 0.0, 2 * 4096), ("mask", 0.5, 2 * 4096)]
)
def test_a_moving_step_scales_the_change(update: str, balance: float, reach: int) -> None:
    """Where the step is 0 nothing moves, although the depth asks for steps.

    A mask's frames, and what makes up for their overlap, reach past the middle where the step falls to 0.
    """
    sound = make_sound(2.0)
    n = sound.shape[1]
    settings = DreamSettings(objective="layer:second", update=update, balance=balance)
    stream = open_stream(SmallNet(), settings, RATE, 1)
    lanes = {"step": torch.where(torch.arange(n) < n // 2, 1.0, 0.0)}
    depth = torch.full((n,), 3.0, dtype=torch.float64)
    out = torch.cat([stream.push(torch.from_numpy(sound), depth, lanes), stream.finish()], 1).numpy()

    assert np.array_equal(out[:, n // 2 + reach :], sound[:, n // 2 + reach :])
    moved = level_db((out - sound)[:, : n // 2 - reach]) - level_db(sound)
    assert moved > -30.0


def test_quiet_passages_stay_quiet() -> None:
    """Frames below -60 dBFS move by at most a decibel with the mask; adding lifts them by far more."""
    sound = make_sound(3.0)
    sound[:, RATE : 2 * RATE] *= np.float32(10 ** (-60 / 20))
    quiet = slice(RATE + 4096, 2 * RATE - 4096)

    masked = level_db(dreamed(sound)[:, quiet]) - level_db(sound[:, quiet])
    added = level_db(dreamed(sound, update="add")[:, quiet]) - level_db(sound[:, quiet])
    assert abs(masked) <= 1.0
    assert added > 6.0


def test_no_seam_is_heard_where_windows_meet() -> None:
    """A steady tone dreamed in many windows has nothing above its band at their edges: -80 dB and less."""
    t = np.arange(5 * RATE) / RATE
    sound = sum(0.1 / k * np.sin(2 * np.pi * 220 * k * t) for k in range(1, 8))[None].astype(np.float32)
    out = dreamed(sound, depth=8.0, window_s=1.0)
    spectrum = np.fft.rfft((out - sound)[0] * np.hanning(len(t)))
    spectrum[np.fft.rfftfreq(len(t), 1 / RATE) < 9000] = 0.0  # the network hears up to 7800 Hz
    high = np.fft.irfft(spectrum, len(t))

    for edge in range(round(0.95 * RATE), len(t) - RATE, round(0.95 * RATE)):
        assert level_db(high[edge : edge + 2400]) - level_db(sound) <= -80.0


def test_no_onset_is_heard_before_it_is_played() -> None:
    """The guard keeps what the mask changes in a hit out of the silence before it."""
    rng = np.random.default_rng(0)
    sound = 1e-5 * rng.standard_normal((1, RATE))
    hit = 0.5 * rng.standard_normal(RATE // 2) * np.exp(-np.arange(RATE // 2) / 4000)
    sound[0, RATE // 2 :] += hit
    sound = sound.astype(np.float32)
    before = slice(RATE // 2 - 2048, RATE // 2 - 200)

    guarded = level_db(dreamed(sound)[:, before])
    loose = level_db(dreamed(sound, guard=False)[:, before])
    assert guarded < -90.0
    assert loose > guarded + 30.0


def test_a_pure_tone_dreams_partials_it_does_not_have() -> None:
    """A gain cannot turn up what is not there; the noise below a sound is there, and stays below it."""
    tone = (0.2 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE))[None].astype(np.float32)

    def rise(excitation_db: float) -> tuple[float, np.ndarray]:
        reports: list = []
        settings = DreamSettings(objective="layer:second", jitter=False, excitation_db=excitation_db)
        out = dream(tone, RATE, SmallNet(), settings, depth=8.0, on_step=reports.append)
        return reports[-1].score - reports[0].score, out

    without, plain = rise(-96.0)
    with_it, excited = rise(-40.0)

    assert with_it > 3.0 * without
    assert band_level_db(excited, 2000, 7000) > band_level_db(plain, 2000, 7000) + 20.0
    assert measure_loudness(excited, RATE).integrated_lufs == pytest.approx(
        measure_loudness(tone, RATE).integrated_lufs, abs=0.5
    )


def test_excitation_is_pink_and_as_loud_as_the_sound_lets_it_be() -> None:
    """It lies at its level below the sound, falls by 3 dB an octave, and is silent where the sound is."""
    rng = np.random.default_rng(1)
    sound = torch.from_numpy(0.1 * rng.standard_normal((1, 2, 4 * RATE)))
    sound[..., : 2 * RATE] = 0.0

    noise = excitation(sound, -40.0, 0, RATE)

    under = noise[0, :, 2 * RATE + 1000 :].numpy()
    assert not noise[..., : 2 * RATE - 1000].any()
    assert level_db(under) == pytest.approx(level_db(sound[0, :, 2 * RATE + 1000 :].numpy()) - 40.0, abs=1.0)
    # A band of an octave holds a few hundred bins: 1 dB.
    octaves = [band_level_db(under, low, 2 * low) for low in (500, 1000, 2000, 4000)]
    assert octaves == pytest.approx([octaves[0]] * 4, abs=1.0)
    assert torch.equal(noise, excitation(sound, -40.0, 0, RATE))
    assert not torch.equal(noise, excitation(sound, -40.0, 1, RATE))


def test_protected_transients_change_less() -> None:
    """Withholding steps at onsets leaves the attack of a hit closer to what was played."""
    rng = np.random.default_rng(0)
    sound = (0.01 * rng.standard_normal((1, RATE))).astype(np.float32)
    sound[0, RATE // 2 :] += (0.4 * rng.standard_normal(RATE // 2)).astype(np.float32)
    attack = slice(RATE // 2, RATE // 2 + 1024)

    def change(**settings: object) -> float:
        return level_db((dreamed(sound, **settings) - sound)[:, attack])

    assert change(protect_transients=1.0) < change(protect_transients=0.0) - 3.0


@pytest.fixture(scope="module")
def plain() -> np.ndarray:
    """The dream without any technique."""
    return dreamed(make_sound(), depth=9.0, jitter=False)


@pytest.mark.parametrize(
    "technique",
    [
        {"octaves": 3},
        {"varispeed_octaves": 0.5},
        {"normalisation": "band"},
        {"normalisation": "window"},
        {"smooth_frames": 2.0, "smooth_bins": 2.0},
        {"tv_time": 0.5, "tv_frequency": 0.5},
        {"optimiser": "adam"},
        {"momentum": 0.7},
        {"protect_transients": 0.5},
        {"excitation_db": -96.0},
        {"stereo": "mid_side"},
    ],
    ids=lambda technique: "+".join(technique),
)
def test_every_technique_still_ascends_and_changes_the_dream(
    technique: dict[str, object], plain: np.ndarray
) -> None:
    """Each technique makes another dream, and that dream still rises."""
    sound = make_sound(n_channels=2 if "stereo" in technique else 1)
    reports: list = []
    settings = DreamSettings(objective="layer:second", jitter=False, **technique)  # type: ignore[arg-type]
    out = dream(sound, RATE, SmallNet(), settings, depth=9.0, on_step=reports.append)
    scores = [report.score for report in reports]

    if "varispeed_octaves" not in technique:
        # At changing speeds the scores are of different sounds; there only the change counts.
        assert scores[-1] > scores[0]
    if "stereo" in technique:
        plain = dreamed(sound, depth=9.0, jitter=False)
    assert not np.array_equal(out, plain)


def test_smoothing_keeps_constants_and_spreads_points() -> None:
    """A Gaussian has unit sum and the variance asked for."""
    point = torch.zeros(1, 65, 65, dtype=torch.float64)
    point[0, 32, 32] = 1.0
    smooth = gaussian_smooth(point, 3.0, 0.0)[0, :, 32]
    positions = torch.arange(65, dtype=torch.float64) - 32

    assert float(smooth.sum()) == pytest.approx(1.0)
    assert float((smooth * positions**2).sum()) == pytest.approx(9.0, rel=0.03)  # cut at three deviations


@pytest.mark.parametrize("over", ["frame", "band", "window"])
def test_normalised_gradients_have_unit_size(over: str) -> None:
    """Over its own region each normalisation gives a root mean square of one, and zero stays zero."""
    field = torch.randn(2, 513, 40, dtype=torch.float64) * torch.logspace(-6, 2, 40, dtype=torch.float64)
    unit = normalise(field, over)  # type: ignore[arg-type]
    axes = {"frame": 1, "band": (1, 2), "window": (1, 2)}[over]

    torch.testing.assert_close(
        unit.square().mean(dim=axes), torch.ones_like(unit.square().mean(dim=axes)), atol=1e-6, rtol=1e-6
    )
    assert not normalise(torch.zeros(1, 9, 4), over).any()  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", [1, 2])
def test_total_variation_gradient_is_the_gradient(axis: int) -> None:
    """It agrees with Torch's own derivative of the softened total variation."""
    field = torch.randn(1, 7, 9, dtype=torch.float64, requires_grad=True)
    total = torch.sqrt(torch.diff(field, dim=axis).square() + 0.05**2).sum()
    (expected,) = torch.autograd.grad(total, field)

    torch.testing.assert_close(total_variation_gradient(field.detach(), axis), expected)


def test_onsets_are_found_where_they_are() -> None:
    """The strongest frame of a click train is a click's."""
    sound = torch.zeros(1, 1, 20000)
    sound[..., 12000:12400] = torch.randn(400, generator=torch.Generator().manual_seed(0))
    strength = onset_strength(stft(sound, 1024, 256))[0, 0]

    assert abs(int(strength.argmax()) * 256 - 12000) <= 512


def test_the_guard_lets_pass_what_is_no_louder_than_the_sound() -> None:
    """A change at the sound's own envelope passes, one before it does not."""
    sound = torch.zeros(1, 1, 8000)
    sound[..., 4000:] = 0.5
    scale = envelope_guard(sound, 0.3 * torch.ones_like(sound), 8000)

    assert float(scale[..., 4100:].min()) == pytest.approx(1.0)
    assert float(scale[..., :3900].max()) == 0.0


def test_updates_have_names_and_texts() -> None:
    """Every update can be listed for people."""
    table = list_updates()

    assert {"mask", "add", "filter", "hard_cut", "hard_cut_add", "target_figure"} <= set(table)
    assert all(table.values())
