"""`reverie networks train`, `search`, `runs` and `test`, as called from a terminal."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import soundfile
import torch
from helpers.segments import MemorySegments, additive, store
from safetensors.torch import load_file

from bridge.cli import main
from dream_core.networks.registry import get_card
from dream_core.training.run import Run
from dream_core.training.segments import open_segments

SMALL = ["--set", "widths=8,8,12", "--set", "steps_per_epoch=2", "--set", "batch_size=8"]


@pytest.fixture(scope="module")
def few() -> MemorySegments:
    """Three classes, small."""
    return additive(n_classes=3, groups_per_class=6, segments_per_group=2, seconds=0.25)


@pytest.fixture
def data(few: MemorySegments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prepared data set, and a home of the test's own."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    return str(store(few, tmp_path / "prepared").folder)


def run(*arguments: str) -> int:
    return main(["networks", *arguments])


def test_a_network_is_trained_listed_tested_and_gone_on_with(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--data", data, "--name", "own", "--epochs", "2", "--device", "cpu", *SMALL]

    assert run(*train) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "home/networks/own.safetensors")
    assert "epoch   2/2" in said.err
    assert "of groups it never heard" in said.err
    assert get_card("own").classes == ("class0", "class1", "class2")

    assert run("runs") == 0
    assert "own  mel_full  finished  2/2" in capsys.readouterr().out
    assert run("test", "own", "--data", data, "--split", "test", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["segments"] == 6
    assert sum(map(sum, told["confusion"]["counts"])) == 6
    assert run("test", "own", "--data", data) == 0
    assert "truth / heard" in capsys.readouterr().out

    assert run(*train) == 2
    assert "exists already; give another --name, or --overwrite" in capsys.readouterr().err
    assert run(*train, "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 2
    assert run(*train, "--overwrite") == 0


def test_a_search_installs_its_best(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna", reason="the extra train is not installed")
    settings = ["--set", "steps_per_epoch=1", "--set", "batch_size=8", "--trials", "2", "--epochs", "1"]

    assert run("search", "--data", data, "--kind", "mel_full", "--name", "found", "-d", "cpu", *settings) == 0
    said = capsys.readouterr().err
    assert "trial   2/2" in said
    picture = tmp_path / "home/runs/found.search/search.png"
    assert (f"drawn: {picture}" in said) == picture.exists() == bool(importlib.util.find_spec("matplotlib"))
    assert get_card("found").name == "found"


def test_a_run_is_run_again_by_its_file_to_the_same_bits(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its settings are in it, those of an attack among them; another data set is refused."""
    runs = tmp_path / "home/runs"
    more = ["--set", "attack_epochs=2", "--set", "attack_ramp_epochs=1", "--epochs", "1", "--device", "cpu"]
    assert run("train", "--data", data, "--name", "own", *SMALL, *more) == 0
    file = str(runs / "own/run.toml")
    assert run("train", "--run", file, "--data", data, "--name", "again", "--device", "cpu") == 0
    assert "epoch   3/3" in capsys.readouterr().err
    one, same = (load_file(runs / name / "checkpoint.safetensors") for name in ("own", "again"))
    assert [name for name in one if not torch.equal(one[name], same[name])] == []

    text = (runs / "own/run.toml").read_text()
    (tmp_path / "other.toml").write_text(text.replace(open_segments(Path(data)).sha256, "1" * 64))
    assert run("train", "--run", str(tmp_path / "other.toml"), "--data", data, "--name", "third") == 2
    assert "is not what" in capsys.readouterr().err
    assert run("train", "--run", file, "--name", "third") == 2
    assert "--data DIR is needed, the one it ran with" in capsys.readouterr().err
    wrong = text.replace("batch_size = 8", 'batch_size = "8"\nbatch = 3').replace("kind =", "kin =")
    (tmp_path / "wrong.toml").write_text(wrong)
    assert run("train", "--run", str(tmp_path / "wrong.toml"), "--data", data) == 2
    said = capsys.readouterr().err
    for told in ("[run] kin: did you mean 'kind'", "batch_size = '8': a whole number", "[settings] batch:"):
        assert told in said


