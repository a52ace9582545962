"""What is maximised: layers, channels, classes and other sounds, as a text to one score an item.

- `parse`     the text, ``layer:block3 + 0.5*class:12``
- `objective` what an objective is: terms, and the networks that hear them
- `terms`, `classes`  what each term scores; `strongest` looks for what is heard most, `compared` at other
  sounds
- `taps`      activations caught on their way through a network
- `ear`       one network with its front end and its terms: sound in, scores out
- `listener`  all ears of an objective, one gradient on the sound
"""
