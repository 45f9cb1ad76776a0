"""explain on torchvision's and timm's models, by stand-ins: neither is needed for the tests."""

from __future__ import annotations

import sys
import types

import pytest
from torch import nn

import refconv as rc
from refconv.cli import main
from refconv.errors import UnavailableError, UsageError
from refconv.learn import explain_source


def test_torchvision_and_timm_are_asked_where_they_are(monkeypatch):
    with pytest.raises(UsageError, match="refconv ships inception, lenet"):
        rc.explain("no_such_net", "3x8x8")

    class Timm:
        @staticmethod
        def is_model(name):
            return name == "tiny"

        @staticmethod
        def create_model(name, pretrained):
            assert not pretrained
            return nn.Sequential(nn.Conv2d(3, 4, 3))

    monkeypatch.setattr(explain_source, "find_spec", lambda name: name == "timm" or None)
    monkeypatch.setitem(sys.modules, "timm", Timm)
    assert rc.explain("tiny", "3x8x8").outputs[0].shape == (1, 4, 6, 6)
    assert rc.explain("timm:tiny", "3x8x8").rows.params == 112
    with pytest.raises(UnavailableError, match="torchvision is not installed here"):
        rc.explain("torchvision:resnet18", "3x8x8")


def _zoo_of_one(monkeypatch, builder):
    """A torchvision with one model in it."""
    made = types.ModuleType("torchvision.models")
    made.list_models = lambda: ["one"]
    made.get_model_builder = lambda name: builder
    monkeypatch.setattr(explain_source, "find_spec", lambda name: name == "torchvision" or None)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", made)


def test_a_detector_of_torchvision_is_built_without_any_weights(monkeypatch):
    def one(*, weights="COCO", weights_backbone="IMAGENET", progress=True):
        assert (weights, weights_backbone, progress) == (None, None, True)
        return nn.Sequential(nn.Conv2d(3, 4, 3))

    _zoo_of_one(monkeypatch, one)
    assert rc.explain("torchvision:one", "3x8x8").rows.params == 112


def test_a_zoo_that_fails_says_so_in_a_line(monkeypatch, capsys):
    def one(*, weights=None):
        raise OSError("no network")

    _zoo_of_one(monkeypatch, one)
    assert main(["explain", "torchvision:one", "--in", "3x8x8"]) == 2
    assert "torchvision:one cannot be built: OSError: no network" in capsys.readouterr().err

    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    assert main(["explain", "torchvision:one", "--in", "3x8x8"]) == 3
    assert "torchvision is installed but cannot be imported with torch" in capsys.readouterr().err
