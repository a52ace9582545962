"""Dreams are the dreams they were: `mask` on three sounds, each of its settings, and every other update."""

from __future__ import annotations

import pytest
from golden import dreams

CASES = dreams.cases()
KEPT = dreams.read()

NEAREST = 0.002
"""How far a change may be from the kept one in any case, relative to its size."""

TIMES_SPREAD = 4.0
"""How many spreads of its case it may be away, where that is further.

With two threads, with all vector instructions off in Torch, and with AVX2 alone in all its libraries, changes
were at most 0.7 % apart, 0.12 % but for the loosest case, and never further than their spread or 0.01 %.
"""

FURTHEST = 0.1
"""How far it may be in no case: a golden that allows more is none.

What the cases find: 41 of the 52 fail with deviations clipped at 2.9 in place of 3.0 (all that clip but
`adam`), 33 where the balance is held to 4.8 dB and not to 4.9, 32 with a growth of 0.69 for 0.7.
"""

SCORE_TIMES = 2.0
"""How many times as far a score may be: a cut is all or nothing at its threshold, and so may its score be."""


def bound(name: str) -> float:
    """Return how far a case's change may be from the kept one, relative to its size."""
    return max(NEAREST, TIMES_SPREAD * KEPT[name]["spread"])


def test_every_case_is_kept() -> None:
    """None is measured without being compared, and none is kept that nobody measures."""
    missing, stale = CASES.keys() - KEPT.keys(), KEPT.keys() - CASES.keys()
    assert not missing, f"to keep one: python tests/golden/dreams.py --write {min(missing)!r}"
    assert not stale, f"no longer measured: {stale}"


def test_every_case_can_fail() -> None:
    """No dream makes so much of a few roundings that a change of the arithmetic could hide in it."""
    loose = {name: KEPT[name]["spread"] for name in KEPT if bound(name) > FURTHEST}

    assert not loose, f"give these less depth, or a sound with more in it: {loose}"


@pytest.mark.parametrize("name", [name for name in CASES if name in KEPT])
def test_a_dream_is_what_it_was(name: str) -> None:
    """Score and change agree with the golden; `python tests/golden/dreams.py` prints what moved."""
    old, new = KEPT[name], dreams.measure(CASES[name])

    assert dreams.distance(old, new) <= bound(name)
    assert new["score"] == pytest.approx(old["score"], rel=SCORE_TIMES * bound(name), abs=1e-5)
