"""How networks are trained, ours and the user's; `README.md` beside this tells the whole story.

- `loop`          trains any network; `run` is its state, `run_settings` what it depends on
- `run_file`      a run as TOML, to be run again; `norms` is batch normalisation in training
- `learners`      what the loop trains for each kind; `learner` is its shape, `head_learner` that of a head
- `sounds`        what networks are given of segments; `feeder` has workers make it, `team` several processes
  train together
- `encoded`       patches of sets that keep log-mel frames
- `pitch_head`    a second head that hears the pitch class
- `key_learner`   keys in frames, learnt; `key_evaluation` precision, recall and F1 of them,
  `key_hearing` by any network
- `hearing`       segments as a network hears them; `evaluation` counts and calibrates
- `run_folder`    what is kept of a run; `run_card` its card; `install` puts its network in place
- `search`        trials by Optuna; `search_space` is what they try, `together` several processes at it
- `segments`      a prepared data set; `write_segments` how one is written; `segment_rows`
  which of it are learnt from; `segment_notes` which keys are down in them
- `cutting`       trimmed, stretched, cut; `splitting` whole groups dealt out to train, validation and test
- `fluidsynth`    notes and chords of soundfonts

The recipe of the shipped network:

- `notes`         single notes rendered from soundfonts; `synthesis` those of drawn instruments
- `sampler`       batches of them, seeded; `augmentation` what is done to them
- `attack`        changes as a dream's, towards a wrong class
- `heads`         the head fitted again, and two joined
- `timbre`        the recipe; its run file lies beside the weights
- `model_card`    what is written beside its weights
"""
