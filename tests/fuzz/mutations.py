"""How a seed becomes a damaged file: a few edits, drawn so that Hypothesis can make them fewer."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

__all__ = ["damaged"]

_TOKENS = (
    b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x00\x00\x00",
    b"-1", b"0", b"1e999", b"-1e999", b"NaN", b"Infinity", b"9" * 5000, b"1e308", b"0.0000000001", b"null",
    b"true", b'""', b"[]", b"{}", b"[" * 3000, b"{" * 3000, b'{"a":' * 2000, b"<a>" * 3000, b"\xc3\x28",
    b"\xed\xa0\x80", "\u202e\u0085\u2028".encode(), b"\x1b[2J", b"[/b]", b"../../../etc/passwd", b"%s%n{}{0}",
    b"\r\n", b"'", b'"', b"\\", b"]]>", b"&a;", b"-",
)  # fmt: skip
"""Words that formats fear."""


@st.composite
def damaged(
    draw: st.DrawFn, seeds: Sequence[tuple[str, bytes]], tokens: Sequence[bytes] = ()
) -> tuple[str, bytes]:
    """Draw a seed with one to eight edits, as (its name, its bytes)."""
    name, data = draw(st.sampled_from(seeds))
    words = st.sampled_from((*_TOKENS, *tokens))
    for _ in range(draw(st.integers(1, 8))):
        data = _edit(draw, data, seeds, words)
    return name, data


def _edit(
    draw: st.DrawFn, data: bytes, seeds: Sequence[tuple[str, bytes]], words: st.SearchStrategy[bytes]
) -> bytes:
    kind = draw(st.sampled_from(("flip", "word", "over", "cut", "drop", "twice", "swap", "splice", "text")))
    at = draw(st.integers(0, max(0, len(data) - 1)))
    size = draw(st.integers(1, 64))
    if kind == "flip" and data:
        return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
    if kind == "word":
        return data[:at] + draw(words) + data[at:]
    if kind == "over":
        word = draw(words)
        return data[:at] + word + data[at + len(word) :]
    if kind == "cut":
        return data[:at]
    if kind == "drop":
        return data[:at] + data[at + size :]
    if kind == "twice":
        return data[:at] + data[at : at + size] * draw(st.integers(2, 50)) + data[at + size :]
    if kind == "swap":
        other = draw(st.integers(0, max(0, len(data) - 1)))
        first, second = sorted((at, other))
        return data[:first] + data[second : second + size] + data[first:second] + data[second + size :]
    if kind == "splice":
        _, foreign = draw(st.sampled_from(seeds))
        start = draw(st.integers(0, max(0, len(foreign) - 1)))
        return data[:at] + foreign[start:]
    # A value of a text format for another: what stands between two marks becomes a word.
    end = next((i for i in range(at, len(data)) if data[i : i + 1] in b' ,:=<>"\n\t]}'), len(data))
    begin = next((i for i in range(at, 0, -1) if data[i - 1 : i] in b' ,:=<>"\n\t[{'), 0)
    return data[:begin] + draw(words) + data[end:]
