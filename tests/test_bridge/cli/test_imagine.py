"""`reverie imagine`: a chain that makes sound itself, over silence of a length."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.session import write_midi

import dream_core
from bridge import Dream, Noise, read_manifest
from bridge.cli import main
from bridge.render.verify import verify_manifest
from bridge.report.page import build_report
from dream_core.objectives.listener import Listener
from dream_core.objectives.parse import parse_objective

PRESET = """
format = "reverie/preset"
version = 2
uuid = "00000000-0000-4000-8000-000000000021"

[meta]
name = "made of noise"
category = "Utility"
bpm_hint = 90

[[chain]]
id = "noise"
use = "noise"
params = { seed = 4 }

[[chain]]
id = "dream"
use = "dream"
params = { network = "texture", objective = "layer:frames4", depth = 2.0 }

[level]
mode = "keep"
"""


@pytest.fixture
def preset(tmp_path: Path) -> str:
    path = tmp_path / "noisy.toml"
    path.write_text(PRESET)
    return str(path)


def test_it_is_the_chain_on_noise(preset: str, tmp_path: Path) -> None:
    """The file is what noise and a dream in Python give, at the level they gave, to a step of 24 bits."""
    out = tmp_path / "x.wav"
    assert (
        main(["imagine", "--preset", preset, "--seconds", "1.5", "--rate", "22050", "--out", str(out)]) == 0
    )

    sound, rate = soundfile.read(out, dtype="float32", always_2d=True)
    dream = Dream(network="texture", objective="layer:frames4", depth=2.0)
    wanted = dream(Noise(seed=4)(np.zeros((2, 33075), np.float32), 22050), 22050)
    assert (rate, sound.shape) == (22050, (33075, 2))
    # Dither of 24 bits is two steps wide at most.
    np.testing.assert_allclose(sound.T, wanted, atol=3 * 2.0**-24)


def test_its_manifest_makes_it_again(preset: str, tmp_path: Path) -> None:
    """A render from nothing verifies bit for bit and has a report, though no stem was read."""
    assert (
        main(["imagine", "-p", preset, "--seconds", "1", "-o", str(tmp_path / "x.flac"), "--seed", "3"]) == 0
    )
    manifest = read_manifest(tmp_path / "x.manifest.json")

    assert [verdict.is_bit_exact for verdict in verify_manifest(manifest)] == [True]
    assert "x.manifest.json" not in build_report(manifest)
    assert [stem.is_silence for stem in manifest.plan.stems] == [True]


def test_seeds_differ_and_the_same_one_is_the_same(preset: str, tmp_path: Path) -> None:
    """--seed chooses the noise too."""
    sounds = []
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        out = tmp_path / f"{name}.wav"
        how = "--set dream.depth=0 --set noise.color=white --channels 1 --seconds 0.5 --subtype float"
        arguments = [*how.split(), "--seed", seed]
        assert main(["imagine", "-p", preset, *arguments, "--out", str(out)]) == 0
        sounds.append(soundfile.read(out)[0])

    assert np.array_equal(sounds[0], sounds[1])
    assert (
        abs(np.corrcoef(sounds[0], sounds[2])[0, 1]) < 0.05
    )  # of 24 000 independent samples, .006 by chance


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        (["--length", "3 beats", "--bpm", "120"], 1.5),
        (["--length", "1 bars", "--bpm", "120", "--meter", "3/4"], 1.5),
        (["--length", "1 bars"], 4 * 60 / 90),
        (["--midi", "song.mid"], 2.0),
    ],
)
def test_its_length_is_musical(
    arguments: list[str],
    seconds: float,
    preset: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Bars and beats are those of the tempo said, of the preset's hint, or of the MIDI file."""
    import mido

    monkeypatch.chdir(tmp_path)
    note = mido.Message("note_on", note=60, velocity=0)
    write_midi(tmp_path / "song.mid", [(0, mido.MetaMessage("set_tempo", tempo=500_000)), (1920, note)])
    assert main(["imagine", "-p", preset, *arguments, "-o", "x.wav", "--dry-run", "--json"]) == 0

    (stem,) = json.loads(capsys.readouterr().out)["plans"][0]["stems"]
    assert stem["n_samples"] == round(seconds * 48000)
    assert not (tmp_path / "x.wav").exists()


