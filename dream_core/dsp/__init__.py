"""Signal processing that a gradient passes through.

- `framing`   sound cut into overlapping frames, and its transpose
- `stft`      short-time Fourier transforms with an exact inverse, bands and weightings
- `resample`  from one sample rate to another
- `fft_convolution`  long kernels through the frequency domain
"""
