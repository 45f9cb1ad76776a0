"""refconv.nn: torch.nn's layers, computed by ours."""

import copy
import inspect
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import refconv.nn as rnn
from refconv import errors

SIZES = {1: (11,), 2: (9, 8), 3: (6, 7, 8)}


def _cases():
    """Name of a layer, its arguments, the channels of its input."""
    for r in (1, 2, 3):
        per_axis = tuple(range(2, 2 + r))
        yield f"Conv{r}d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}
        yield f"Conv{r}d", (4, 6, per_axis), {"padding": "same", "dilation": 2, "bias": False}
        yield f"Conv{r}d", (4, 2, 3), {"padding": "valid"}
        for mode in ("reflect", "replicate", "circular"):
            yield f"Conv{r}d", (4, 2, 3), {"padding": 2, "padding_mode": mode}
        yield f"Conv{r}d", (4, 2, 2), {"padding": "same", "padding_mode": "circular"}
        yield f"ConvTranspose{r}d", (4, 6, 3), {"stride": 2, "output_padding": 1, "groups": 2}
        yield f"LazyConv{r}d", (6, 3), {"padding": 1}
        yield f"LazyConvTranspose{r}d", (6, 3), {"stride": 2}
        yield f"MaxPool{r}d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}
        yield f"MaxPool{r}d", (per_axis if r > 1 else 2,), {"return_indices": True, "dilation": 2}
        yield f"AvgPool{r}d", (3,), {"padding": 1, "count_include_pad": False, "ceil_mode": True}
        if r > 1:
            yield f"AvgPool{r}d", (2,), {"stride": 1, "divisor_override": 3}
        yield f"LPPool{r}d", (2, 3), {"stride": 2, "ceil_mode": True}
        yield f"AdaptiveAvgPool{r}d", (3,), {}
        yield f"AdaptiveMaxPool{r}d", (2,), {"return_indices": True}
        if r > 1:
            yield f"AdaptiveAvgPool{r}d", ((None, *per_axis[1:]),), {}
        around = tuple(range(1, 1 + r)) * 2
        yield f"ConstantPad{r}d", (around, 1.5), {}
        for stem in ("Zero", "Reflection", "Replication", "Circular"):
            yield f"{stem}Pad{r}d", (around,), {}
    yield "Unfold", (3,), {"dilation": 2, "padding": 1, "stride": 2}


CASES = list(_cases())


def _rank(name):
    return int(name[-2]) if name[-1] == "d" and name[-2].isdigit() else 2


def _input(name, seed=0, dtype=torch.float64):
    values = torch.randn(2, 4, *SIZES[_rank(name)], generator=torch.Generator().manual_seed(seed))
    return (values.abs() if "LP" in name else values).to(dtype).requires_grad_()


def _pair(name, args, keywords):
    """Theirs and ours with the same weights, in float64."""
    torch.manual_seed(0)
    theirs = getattr(nn, name)(*args, **keywords).double()
    ours = getattr(rnn, name)(*args, **keywords, backend="im2col").double()
    if "Lazy" in name:
        theirs(_input(name)), ours(_input(name))
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return theirs, ours


def _first(y):
    return y[0] if isinstance(y, tuple) else y


def _gradients(layer, x, y):
    weights = list(layer.parameters())
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    return torch.autograd.grad(y, [x, *weights], grad)


def _same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "args", "keywords"), CASES, ids=lambda v: str(v).replace(" ", ""))
def test_forward_and_gradients(name, args, keywords):
    theirs, ours = _pair(name, args, keywords)
    x = _input(name)
    want, got = theirs(x), ours(x)
    _same(got, want)
    _same(_gradients(ours, x, _first(got)), _gradients(theirs, x, _first(want)))
    assert type(ours).__name__ == type(theirs).__name__
    assert repr(ours) == f"{repr(theirs)[:-1]}, backend='im2col')"


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unpool(rank):
    x = _input(f"MaxPool{rank}d").detach()
    pooled, index = getattr(nn, f"MaxPool{rank}d")(2, return_indices=True)(x)
    pooled.requires_grad_()
    theirs, ours = (getattr(n, f"MaxUnpool{rank}d")(2) for n in (nn, rnn))
    want, got = (layer(pooled, index, output_size=x.shape) for layer in (theirs, ours))
    _same(got, want)
    _same(_gradients(ours, pooled, got), _gradients(theirs, pooled, want))


def test_fold():
    columns = _input("Fold").reshape(2, 4, -1)[..., :20].detach().requires_grad_()
    theirs, ours = (n.Fold((5, 6), 2) for n in (nn, rnn))
    _same(ours(columns), theirs(columns))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_transposed_output_size(rank):
    theirs, ours = _pair(f"ConvTranspose{rank}d", (4, 3, 3), {"stride": 3, "padding": 1})
    x = _input(f"ConvTranspose{rank}d")
    size = [3 * s - 1 for s in x.shape[2:]]
    _same(ours(x, output_size=size), theirs(x, output_size=size))
    with pytest.raises(ValueError, match="requested an output size"):
        ours(x, output_size=[1] * rank)


def test_every_layer_has_a_test():
    tested = {name for name, *_ in CASES} | {"Fold"} | {f"MaxUnpool{r}d" for r in (1, 2, 3)}
    assert tested == set(rnn.__all__) - {"convert"}