def test_a_chain_without_a_source_says_what_to_add(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be silent."""
    arguments = ["imagine", "-p", "null-reference", "--seconds", "1", "-o", str(tmp_path / "x.wav")]
    assert main([*arguments, "--dry-run"]) == 0

    assert "begin it with a node that uses noise" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-o", "x.wav"], "nothing says how long"),
        (["-o", "x.wav", "--seconds", "0"], "more than 0"),
        (["-o", "x.wav", "--seconds", "1", "--length", "1 bars"], "give one"),
        (["-o", "x.mp3", "--seconds", "1"], "'.mp3'"),
        (["-o", ".", "--seconds", "1"], "no format for the suffix"),
        (["-o", "x.wav", "--seconds", "1", "--set", "nose.level_db=-3"], "did you mean 'noise'"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str],
    reason: str,
    preset: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["imagine", "-p", preset, *arguments]) == 2

    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_what_is_there_stays(preset: str, tmp_path: Path) -> None:
    """A file of that name is not replaced unasked."""
    out = tmp_path / "x.wav"
    out.write_bytes(b"mine")

    assert main(["imagine", "-p", preset, "--seconds", "0.5", "-o", str(out)]) == 2
    assert out.read_bytes() == b"mine"


def test_noise_becomes_more_of_a_flute(tmp_path: Path) -> None:
    """`from-nothing`: the network is surer of a flute than of the noise it began with."""
    scores = []
    for depth in ("0", "6"):
        out = tmp_path / f"{depth}.wav"
        arguments = ["--seconds", "1.2", "--channels", "1", "--set", f"dream.depth={depth}"]
        assert main(["imagine", "-p", "from-nothing", *arguments, "-o", str(out)]) == 0
        sound, rate = soundfile.read(out, dtype="float32", always_2d=True)
        listener = Listener(dream_core.load_network("timbre"), parse_objective("class:flute"), rate)
        import torch

        with torch.no_grad():
            scores.append(float(listener.score(torch.from_numpy(sound.T.copy()))[0]))

    assert scores[1] > scores[0] + 2.0  # log odds


def test_what_listens_to_the_stem_hears_silence_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A follower and a network both listen to what is not there: it renders, verifies, and is told."""
    listening = (
        PRESET
        + """
[[modulators]]
id = "loud"
type = "follower"
[[modulators]]
id = "voice"
type = "hearing"
class = "vocal"
[[routes]]
source = "loud"
target = "noise.level_db"
min = -30.0
max = -20.0
op = "replace"
[[routes]]
source = "voice"
target = "dream.depth"
max = 1.0
op = "replace"
"""
    )
    (tmp_path / "listening.toml").write_text(listening)
    out = tmp_path / "x.wav"
    given = ["imagine", "-p", str(tmp_path / "listening.toml"), "--seconds", "1", "--rate", "22050"]
    assert main([*given, "--bpm", "90", "--out", str(out)]) == 0

    told = capsys.readouterr().err
    assert "modulator 'loud' listens to the stem" in told
    assert "modulator 'voice' listens to the stem" in told
    assert all(
        verdict.is_bit_exact for verdict in verify_manifest(read_manifest(out.with_suffix(".manifest.json")))
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--channels", "12"], "12 channels; 1..8 are accepted"),
        (["--rate", "768000"], "768000 Hz; at most 655350 is accepted"),
        (["--seconds", "0.00001"], "less than a sample"),
    ],
)
def test_what_silence_cannot_be_is_said_without_a_word_of_other_files(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    seconds = [] if "--seconds" in given else ["--seconds", "1"]
    assert main(["imagine", "-p", preset, *seconds, *given, "--out", str(tmp_path / "x.wav")]) == 2

    told = capsys.readouterr().err
    assert said in told
    assert ".flac" not in told
    assert not (tmp_path / "x.wav").exists()
