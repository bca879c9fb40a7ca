"""scikit-learn's 1,797 handwritten digits as images; the other examples train on them.

needs: pip install scikit-learn
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch.nn import functional
from torch.utils.data import TensorDataset


def digits(size: int = 32) -> TensorDataset:
    """Return images ``[3, size, size]`` from -1 to 1, and which digit each one is."""
    pixels, labels = load_digits(return_X_y=True)
    maps = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    maps = functional.interpolate(maps, (size, size), mode="bicubic")
    return TensorDataset(maps.expand(-1, 3, -1, -1), torch.tensor(labels))
