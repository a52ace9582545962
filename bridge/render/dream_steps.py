"""What a dream's steps did, window by window, as a render tells it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

__all__ = ["DreamStep", "first_and_last_heard", "hold_steps", "sort_steps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DreamStep:
    """One step of one window of one dream.

    Args:
        node: The dream's id in the chain.
        window: Which window, from 0.
        step: Which step, from 0.
        n_steps: How many the window takes.
        start_s: Where the window begins.
        score: The objective before the step.
        heard: The class heard most before the step and its mean probability, where the objective asks for
            classes.
        change_db: How loud all that the step proposes to change is beside the sound before it.
        each: Of the dreams of a node that uses ``dreams`` the objective; empty where a node is one dream.
    """

    node: str
    window: int
    step: int
    n_steps: int
    start_s: float
    score: float
    heard: tuple[str, float] | None
    change_db: float
    each: str = ""

    @property
    def dream(self) -> str:
        """What the dream is called: its node, with the objective where the node has several."""
        return f"{self.node} ({self.each})" if self.each else self.node


def hold_steps(steps: Iterable[DreamStep], node: str, depth: int) -> tuple[DreamStep, ...]:
    """Return the steps of a stem whose dream of one node is held to a depth."""
    return tuple(
        replace(one, n_steps=min(one.n_steps, depth)) if one.node == node else one
        for one in steps
        if one.node != node or one.step < depth
    )


def sort_steps(steps: Iterable[DreamStep], nodes: Sequence[str]) -> tuple[DreamStep, ...]:
    """Return steps by node, in the order of the chain, then by window and step."""
    places = {node: place for place, node in enumerate(nodes)}
    return tuple(sorted(steps, key=lambda one: (places[one.node], one.window, one.step)))


def first_and_last_heard(
    steps: Iterable[DreamStep],
) -> dict[str, tuple[tuple[str, float], tuple[str, float]]]:
    """Return what each dream heard before the first step of its windows, and before their last.

    Returns:
        By dream, twice the class that leads in most of its windows, each counting by its probability, and the
        mean of that where it leads. Dreams whose objectives ask for no classes are left out.
    """
    firsts: dict[str, list[tuple[str, float]]] = {}
    lasts: dict[str, list[tuple[str, float]]] = {}
    for one in steps:
        if one.heard is not None and one.step == 0:
            firsts.setdefault(one.dream, []).append(one.heard)
        if one.heard is not None and one.step == one.n_steps - 1:
            lasts.setdefault(one.dream, []).append(one.heard)
    return {dream: (_leader(firsts[dream]), _leader(lasts[dream])) for dream in firsts if dream in lasts}


def _leader(heard: Sequence[tuple[str, float]]) -> tuple[str, float]:
    by_class: dict[str, list[float]] = {}
    for name, probability in heard:
        by_class.setdefault(name, []).append(probability)
    name = max(sorted(by_class), key=lambda one: sum(by_class[one]))
    return name, sum(by_class[name]) / len(by_class[name])
