"""The page of networks side by side: its data, read from the file."""

from __future__ import annotations

from comparison_tables import side_by_side
from report_pages import island

from nasplug.reports.comparison_page import comparison_html


def test_cells_measurements_and_reasons_are_in_the_page() -> None:
    table = side_by_side("timm:resnet18", "</script><b>.onnx")
    # A wide interval and a device that lacks the precision.
    table.loc[2, "lower_ms"] = 0.01
    table.loc[3, ["latency_ms", "lower_ms", "upper_ms", "images_per_second"]] = float("nan")
    table.loc[3, "note"] = "T4 computes nothing in bf16 on its GPU; there is fp32"
    html = comparison_html(table, "nasplug predict")
    assert html.count("</script>") == 2
    content = island(html)
    assert content["heading"] == "Latency of 2 networks on 2 devices"
    lines = [dict(zip(content["columns"], row["cells"], strict=True)) for row in content["rows"]]
    assert [line["latency, ms"][1] for line in lines] == [
        *("1 (0.6667–1.5)", "10 (6.667–15)", "ones (hundredths–ones)", "–"),
    ]
    assert [row["measured"] for row in content["rows"]] == [False, True, False, False]
    assert lines[1]["measured, ms"] == [1.25, "1.25"]
    assert [line["energy, J"][1] for line in lines[:2]] == ["0.03 (0.015–0.06)", "–"]
    assert lines[0]["ImageNet top-1, %"][1] == "73.29"
    assert lines[0]["learned from"][1] == "other devices"
    # What means nothing is not drawn.
    assert [point["network"] for point in content["points"]] == ["timm:resnet18"] * 2
    assert content["notes"][-1] == "T4 computes nothing in bf16 on its GPU; there is fp32."
    assert any("a table" in note for note in content["notes"])
