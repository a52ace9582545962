"""The command line: exit codes, one line for what a user can cause, and nothing written then."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from helpers.paths import SONG
from helpers.session import write_midi, write_preset, write_stem

from bridge.cli import COMMANDS, main
from bridge.cli.app import build_app
from bridge.cli.job_options import takes_clock, takes_job
from bridge.cli.probes import REQUIRED
from bridge.clock.settings import ClockSettings
from bridge.plan.job import Job


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A folder with a stem, a MIDI file and a preset."""
    write_stem(tmp_path / "stems" / "lead.wav")
    write_midi(tmp_path / "song.mid", [(0, mido.MetaMessage("set_tempo", tempo=500000))])
    write_preset(tmp_path)
    return tmp_path


def run(session: Path, *arguments: object, preset: str = "under-test.toml") -> list[str]:
    return [
        "render",
        str(session / "stems"),
        "--preset",
        str(session / preset) if preset.endswith(".toml") else preset,
        "--out",
        str(session / "out"),
        *map(str, arguments),
    ]


def write_nan(session: Path) -> None:
    sound = np.zeros((1000, 1), np.float32)
    sound[3] = np.nan
    soundfile.write(session / "stems" / "nan.wav", sound, 22050, subtype="FLOAT")


WRONG = {
    "a missing file": (lambda s: [*run(s), str(s / "none.wav")], "none.wav"),
    "not audio": (
        lambda s: ((s / "stems" / "x.wav").write_text("hello"), run(s))[1],
        "x.wav",
    ),
    "no samples": (
        lambda s: (soundfile.write(s / "stems" / "e.wav", np.zeros((0, 1)), 22050), run(s))[1],
        "e.wav",
    ),
    "NaN in a stem": (lambda s: (write_nan(s), run(s))[1], "sample 3"),
    "an unknown preset": (lambda s: run(s, preset="lucid-blom"), "did you mean 'lucid-bloom'"),
    "an unknown node": (lambda s: run(s, "--set", "dreem.depth=1"), "did you mean 'dream'"),
    "an unknown parameter": (lambda s: run(s, "--set", "dream.dept=1"), "did you mean 'depth'"),
    "a value out of range": (lambda s: run(s, "--set", "dream.depth=1000"), "outside 0..100"),
    "a setting without a value": (lambda s: run(s, "--set", "dream.depth"), "node.param=value"),
    "an unknown network": (lambda s: run(s, "--set", "dream.network=timber"), "did you mean 'timbre'"),
    "an unknown layer": (lambda s: run(s, "--set", "dream.objective=layer:frame4"), "did you mean"),
    "an unknown class": (
        lambda s: run(s, "--set", "dream.network=timbre", "--set", "dream.objective=class:flut"),
        "did you mean 'flute'",
    ),
    "an unknown update": (lambda s: run(s, "--set", "dream.update=masc"), "did you mean 'mask'"),
    "a variation that is not there": (lambda s: run(s, "--variation", "deep"), "no variation 'deep'"),
    "a missing MIDI file": (lambda s: run(s, "--midi", s / "no.mid"), "no.mid"),
    "an empty MIDI file": (
        lambda s: ((s / "e.mid").write_bytes(b""), run(s, "--midi", s / "e.mid"))[1],
        "e.mid",
    ),
    "a device that is not there": (lambda s: run(s, "--device", "cuda:99"), "cuda:99"),
    "a device that is none": (lambda s: run(s, "--device", "gpu"), "gpu"),
    "a sample type that is none": (lambda s: run(s, "--subtype", "PCM_99"), "PCM_99"),
    "an output folder that is a file": (
        lambda s: [*run(s)[:-1], str(s / "song.mid" / "out")],
        "song.mid",
    ),
    "no stems": (lambda s: ["render", "--preset", "x", "--out", str(s / "out")], "STEM"),
    "no preset": (lambda s: ["render", str(s / "stems"), "--out", str(s / "out")], "--preset"),
    "an unknown command": (lambda s: ["rendr"], "rendr"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_one_line_and_writes_nothing(
    mistake: str, session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, a message with the place and a remedy, no traceback, no output."""
    build, expected = WRONG[mistake]

    assert main(build(session)) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert not (session / "out").exists() or not list((session / "out").iterdir())
    assert error.count("\n") == 1


def test_render_writes_and_says_where(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A render prints each output with its levels and ends with 0; again, it keeps what is finished."""
    assert main(run(session, "--midi", session / "song.mid")) == 0
    first = capsys.readouterr()
    assert "lead__under-test.wav" in first.out
    assert "LUFS" in first.out
    assert main(run(session, "--midi", session / "song.mid")) == 0
    assert "finished earlier" in capsys.readouterr().out


def test_existing_outputs_are_not_replaced_unasked(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another render into the same names stops before it writes."""
    assert main(run(session)) == 0
    before = (session / "out" / "lead__under-test.wav").read_bytes()
    assert main(run(session, "--seed", 1)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (session / "out" / "lead__under-test.wav").read_bytes() == before
    assert main(run(session, "--set", "dream.depth=2", "--overwrite")) == 0


def test_dry_run_and_plan_write_nothing(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both say what would be done; as JSON it is a plan that can be read back."""
    assert main(run(session, "--dry-run")) == 0
    assert "lead" in capsys.readouterr().out
    assert main(["plan", *run(session, "--json")[1:]]) == 0
    (data,) = json.loads(capsys.readouterr().out)["plans"]
    assert data["format"] == "reverie/plan"
    assert data["stems"][0]["depth_integral_s"] == pytest.approx(1.2, abs=1e-6)
    assert not (session / "out").exists()


def test_json_reports_every_stem(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a program reads is complete and on standard output."""
    assert main(run(session, "--json")) == 0
    (data,) = json.loads(capsys.readouterr().out)["renders"]

    assert data["stems"][0]["status"] == "done"
    assert data["stems"][0]["record"]["sha256_samples"]


def test_some_failed_stems_are_exit_code_3(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stems that could be rendered are there, the exit code says that not all are."""
    write_stem(session / "stems" / "wide.wav", n_channels=2)
    assert main(run(session, "--set", "dream.stereo=mid_side")) == 3
    captured = capsys.readouterr()

    assert "lead failed" in captured.err
    assert "wide__under-test.wav" in captured.out


def test_a_folder_that_cannot_be_written_is_said(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Read-only targets are found before anything is rendered."""
    if os.geteuid() == 0:
        pytest.skip("the superuser may write everywhere")
    (session / "out").mkdir(mode=0o500)
    assert main(run(session)) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupting_keeps_what_is_done(session: Path, jobs: int) -> None:
    """Ctrl-C ends with one line and 130, and leaves nothing half-written, in one process or in several."""
    write_stem(session / "stems" / "long.wav", seconds=30.0)
    settings = ("--set", "dream.depth=6", "--jobs", jobs)
    arguments = [sys.executable, "-m", "bridge.cli", *run(session, *settings)]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    out = session / "out"
    while not list(out.glob(".reverie-*/1")) and process.poll() is None:  # the second stem, the long one
        time.sleep(0.02)
    process.send_signal(2)
    error = process.communicate(timeout=60)[1]

    assert process.returncode == 130
    assert error.strip().splitlines()[-1].startswith("reverie: stopped")
    assert [p.name for p in out.glob(".*")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command explains itself."""
    assert main([command, "--help"]) == 0
    assert "Usage: reverie" in capsys.readouterr().out


def test_the_whole_command_line_builds() -> None:
    """All modules together, as shell completion needs them."""
    assert len(build_app(COMMANDS).registered_commands) + len(build_app(COMMANDS).registered_groups) == len(
        COMMANDS
    )


def test_presets_commands(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """List, show, check and schema answer for people and programs."""
    assert main(["presets", "list", "--json"]) == 0
    assert {"lucid-bloom", "null-reference"} <= {p["name"] for p in json.loads(capsys.readouterr().out)}
    assert main(["presets", "list", "--suits", "drums"]) == 0
    assert "snare-apparition" in capsys.readouterr().out
    assert main(["presets", "show", "lucid-bloom"]) == 0
    assert "swell -> dream.depth" in capsys.readouterr().out
    assert main(["presets", "show", "three-voices"]) == 0
    assert "keyswitches\n  C-2: class:brass\n  D-2: class:flute" in capsys.readouterr().out
    assert main(["envelope", "three-voices", "--bpm", "100"]) == 0
    assert "what keyswitches choose is not among the envelopes" in capsys.readouterr().err
    (session / "bad.toml").write_text("version = 1\n")
    assert main(["presets", "check", str(session / "under-test.toml"), str(session / "bad.toml")]) == 2
    captured = capsys.readouterr()
    assert "under-test.toml: valid" in captured.out
    assert "bad.toml: uuid is missing" in captured.err


def test_doctor_names_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Versions, devices and networks, as a list for people and as JSON."""
    assert main(["doctor", "--json"]) == 0
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}

    assert found["torch"]["state"].startswith(f"{metadata.version('torch')}, ")
    assert all(found[name]["is_good"] for name in (*REQUIRED, "timbre"))


def test_presets_and_variations_multiply_and_are_logged(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two presets on one command line are two renders, each with its manifest and report, in one log."""
    log = session / "log.jsonl"
    more = ("--preset", "null-reference", "--report", "--log", log, "--jobs", 2)
    assert main(run(session, *more)) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    names = {path.name for path in (session / "out").iterdir()}
    assert names == {
        f"{part}.{kind}"
        for part in ("under-test", "null-reference")
        for kind in ("manifest.json", "report.html")
    } | {"lead__under-test.wav", "lead__null-reference.wav"}
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events.count("done") == 2
    assert events[-1] == "end"


def test_a_job_list_renders_from_the_command_line(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A list is rendered, its dry run writes nothing, and a wrong column is one line and exit code 2."""
    jobs = session / "jobs.csv"
    jobs.write_text("stems,preset,out\nstems,under-test.toml;null-reference,out\n")
    assert main(["batch", str(jobs), "--dry-run"]) == 0
    assert not (session / "out").exists()
    assert main(["batch", str(jobs)]) == 0
    assert len(list((session / "out").glob("*.wav"))) == 2
    jobs.write_text("stems,preset,output\nstems,null-reference,out\n")
    capsys.readouterr()
    assert main(["batch", str(jobs)]) == 2
    assert "no key 'output'" in capsys.readouterr().err


def test_fail_fast_stops_at_the_first_failure(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What comes after a stem that failed is not begun where that is asked for, and the exit code is 1."""
    write_stem(session / "stems" / "a_wide.wav", n_channels=2)
    failing = ("--set", "dream.stereo=mid_side", "--fail-fast")
    write_stem(session / "stems" / "lead.wav", n_channels=1)
    assert main(run(session, *failing)) == 1
    assert "The other stems were not started" in capsys.readouterr().err


def test_version_and_short_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` says the installed version; `-h` is help everywhere."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == metadata.version("reverie-audio")
    for command in ((), ("render",), ("presets", "list")):
        assert main([*command, "-h"]) == 0
        assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('[[routes]]\nsource = "nobody"\ntarget = "dream.depth"\n', "nobody"),
        ('[[variations]]\nname = "odd"\nset = { "dream.objective" = "layer:nope" }\n', "nope"),
        ('[[variations]]\nname = "odd"\nset = { "dream.depht" = 3 }\n', "depht"),
    ],
)
def test_presets_are_checked_as_a_render_would(
    session: Path, more: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sources, objectives and variations that do not fit are found without stems; names work as files do."""
    path = write_preset(session, more=more, name="odd")
    assert main(["presets", "check", "null-reference", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "null-reference: valid\n"
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_foreign_toml_hides_no_preset(
    session: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file among the presets that is none is skipped with a warning."""
    (session / "presets").mkdir()
    (session / "presets" / "mine.toml").write_text("[tool.other]\nkey = 1\n")
    monkeypatch.chdir(session)
    assert main(["presets", "list"]) == 0
    captured = capsys.readouterr()
    assert "lucid-bloom" in captured.out
    assert "skipped" in captured.err
    assert "mine.toml" in captured.err


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("level.mod=keep", "did you mean 'mode'"),
        ("level.mode=loud", "level.mode = 'loud'"),
        ("tide.rate=often", "is not a rate"),
        ("tdie.rate=1/4", "did you mean 'tide'"),
    ],
)
def test_settings_that_fit_nothing_are_one_line(
    session: Path, setting: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Levels, tails and modulators can be set too; what they do not know is told with what they do."""
    assert main(run(session, "--set", setting, preset="undertow")) == 2
    assert says in capsys.readouterr().err


def test_levels_tails_and_modulators_can_be_set(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is set is in the plan; a setting that a route replaces is warned of."""
    settings = ("level.mode=keep", "tail.mode=fixed", "tide.rate=1/8T", "dream.depth=3")
    options = [word for setting in settings for word in ("--set", setting)]
    assert main(run(session, *options, "--dry-run", "--json", preset="undertow")) == 0
    (plan,) = json.loads(capsys.readouterr().out)["plans"]
    assert plan["preset"]["level"]["mode"] == "keep"
    assert plan["preset"]["tail"]["mode"] == "fixed"
    assert next(m for m in plan["preset"]["modulators"] if m["id"] == "tide")["rate"] == "1/8T"
    assert any("without effect" in warning for warning in plan["warnings"])


def test_every_field_of_a_job_is_an_option() -> None:
    """A field that is added to a job, or to what is said of the clock, is an option as well."""

    def command(job: Job) -> None: ...

    def other(clock: ClockSettings) -> None: ...

    assert set(inspect.signature(takes_job(command)).parameters) == set(Job.model_fields)
    assert set(inspect.signature(takes_clock(other)).parameters) == set(ClockSettings.model_fields)


def test_an_empty_folder_is_not_this_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shell variable that is not set must not fill the working folder."""
    assert main(["render", str(SONG), "--preset", "null-reference", "--out", "", "--dry-run"]) == 2
    assert "out = '': is empty" in capsys.readouterr().err
