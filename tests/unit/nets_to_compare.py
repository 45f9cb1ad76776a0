"""What a user's file may hold: models of every kind for test_models, right and wrong."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """A residual block with a branch, a shared layer and work in place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.bn = nn.BatchNorm2d(4)
        self.branch = nn.Conv2d(4, 4, 1, bias=False)

    def forward(self, x):
        y = F.relu(self.bn(self.conv(x)), inplace=True)
        y = self.conv(y).add_(self.branch(x))
        return F.avg_pool2d(y, 2)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2))
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Decoder(nn.Module):
    """Pooling and its inverse, a transposed convolution, a tuple as the result."""

    def __init__(self):
        super().__init__()
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)
        self.up = nn.ConvTranspose2d(3, 2, 3, stride=2, output_padding=1)

    def forward(self, x):
        y, index = self.pool(x)
        y, size = F.max_unpool2d(y, index, 2), x.shape[-2:]
        y, index = F.max_pool2d(y, kernel_size=2, return_indices=True)
        return self.up(self.unpool(y, index, output_size=size)), {"size": torch.tensor(size)}


class Line(nn.Module):
    def forward(self, x):
        x = torch.max_pool1d(x, 2)
        return F.lp_pool1d(F.pad(x, (1, 1)), 2.0, 2), torch.adaptive_max_pool1d(x, 2)


class Picture(nn.Module):
    def forward(self, x):
        return F.avg_pool2d(x, 2)


class Needs(nn.Module):
    def __init__(self, width, depth, bias=True):
        super().__init__()


class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        raise KeyError("no weights")


class Wrong(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 64, 3)
        self.fc = nn.Linear(4096, 10)

    def forward(self, x):
        return self.fc(torch.flatten(F.max_pool2d(self.conv(x), 2), 1))


class Two(nn.Module):
    def forward(self, x, y):
        return x


class Forked(nn.Module):
    """Looks at its own class, so that the converted model does something else."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.conv(x)
        return x if type(self.conv) is nn.Conv2d else F.max_pool2d(x, 2)


def lazy():
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))


instance = nn.Conv2d(3, 4, 3)
number = 3
relu = nn.ReLU()
