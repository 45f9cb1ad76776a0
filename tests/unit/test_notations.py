"""torch code, benchdnn strings and MIOpenDriver lines mean what their own tools mean by them."""

import inspect

import pytest

from refconv import label, notation_benchdnn, notation_torch
from refconv.errors import RefconvError
from refconv.ops import OPS

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

MODULES = [
    ("Conv1d(16, 33, 3, stride=2)", (20, 16, 50)),
    ("Conv2d(6, 16, 5)", (1, 6, 14, 14)),
    ("Conv2d(6, 16, (3, 5), (2, 1), (4, 2), (3, 1), 2, False)", (6, 20, 21)),
    ("Conv2d(4, 8, 4, padding='same', dilation=3, dtype=torch.float64)", (1, 4, 9, 9)),
    ("Conv3d(4, 6, [3, 1, 2], padding=1, bias=False)", (2, 4, 5, 6, 7)),
    ("ConvTranspose1d(4, 6, 3, 2, 1, 1)", (2, 4, 9)),
    ("ConvTranspose2d(4, 6, 3, 3, 1, 2, 2, True, 2)", (2, 4, 9, 8)),
    ("ConvTranspose3d(4, 2, (2, 3, 4), stride=(2, 1, 2), bias=False)", (4, 3, 4, 5)),
    ("MaxPool1d(3, 2, 1, 2, False, True)", (3, 17)),
    ("MaxPool2d(2)", (1, 6, 28, 28)),
    ("MaxPool2d((3, 2), stride=(2, 1), padding=(0, 1), ceil_mode=True)", (5, 11, 12)),
    ("MaxPool3d(3, padding=1)", (1, 2, 7, 8, 9)),
    ("AvgPool1d(4, 2, 1, True, False)", (2, 3, 11)),
    ("AvgPool2d(3, 2, 1, False, False, 5)", (1, 2, 9, 10)),
    ("AvgPool3d((3, 2, 1), divisor_override=2)", (1, 2, 9, 10, 11)),
    ("LPPool1d(2, 3)", (2, 3, 11)),
    ("LPPool2d(1.5, (3, 2), 2, True)", (2, 3, 11, 12)),
    ("LPPool3d(3, 2)", (2, 3, 4, 5, 6)),
    ("AdaptiveAvgPool1d(5)", (2, 3, 11)),
    ("AdaptiveAvgPool2d((None, 3))", (2, 3, 11, 12)),
    ("AdaptiveAvgPool3d(2)", (2, 3, 4, 5, 6)),
    ("AdaptiveMaxPool1d(5)", (3, 11)),
    ("AdaptiveMaxPool2d((4, 3))", (2, 3, 11, 12)),
    ("AdaptiveMaxPool3d((1, 2, 3))", (2, 3, 4, 5, 6)),
    ("Unfold(3, 2, 1, (1, 2))", (2, 3, 8, 9)),
    ("Fold((4, 5), kernel_size=(2, 2))", (1, 12, 12)),
    ("ConstantPad1d((3, 1), 3.5)", (1, 2, 4)),
    ("ConstantPad2d(2, value=1)", (1, 2, 4, 5)),
    ("ConstantPad2d(2, 1.5)", (2, 1, 2, 4, 5)),
    ("ConstantPad3d((3, 3, 6, 6, 0, 1), 3)", (1, 2, 4, 5, 6)),
    ("ZeroPad1d(-1)", (1, 2, 4)),
    ("ZeroPad2d((1, 0, 2, -1))", (1, 2, 4, 5)),
    ("ZeroPad3d(1)", (1, 2, 4, 5, 6)),
    ("ReflectionPad1d(2)", (2, 4)),
    ("ReflectionPad2d((1, 1, 2, 0))", (1, 3, 4, 5)),
    ("ReflectionPad3d(1)", (1, 2, 4, 5, 6)),
    ("ReplicationPad1d((3, 1))", (1, 2, 4)),
    ("ReplicationPad2d(2)", (2, 4, 5)),
    ("ReplicationPad3d((3, 3, 6, 6, 1, 1))", (1, 2, 4, 5, 6)),
    ("CircularPad1d(2)", (1, 2, 4)),
    ("CircularPad2d((1, 1, 2, 0))", (1, 3, 4, 5)),
    ("CircularPad3d(1)", (2, 4, 5, 6)),
]


