"""How a gradient becomes the next sound: one operator on windows an update.

Conventions: windows are ``(items, rows, samples)``; the rows of an item are dreamed as one (linked stereo);
gradients are scaled to the loudness of the sound they belong to: a step means the same at every level.

- `registry`       every update by name
- `contract`       what an update is given and gives back
- `mask`           the default: gains on the sound's own spectrum (`mask_gains`), their direction
  (`conditioning`) and what holds them to the sound's envelope (`envelope_guard`)
- `harmonic`       levels of a pitch's `partials` and of `noise_bands`: in tune; `fine_pitch` hears it exactly
- `ascent`         the steps of these two: heard, steadied or in time, optimised, guarded
- `mel`            ascent on the frames a network looks at, and back to sound; `hear` plays what it answers
  to; both know its grid by `network_grid`
- `spectral_cut`   DreamSound's modes; `additive` the plain gradient; `legacy_0163` and `legacy_2020` as they
  were published
- `steps`          what those share
"""
