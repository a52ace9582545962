"""Recordings to train a network on: found, rendered, looked at and prepared.

A folder becomes a table of recordings, which people may edit, and the table a prepared set of segments, which
`dream_core.training` draws from. What is never split is a group: all that one recording, instrument or preset
gave.

- `table`         recordings as lines of a CSV file
- `published`     data sets as they are published: NSynth, Philharmonia, IRMAS, ESC-50, UrbanSound8K
- `scan`          a folder becomes a table; `vetting` merges its labels and drops what is not wanted
- `notes`         notes and chords, rendered; `instruments` what plays them: soundfonts and VST3 plugins
- `played`        which keys are down when in recordings, where that is known
- `decode`        a recording as one mono waveform
- `prepare`       a table becomes segments
- `summary`       counts, balance and leaks; `sheet` spectrograms of them
"""
