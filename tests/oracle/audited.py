"""What the tests of the audit audit: a small net of many kinds of layers, and faults to plant."""

import re

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=2)
        self.wide = nn.Conv2d(channels, channels, 3, padding=2, dilation=2, bias=False)

    def forward(self, x):
        return F.avg_pool2d(F.relu(self.conv(x)) + self.wide(x), 2)


class Net(nn.Module):
    """Grouped, dilated, strided and transposed convolutions; layers and functions; dropout."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, stride=2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.ModuleList([Block(8), Block(8)])
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1)
        self.norm, self.drop, self.head = nn.BatchNorm2d(4), nn.Dropout(0.2), nn.Linear(4, 2)

    def forward(self, x):
        x = self.pool(F.relu(self.stem(x), inplace=True))
        for block in self.blocks:
            x = block(x)
        x = self.drop(self.norm(self.up(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def net_and_input(size=65):
    torch.manual_seed(0)
    return Net(), torch.randn(2, 3, size, size)


class Spoil(TorchDispatchMode):
    """Below the audit: changes result ``at`` of the ``nth`` call of the operators that match."""

    def __init__(self, operators, direction, fault, nth=0, at=0):
        super().__init__()
        self.operators, self.backward = operators, direction == "backward"
        self.fault, self.nth, self.at, self.count = fault, nth, at, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        called_back = torch._C._current_autograd_node() is not None
        if called_back != self.backward or not re.search(self.operators, func._schema.name):
            return out
        self.count += 1
        if self.count != self.nth + 1:
            return out
        if isinstance(out, torch.Tensor):
            return self.fault(out)
        return tuple(self.fault(o) if i == self.at else o for i, o in enumerate(out))


class Tf32(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution.default:
            args = (lost_digits(args[0]), lost_digits(args[1]), *args[2:])
        return func(*args, **(kwargs or {}))


def zeroed_last_channel(y):
    y = y.clone()
    y[:, -1] = 0
    return y


def lost_digits(y):
    """Rounded to the 11 digits of TF32, as if the inputs had been."""
    return (y.view(torch.int32) + 2**12 & -(2**13)).view(torch.float32)


def shifted(y):
    return torch.roll(y, 1, -1)
