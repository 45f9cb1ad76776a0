"""The first Inception block of GoogLeNet: four branches side by side, their channels joined.

``refconv explain inception.py:Inception --in 192x28x28``

Source: Szegedy et al., arXiv:1409.4842, table 1, row inception (3a).
"""

import torch
import torch.nn.functional as F
from torch import nn


class Inception(nn.Module):
    """192×28×28 → 64 + 128 + 32 + 32 = 256×28×28."""

    def __init__(self) -> None:
        super().__init__()
        self.branch1 = nn.Conv2d(192, 64, 1)
        self.reduce3, self.branch3 = nn.Conv2d(192, 96, 1), nn.Conv2d(96, 128, 3, padding=1)
        self.reduce5, self.branch5 = nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding=2)
        self.project = nn.Conv2d(192, 32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The four branches, joined on the channel axis."""
        branches = [
            F.relu(self.branch1(x)),
            F.relu(self.branch3(F.relu(self.reduce3(x)))),
            F.relu(self.branch5(F.relu(self.reduce5(x)))),
            F.relu(self.project(F.max_pool2d(x, 3, stride=1, padding=1))),
        ]
        return torch.cat(branches, dim=1)
