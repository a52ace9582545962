"""Iteration envelopes: what moves a chain's parameters over a song.

A musician writes movement in musical words; a render gets exact numbers for any sample, whatever the chunks
it asks in.

Conventions: sources are pure functions of time and give 0..1, or -1..1 where they are bipolar; routes carry
them to parameters, in the parameters' own units. Order: macros, modulators, combinations, routes.

- `schema`        modulators, routes, macros and triggers as data
- `assemble`      that data and a `song` put together; `evaluate`  values at any samples, for a render
- `routes`        a source onto a parameter's travel
- `places`        sections of a song, as presets write them; `during`  the gate that is open in them
- `sources`       modulators and macros as functions of time (`curve`): `oscillators` (LFO, steps), `contours`
  (ADSR and breakpoints, made of `segments`), `follower` (how loud a stem is), `hearing` (what a network hears
  in it; both are a `measured_curve`), `midi_sources`, `drawn` (a session's automation), `combine`
- `map_keys`      what a MIDI map may say: controllers, and keyswitches
- `midi_map`      controllers straight to macros and parameters: a CC to the depth
- `lattice`       values at every sample out of values at a few
- `triggers`      what starts them; `cycle_phase`, `grid`, `waveforms`, `smoothing`  what they are made of
- `export`        lanes for a DAW or a spreadsheet
"""
