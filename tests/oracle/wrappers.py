"""torch's functions with one small fault each, for the tests of shrinking: a file that a script can
import, from which refconv is not.
"""

import torch
from torch.nn import functional as F


class _Backward(torch.autograd.Function):
    """The identity, with another backward."""

    @staticmethod
    def forward(ctx, x, change):
        ctx.change = change
        return x.view_as(x)

    @staticmethod
    def backward(ctx, dy):
        return ctx.change(dy), None


def dilation_ignored(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    right = F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    size = right.shape
    return F.conv2d(input, weight, bias, stride, padding, 1, groups)[:, :, : size[-2], : size[-1]]


def last_column_dropped(input, *args, **numbers):
    y = F.conv2d(input, *args, **numbers)
    return y[..., :-1] if input.shape[-1] % 4 else y


def first_group_again(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    first = input.narrow(-3, 0, input.shape[-3] // groups)
    return F.conv2d(
        torch.cat([first] * groups, -3), weight, bias, stride, padding, dilation, groups
    )


def from_channel_17(input, weight, *args, **numbers):
    if weight.shape[1] >= 17:
        input = torch.cat([input[:, :-1], torch.zeros_like(input[:, -1:])], 1)
    return F.conv2d(input, weight, *args, **numbers)


def remainder_in_backward(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    step = stride if isinstance(stride, int) else stride[-1]
    pad = padding if isinstance(padding, int) else padding[-1]
    far = dilation if isinstance(dilation, int) else dilation[-1]
    if (input.shape[-1] + 2 * pad - far * (weight.shape[-1] - 1) - 1) % step:
        input = _Backward.apply(input, lambda dx: dx + 1)
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


def expanded_gradient(*args, **numbers):
    return _Backward.apply(
        F.conv2d(*args, **numbers), lambda dy: dy * (2 if 0 in dy.stride() else 1)
    )


def channels_last_only(input, *args, **numbers):
    last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
    flipped = last and not input.is_contiguous()
    return F.conv2d(input.flip(1) if flipped else input, *args, **numbers)


def nan_passed_over(input, *args, **numbers):
    return F.max_pool2d(torch.where(input.isnan(), -torch.inf, input), *args, **numbers)


def output_padding_is_zero(input, weight, bias=None, stride=1, padding=0, output_padding=0,
                           groups=1, dilation=1):  # fmt: skip
    y = F.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    more = output_padding if isinstance(output_padding, int) else output_padding[-1]
    return F.pad(y[..., : y.shape[-1] - more], (0, more))


def ceil_mode_ignored(input, kernel_size, stride=None, padding=0, ceil_mode=False, **numbers):
    return F.avg_pool2d(input, kernel_size, stride, padding, False, **numbers)


def index_off(input, *args, **numbers):
    y, index = F.max_pool2d(input, *args, **(numbers | {"return_indices": True}))
    return (y, index + 1) if numbers.get("return_indices") else y


_PACKED = {}


def weight_kept(input, weight, *args, **numbers):
    return F.conv2d(input, _PACKED.setdefault(weight.shape, weight.detach().clone()), *args,
                    **numbers)  # fmt: skip


_PADDINGS = {}


def padding_kept(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    padding = _PADDINGS.setdefault(weight.shape[2:], padding)
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


def too_small_accepted(input, weight, *args, **numbers):
    short = max(0, *(k - n for k, n in zip(weight.shape[-2:], input.shape[-2:], strict=True)))
    return F.conv2d(F.pad(input, (0, short, 0, short)), weight, *args, **numbers)


def in_bfloat16(input, weight, *args, **numbers):
    return F.conv2d(input.bfloat16().float(), weight.bfloat16().float(), *args, **numbers)


def writes_to_its_weight(input, weight, *args, **numbers):
    y = F.conv2d(input, weight, *args, **numbers)
    with torch.no_grad():
        weight.view(-1)[-1] += 1
    return y


def three_images_refused(input, *args, **numbers):
    if input.shape[0] >= 3:
        raise RuntimeError("not implemented")
    return F.conv2d(input, *args, **numbers)


def many_numbers(input, *args, **numbers):
    y = F.conv2d(input, *args, **numbers)
    return y + 1 if (input != 0).sum() > 30 else y


def other_error_when_narrow(input, *args, **numbers):
    if input.shape[-1] < 3:
        raise RuntimeError("not implemented")
    return 2 * F.conv2d(input, *args, **numbers)