@pytest.mark.parametrize(("text", "shape"), MODULES, ids=[text for text, _ in MODULES])
def test_a_module_is_what_torch_makes_of_it(text, shape):
    problem = label.read(f"nn.{text}", in_shape=shape)
    dtype = getattr(torch, problem.dtype)
    module = eval(f"nn.{text}").to(device="meta", dtype=dtype)
    y = module(torch.empty(shape, device="meta", dtype=dtype))
    assert problem.output_shape == tuple((y[0] if isinstance(y, tuple) else y).shape)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        assert problem.weight_shape == tuple(module.weight.shape)
        assert problem.params == sum(p.numel() for p in module.parameters())
    called = f"torch.nn.{text}(x[{','.join(map(str, shape))}])"
    assert label.read(called) == problem
    assert label.parse(label.format(problem)) == problem


@pytest.mark.parametrize("name", sorted(notation_torch.MODULES))
def test_modules_take_torchs_arguments_in_torchs_order(name):
    ours = notation_torch.signature(name)
    theirs = inspect.signature(getattr(nn, name).__init__).parameters
    wanted = {k: ... if p.default is p.empty else p.default for k, p in theirs.items()}
    wanted.pop("self")
    wanted.pop("kwargs", None)  # MaxUnpool3d and AdaptivePools of some versions
    assert ours == wanted
    assert list(ours) == list(wanted)


@pytest.mark.parametrize("name", sorted(OPS))
def test_functionals_take_torchs_arguments(name):
    ours = list(notation_torch.signature(name))
    theirs = getattr(F, f"{name}_with_indices", None) or getattr(F, name)
    try:
        found = list(inspect.signature(theirs).parameters)
    except (TypeError, ValueError):  # builtins: the documentation is the signature
        found = theirs.__doc__.strip().split("\n")[0].split("(", 1)[1]
        found = [part.split("=")[0].strip() for part in found.split(") ->")[0].split(",")]
    assert ours == found


FUNCTIONALS = [
    "conv2d(x[1,3,32,32], w[6,3,5,5], b[6], stride=2)",
    "conv2d(x[1,3,32,32], w[6,3,5,5], None, 2, (1, 0), 2)",
    "conv2d(input[3,8,8], weight=w[6,1,4,4], padding='same', groups=3)",
    "conv1d(x[20,16,50], w[33,16,3])",
    "conv3d(x[1,16,9,10,11], w[33,16,3,3,3])",
    "conv_transpose2d(x[1,4,9,8], w[4,3,3,3], None, 2, 1, 1, 2, 2)",
    "conv_transpose1d(x[4,9], w[4,3,3], b[3], stride=3, output_padding=2)",
    "max_pool2d(x[1,2,9,9], 3, 2, 1, 2, True)",
    "max_pool1d(x[2,9], kernel_size=3, return_indices=True)",
    "avg_pool2d(x[1,2,9,9], (3, 2), padding=1, count_include_pad=False)",
    "avg_pool1d(x[2,9], 3)",
    "lp_pool2d(x[1,2,9,9], 2, 3, stride=1)",
    "adaptive_avg_pool2d(x[1,2,9,9], (5, None))",
    "adaptive_max_pool1d(x[2,9], 5)",
    "max_unpool2d(x[1,2,3,3], i[1,2,3,3], 2)",
    "max_unpool1d(x[1,2,3], i[1,2,3], 3, 2, 1, output_size=(1, 2, 6))",
    "unfold(x[1,2,5,5], 3, padding=1)",
    "fold(x[1,18,9], 5, (3, 3))",
    "pad(x[1,2,5,5], (1, 2, 3, 0), 'reflect')",
    "pad(x[1,2,5], [1, 2, 0, 1], value=1.5)",
]


