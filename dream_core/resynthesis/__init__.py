"""From what a network looks at back to sound: magnitudes of mel bands, and phases of magnitudes.

- `mel_inversion`  mel bands -> the magnitudes they were added up from, as far as they tell
- `griffin_lim`    magnitudes -> a waveform whose spectrum has them, as far as there is one
- `minimum_phase`  magnitudes -> the spectrum of the filter that answers soonest
"""
