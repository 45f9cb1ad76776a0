"""What users ask (docs/learn): every number of an answer that a forward pass can show."""

import pytest
import torch

import refconv
import refconv.functional as F
import refconv.nn as nn


def zeros(*shape):
    """An input of which only the shape matters."""
    return torch.zeros(shape)


def shapes(x, layers):
    """The shape after each layer, without the batch axis."""
    seen = []
    for layer in layers:
        x = layer(x)
        seen.append(tuple(x.shape[1:]))
    return seen


def parameters(module):
    """How many learnable numbers a module has."""
    return sum(p.numel() for p in module.parameters())


def test_lenet_on_32_by_32():
    """Where does 16·5·5 come from?"""
    layers = [nn.Conv2d(3, 6, 5), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2)]
    want = [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5)]
    assert shapes(zeros(1, 3, 32, 32), layers) == want
    assert 16 * 5 * 5 == 400


def test_cs231n_rule():
    """W2 = (W1 - F + 2P)/S + 1; F·F·D1 weights a filter, times K in all, and K biases."""
    assert refconv.out_size(32, 5) == 28
    conv = nn.Conv2d(3, 6, 5)
    assert conv.weight[0].numel() == 75
    assert parameters(conv) == 75 * 6 + 6 == 456


NETD = [  # input channels, output channels, kernel, stride, output size; padding 1 throughout
    (3, 64, 3, 1, 96),
    (64, 64, 4, 2, 48),
    (64, 128, 3, 1, 48),
    (128, 128, 4, 2, 24),
    (128, 256, 3, 1, 24),
    (256, 256, 4, 2, 12),
    (256, 512, 3, 1, 12),
    (512, 512, 4, 2, 6),
]


def test_netd_sizes():
    """96 → 96, 48, 48, 24, 24, 12, 12, 6 with padding 1 throughout; then 512·6·6."""
    layers = [nn.Conv2d(c, k, size, stride, 1, bias=False) for c, k, size, stride, _ in NETD]
    want = [(k, out, out) for _, k, _, _, out in NETD]
    assert shapes(zeros(1, 3, 96, 96), layers) == want
    assert 512 * 6 * 6 == 18432


def test_several_paddings_may_fit():
    """The floor hides some: k4 s2 on 96 gives 48 for padding 1 only; k4 s1 keeps 32 for none."""
    assert [p for p in range(4) if refconv.out_size(96, 4, 2, p) == 48] == [1]
    assert [p for p in range(4) if refconv.out_size(32, 4, 1, p) == 32] == []
    assert refconv.out_size(32, 4, 1, refconv.same_padding(32, 4)) == 32
    assert [p for p in range(4) if refconv.out_size(7, 3, 3, p) == 2] == [0]
    assert [p for p in range(4) if refconv.out_size(8, 3, 3, p) == 3] == [1]


def test_valid_drops_the_rest():
    """In 7, kernel 5, stride 3: one position."""
    assert F.conv1d(zeros(1, 1, 7), zeros(1, 1, 5), stride=3).shape[-1] == 1


def test_tensorflows_same_with_stride():
    """The same case padded: three positions with four zeros, two left and two right."""
    padding = refconv.same_padding(7, 5, 3, style="tf")
    assert padding == (2, 2)
    assert F.conv1d(F.pad(zeros(1, 1, 7), padding), zeros(1, 1, 5), stride=3).shape[-1] == 3
    with pytest.raises(refconv.ShapeError, match="same_padding"):
        F.conv1d(zeros(1, 1, 7), zeros(1, 1, 5), stride=3, padding="same")


def test_same_with_odd_kernels():
    """With stride 1 and odd k, p = (k - 1)/2."""
    for k in (1, 3, 5, 7):
        x, w = torch.randn(1, 1, 9, 9), torch.randn(1, 1, k, k)
        assert torch.equal(F.conv2d(x, w, padding="same"), F.conv2d(x, w, padding=(k - 1) // 2))


def test_dilation_inserts_gaps():
    """Effective kernel k + (k - 1)(d - 1)."""
    assert refconv.effective_kernel(3, 2) == 3 + 2 * 1 == 5
    assert F.conv1d(zeros(1, 1, 7), zeros(1, 1, 3), dilation=2).shape[-1] == 3


def test_channels_last_data():
    """N, H, W, C data: permuted, not copied, and the result keeps the layout."""
    nhwc = torch.randn(2, 8, 9, 3)
    x, w = nhwc.permute(0, 3, 1, 2), torch.randn(4, 3, 3, 3)
    y = F.conv2d(x, w)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(y, F.conv2d(x.contiguous(), w))


def test_documented_examples():
    """The page's tensors: conv1d, conv2d and conv3d."""
    assert F.conv1d(zeros(20, 16, 50), zeros(33, 16, 3)).shape == (20, 33, 48)
    assert F.conv2d(zeros(1, 4, 5, 5), zeros(8, 4, 3, 3), padding=1).shape == (1, 8, 5, 5)
    x, w = zeros(20, 16, 50, 10, 20).to("meta"), zeros(33, 16, 3, 3, 3).to("meta")
    assert F.conv3d(x, w).shape == (20, 33, 48, 8, 18)
    with pytest.raises(refconv.ShapeError, match="conv3d takes it"):
        F.conv2d(x, w)


def test_parameters_of_a_layer():
    """Conv2d(1, 32, 5, stride=1, padding=2): 5·5·1·32 + 32 = 832; 28 stays 28."""
    layer = nn.Conv2d(1, 32, 5, stride=1, padding=2)
    assert parameters(layer) == 832
    assert layer(zeros(1, 1, 28, 28)).shape == (1, 32, 28, 28)


@pytest.mark.parametrize(
    ("s", "p", "op", "d"), [(1, 0, 0, 1), (2, 1, 0, 1), (2, 1, 1, 1), (3, 2, 1, 2)]
)
def test_transposed_size(s, p, op, d):
    """(in - 1)s - 2p + d(k - 1) + output_padding + 1."""
    k, size = 4, 7
    layer = nn.ConvTranspose2d(2, 3, k, s, p, op, dilation=d)
    want = (size - 1) * s - 2 * p + d * (k - 1) + op + 1
    assert refconv.conv_transpose_out_size(size, k, s, p, op, d) == want
    assert layer(zeros(1, 2, size, size)).shape == (1, 3, want, want)


def test_how_many_kernels():
    """64 kernels of 4×4×1; then 128 of 4×4×64, 8192 two-dimensional ones, 131,200 parameters."""
    first, second = nn.Conv2d(1, 64, 4, 2, 1), nn.Conv2d(64, 128, 4, 2, 1)
    assert first.weight.shape == (64, 1, 4, 4)
    assert second.weight.shape == (128, 64, 4, 4)
    assert second.weight.shape[0] * second.weight.shape[1] == 8192
    assert parameters(second) == 131_200
    assert shapes(zeros(1, 1, 28, 28), [first, second]) == [(64, 14, 14), (128, 7, 7)]


def test_mnist_flattens_to_9216():
    """1×28×28 → 32×26×26 → 64×24×24 → 64×12×12."""
    layers = [nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3), nn.MaxPool2d(2)]
    assert shapes(zeros(1, 1, 28, 28), layers) == [(32, 26, 26), (64, 24, 24), (64, 12, 12)]
    assert layers[-1](zeros(1, 64, 24, 24)).numel() == 9216
