"""A recurrent network that learns one sound, frame by frame, and goes on playing it.

- `domains`   sound as frames and back: MDCT, plain samples, FFT; companding
- `network`   the network, and frames parted into shape and level
- `training`  learns a sound or a few
- `generate`  plays on: hears a sound, then itself

``dream_core.networks.frames_network`` makes a network of it that can be dreamed with, and keeps it in a file.
"""
