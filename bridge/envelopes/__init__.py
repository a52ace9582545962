"""Iteration envelopes: what moves a chain's parameters over a song.

Goal: a musician writes movement in musical words; a render gets exact numbers for any sample, whatever the
chunks it asks in.

Conventions: sources are pure functions of time and give 0..1 (or -1..1); routes carry them to parameters, in
the parameters' own units. Order: macros, modulators, combinations, routes.

Contents: `grammar` is the data; `build_envelopes` turns it into `Envelopes`; `build_follower` measures stems
that are followed.
"""

from bridge.envelopes.follower import FollowerSource, build_follower, follower_stems
from bridge.envelopes.grammar import Macro, MidiMap, Modulator, Route, Trigger
from bridge.envelopes.grid import Song
from bridge.envelopes.routing import Envelopes, build_envelopes

__all__ = [
    "Envelopes",
    "FollowerSource",
    "Macro",
    "MidiMap",
    "Modulator",
    "Route",
    "Song",
    "Trigger",
    "build_envelopes",
    "build_follower",
    "follower_stems",
]
