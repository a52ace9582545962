"""What a network hears in a stem: at any rate, in any blocks, alone and in a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.voice import phrases, pluck, sing
from pydantic import TypeAdapter

from bridge.envelopes.hearing import HearingMeasure
from bridge.envelopes.schema import Hearing
from bridge.errors import AudioFileError, ProcessorError
from bridge.processors.heard_sound import HeardSound, hear_together, strongest
from bridge.processors.hearing import check_hearing, hear_blocks, hear_curves, hear_files, open_ear

HEARING = TypeAdapter(Hearing)
VOCAL = HearingMeasure(network="timbre", class_name="vocal")


@pytest.fixture(scope="module")
def mix() -> np.ndarray:
    """Ten seconds of a plucked line, over which a voice sings two phrases; two channels at 44.1 kHz."""
    voice = phrases(10.0, 44100, [(2.0, 4.0), (6.5, 9.0)])
    line = pluck(10.0, 44100)
    return np.stack([line + voice, 0.5 * line + voice])


def blocks(sound: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    at, turn = 0, 0
    while at < sound.shape[1]:
        yield sound[:, at : at + sizes[turn % len(sizes)]]
        at, turn = at + sizes[turn % len(sizes)], turn + 1


@pytest.mark.parametrize("sizes", [[4096], [1, 99_999], [65536]])
def test_the_same_is_heard_in_any_blocks_at_any_rate(mix: np.ndarray, sizes: list[int]) -> None:
    """To the last bit, resampling and all."""
    ear = open_ear("timbre")
    whole, cut = (hear_blocks(blocks(mix, one), 44100, ear) for one in ([mix.shape[1]], sizes))

    assert np.array_equal(whole.values, cut.values)
    assert np.array_equal(whole.energy, cut.energy)
    assert whole.duration_s == 10.0


def test_a_class_follows_the_sound_that_it_names_and_is_not_late(mix: np.ndarray) -> None:
    """The voice's probability goes with the loudness of the voice alone, best without any shift in time.

    Patches are 1.15 s long and 0.26 s apart: shifted by half a second it fits worse on either side.
    """
    heard = hear_curves([mix], 44100, open_ear("timbre"), [VOCAL])[VOCAL]
    voice = phrases(10.0, 44100, [(2.0, 4.0), (6.5, 9.0)])
    middles_s = heard.first_s + heard.hop_s * np.arange(len(heard.values))

    def agreement(late_s: float) -> float:
        around = [voice[max(0, round((at - 0.2 - late_s) * 44100)) : round((at + 0.2 - late_s) * 44100)]
                  for at in middles_s]  # fmt: skip
        level_db = [10 * np.log10(np.mean(part.astype(np.float64) ** 2) + 1e-6) for part in around]
        return float(np.corrcoef(heard.values, level_db)[0, 1])

    assert agreement(0.0) >= 0.6
    assert agreement(0.0) > max(agreement(0.5), agreement(-0.5))


def test_several_measures_of_one_pass_are_their_own_columns(mix: np.ndarray) -> None:
    ear = open_ear("timbre")
    measures = [VOCAL, HearingMeasure(network="timbre", class_name="FLUTE")]
    heard = hear_blocks([mix], 44100, ear)

    curves = hear_curves([mix], 44100, ear, measures)

    assert np.array_equal(curves[measures[0]].values, heard.values[:, heard.names.index("vocal")])
    assert np.array_equal(curves[measures[1]].values, heard.values[:, heard.names.index("flute")])
    layer = HearingMeasure(network="timbre", layer="block2", channel=5)
    channels = hear_blocks([mix], 44100, ear, layer="block2")
    assert np.array_equal(hear_curves([mix], 44100, ear, [layer])[layer].values, channels.values[:, 5])


def made(values: list[list[float]], energy: list[float], duration_s: float = 1.0) -> HeardSound:
    return HeardSound(
        names=("a", "b"),
        middles_s=np.arange(len(values)) * 0.25 + 0.5,
        values=np.array(values).reshape(-1, 2),
        energy=np.array(energy),
        hop_s=0.25,
        duration_s=duration_s,
    )


def test_the_strongest_counts_patches_by_their_level() -> None:
    """One 30 dB below the loudest counts half, silent ones not at all, not even for the maximum."""
    sound = made([[1.0, 0.0], [0.0, 0.4], [0.0, 0.9]], [1.0, 1e-3, 0.0], duration_s=0.6)

    first, second = strongest(sound, 5)

    assert (first.name, first.mean, first.highest, first.at_s) == ("a", pytest.approx(2 / 3), 1.0, 0.5)
    assert (second.name, second.mean, second.highest) == ("b", pytest.approx(0.4 / 3), 0.4)
    assert second.at_s == 0.6  # not after the end
    assert [one.name for one in strongest(sound, 1)] == ["a"]
    assert strongest(made([], []), 3) == []


def test_a_session_is_the_mean_of_its_stems_by_level() -> None:
    """At each time; where one has ended the other is alone."""
    loud = made([[1.0, 0.0], [1.0, 0.0]], [1.0, 0.0])
    soft = made([[0.0, 1.0], [0.0, 1.0], [0.0, 0.5]], [1e-3, 1e-3, 1e-3], duration_s=2.0)

    session = hear_together([loud, soft])

    assert session.values.tolist() == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1], [0, 0.5]]))
    assert session.duration_s == 2.0


def test_files_of_any_rate_are_heard_and_all_that_cannot_be_is_said_at_once(tmp_path: Path) -> None:
    """The same voice at three rates is as much of a voice; resampling moves it by less than 0.05."""
    paths = []
    for rate in (22050, 44100, 96000):
        paths.append(tmp_path / f"{rate}.wav")
        soundfile.write(paths[-1], sing(2.0, rate), rate)
    sounds = hear_files(paths, open_ear("timbre"))

    shares = [strongest(sound, 1)[0] for sound in sounds]
    assert [one.name for one in shares] == ["vocal"] * 3
    assert max(one.mean for one in shares) - min(one.mean for one in shares) < 0.05
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(AudioFileError, match=r"2 of 3 stems cannot be heard: .*text.wav.*; .*gone.wav"):
        hear_files([tmp_path / "text.wav", paths[0], tmp_path / "gone.wav"], open_ear("timbre"))


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"class": "vocl"}, "modulator 'it': network 'timbre' knows no class 'vocl'; did you mean 'vocal'"),
        ({"network": "timber", "class": "vocal"}, "modulator 'it': no network is called 'timber'"),
        ({"layer": "blok3", "channel": 0}, "modulator 'it': network 'timbre' has no layer 'blok3'"),
        ({"layer": "block1", "channel": 24}, r"channel = 24; layer 'block1' .* has 24 channels, so 0\.\.23"),
        ({"network": "texture", "class": "a"}, "has no classes; name one of its layers"),
        ({"class": "vocal", "patch_hop": 500}, r"patch_hop = 500 frames; .* so 0\.\.99 is accepted"),
    ],
)
def test_what_nobody_can_hear_is_said_with_what_can(told: dict[str, object], reason: str) -> None:
    with pytest.raises(ProcessorError, match=reason):
        check_hearing(HEARING.validate_python({"id": "it", **told}))
