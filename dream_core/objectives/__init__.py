"""What is maximised: layers, channels, classes and other sounds, as a text to one score an item.

- `text`      the grammar, ``0.5*{air}*net@layer:block3 + 0.5*class:12``, cut into terms; needs no Torch
- `parse`     what each of them says
- `objective` what an objective is: terms, and the networks that hear them
- `terms`, `classes`, `notes`  what each term scores; `strongest` looks for what is heard most, `compared` at
  other sounds
- `harmony`   chords and scales by their names
- `targets`   what is wanted over time, for a network's classes; `heard` what it hears in another sound
- `hear_patches`  what a network hears in a whole sound: classes or a layer's channels, patch by patch
- `taps`      activations caught on their way through a network
- `loudest`   which class is heard most in what is scored
- `ear`       one network with its front end and its terms: sound in, scores out
- `answers`   where in time and frequency a network answers to its objective
- `look`      what a network looks at in a window, for updates that work on that and not on the sound
- `listener`  all ears of an objective, one gradient on the sound
"""
