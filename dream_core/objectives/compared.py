"""Objectives that compare with other sounds: become one, move between two, keep away from some.

- ``invert:LAYER:REFERENCE``  what a layer hears, moment by moment, becomes what it hears in another sound
- ``axis:LAYER:A-B``          along the line from sound B to sound A in the space of a layer's channels
- ``diverse:LAYER:REFERENCE[,REFERENCE]``  a layer's channels vary together otherwise than in those sounds

Stems that are rendered beside each other cannot be kept apart as such: a window's result does not depend on
what else is in its batch, nor on the number of workers. Those to differ from are therefore named, and heard
as they were before any dream.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dream_core.errors import ObjectiveError
from dream_core.objectives.objective import Activations, Objective, one_term, quoted
from dream_core.objectives.terms import gram, places

__all__ = ["axis", "diverse", "invert"]


def invert(name: str, reference: str) -> Objective:
    """Make a layer hear what it hears in another sound at the same moment.

    The score is minus the squared distance, relative to the reference's own size: 0 where the layer cannot
    tell the two apart, -1 where it hears nothing. Where ``style`` asks for a texture, this asks for the
    sound.

    Args:
        name: The layer.
        reference: The other sound, from the same start; it goes round where it is shorter.

    Source:
        Mahendran and Vedaldi 2015, "Understanding deep image representations by inverting them"; Mishra,
        Sturm and Dixon 2018 for sound.
    """

    def score(heard: Activations) -> Tensor:
        guide = heard.beside[reference][name]
        distance = (heard.layers[name] - guide).square().flatten(1).sum(dim=1)
        size = guide.square().flatten(1).sum(dim=1)
        return -distance / torch.where(size > 0, size, 1.0)

    only = frozenset({reference})
    return one_term(
        f"invert:{name}:{quoted(reference)}", score, frozenset({name}), references=only, aligned=only
    )


def axis(name: str, towards: str, away: str) -> Objective:
    """Maximise the mean activation along the line between two other sounds.

    The direction is the mean of the one's places less the mean of the other's, of length one: how far a sound
    lies between the two, in the network's own space.

    Args:
        name: The layer.
        towards: The sound it leads to.
        away: The sound it comes from. (Between two classes write ``class:A - class:B``.)

    Raises:
        ObjectiveError: The layer hears both alike: there is no direction.

    Source:
        Camara Halac and Delgadino 2021, section 4: a feature space to travel in.
    """
    text = f"axis:{name}:{quoted(towards)}-{quoted(away)}"

    def score(heard: Activations) -> Tensor:
        ends = [places(heard.references[end][name][None]).mean(dim=(0, 1)) for end in (towards, away)]
        line = ends[0] - ends[1]
        length = torch.linalg.vector_norm(line)
        if not bool(length > 0):
            raise ObjectiveError(
                f"{text}: the layer hears both alike; give two sounds that differ, or another"
            )
        along: Tensor = places(heard.layers[name]) @ (line / length)
        return along.mean(dim=1)

    return one_term(text, score, frozenset({name}), references=frozenset({towards, away}))


def diverse(name: str, references: Sequence[str]) -> Objective:
    """Make a layer's channels vary together otherwise than they do in other sounds.

    The score is minus the mean cosine between Gram matrices, -1 where they are the same. Activations are
    taken from each reference's mean, as ``style`` takes them.

    Args:
        name: The layer.
        references: The other sounds, one or more.

    Raises:
        ObjectiveError: A reference is the same everywhere at this layer.

    Source:
        Olah, Mordvintsev and Schubert 2017, "Feature Visualization": diversity.
    """
    text = f"diverse:{name}:" + ",".join(quoted(one) for one in references)

    def score(heard: Activations) -> Tensor:
        here = places(heard.layers[name])
        cosines = []
        for reference in references:
            guide = places(heard.references[reference][name][None])
            middle = guide.mean(dim=1, keepdim=True)
            theirs = gram(guide - middle)
            if not theirs.any():
                raise ObjectiveError(
                    f"{text}: reference {reference!r} is the same everywhere at this layer; give a longer "
                    "one, or choose another layer"
                )
            ours = gram(here - middle).flatten(1)
            cosines.append(torch.nn.functional.cosine_similarity(ours, theirs.flatten(1), dim=1))
        return -torch.stack(cosines).mean(dim=0)

    return one_term(text, score, frozenset({name}), references=frozenset(references))
