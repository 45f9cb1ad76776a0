"""Where a chart puts its points and names."""

from types import SimpleNamespace

import msgspec
import pytest

from refconv.harness.records import Check
from refconv.harness.report import charts, findings, labels, summary
from tests.unit.test_report import CEILINGS, LAYERS, RUN, TORCH, write

pytest.importorskip("matplotlib")


def test_the_chart_of_speed_has_each_row_at_its_layer(tmp_path):
    """Three layers, the slowest on top; a mark a row, and the pen lifted between the intervals."""
    path = write(tmp_path / "bench.jsonl", RUN, CEILINGS, *LAYERS, *TORCH)
    report, drawn = findings.Report(summary.read([path])), []
    sheet = SimpleNamespace(inline=lambda figure, about: drawn.append(figure) or "")
    timed = [r for r in report.rows if r.ns]
    charts.speed(timed, sheet)
    (axes,) = drawn[0].axes
    bars, dots, one = axes.lines
    assert [text.get_text() for text in axes.get_yticklabels()] == ["quick", "rough", "slow"]
    assert sorted(zip(*dots.get_data(), strict=True)) == [(0.5, -0.16), (0.8, 0.84), (1.9, 1.84)]
    assert [str(x) for x in bars.get_xdata()].count("nan") == 3
    assert one.get_xdata() == [1, 1]


def test_names_in_a_chart_do_not_cover_each_other():
    """Five points in one place, and one at the edge: every name is free, and inside."""
    made, axes = charts.figure()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    places = [(5, 5), (5, 5.1), (5.1, 5), (5, 4.9), (4.9, 5), (9.9, 9.9)]
    labels.names(axes, [(x, y, f"algorithm{i}", "k") for i, (x, y) in enumerate(places)])
    made.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 6
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert axes.bbox.contains(*box.max)


def test_results_without_a_noise_have_no_chart_of_it(tmp_path):
    """Poolings are equal, not rounded: their bounds are drawn alone."""
    checks = (Check(result="output", data="real", ok=True, ratio=0.0),)
    path = write(tmp_path / "r.jsonl", RUN, msgspec.structs.replace(LAYERS[0], checks=checks))
    report, drawn = findings.Report(summary.read([path])), []
    sheet = SimpleNamespace(inline=lambda figure, about: drawn.append(figure) or "")
    assert [c.name for c in charts.errors(report, sheet)] == ["bounds"]
