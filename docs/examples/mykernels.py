"""A convolution as people write it: unfold, then one matrix product. It has one fault.

``refconv check docs/examples/mykernels.py:conv2d`` finds and names it.
"""

import torch
import torch.nn.functional as F


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """torch.nn.functional.conv2d by im2col."""
    stride, padding, dilation = (
        (v, v) if isinstance(v, int) else tuple(v) for v in (stride, padding, dilation)
    )
    n, channels, height, width = input.shape
    filters, _, kh, kw = weight.shape
    high = height + 2 * padding[0] - dilation[0] * (kh - 1) - 1
    wide = width + 2 * padding[1] - dilation[1] * (kw - 1) - 1
    columns = F.unfold(input, (kh, kw), dilation, padding, stride)
    columns = columns.view(n, channels // groups, groups, kh * kw, -1)
    filtered = torch.einsum(
        "ncgkp,gock->ngop",
        columns,
        weight.reshape(groups, filters // groups, channels // groups, kh * kw),
    )
    output = filtered.reshape(n, filters, high // stride[0] + 1, wide // stride[1] + 1)
    return output if bias is None else output + bias.view(-1, 1, 1)
