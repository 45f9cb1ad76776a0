"""Others' problem tables: texts in their own notations, and what cannot be expressed."""

import pytest

from refconv import label
from refconv.errors import UsageError
from refconv.harness import importing

# In the notation of oneDNN, tests/benchdnn/inputs, written for this test.
SHAPES = """\
# layers of nobody's network
ic3ih19oc8kh3sh2ph1n"own:first*2"
g8ic8ih10oc8kh3ph1n"own:depthwise"   # a remark
"""
BATCH = """\
--reset
--dt=f32,u8:s8:s32
--dir=FWD_B,FWD_D --mb=4
--skip-impl=ref
--batch=shapes_own

--reset --attr-post-ops=,relu
ic4ih6oc4kh1
--batch=shapes_missing
--batch=test_conv_own
--reset --surprise=1
ic4ih6
--pool
--alg=avg_np,max
mb1ic8_ih3oh3_kh3ph1
"""
# In the notation of MIOpen, test/perf_models, written for this test.
MIOPEN = """\
# conv lines and one of another driver
./bin/MIOpenDriver convfp16 --batchsize 2 --in_channels 4 --in_h 9 --in_w 9 --fil_h 3 --fil_w 3 \\
    --pad_h 1 --pad_w 1 --out_channels 8 --forw 1
MIOPEN_FIND_MODE=1 MIOpenDriver convfp16 -n 2 -c 4 -H 9 -W 9 -k 8 -y 3 -x 3 -p 1 -q 1 -F 4
MIOpenDriver convbfp16 -n 1 -c 4 -H 9 -W 9 -k 8 -y 3 -x 3
MIOpenDriver pool -n 1 -c 4 -H 9 -W 7 -y 3 -x 2 -v 2 -u 1 -p 1 -q 0 -m avg
MIOpenDriver pool -W 1x4x9x7 -y 3 -x 2 --pool_stride_h 2 -m max -F 1
MIOpenDriver bnorm -n 1 -c 4 -H 9 -W 9
MIOpenDriver conv -n 1 -c 4 -H 9 -W 9 ${OPTIONS}
MIOpenDriver pool -W 1x4x9x7 -z same
echo done
"""


def load(tmp_path, name, text, **options):
    path = tmp_path / name
    path.write_text(text)
    return importing.load(path, **options)


def labels(made):
    return [label.format(case.problem) for case in made.cases]


def test_a_batch_file_with_options_and_files_in_it(tmp_path):
    (tmp_path / "shapes_own").write_text(SHAPES)
    made = load(tmp_path, "test_conv_own", BATCH)
    assert made.kind == "benchdnn batch file"
    assert labels(made) == [
        "conv2d x[4,3,19,19] w[8,3,3,3] b s2 p1",
        "conv2d x[4,3,19,19] w[8,3,3,3] s2 p1",
        "conv2d x[4,8,10,10] w[8,1,3,3] b p1 g8",
        "conv2d x[4,8,10,10] w[8,1,3,3] p1 g8",
        "conv2d x[2,4,6,6] w[4,4,1,1]",
        "avg_pool2d x[1,8,3,3] k3 s1 p1 exclude_pad",
        "max_pool2d x[1,8,3,3] k3 s1 p1",
    ]
    first = made.cases[0]
    assert first.name == "own:first"
    assert first.source == "test_conv_own, shapes_own line 2, 2 times"
    refused = [str(r) for r in made.refused]
    assert len(refused) == 7
    assert refused[0].startswith("shapes_own line 2: ic3ih19oc8kh3sh2ph1n")
    assert "--dt=u8:s8:s32: refconv's problems have one dtype" in refused[0]
    assert "shapes_own line 3" in refused[1]
    assert "line 8: ic4ih6oc4kh1: --attr-post-ops=relu changes what is computed" in refused[2]
    assert "line 9: --batch=shapes_missing: no such file" in refused[3]
    assert "line 10: --batch=test_conv_own: the file includes itself" in refused[4]
    assert "line 11: --surprise=1" in refused[5]
    assert "line 12: ic4ih6" in refused[6]
    assert made.summary == (
        "imported 7 of 14 from test_conv_own (benchdnn batch file); "
        "7 not: shapes_own line 2, shapes_own line 3, line 8, …"
    )


