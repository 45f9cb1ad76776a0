"""What a user's file may hold: nets that stop, nets of every kind, nets that need numbers."""

import torch
import torch.nn.functional as F
from torch import nn


class WrongFlatten(nn.Module):
    """MNIST's net as it would be with one more pool."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.fc1 = nn.Linear(4096, 128)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        return self.fc1(torch.flatten(x, 1))


class WrongView(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 5)

    def forward(self, x):
        return F.max_pool2d(self.conv(x), 2).view(-1, 16 * 5 * 5)


class NoFlatten(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 5), nn.Linear(16 * 14 * 14, 10)

    def forward(self, x):
        return self.fc(F.max_pool2d(self.conv(x), 2))


class WrongChannels(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.pool, self.conv2 = nn.Conv2d(3, 6, 5), nn.MaxPool2d(2), nn.Conv2d(8, 16, 5)

    def forward(self, x):
        return self.conv2(self.pool(F.relu(self.conv1(x))))


class LargeKernel(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)

    def forward(self, x):
        return self.conv2(F.max_pool2d(self.conv1(x), 2))


class SameStride(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(
            3, 8, 3,
            stride=2, padding="same",
        )  # fmt: skip

    def forward(self, x):
        return self.stem(x)


class SameStrideCalled(nn.Module):
    """The same, called as a function."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 3, 4, 4))

    def forward(self, x):
        return F.conv2d(x, self.weight, stride=2, padding="same")


class Volume(nn.Module):
    """A 5-D input into conv2d."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, 33, 3)

    def forward(self, x):
        return self.conv(x)


class WrongNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(16)

    def forward(self, x):
        return self.bn(self.conv(x))


class Skip(nn.Module):
    """An addition whose sides differ in size and channels."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, x):
        return x + self.down(x)


class Shuffle(nn.Module):
    """Enlarges in every way; two inputs; a lazy layer; parameters without a layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.LazyConv2d(4, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.label = nn.Linear(10, 4)
        self.spare = nn.Linear(7, 7)
        self.act = nn.PReLU()

    def forward(self, x, y):
        x = self.act(self.conv(x) * self.scale)
        x = F.pixel_shuffle(self.up(x), 2)
        x = F.interpolate(x, scale_factor=2) + self.label(y)[:, :1, None, None]
        return x.permute(0, 2, 3, 1), x.mean((2, 3))


class Sampled(nn.Module):
    """Shapes that depend on numbers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.conv(x)
        kept = torch.nonzero(y > 0)
        if y.sum().item() > 1e9:
            return y
        return kept.float().mean(0)


class Raises(nn.Module):
    """A forward that refuses in its own words."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        if x.shape[-1] != 7:
            raise ValueError("7 columns, please")
        return x


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


class Custom(nn.Module):
    """An autograd function, a scripted layer, and an LSTM."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3)
        self.gate = torch.jit.script(Gate())
        self.lstm = nn.LSTM(8, 5, batch_first=True)

    def forward(self, x):
        x = self.gate(Own.apply(self.conv(x)))
        y, _ = self.lstm(x.transpose(1, 2))
        return y[:, -1]


class Gate(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


def built():
    """A function that builds a net."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh())


class NumPy(nn.Module):
    """Leaves torch and comes back."""

    def __init__(self):
        super().__init__()
        self.twice = Twice()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(self.twice(x))


class Twice(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.numpy() * 2)


class Attention(nn.Module):
    """Tokens: an embedding, a transformer's layer, a matrix product, weights that are tied."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        x = self.layer(self.embed(x))
        return F.linear(x, self.embed.weight) @ torch.zeros(50, 2)


class Tokens(nn.Module):
    """Positions as a sequence, a learnt token and learnt places, a normalised weight."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 8, 8, bias=False)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.token, self.place = nn.Parameter(torch.zeros(1, 8, 1)), nn.Parameter(torch.zeros(8, 5))
        self.head = nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 3, 1))

    def forward(self, x):
        x, _ = self.pool(self.patch(x))
        return self.head(torch.cat([x.flatten(2), self.token], dim=2) + self.place)


class Grown(nn.Module):
    """A view that makes two rows of a picture: no error, but not what was meant."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(200, 10)

    def forward(self, x):
        return self.fc(x.view(-1, 200))


instance = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, groups=4))
