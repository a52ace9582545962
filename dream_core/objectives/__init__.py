"""What is maximised: layers, channels, classes and other sounds, as a text to one score an item.

- `parse`     the text, ``layer:block3 + 0.5*class:12``
- `terms`     what each term scores
- `taps`      activations caught on their way through a network
- `listener`  network, front end and objective together: sound in, scores out
"""
