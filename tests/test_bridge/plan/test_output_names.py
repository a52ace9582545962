"""Names follow their template and never meet."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import OutputError
from bridge.files import check_names
from bridge.plan.output_names import TEMPLATES, build_name, check_template

VALUES = {"stem": "Lead Vox", "preset": "lucid-bloom", "rate_khz": 96, "bits": 24}


def test_optional_parts_disappear_with_their_value() -> None:
    """A bracket is there when its wildcard has a value, and gone with it."""
    template = check_template("reverie")
    assert build_name(template, VALUES, ".wav") == "Lead Vox__lucid-bloom.wav"
    assert build_name(template, VALUES | {"variation": "B"}, ".wav") == "Lead Vox__lucid-bloom-B.wav"


def test_the_recording_academys_scheme() -> None:
    """AI_SongTitle_MI01_Stem_96k24, as the recommendations spell it."""
    values = VALUES | {"stem": "Vox"}
    assert build_name(TEMPLATES["pe-wing"], values, ".wav") == "Vox_96k24.wav"
    assert build_name("AB_Song_CD01_{stem}_{rate_khz}k{bits}", values, ".wav") == "AB_Song_CD01_Vox_96k24.wav"


@pytest.mark.parametrize(("template", "match"), [
    ("{stm}", "did you mean 'stem'"),
    ("{stem", "not closed"),
    ("[{stem}", "not closed"),
    ("output", "holds no wildcard"),
    ("{\nstem}", r"no wildcard {\\nstem}; did you mean .stem"),
])  # fmt: skip
def test_a_wrong_template_is_explained(template: str, match: str) -> None:
    """Unknown wildcards, open braces and constant names are refused."""
    with pytest.raises(OutputError, match=match):
        check_template(template)


def test_a_missing_value_is_named() -> None:
    """A wildcard outside brackets must have a value."""
    with pytest.raises(OutputError, match=r"\{variation\} has no value"):
        build_name("{stem}_{variation}", VALUES, ".wav")


@pytest.mark.parametrize(("stem", "expected"), [
    ("a/b\\c:d", "a_b_c_d.wav"),
    ("../../etc/passwd", ".._.._etc_passwd.wav"),
    ("con", "_con.wav"),
    ("end. ", "end.wav"),
    ("u\u0308ber", "\u00fcber.wav"),
    ("bad\udcffbyte", "bad_byte.wav"),
])  # fmt: skip
def test_names_suit_every_file_system(stem: str, expected: str) -> None:
    """Separators, reserved names, trailing dots and decomposed accents are made harmless."""
    assert build_name("{stem}", {"stem": stem}, ".wav") == expected


@given(st.text(min_size=1, max_size=400))
def test_any_name_stays_one_short_component(stem: str) -> None:
    """Whatever a stem is called, its output is one path component of at most 234 bytes."""
    try:
        name = build_name("{stem}", {"stem": stem}, ".wav")
    except OutputError:
        return
    assert Path(name).name == name
    assert len(name.encode("utf-8", "surrogatepass")) <= 234
    assert name not in (".", "..")


def test_two_outputs_on_one_name_are_refused() -> None:
    """Also where the names differ only in case, which Windows and macOS do not tell apart."""
    check_names([("a.wav", Path("out/A.wav")), ("b.wav", Path("out/B.wav"))])
    with pytest.raises(OutputError, match=r"x/kick\.wav and y/Kick\.wav would both be written"):
        check_names([("x/kick.wav", Path("out/kick.wav")), ("y/Kick.wav", Path("out/Kick.wav"))])


@pytest.mark.parametrize("wide", ["x", "夢", "é"])
def test_a_long_stem_leaves_the_preset_in_the_name(wide: str) -> None:
    """What is too long is cut in the stem; preset, variation and number stay, and the name is a file's."""
    values = {"stem": wide * 300, "preset": "lucid-bloom", "variation": "deep", "index": "07"}
    name = build_name("{index}_{stem}__{preset}[-{variation}]", values, ".wav")

    assert name.startswith(f"07_{wide * 30}")
    assert name.endswith("__lucid-bloom-deep.wav")
    assert 225 <= len(name.removesuffix(".wav").encode()) <= 230


def test_names_that_are_cut_stay_apart() -> None:
    """Two that begin alike differ in the hash of what was cut, in whatever order and company they come."""
    names = [
        build_name(TEMPLATES["reverie"], VALUES | {"stem": "take " * 60 + end}, ".wav")
        for end in ("one", "two")
    ]

    assert len(set(names)) == 2
    assert names[0][:200] == names[1][:200]
    check_names((name, Path(name)) for name in names)


def test_a_reserved_name_that_is_long_is_cut_as_well() -> None:
    """The underscore that takes it out of Windows' way fits in too."""
    name = build_name("{stem}", {"stem": "con." + "x" * 300}, ".wav")
    assert name.startswith("_con.x")
    assert len(name.encode()) == 234


def test_a_long_midi_file_and_a_long_preset_are_cut_too() -> None:
    """Where the stem alone does not do, the next longest gives way; each keeps its mark."""
    values = {"stem": "s" * 300, "midi": "m" * 300, "preset": "p" * 300, "variation": "deep"}
    name = build_name("{stem}__{midi}__{preset}-{variation}", values, ".wav")

    assert name.endswith("-deep.wav")
    assert name.count("~") == 3
    assert len(name.encode()) <= 234


def test_a_long_name_leaves_room_for_its_manifest(tmp_path: Path) -> None:
    """A manifest's journal, the longest of all names that are made of one, is a file of this system."""
    name = build_name("{preset}", {"preset": "x" * 400}, "")
    (tmp_path / f".{name}.manifest.json.finished").write_text("")


@pytest.mark.parametrize("sign", ["\x1b", "\x9b", "\u202e", "\u2066", "\u2028"])
def test_a_name_bears_nothing_that_commands_a_terminal(sign: str) -> None:
    """It becomes an underscore, as what file systems refuse."""
    assert build_name("{stem}", {"stem": f"a{sign}b"}, ".wav") == "a_b.wav"
