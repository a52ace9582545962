"""Reports: one page a render, with pictures and sound in it.

- `page`      the HTML, whole in itself
- `pictures`  spectrograms, waveforms and depth curves as images
- `assets`    style and script of the page
"""