@pytest.mark.parametrize("text", FUNCTIONALS)
def test_a_functional_is_what_torch_makes_of_it(text):
    class Arrays(dict):
        def __missing__(self, name):
            dtype = torch.int64 if name == "i" else torch.float32
            return type(
                "A", (), {"__getitem__": lambda _, s: torch.empty(s, device="meta", dtype=dtype)}
            )()

    problem = label.read(f"F.{text}")
    y = eval(f"F.{text}", {}, Arrays(F=F))
    assert problem.output_shape == tuple((y[0] if isinstance(y, tuple) else y).shape)
    assert label.read(f"torch.nn.functional.{text}") == problem
    assert label.read(text) == problem


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nn.Conv2d(6,16,5)", "how large its input is.*1x6x32x32"),
        ("nn.Conv2d(6,16)(x[1,6,9,9])", "needs kernel_size"),
        ("nn.Conv2d(6,16,5,pading=1)(x[1,6,9,9])", "did you mean padding"),
        ("nn.Conv2d(6,16,5,kernel_size=5)(x[1,6,9,9])", "given twice"),
        ("nn.Conv2d(6,16,n)(x[1,6,9,9])", "must be written out"),
        ("nn.Conv2d(*args)(x[1,6,9,9])", "cannot be read"),
        ("nn.Conv2d(**kw)(x[1,6,9,9])", "cannot be read"),
        ("nn.Conv2d(6,16,5,padding=?)", "not a Python expression"),
        ("nn.Conv2d(6,16,5", "not a Python expression"),
        ("nn.Conv2d(6,16,5,padding_mode='circular')(x[1,6,9,9])", r"nn.CircularPad2d\(…\)"),
        ("nn.Conv2d(6,16,5,padding_mode='zero')(x[1,6,9,9])", "must be 'zeros'"),
        ("nn.Conv2d(6,16,5,groups=4)(x[1,6,9,9])", "groups must divide"),
        ("nn.Conv2d(6,16,5,groups=0)(x[1,6,9,9])", "at least 1"),
        ("nn.Conv2d(6,16,'5')(x[1,6,9,9])", "kernel_size must be an int"),
        ("nn.Conv2d(6,16,5)(x[1,3,9,9])", "axis 1 must be"),
        ("nn.Conv2d(-6,16,5)(x[1,3,9,9])", "at least 0"),
        ("nn.Conv2d(6,16,5)(x[1,6,9,9], 3)", "called on one array"),
        ("nn.Conv2d(6,16,5)(x)", "name and its shape"),
        ("nn.Linear(6,16)(x[1,6])", "refconv has no Linear"),
        ("keras.Conv2D(6,16)", r"write nn.Conv2D"),
        ("nn.MaxPool2d(2, 2, 0, 1, False, False, 3)(x[1,6,9,9])", "takes 6 arguments"),
        ("nn.MaxPool2d('a')(x[1,6,9,9])", "kernel_size must be an int"),
        ("nn.LPPool2d('a', 2)(x[1,6,9,9])", "do not make sense"),
        ("nn.ZeroPad2d((1,2,3))(x[1,6,9,9])", "takes one int or 4"),
        ("nn.ReflectionPad2d(9)(x[1,6,9,9])", "at most 8"),
        ("nn.Conv2d(6,16,5,dtype=torch.float99)(x[1,6,9,9])", "not defined for float99"),
        ("F.conv2d(x[1,3,8,8])", "needs weight"),
        ("F.conv2d(x[1,3,8,8], w[6,3,5,5], 3)", "bias is an array"),
        ("F.conv2d(x[1,3,8,-8], w[6,3,5,5])", "input is an array"),
        ("F.conv2d(x[20,16,50,10,20], w[33,16,3,3,3])", "conv3d takes it"),
        ("F.max_unpool2d(x[1,2,3,3], i[1,2,3,3], 2, output_size=6)", "do not make sense"),
        ("F.relu(x[3])", "refconv has no relu"),
        ("(lambda: 1)()", "is not torch's"),
        ("x[3](2)", "is not torch's"),
        ("__import__('os').system('x')", "is not torch's"),
        ("(" * 500 + ")" * 500, "not a Python expression"),
        ("hello", "not a problem in any notation"),
        ("ic6ih14oc16kh5q3", "cannot be read from 'q3' on"),
    ],
)
def test_what_is_wrong_with_other_notations(text, says):
    with pytest.raises(RefconvError, match=says):
        label.read(text)


