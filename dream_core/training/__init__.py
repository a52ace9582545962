"""How the shipped networks were made; `README.md` beside this tells the whole story.

- `notes`         single notes rendered from a soundfont
- `sampler`       batches of them, seeded; `augmentation` what is done to them
- `training_loop` steps, validation, and the head fitted again
- `timbre`        the recipe of the shipped network, as a program
- `model_card`    what is written beside its weights
"""
