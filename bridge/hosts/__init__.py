"""Hosting third-party plugins: what stands behind :class:`bridge.VST3`.

A *backend* loads one plugin in this very process and answers in its own raw terms. A *driver* makes a stream
of it: it applies events at their sample, cuts the sound into blocks and takes the latency out. The driver
runs either here or, by default, in a spawned child process of its own, with the audio in shared memory, so
that a crash or a hang costs one stem and never the render.

- `contract`          what a backend offers; the records that cross the process border
- `pedalboard_backend`, `minihost_backend`   the two hosts
- `open_plugin`       which one, in which process
- `driver`            one backend as a stream: events, blocks, latency; the same code in both processes
- `child_driver`      the parent's side of a child: spawn, time out, kill, reap
- `start_child`       a process of our own for a plugin
- `child_main`        what the child runs
- `wire`              frames and shared memory between the two
- `faults`            what can go wrong in a plugin, as data and as an error
- `supervisor`        a driver that may die: fail, bypass or repeat
- `plugin_stream`     channels that fit, short pieces gathered
- `module_facts`      what a plugin says of its parameters and no host passes on, asked of its module
- `parameter_roles`   what each parameter is for; in which order a plugin is told state, program, parameters
- `descriptions`      what a plugin shows of its parameters, read alike under every host
- `parameter_laws`    a plugin's 0..1 travel in real units, exactly
- `parameter_values`  where the parameters stand, by name
- `instances`         one plugin loaded once, or twice for two channels, with one state
- `events`            lanes, notes and the song's clock as events at samples
- `vstpreset`         plugin state as .vstpreset bytes, checked before a plugin sees them
- `vst2_state`        .fxp and .fxb for the VST3 plugins that took a VST2 plugin's place
- `bundle`            where a bundle keeps its binary, and whether this machine can load it
- `elf_needs`         which libraries and which C library a Linux binary wants
- `plugin_factory`    which plugins a bundle holds, asked of the bundle itself
- `narrow_bundle`     a bundle of many that shows only one, for the host that opens only the first
- `plugin_scan`       standard folders, what is known already, a bundle at a time
- `scan_bundle`, `scan_child`   what is in one bundle and which host plays it: both sides of a child
- `plugin_cache`      what scans have found, in a file
- `blocklist`         plugins the user has blocked for good
- `installed_plugins` from what a user names to a bundle and a plugin in it
- `editor`, `editor_child`      a plugin's own window, in a process of its own
"""
