"""Dreams are the dreams they were: `mask` on three sounds, each of its settings, and every other update."""

from __future__ import annotations

import pytest
from golden import dreams

CASES = dreams.cases()
KEPT = dreams.read()

SHALLOW, DEEP = 0.005, 0.1
"""How far a change may be from the kept one, relative to its size.

Other instruction sets and numbers of threads order float32 sums otherwise. With all vector instructions off,
with AVX2 alone and with two threads, changes of up to four steps were at most 0.1 % apart; ten steps, each
taken where the last one led, at most 3.2 %. Both bounds leave three times that and more.
"""


def test_every_case_is_kept() -> None:
    """None is measured without being compared, and none is kept that nobody measures."""
    missing, stale = CASES.keys() - KEPT.keys(), KEPT.keys() - CASES.keys()
    assert not missing, f"to keep one: python tests/golden/dreams.py --write {min(missing)!r}"
    assert not stale, f"no longer measured: {stale}"


@pytest.mark.parametrize("name", [name for name in CASES if name in KEPT])
def test_a_dream_is_what_it_was(name: str) -> None:
    """Score and change agree with the golden; `python tests/golden/dreams.py` prints what moved."""
    old, new = KEPT[name], dreams.measure(CASES[name])
    bound = SHALLOW if CASES[name].depth <= 4 else DEEP

    assert dreams.distance(old, new) <= bound
    # A cut is all or nothing at its threshold: its score was seen to move by 0.5 %, all others by 0.05 %.
    assert new["score"] == pytest.approx(old["score"], rel=2 * bound, abs=1e-5)
