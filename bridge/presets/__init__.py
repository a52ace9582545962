"""Presets: what one may say, how it is read and found, and changes to it.

A preset is data. Reading one loads no network, no plugin and no audio code; what is wrong with it is said
with its place in the file, what is accepted and the nearest name.

- `model`       everything a preset may say, validated
- `policies`    how loud and how long a delivered stem shall be
- `load`        a file by path or name, on top of what it extends
- `migrate`     presets of older versions of the format
- `documents`   TOML and JSON that anyone may have written
- `keyswitches` keys of the MIDI map that choose what dreams maximise
- `overrides`   variations and ``node.param=value``
- `trust`       what a preset reaches outside its folder, and whether it may
- `library`     where presets live, and which one a name means
- `toml_lines`  the line of a TOML text that an error is about
"""
