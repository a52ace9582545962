"""`reverie networks train-frames`: a network of files, known at once; mistakes are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.frames_net import RATE, loop

from bridge.cli import main
from dream_core.networks.registry import get_card, load_network


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    soundfile.write("amen.wav", loop().numpy(), RATE)
    return tmp_path


SMALL = ("--steps", "3", "--width", "16", "--frame", "256")


def train(*words: str) -> int:
    return main(["networks", "train-frames", *words])


def test_a_network_is_made_and_known_by_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("amen.wav", "--name", "amen", "--bpm", "120", "--loop", *SMALL) == 0
    told = capsys.readouterr()

    assert "amen: 3 steps, error" in told.out
    assert "hardly learnt" in told.err
    assert "--set grow.network=amen" in told.err
    card = get_card("amen")
    assert card.title == "Plays on as amen."
    assert [layer.name for layer in card.layers] == ["rnn1", "rnn2", "fit"]
    # 11025 samples a beat: 245 is odd, so it cannot be met; within a sample is near enough.
    assert abs(11025 / round(card.frame_s * 22050) % 1.0 - 0.5) > 0.4
    assert load_network("amen").card == card
    assert [path.name for path in (folder / "home" / "networks").iterdir()] == ["amen.safetensors"]


def test_the_same_command_makes_the_same_file(folder: Path) -> None:
    train("amen.wav", "--name", "first", *SMALL)
    train("amen.wav", "--name", "first2", *SMALL)
    first, second = (load_network(name).state_dict() for name in ("first", "first2"))  # type: ignore[attr-defined]

    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_mistakes_are_said_and_nothing_is_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write("silent.wav", np.zeros(RATE), RATE)
    Path("no.wav").write_text("no sound")
    for words, expected in (
        (("amen.wav", "--name", "Amen Break"), "small letters"),
        (("amen.wav", "--name", "timbre"), "another network is called so"),
        (("amen.wav", "--name", "crepe"), "another network is called so"),
        (("amen.wav", "--name", "a", "--domain", "mdcd"), "did you mean 'mdct'"),
        (("amen.wav", "--name", "a", "--bpm", "3"), "outside 10..1000"),
        (("silent.wav", "--name", "a"), "sound 1 is silent"),
        (("no.wav", "--name", "a"), "no.wav"),
        (("absent.wav", "--name", "a"), "absent.wav"),
    ):
        assert train(*words, *SMALL) != 0
        assert expected in capsys.readouterr().err
    assert not (folder / "home" / "networks").exists() or not list((folder / "home" / "networks").iterdir())
    train("amen.wav", "--name", "amen", *SMALL)
    assert train("amen.wav", "--name", "amen", *SMALL) != 0
    assert "--overwrite" in capsys.readouterr().err
    assert train("amen.wav", "--name", "amen", "--overwrite", *SMALL) == 0


def test_a_training_that_was_stopped_is_gone_on_with_or_forgotten(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One with other settings is not mixed in."""
    kept = folder / "home" / "networks" / "amen.training"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"of another training")
    assert train("amen.wav", "--name", "amen", *SMALL) != 0
    assert "no checkpoint" in capsys.readouterr().err
    assert train("amen.wav", "--name", "amen", "--anew", *SMALL) == 0
    assert not kept.exists()


def test_ctrl_c_before_anything_was_kept_does_not_say_that_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_given: object, checkpoint: Path, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dream_core.frames.training.train_frames", stop)
    assert train("amen.wav", "--name", "amen", *SMALL) == 130
    assert "nothing was kept yet, the same command begins again" in capsys.readouterr().err
    (folder / "home" / "networks").mkdir(parents=True, exist_ok=True)
    (folder / "home" / "networks" / "amen.training").touch()
    assert train("amen.wav", "--name", "amen", *SMALL) == 130
    assert "is kept, the same command goes on" in capsys.readouterr().err
