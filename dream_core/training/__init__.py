"""How the shipped networks were made: data, augmentation, the training loop. Run as modules; see README.md."""
