"""A small U-Net: what goes down comes up again by transposed convolution, beside what went down.

``refconv explain unet.py:UNet --in 1x64x64``

Source: Ronneberger, Fischer and Brox, arXiv:1505.04597, figure 1, with padding and fewer channels.
"""

import torch
from torch import nn


class Double(nn.Sequential):
    """Two 3x3 convolutions that keep the size."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(
            nn.Conv2d(channels, out, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(out, out, 3, padding=1),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """1×64×64 → 16×64×64 → 32×32×32 → 64×16×16 → 32×32×32 → 16×64×64 → 2×64×64."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = Double(1, 16), Double(16, 32), Double(32, 64)
        self.pool = nn.MaxPool2d(2)
        self.up2, self.merge2 = nn.ConvTranspose2d(64, 32, 2, 2), Double(64, 32)
        self.up1, self.merge1 = nn.ConvTranspose2d(32, 16, 2, 2), Double(32, 16)
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of two classes for each pixel."""
        a = self.down1(x)
        b = self.down2(self.pool(a))
        c = self.bottom(self.pool(b))
        b = self.merge2(torch.cat([b, self.up2(c)], dim=1))
        a = self.merge1(torch.cat([a, self.up1(b)], dim=1))
        return self.head(a)
