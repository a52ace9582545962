"""Processors: the nodes of a chain, ours and pedalboard's, under one contract.

Conventions: ``(channels, samples)`` float32, always explicit; parameters in real units under the target's own
names; a stream as a whole is as long as its input and aligned with it, whatever each node withholds.

- `contract`            what a node must offer
- `chain`, `mix`        nodes in series, nodes in parallel
- `dream`               the dream core as a node; `dream_parameters` its types, `dream_needs` what it
                        needs, `dream_lanes` what it is told at every sample, `dream_clocks` what of it
                        counts on the song's clock
- `dreams`              several dreams of one sound, added up
- `noise`               noise to dream from, or beside the sound
- `grow`                a network that plays on in the sound's stead; `grow_places` says where in a song
- `pitch`               the pitch of a sound in blocks, for dreams in tune; `pitch_sources` who can hear it
- `played`              what a song plays, as targets of its dreams
- `transcribe`          what a network hears in a file, as notes
- `hearing`             what a network hears in a stem, class by class or channel by channel, over time;
                        `heard_sound` what of it is strongest, in a stem and in a session
- `vst3`, `vst3_check`  a hosted plugin as a node; what a render relies on of one; `vst3_plugin` the plugin
                        between sounds, `vst3_stream` how one of its streams runs
- `pedalboard_plugin`   pedalboard's own plugins as nodes, from the `pedalboard_table` of their parameters and
                        what is known of their kinds, `pedalboard_members`
- `stream_guard`        threads that share a processor
- `frequency_limit`     parameters in Hz, below half of a sound's rate
- `silence`             where sound goes into a node and none comes out
- `catalogue`           which processors there are, and their parameters, without loading any
"""