@pytest.mark.parametrize("name", [n for n in rnn.__all__ if n != "convert"])
def test_class(name):
    ours, theirs = getattr(rnn, name), getattr(nn, name)
    assert issubclass(ours, theirs)
    assert (ours.__module__, ours.__qualname__) == ("refconv.nn", name)
    assert f"torch.nn.{name}" in ours.__doc__
    *parameters, backend = inspect.signature(ours).parameters.values()
    assert parameters == list(inspect.signature(theirs).parameters.values())
    assert (backend.name, backend.kind.name, backend.default) == ("backend", "KEYWORD_ONLY", "auto")


def test_lazy_layer_becomes_ours():
    layer = rnn.LazyConv2d(6, 3, backend="im2col")
    assert "backend='im2col'" in repr(layer)
    layer(torch.zeros(1, 4, 5, 5))
    assert type(layer) is rnn.Conv2d
    assert layer.backend == "im2col"


def test_copies_and_files():
    layer = rnn.Conv2d(3, 4, 3, backend="im2col")
    x = torch.randn(1, 3, 6, 6)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded):
        assert type(other) is rnn.Conv2d
        assert other.backend == "im2col"
        assert torch.equal(other(x), layer(x))
    assert layer.to(torch.bfloat16)(x.bfloat16()).dtype is torch.bfloat16
    assert "backend" not in repr(rnn.MaxPool2d(2))


def test_compiles():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 2, 3, stride=2),
        nn.AdaptiveAvgPool2d(2),
    )
    ours = rnn.convert(net, "im2col")
    x = torch.randn(2, 3, 8, 8)
    y = torch.compile(ours, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(y, net(x))
    y.sum().backward()
    assert ours[0].weight.grad is not None


class Shared(nn.Module):
    """A layer used twice, a subclass, a functional call."""

    class Own(nn.Conv2d):
        pass

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 3, padding=1)
        self.again = self.a
        self.own = self.Own(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x):
        return nn.functional.max_pool2d(self.bn(self.own(self.again(self.a(x)))), 2)


def test_convert_keeps_everything():
    net = Shared()
    net.a.weight.requires_grad_(False)
    net.bn.eval()
    calls = []
    net.a.register_forward_hook(lambda *_: calls.append(1))
    ours = rnn.convert(net, "im2col")
    assert type(net.a) is nn.Conv2d  # the original is untouched
    assert type(ours.a) is rnn.Conv2d
    assert ours.a is ours.again
    assert type(ours.own) is Shared.Own
    assert type(ours.bn) is nn.BatchNorm2d
    assert not ours.a.weight.requires_grad
    assert ours.training
    assert not ours.bn.training
    assert ours.a.weight is not net.a.weight
    assert list(ours.state_dict()) == list(net.state_dict())
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(ours(x), net(x))
    assert len(calls) == 4
    net.load_state_dict(ours.state_dict())


def test_convert_in_place_and_again():
    net = Shared()
    weight = net.a.weight
    assert rnn.convert(net, "naive", inplace=True) is net
    assert net.a.weight is weight
    assert rnn.convert(net, "im2col").a.backend == "im2col"
    assert net.a.backend == "naive"
    bare = nn.Conv2d(3, 4, 3)
    assert type(rnn.convert(bare)) is rnn.Conv2d
    assert type(rnn.convert(nn.LazyConv3d(3, 2))) is rnn.LazyConv3d


def test_convert_keeps_parametrizations():
    net = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.MaxPool2d(2))
    ours = rnn.convert(net, "im2col")
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(ours(x), net(x))
    assert list(ours.state_dict()) == list(net.state_dict())
    assert isinstance(ours[0], rnn.Conv2d)
    assert not isinstance(net[0], rnn.Conv2d)
    with torch.no_grad():
        ours[0].parametrizations.weight.original0.mul_(2)
    assert not torch.allclose(ours(x), net(x))
    parametrize.remove_parametrizations(ours[0], "weight")
    assert type(ours[0]) is rnn.Conv2d


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_convert_keeps_old_weight_norm():
    net = nn.utils.weight_norm(nn.Conv2d(3, 4, 3))
    x = torch.randn(1, 3, 8, 8)
    want = net(x)
    with pytest.raises(errors.ArgumentError, match=r"torch cannot copy this Conv2d .*inplace=True"):
        rnn.convert(net)
    torch.testing.assert_close(rnn.convert(net, "im2col", inplace=True)(x), want)


def test_errors():
    with pytest.raises(errors.UsageError, match="unknown backend 'nope'; there are: auto"):
        rnn.Conv2d(3, 4, 3, backend="nope")
    with pytest.raises(errors.UsageError, match="unknown backend"):
        rnn.convert(nn.ReLU(), "nope")
    with pytest.raises(errors.ArgumentError, match="backend must be a string, got 3"):
        rnn.MaxPool2d(2, backend=3)
    with pytest.raises(errors.ArgumentError, match=r"expected a torch.nn.Module, got function"):
        rnn.convert(nn.functional.relu)
    with pytest.raises(errors.ShapeError, match="conv3d takes it"):
        rnn.Conv2d(3, 4, 3)(torch.zeros(1, 3, 4, 4, 4))
    with pytest.raises(ValueError, match="groups"):
        rnn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(errors.UnsupportedError, match="no algorithm 'fast'"):
        rnn.Conv2d(3, 4, 3, backend="im2col:fast")(torch.zeros(1, 3, 5, 5))
