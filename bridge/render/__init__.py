"""Rendering: a plan and nothing else, to files with a manifest beside them.

Stems go through their chains into scratch files, are measured, brought to level and delivered. What is
finished stays: it is noted before it gets its name, and a render of the same plan takes up where
the last one stopped. A stem that fails does not touch the others.

- `runner`           plans through workers, noted as they finish
- `resume`           what an earlier render has finished
- `inputs`           whether what is read is still what the plan was made with
- `manifest`         the plan and what was measured, beside the outputs
- `stem_task`        one stem's way as a task; `workers` run tasks, here or in processes
- `stem_render`      a stem through its chain into a scratch file (`scratch`)
- `ladder`           the same at several depths, from one pass
- `stem_delivery`    a scratch file to a finished one at its level
- `open_stem`        a stem's processors and envelopes, ready to stream; `stem_input` what they hear,
                     `open_grow` the network of one that plays on
- `section`          what of a stem its chain gets where only a part is rendered
- `heard_stems`      what modulators hear in stems, heard once before
- `gpu_batches`      dreams of several stems in one batch
- `loss`             sound that a chain loses
- `gain`, `tail`     how loud and how long it comes out
- `progress`, `results`, `event_log`  what is told on the way and at the end
- `dream_steps`      what each step of a dream did; `steps_log` all of them as a table
- `verify`           does a manifest still make what it says
- `edit_in_place`    a file rendered in the place of itself
- `watch_folder`     whatever is put into a folder; `settled_files` which files are whole
- `daw_tracks`, `instrument_stem`     a render for a DAW; a stem made of MIDI
- `folder_lock`      one render at a time into one folder
"""
