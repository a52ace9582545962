"""The grammar of objectives."""

from __future__ import annotations

import pytest

from dream_core.errors import ObjectiveError
from dream_core.objectives.parse import parse_objective
from dream_core.objectives.text import Argument, split_terms, weight_names


@pytest.mark.parametrize(
    "text",
    ["0.5*{air}*net@class:flute", "{air}*0.5*net@class:flute", "{air} * 0.5 * net @ class : flute"],
)
def test_factors_and_weights_stand_in_any_order(text: str) -> None:
    """All say the same term."""
    (term,) = split_terms(text)

    assert (term.factor, term.weights, term.network, term.kind) == (0.5, ("air",), "net", "class")
    assert term.arguments == (Argument("flute"),)


def test_several_weights_multiply() -> None:
    """A term keeps all of them, and is written back with them."""
    assert parse_objective("{a}*{b}*layer:x").terms[0].weights == ("a", "b")
    assert parse_objective("2*{a}*{b}*layer:x - {c}*layer:y").text == "2*{a}*{b}*layer:x - {c}*layer:y"


def test_what_is_quoted_is_a_name() -> None:
    """Signs, colons and spaces in quotes belong to the argument."""
    (term,) = split_terms("""notes:midi:"a + b: c":'fold'""")

    assert term.arguments == (Argument("midi"), Argument("a + b: c", True), Argument("fold", True))


def test_a_dash_within_a_word_is_no_minus() -> None:
    """`lead-2` is one name, ` - ` parts two terms."""
    assert [term.arguments[-1].text for term in split_terms("guided:x:lead-2 - layer:y")] == ["lead-2", "y"]


def test_weights_of_a_text_that_cannot_be_read_are_none() -> None:
    """Who asks only for weights is not told of mistakes that others tell."""
    assert weight_names("{air}*class:flute + {edge}*{air}*layer:x") == ("air", "edge")
    assert weight_names("{air}*") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{Air}*class:flute", "cannot be called 'Air'"),
        ("{}*class:flute", "cannot be called ''"),
        ("{air}class:flute", "cannot read '{air}class:flute'"),
        ("class:flute {air}*layer:x", "cannot read '{air}"),
        ("1e999*class:flute", "too large"),
        ("layer:x + klass:y", "did you mean 'class'"),
        ("", "empty"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, said: str) -> None:
    """The message quotes what cannot be read and says what can."""
    with pytest.raises(ObjectiveError) as caught:
        parse_objective(text)

    assert said in str(caught.value)


def test_quotes_within_quotes_are_kept() -> None:
    """Only the outer ones say where a name begins and ends."""
    (term,) = split_terms("""notes:midi:"Rock 'n'" """)

    assert term.arguments[-1] == Argument("Rock 'n'", True)
