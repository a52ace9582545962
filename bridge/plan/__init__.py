"""Plans: everything a render will do, resolved, as data.

Building one reads headers, hashes, the MIDI file and the preset, and checks all that needs no sound. Nothing
is written, and nothing is opened that can crash. Rendering takes a plan and nothing else.

- `model`           what a plan holds, and what decides a stem's samples
- `planner`         stems, a preset and a song to a plan
- `imagine`         a plan without a stem: silence of a length
- `checks`          what a plan's parts must be to each other
- `stand_in`        who hears notes where the network a preset names for it is not installed
- `played`          whether notes that dreams play are there
- `growth`          whether networks that play on are there, and where they begin
- `stem_envelopes`  what moves a stem's parameters over its song
- `held_frequencies`  which are too high for a stem
- `session_stems`   a session in the place of stems
- `section`         which part of the song is rendered
- `find_stems`      the audio files that folders name
- `output_names`    templates of names; where manifest and report are
- `job`             what to render, as job lists and the command line say it; `job_list` many in one file
"""
