"""The grammar of objectives: a text cut into terms, without saying yet what they mean.

A term is ``[factor*][{weight}*][network@]kind:argument[:argument]``; terms are joined by ``+`` and ``-``.
Weights are names of what moves a term over time; several multiply. This file needs no Torch, so that who only
wants to know a text's weights need not load it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from dream_core.errors import ObjectiveError

__all__ = ["Argument", "TermText", "split_each", "split_terms", "weight_names"]

_WEIGHT = r"\{[^{}]*\}"
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_WORD = r"""(?:"[^"]*"|'[^']*'|[^\s+\-*"':{}]|(?<=[^\s+])-(?=[^\s]))+"""
_TERM = re.compile(
    rf"""\s*(?P<sign>[+-])?\s*
        (?P<factors>(?:(?:{_NUMBER}|{_WEIGHT})\s*\*\s*)*)
        (?:(?P<network>image(?::\w+)+|\w[\w.-]*)\s*@\s*)?
        (?P<kind>[a-z_0-9]+)\s*:\s*
        (?P<arguments>{_WORD}(?:\s*:\s*{_WORD})*)\s*""",
    re.VERBOSE,
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a term.

    Args:
        text: Without quotes.
        is_quoted: Whether it stood in quotes: then it is a name, whatever it says.
    """

    text: str
    is_quoted: bool = False

    @property
    def written(self) -> str:
        """The argument as a term has it."""
        quote = "'" if '"' in self.text else '"'
        return f"{quote}{self.text}{quote}" if self.is_quoted else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class TermText:
    """One term as it is written.

    Args:
        written: All of it but its sign.
        kind: What stands before the first colon.
        arguments: What stands after it.
        factor: How much it counts, with its sign.
        is_subtracted: Whether a minus stands before it.
        weights: Names of what moves it over time.
        network: The network that is to hear it, if one is named.
    """

    written: str
    kind: str
    arguments: tuple[Argument, ...]
    factor: float = 1.0
    is_subtracted: bool = False
    weights: tuple[str, ...] = ()
    network: str = ""


def split_terms(text: str) -> list[TermText]:
    """Cut an objective's text into its terms.

    Raises:
        ObjectiveError: It cannot be read; the message points at the place.

    >>> [(term.factor, term.weights, term.kind) for term in split_terms("layer:a - 0.5*{air}*class:flute")]
    [(1.0, (), 'layer'), (-0.5, ('air',), 'class')]
    """
    position, terms = 0, list[TermText]()
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None or (terms and match["sign"] is None):
            raise ObjectiveError(
                f"objective {text!r}: cannot read {text[position:].strip()[:40]!r}; write terms such as "
                "0.5*layer:NAME + {weight}*class:NAME - NETWORK@channel:NAME:17, names with spaces in quotes"
            )
        terms.append(_term(match))
        position = match.end()
    if not terms:
        raise ObjectiveError("the objective is empty; write for example layer:NAME or class:auto")
    return terms


def split_each(text: str) -> tuple[str, ...]:
    """Cut a text of several objectives at the ``;`` between them; one in quotes belongs to a name.

    >>> split_each("layer:block2; class:'a; b'")
    ('layer:block2', "class:'a; b'")
    """
    parts = re.findall(r"""(?:"[^"]*"|'[^']*'|[^;])+""", text)
    return tuple(part.strip() for part in parts if part.strip())


def weight_names(text: str) -> tuple[str, ...]:
    """Return the names of the weights in an objective's text, in order; of one that cannot be read, none.

    >>> weight_names("{air}*class:flute + 2*{edge}*class:brass - {air}*layer:block1")
    ('air', 'edge')
    """
    try:
        return tuple(dict.fromkeys(name for term in split_terms(text) for name in term.weights))
    except ObjectiveError:
        return ()  # which is said where the objective is checked


def _term(match: re.Match[str]) -> TermText:
    written = match[0].strip(" +-")
    factor, weights = -1.0 if match["sign"] == "-" else 1.0, list[str]()
    for part in (part.strip() for part in match["factors"].split("*")[:-1]):
        if part.startswith("{"):
            weights.append(_weight(part[1:-1].strip(), written))
            continue
        factor *= float(part)
        if not math.isfinite(factor):
            raise ObjectiveError(f"objective {written!r}: the factor {part} is too large a number")
    return TermText(
        written=written,
        kind=match["kind"],
        arguments=tuple(_argument(one) for one in re.findall(rf"(?:{_WORD})", match["arguments"])),
        factor=factor,
        is_subtracted=match["sign"] == "-",
        weights=tuple(weights),
        network=_network(match["network"] or "", written),
    )


def _argument(text: str) -> Argument:
    plain = text.strip()
    if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'":
        return Argument(plain[1:-1], is_quoted=True)
    return Argument(plain.strip("\"'"), is_quoted=plain[:1] in "\"'")


def _weight(name: str, written: str) -> str:
    if not _NAME.fullmatch(name):
        raise ObjectiveError(
            f"objective {written!r}: a weight cannot be called {name!r}; small letters, digits and _ are "
            "accepted, a letter first, as {air}"
        )
    return name


def _network(name: str, written: str) -> str:
    if name.endswith(".safetensors"):
        raise ObjectiveError(
            f"objective {written!r}: a network is named here, not given by a file; put the file into the "
            "folder of networks and write the name its card has"
        )
    return name
