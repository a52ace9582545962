"""What a network hears of a waveform, differentiable throughout.

- `log_mel`  log-mel frames at the network's rate
- `patches`  frames cut into the patches a network takes
- `samples`  the waveform itself cut into patches
- `picture`  log-mel patches as pictures, for networks that learnt to see; `octaves` hears for coloured ones
"""
