"""The package's own data sets in the table's columns, from the real files."""

from nasplug.measurements.importers import package_tables


def test_timm(mirror):
    part = package_tables.read_timm()
    rows = part.frame
    assert len(rows) == 17_565
    assert part.dropped == {"no latency": 2}
    assert set(rows["runtime"]) == {"eager", "eager nhwc", "compiled"}
    cpu = rows[rows["unit"] == "CPU"]
    assert set(cpu["batch"]) == {1}
    assert set(cpu["precision"]) == {"fp32"}
    assert set(rows["quality"][rows["unit"] == "GPU"]) == {"autocast"}
    assert "PyTorch 2.9.1, CUDA 12.8" in set(rows["version"])


def test_cells_without_a_path(mirror):
    part = package_tables.read_help("nb201")
    # Pixel 3: 202, Raspberry Pi 4: 157.
    assert part.dropped == {"cells without a path to their output": 359}
    rows = part.frame
    assert len(rows) == 24 * 15_625 - 359
    estimates = rows["timing"] == "estimate"
    assert set(rows["device"][estimates]) == {"ZC706", "Eyeriss"}
    assert rows["quality"][estimates].str.contains("cost model").all()
    rounded = rows["quality"].str.contains("rounded")
    assert set(rows["device"][rounded]) == {"Galaxy A50", "Galaxy S7", "Essential PH-1", "Pixel 2"}
    assert set(rows["batch"][rows["unit"] == "GPU"]) == {1, 32, 256}
    # Digits at the end of a name are no batch.
    assert set(rows["batch"][rows["device"] == "Xeon Gold 6226"]) == {1}


def test_a_cpu_that_is_out_of_line(mirror):
    rows = package_tables.read_help("fbnet").frame
    noisy = rows["quality"].str.contains("noisy")
    assert set(rows["device"][noisy]) == {"Xeon Gold 6226"}
    assert noisy.sum() == 5_000


def test_throughputs_are_no_latencies(mirror):
    part = package_tables.read_accel()
    assert set(part.frame["device"]) == {"ZCU102", "VCK190"}
    assert set(part.frame["unit"]) == {"FPGA"}
    assert part.dropped == {"no latency": 4}


def test_networks_of_nnlqp_that_can_be_built(mirror):
    rows = package_tables.read_nnlqp().frame
    assert len(rows) == 2_000
    assert set(rows["device"]) == {"GTX 1660"}
    assert rows["graph"].str.startswith("nb201:|").all()