@pytest.mark.parametrize(
    ("name", "line", "wanted"),
    [
        ("shapes_deconv_2d", "ic4ih5oc3kh3sh2", "conv_transpose2d x[2,4,5,5] w[4,3,3,3] s2"),
        ("shapes_2d", "ic4ih5oc3kh3", "conv2d x[2,4,5,5] w[3,4,3,3]"),
        ("shapes_2d", "ic4ih6kh3sh3", "max_pool2d x[2,4,6,6] k3"),
        ("shapes_1d", "--deconv ic4iw5oc3kw3", "conv_transpose1d x[2,4,5] w[4,3,3]"),
        ("shapes_f16", "--dt=f16 ic4iw5oc3kw3", "conv1d x[2,4,5] w[3,4,3] float16"),
        ("shapes_cfg", "--cfg=bf16bf16bf16 ic4iw5oc3kw3", "conv1d x[2,4,5] w[3,4,3] bfloat16"),
    ],
)
def test_the_driver_is_what_the_path_or_the_line_says(tmp_path, name, line, wanted):
    assert labels(load(tmp_path, name, line)) == [wanted]


def test_the_driver_may_be_the_folders_name(tmp_path):
    (tmp_path / "pool").mkdir()
    made = load(tmp_path, "pool/shapes_2d", "ic4ih6oc5kh3sh3")
    assert labels(made) == ["max_pool2d x[2,4,6,6] k3"]


def test_miopens_commands(tmp_path):
    made = load(tmp_path, "commands.txt", MIOPEN)
    assert made.kind == "MIOpenDriver commands"
    assert labels(made) == [
        "conv2d x[2,4,9,9] w[8,4,3,3] p1 float16",
        "conv2d x[1,4,9,9] w[8,4,3,3] bfloat16",
        "avg_pool2d x[1,4,9,7] k3,2 s2,1 p1,0 exclude_pad",
        "max_pool2d x[1,4,9,7] k3,2 s2,1",
    ]
    assert made.cases[0].source == "commands.txt, line 2, and 1 more, 2 times"
    assert made.cases[1].source == "commands.txt, line 5"
    refused = {r.where: r.reason for r in made.refused}
    assert list(refused) == ["line 8", "line 9", "line 10", "line 11"]
    assert "got 'bnorm'" in refused["line 8"]
    assert "only a shell knows what ${OPTIONS} stands for" in refused["line 9"]
    assert "pad_mode same of a pooling" in refused["line 10"]
    assert refused["line 11"] == "no MIOpenDriver command"
    assert made.summary.startswith(
        "imported 5 of 9 from commands.txt (MIOpenDriver commands), 4 different; 4 not: line 8"
    )


def test_dtype_is_of_lines_that_name_none(tmp_path):
    text = "MIOpenDriver conv -n 1 -c 4 -H 9 -W 9 -k 8\nMIOpenDriver pool -n 1 -c 4 -H 9 -W 9\n"
    made = load(tmp_path, "commands.txt", text, dtype="float64")
    assert {case.problem.dtype for case in made.cases} == {"float64"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"# only a remark\n", "it holds only remarks"),
        (b"first: conv2d x[1,3,8,8] w[4,3,3,3]\n", "a set of cases is given without --from"),
        (b"hello world\n", "its first line is 'hello world'"),
        (b'{"traceEvents": [', "begins like JSON, but is damaged"),
        (b'{"results": []}', "JSON without traceEvents"),
        (b'{"traceEvents": []}', "no operator of torch"),
        (b"\x1f\x8b\x08\x00broken", "cannot be read"),
    ],
)
def test_a_foreign_or_damaged_file_is_one_line(tmp_path, content, words):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        importing.load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "nowhere.txt", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            importing.load(path)


def test_nothing_that_can_be_used_is_an_error(tmp_path):
    made = load(tmp_path, "shapes_pool_own", "ic4ih13oh12_kh3\n")
    with pytest.raises(UsageError, match=r"no problem of this benchdnn batch file.*line 1"):
        made.usable()