def test_ctrl_c_says_truly_what_is_kept(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--data", data, "--name", "own", "--epochs", "3", "--device", "cpu", *SMALL]
    learn, calls = Run._learn, iter(range(9))

    def stop(self: Run, number: int) -> list[float]:
        if next(calls) in (0, 2):
            raise KeyboardInterrupt
        return learn(self, number)

    monkeypatch.setattr(Run, "_learn", stop)
    assert run(*train) == 130
    assert "nothing was finished yet" in capsys.readouterr().err
    assert run(*train) == 130
    assert "the same command with --resume goes on" in capsys.readouterr().err
    assert run(*train, "--resume") == 0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["train", "--kind", "mel_ful"], "kind 'mel_ful'"),
        (["train", "--kind", "frames"], "call: reverie networks train-frames"),
        (["train", "--run", "timber"], "--run timber: cannot be read"),
        (["train", "--run", "timbre", "--kind", "mel_cnn"], "--kind: --run says that"),
        (["train", "--run", "timbre"], "--name timbre: a network has that name already"),
        (["train", "--set", "attack_epochs=1", "--kind", "wave_plain"], "can be attacked, such as mel_full"),
        (["train", "--set", "keep=first"], "keep = first"),
        (["search", "--sampler", "tpu"], "did you mean 'tpe'"),
        (["train", "--set", "widths"], "--set widths: OPTION=VALUE is needed"),
        (["train", "--set", "widths=8,x"], "widths = '8,x'"),
        (["train", "--set", "strength=high"], "--set strength=high: a number is needed"),
        (["train", "--set", "strength=3"], "strength = 3"),
        (["train", "--set", "epochs=3"], "that is --epochs 3"),
        (["train", "--name", "timbre"], "a network has that name already"),
        (["train", "--kind", "embedding_head"], "it is needed"),
        (["train", "--kind", "embedding_head", "--from", "timbre:embeding"], "embedding"),
        (["train", "--device", "gpu"], "'gpu' is not a device"),
        (["train", "--with-pitch"], "no segment that is learnt from has a pitch"),
        (["train", "--kind", "keys"], "does not say which keys are down when"),
        (["train", "--run", "pitch", "--with-pitch"], "--with-pitch: --run says that"),
        (["train", "--run", "pitch", "--name", "own"], "is not what"),
        (["test", "pitch"], "knows no class 'class0', 'class1', 'class2'"),
        (["search", "--set", "widths=3"], "a search chooses the shape"),
        (["test", "timbre"], "knows no class 'class0', 'class1', 'class2'"),
        (["test", "timbre", "--split", "tset"], "test"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], match: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--data", data) == 2
    said = capsys.readouterr().err
    assert match in said
    assert len(said.strip().splitlines()) == 1
    assert not list((tmp_path / "home").glob("networks/*"))


def test_one_command_makes_a_network_of_a_folder_of_sounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    sounds = additive(n_classes=2, groups_per_class=8, segments_per_group=1, seconds=1.0, rate=22050)
    for row, (label, sound) in enumerate(zip(sounds.labels, sounds.waveforms, strict=True)):
        folder = tmp_path / "sounds" / ("noise", "tone")[label]
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{row}.wav", sound, 22050)
    arguments = ["--data", str(tmp_path / "sounds"), "--name", "own", "--epochs", "1", "-d", "cpu", *SMALL]

    assert run("train", *arguments) == 0
    assert get_card("own").classes == ("noise", "tone")
    assert run("train", *arguments, "--resume") == 0
    capsys.readouterr()
    assert run("test", "own", "--data", str(tmp_path / "sounds"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["confusion"]["classes"] == ["noise", "tone", "other"]


def test_no_data_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "--data", str(tmp_path / "nowhere")) == 2
    assert "no such folder; reverie data prepare writes one" in capsys.readouterr().err