BENCHDNN = {
    # derived fields: batch 2, square, output from padding, padding from output
    "ic16ih14oc32kh3": "conv2d x[2,16,14,14] w[32,16,3,3]",
    "mb1_ic16ih14_oc32oh14_kh3": "conv2d x[1,16,14,14] w[32,16,3,3] p1",
    "mb1ic3id9oc4kd3sd2pd1": "conv3d x[1,3,9,9,9] w[4,3,3,3,3] s2 p1",
    "mb1ic3iw9oc4kw3": "conv1d x[1,3,9] w[4,3,3]",
    "mb1ic3ih9iw7oc4kh3kw1ph1": "conv2d x[1,3,9,7] w[4,3,3,1] p1,0",
    # groups count all channels; dilation counts from 0
    "g4mb1ic8ih9oc12kh3dh1ph2": "conv2d x[1,8,9,9] w[12,2,3,3] p2 d2 g4",
    # the far side is padded by what the output needs
    "mb1ic3ih13oh12oc4kh3ph0": "conv2d x[1,3,13,13] w[4,3,3,3] p0:1",
    "mb1ic3iw13ow12oc4kw3pw1": "conv1d x[1,3,13] w[4,3,3] p1:0",
    "mb1ic3iw13ow3oc4kw3pw0sw2": "conv1d x[1,3,13] w[4,3,3] s2 p0:-6",
    "--conv --dt=bf16 --dir=FWD_B --mb=3 ic16ih14oc32kh3": (
        "conv2d x[3,16,14,14] w[32,16,3,3] b bfloat16"
    ),
    "--deconv mb1ic8ih5oc4kh3sh2": "conv_transpose2d x[1,8,5,5] w[8,4,3,3] s2",
    "--deconv mb1ic8ih5oc4oh10kh3sh2ph1": "conv_transpose2d x[1,8,5,5] w[8,4,3,3] s2 p1 op1",
    "--deconv g2mb1ic8ih5oc4oh5kh3": "conv_transpose2d x[1,8,5,5] w[8,2,3,3] p1 g2",
    "mb1ic8ih9kh3sh2": "max_pool2d x[1,8,9,9] k3 s2",
    "mb1ic8ih10oh5kh3sh2ph0": "max_pool2d x[1,8,10,10] k3 s2 ceil",
    "--pool --alg=avg_np mb1ic8ih9kh3ph1": "avg_pool2d x[1,8,9,9] k3 s1 p1 exclude_pad",
    "mb1ic8ih9kh3ph1dh1": "max_pool2d x[1,8,9,9] k3 s1 p1 d2",
}


@pytest.mark.parametrize("text", BENCHDNN)
def test_benchdnn(text):
    assert label.format(label.read(text)) == BENCHDNN[text]
    assert label.read(f'{text}n"some:name*3"  # a remark') == label.read(text)


