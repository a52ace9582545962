"""Kinds of networks that are trained here, one file each: what a shape may be, and what is built of it.

- `options`   what can be chosen of each kind, within which limits
- `blocks`    poolings, strides without aliasing, and batch normalisation folded away
- `mel_bodies`   what looks at log-mel patches; `wave_bodies` what looks at the waveform
- `key_body`  what hears which keys sound, frame by frame
- `trained`   the networks themselves, and their files
- `embedding_head`  classes of the user's own on a layer of another network
"""
