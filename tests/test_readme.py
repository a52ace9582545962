"""What the README shows works as it stands, and can be heard."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def level_db(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(sound.astype(np.float64) ** 2) + 1e-12))


@pytest.mark.slow
def test_the_readmes_python_runs_and_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks run one after the other beside the examples; every dream is of a sound, and changes it.

    What a dream changes, the rest of its chain aside, is above -20 dB of the sound: a dream that nobody hears
    shows nothing. The session is of four seconds each of the lead and the keys: no step is taken in silence.
    """
    song = tmp_path / "examples" / "song"
    song.mkdir(parents=True)
    (song / "song.mid").symlink_to(ROOT / "examples" / "song" / "song.mid")
    lead, rate = soundfile.read(ROOT / "examples" / "song" / "lead.flac", stop=22 * 44100)
    lead[: 18 * rate] = 0.0
    soundfile.write(song / "lead.flac", lead, rate)
    keys, rate = soundfile.read(ROOT / "examples" / "song" / "keys.flac", stop=4 * 44100)
    soundfile.write(song / "keys.flac", keys, rate)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), names)
    sound, chain = names["sound"], names["chain"]
    assert isinstance(sound, np.ndarray)
    chain.set_parameter("dream.depth", 0.0)  # type: ignore[attr-defined]
    undreamed = chain(sound, names["sample_rate"])  # type: ignore[operator]

    assert level_db(sound) > -30.0
    for name, dry in (("dreamed", undreamed), ("swelling", undreamed), ("brassless", sound)):
        dreamed = names[name]
        assert isinstance(dreamed, np.ndarray)
        assert dreamed.shape == sound.shape
        assert level_db(dreamed - dry) > level_db(sound) - 20.0, name
    assert names["report"].failed == ()  # type: ignore[attr-defined]
    assert {stem.status for stem in names["report"].stems} == {"done"}  # type: ignore[attr-defined]


def test_the_readmes_preset_is_one(tmp_path: Path) -> None:
    """The chain, modulator and route it shows load under a head."""
    from bridge import load_preset

    head = 'format = "reverie/preset"\nversion = 1\nuuid = "00000000-0000-4000-8000-000000000001"\n'
    head += '[meta]\nname = "Shown"\ncategory = "Pulse"\n'
    (shown,) = [block for block in blocks("toml") if "[[chain]]" in block]
    (tmp_path / "shown.toml").write_text(head + shown)

    assert load_preset(tmp_path / "shown.toml").routes[0].target == "dream.depth"


def test_the_readmes_job_list_is_one(tmp_path: Path) -> None:
    """Every key it shows is read."""
    from bridge import read_jobs

    (shown,) = [block for block in blocks("toml") if "[[jobs]]" in block]
    (tmp_path / "jobs.toml").write_text(shown)

    assert read_jobs(tmp_path / "jobs.toml")[0].variation == ("", "deep")


def test_the_readme_names_every_command() -> None:
    """Its table has a row for each."""
    from bridge.cli import COMMANDS

    assert [name for name in COMMANDS if f"| `reverie {name}` |" not in README] == []
