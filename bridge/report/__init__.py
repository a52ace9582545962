"""Reports: one page a render, with pictures and sound in it.

- `page`       the HTML, whole in itself
- `stem_view`  what is seen and heard of a stem: before, after, difference
- `pictures`   spectrograms and waveforms
- `hearing_picture`  classes over time, as heat maps; `search_picture` trials as parallel coordinates
- `charts`     envelopes over bars and markers
- `atlas`      what each channel of a network wants to hear, as a page of its own
- `assets`     templates, styles and scripts of the pages
"""
