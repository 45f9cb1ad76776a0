"""NetD, a discriminator for 96×96 pictures whose paper leaves the padding out.

``refconv compare netd.py:NetD --in 3x96x96``
"""

import torch
from torch import nn


def block(channels: int, out: int, kernel: int, stride: int, norm: bool = True) -> list[nn.Module]:
    """Convolution without bias, batch norm, LeakyReLU; padding 1 fits k3 s1 and k4 s2."""
    layers: list[nn.Module] = [nn.Conv2d(channels, out, kernel, stride, 1, bias=False)]
    if norm:
        layers.append(nn.BatchNorm2d(out))
    return [*layers, nn.LeakyReLU(0.2, inplace=True)]


class NetD(nn.Module):
    """3×96×96 → 64×48×48 → 128×24×24 → 256×12×12 → 512×6×6 → 1024 → 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *block(3, 64, 3, 1, norm=False),
            *block(64, 64, 4, 2),
            *block(64, 128, 3, 1),
            *block(128, 128, 4, 2),
            *block(128, 256, 3, 1),
            *block(256, 256, 4, 2),
            *block(256, 512, 3, 1),
            *block(512, 512, 4, 2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(512 * 6 * 6, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1), nn.Sigmoid()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The probability that each picture is real."""
        x = torch.flatten(self.features(x), 1)
        return self.classifier(x).view(-1, 1).squeeze(1)
