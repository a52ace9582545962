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
    """Whatever a stem is called, its output is one path component of at most 240 bytes."""
    try:
        name = build_name("{stem}", {"stem": stem}, ".wav")
    except OutputError:
        return
    assert Path(name).name == name
    assert len(name.encode("utf-8", "surrogatepass")) <= 240
    assert name not in (".", "..")


def test_two_outputs_on_one_name_are_refused() -> None:
    """Also where the names differ only in case, which Windows and macOS do not tell apart."""
    check_names([("a.wav", Path("out/A.wav")), ("b.wav", Path("out/B.wav"))])
    with pytest.raises(OutputError, match=r"x/kick\.wav and y/Kick\.wav would both be written"):
        check_names([("x/kick.wav", Path("out/kick.wav")), ("y/Kick.wav", Path("out/Kick.wav"))])