def test_benchdnn_names_and_repeats():
    assert notation_benchdnn.name('mb1ic3ih9oc4kh3n"net:a/b_c*12"') == ("net:a/b_c", 12)
    assert notation_benchdnn.name("mb1ic3ih9oc4kh3nplain") == ("plain", 1)
    assert notation_benchdnn.name("mb1ic3ih9oc4kh3") == ("", 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mb1ic8ih9oc4", "kh must be given"),
        ("mb1oc4ih9kh3", "needs ic"),
        ("mb1ic8oc4", "got none"),
        ("mb1ic8id9kd3ih9kh3oc4", "got d, h"),
        ("mb1ic8ih9oc4kh3sh0", "sh must be given and at least 1"),
        ("g3mb1ic8ih9oc4kh3", "g must divide"),
        ("mb1ic8ih3oc4kh9", "outputs on axis H"),
        ("mb1ic8ih9oc4oh2kh3", "partly skipped"),
        ("--deconv mb1ic8iw5oc8ow2kw3pw3dw2", "cuts the far side of axis W by 6"),
        ("mb1ic8ih13oh12kh3", "far padding"),
        ("--alg=avg_p mb1ic8ih10oh5kh3sh2ph0", "with ceil_mode"),
        ("--alg=avg_p mb1ic8ih9kh3dh1", "no dilation"),
        ("mb1ic8ih10kh3ph2", "at most half"),
        ("--attr-scales=x mb1ic8ih9kh3", "does not belong to a problem"),
        ("mb1ic8ih" + "9" * 5000 + "kh3", "must be an int"),
    ],
)
def test_what_benchdnn_says_and_torch_cannot(text, says):
    with pytest.raises(RefconvError, match=says):
        label.read(text)


MIOPEN = {
    "MIOpenDriver conv": "conv2d x[100,3,32,32] w[32,3,3,3]",
    "./bin/MIOpenDriver convfp16 -n 4 -c 6 -H 14 -W 15 -k 16 -y 5 -x 3 -p 2 -q 1 -u 2 -v 1 -l 1 "
    "-j 2 -g 2 -F 1 -t 1 -b 1": "conv2d x[4,6,14,15] w[16,3,5,3] b s2,1 p2,1 d1,2 g2 float16",
    "convbfp16 -n 1 -z same -p 7": "conv2d x[1,3,32,32] w[32,3,3,3] p1 bfloat16",
    "MIOpenDriver conv -n 1 -z same -u 2 -y 5": "conv2d x[1,3,32,32] w[32,3,5,3] s2,1 p1",
    "MIOpenDriver conv -n 1 -z valid -p 3 -q 3": "conv2d x[1,3,32,32] w[32,3,3,3]",
    "MIOpenDriver conv -n 1 --mode trans -c 8 -k 4 -g 2 --conv_stride_0 2 -Y 1": (
        "conv_transpose2d x[1,8,32,32] w[8,2,3,3] s2,1 op1,0 g2"
    ),
    "MIOpenDriver conv -n 1 --spatial_dim 3 --in_d 5 --in_h 6 --in_w 7 --fil_d 1 --pad_d 2": (
        "conv3d x[1,3,5,6,7] w[32,3,1,3,3] p2,0,0"
    ),
}


@pytest.mark.parametrize("text", MIOPEN)
def test_miopen(text):
    assert label.format(label.read(text)) == MIOPEN[text]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("MIOpenDriver", "got 'nothing'"),
        ("MIOpenDriver bnorm -n 1", "got 'bnorm'"),
        ("MIOpenDriver conv -Q 1", "'-Q'.*is not an option"),
        ("MIOpenDriver conv --in_hh 1", "did you mean --in_h"),
        ("MIOpenDriver conv -n", "has no value"),
        ("MIOpenDriver conv -n x", "must be an int"),
        ("MIOpenDriver conv -n -1", "at least 0"),
        ("MIOpenDriver conv -m up", "mode must be conv or trans"),
        ("MIOpenDriver conv -z full", "pad_mode must be"),
        ("MIOpenDriver conv -_ 4", "spatial_dim must be"),
        ("MIOpenDriver conv -g 2", "group_count must divide"),
        ("MIOpenDriver conv -u 0", "stride must be at least 1"),
        ("MIOpenDriver conv 'x", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_miopen_line(text, says):
    with pytest.raises(RefconvError, match=says):
        label.read(text)
