"""Damage anywhere in a session file gives a session or one line of error, never a traceback."""

from __future__ import annotations

import gzip
import importlib.util
import io
import zipfile
from pathlib import Path

import pytest
from helpers.dawproject import PROJECT, write_project
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.daw.read import read_session
from bridge.errors import InputError


def text_of(module: str, name: str) -> str:
    """Return the sample session another test module holds."""
    spec = importlib.util.spec_from_file_location(module, Path(__file__).with_name(f"{module}.py"))
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    text = getattr(loaded, name)
    assert isinstance(text, str)
    return text


SOURCES = {
    ".dawproject": PROJECT.replace("{warp_end}", "8"),
    ".rpp": text_of("test_reaper", "PROJECT"),
    ".als": text_of("test_live", "SET"),
}
WORDS = [
    "",
    "-1",
    "0",
    "1e308",
    "-1e308",
    "nan",
    "inf",
    "1e-300",
    "99999999999999999999",
    "x",
    "true",
    '"',
    "<",
    ">",
]


def complaint(path: Path) -> str:
    """Read a session; return the input error it raises, if any, and let every other through."""
    try:
        read_session(path)
    except InputError as error:
        return str(error)
    return ""


def damage(text: str, data: st.DataObject) -> str:
    """Replace numbers by nonsense, and cut, drop and double pieces."""
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text) - 1))
        kind = data.draw(st.sampled_from(["number", "drop", "double", "cut"]))
        if kind == "number":
            digits = [i for i in range(start, min(start + 400, len(text))) if text[i].isdigit()]
            if digits:
                end = digits[0]
                while end < len(text) and (text[end].isdigit() or text[end] == "."):
                    end += 1
                text = text[: digits[0]] + data.draw(st.sampled_from(WORDS)) + text[end:]
        elif kind == "drop":
            text = text[:start] + text[start + data.draw(st.integers(1, 60)) :]
        elif kind == "double":
            text = text[:start] + text[start : start + data.draw(st.integers(1, 200))] + text[start:]
        elif data.draw(st.integers(0, 9)) == 0:
            text = text[:start]
        text = text or " "
    return text


@pytest.mark.parametrize("suffix", SOURCES)
@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_damage_gives_a_session_or_one_line(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    """Numbers out of any range, lost and doubled pieces and truncation raise input errors of one line."""
    text = damage(SOURCES[suffix], data)
    path = tmp_path / f"song{suffix}"
    if suffix == ".dawproject":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("project.xml", text)
            archive.writestr("audio/vocals.wav", b"")
        path.write_bytes(buffer.getvalue())
    else:
        path.write_bytes(gzip.compress(text.encode(), 1) if suffix == ".als" else text.encode())
    assert "\n" not in complaint(path)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archives_give_one_line(tmp_path: Path, data: st.DataObject) -> None:
    """Overwritten and missing bytes of a zip archive raise nothing but input errors."""
    whole = bytearray(write_project(tmp_path / "whole.dawproject").read_bytes())
    for _ in range(data.draw(st.integers(1, 10))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "song.dawproject"
    path.write_bytes(bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))]))
    assert "\n" not in complaint(path)


def test_a_file_without_a_name_is_refused(tmp_path: Path) -> None:
    """An archive may hold a member whose name has no letter."""
    path = tmp_path / "song.dawproject"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.xml", SOURCES[".dawproject"])
        archive.writestr("x", b"sound")
        archive.filelist[-1].filename = ""
    assert "a path that leads out of the archive" in complaint(path)
