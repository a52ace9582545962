"""Audio files: samples out of them and into them, and what is measured on the way.

Any file that libsndfile or the system reads; those that studios deliver are written, whole or not at all, the
same bytes for the same samples.

Conventions: ``(channels, samples)`` float32, in blocks or whole; levels in dBFS, dBTP and LUFS.

- `reader`, `writer`      blocks out of a file; blocks into one
- `sinks`, `riff`         encoded samples on their way into a container
- `decoders`              which decoder reads a file
- `containers`, `mpeg`, `flac`  what a file really holds, chunk by chunk and frame by frame
- `mending`, `pieced_file`  headers that state no length, set right for the decoder
- `wide_pcm`, `system_decoder`  what libsndfile misreads, and what it does not read
- `formats`               suffixes, containers, sample types
- `metadata`              time stamps, markers, tags
- `quantiser`             floats to integers, with dither
- `hashing`, `checks`     the hash of decoded samples; what must hold before anything is written
- `stretch`               longer or shorter at its pitch
- `alignment`             stems of different starts and rates on one timeline
- `loudness`, `true_peak`, `limiter`  ITU-R BS.1770, and what holds its ceiling
- `null_test`             what is left when one file is taken from another
- `preview`               sound for a page
"""
