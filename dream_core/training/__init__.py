"""How the shipped networks were made: data, augmentation, training loop. See README.md."""
