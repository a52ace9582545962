"""How the shipped networks were made; `README.md` beside this tells the whole story.

- `segments`      a prepared data set and its batches; `write_segments` how one is written
- `cutting`       trimmed, stretched, cut; `splitting` whole groups dealt out to train, validation and test
- `fluidsynth`    notes and chords of soundfonts
- `notes`         single notes rendered from soundfonts; `synthesis` those of drawn instruments
- `sampler`       batches of them, seeded; `augmentation` what is done to them
- `attack`        changes as a dream's, towards a wrong class
- `training_loop` steps, validation, and the head fitted again
- `timbre`        the recipe of the shipped network, as a program
- `model_card`    what is written beside its weights
"""
