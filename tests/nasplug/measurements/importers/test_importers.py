"""Importers on rows of the real tables: what each drops and flags, and the words it writes."""

from pathlib import Path

import pytest

from nasplug import InputError
from nasplug.datasets.measurements import NUMBERS, TEXTS
from nasplug.measurements.importers import boards, gpt, gpu, phones, small_boards
from nasplug.measurements.importers.rows import Rows, joined
from nasplug.measurements.importers.sources import FILES

ROWS = Path(__file__).parents[3] / "data" / "measurements"


def imported(name, read):
    """Rows of an excerpt by a key that tells them apart, and what was dropped."""
    part = read(ROWS / f"{name}.csv")
    assert list(part.frame) == [*TEXTS, *NUMBERS]
    return part.frame, part.dropped


def one(frame, **values):
    """The one row with some values."""
    for name, value in values.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1, frame.to_string()
    return frame.iloc[0]


@pytest.fixture(scope="module")
def gpu_networks():
    return imported("gpu_networks", gpu.read_gpu_networks)


@pytest.fixture(scope="module")
def gpu_operators():
    return imported("gpu_operators", gpu.read_gpu_operators)


@pytest.fixture(scope="module")
def aihub():
    return imported("edge_aihub", phones.read_aihub)


@pytest.fixture(scope="module")
def ncnn():
    return imported("edge_ncnn", boards.read_ncnn)[0]


@pytest.fixture(scope="module")
def mlperf():
    return imported("edge_mlperf_singlestream", boards.read_mlperf)[0]


@pytest.mark.parametrize("name", FILES)
def test_excerpts_are_read(name):
    part = FILES[name](ROWS / name.replace(".csv.gz", ".csv"))
    assert len(part.frame) > 0
    assert (part.frame["latency_ms"] > 0).all()
    assert not part.frame[["source", "kind", "network", "hardware"]].eq("").any().any()


class TestGpuNetworks:
    def test_dropped(self, gpu_networks):
        assert gpu_networks[1] == {
            "no latency, only a throughput": 1,
            "several GPUs ran the network": 1,
            # A GTX 1080 Ti, an RTX 2080 and an RX 5700 in half precision.
            "broken set-up: half precision far slower than single": 3,
            "the A100 slower than the V100 on the same network": 1,
            "a request faster than the device can answer": 1,
            "the same run as in the table of single-stream results": 1,
        }

    def test_a_folder_named_after_another_card(self, gpu_networks):
        # The folder is called RTX 2080, the machine said V100.
        row = one(
            gpu_networks[0], hardware="V100 SXM 16GB", precision="fp16", runtime="eager", batch=12
        )
        assert row["device"] == "V100"

    def test_batch_of_radeons(self, gpu_networks):
        assert one(gpu_networks[0], hardware="Radeon RX 7800 XT")["batch"] == 4
        assert one(gpu_networks[0], hardware="Radeon RX 7800 XT")["quality"] == ""
        assert one(gpu_networks[0], hardware="Radeon RX 6800")["quality"] == "assumed batch"

    def test_fp32_that_is_tf32(self, gpu_networks):
        row = one(gpu_networks[0], device="RTX 3090")
        assert (row["precision"], row["quality"]) == ("tf32", "assumed precision")
        assert (row["timing"], row["statistic"]) == ("wall clock with copies", "median")

    def test_only_equal_networks_have_a_twin(self, gpu_networks):
        graphs = set(gpu_networks[0]["graph"])
        assert "torchvision:densenet121@224" in graphs
        # Parameters differ (~), or could not be compared (?).
        assert "paddleclas:Xception65@299" in graphs
        assert "paddleclas:MobileNetV3_small_x1_0_ssld@224" in graphs

    def test_paddle(self, gpu_networks):
        row = one(gpu_networks[0], device="V100", runtime="paddle tensorrt", input="3x224x224")
        assert row["graph"] == "timm:resnet34d@224"
        assert row["quality"] == "assumed device, assumed input"
        row = one(gpu_networks[0], hardware="Snapdragon 855 (Arm CPU)")
        assert (row["unit"], row["threads"], row["runtime"]) == ("CPU", 1, "paddle lite")

    def test_programs_with_their_input(self, gpu_networks):
        row = one(gpu_networks[0], network="ResNet50 v1.5")
        assert (row["timing"], row["precision"], row["quality"]) == ("program", "fp16", "autocast")

    def test_mlperf_is_presumed_int8_and_a_median(self, gpu_networks):
        row = one(gpu_networks[0], hardware="L40S")
        assert (row["precision"], row["statistic"]) == ("int8", "median")
        assert row["quality"] == "assumed precision"

    def test_fastest_runs(self, gpu_networks):
        row = one(gpu_networks[0], network="bert_large")
        assert row["statistic"] == "mean of the fastest 5 of 25"
        assert (row["runtime"], row["graph"]) == (
            "compiled",
            "transformers:neusight/bert_large@512",
        )

    def test_requests(self, gpu_networks):
        row = one(gpu_networks[0], hardware="GH200 96GB")
        assert (row["mode"], row["latency_ms"]) == ("request", pytest.approx(860.72, rel=1e-4))
        row = one(gpu_networks[0], hardware="MI250 (1 GCD?)")
        assert row["precision"] == ""
        assert "part of the card" in row["quality"]


class TestGpuOperators:
    def test_repeated_keys_are_dropped(self, gpu_operators):
        assert gpu_operators[1] == {"a repeat of the same key": 1}

    def test_suites_of_other_sizes_are_apart(self, gpu_operators):
        graphs = gpu_operators[0]["graph"][gpu_operators[0]["network"] == "9_ResNet18"]
        assert sorted(set(graphs)) == [
            "kernelbench:level3/9_ResNet18@v0",
            "kernelbench:level3/9_ResNet18@v0.1",
        ]

    def test_rows_of_another_card(self, gpu_operators):
        # In the folder of the 40 GB card, measured on one of 80 GB.
        assert one(gpu_operators[0], network="31_VisionAttention")["device"] == "A100 80GB"

    def test_operators(self, gpu_operators):
        row = one(gpu_operators[0], network="linear")
        assert row["graph"] == "op:linear{M=1024,K=2560,N=2560,bias=1}"
        assert (row["precision"], row["quality"]) == ("fp32", "")
        assert one(gpu_operators[0], network="conv2d", mode="inference")["quality"] == "zero inputs"

    def test_convolutions_in_tf32(self, gpu_operators):
        row = one(gpu_operators[0], network="9_ResNet18", latency_ms=1.41)
        assert (row["quality"], row["timing"]) == ("tf32 convolutions", "events")

    def test_resolution_of_a_microsecond(self, gpu_operators):
        assert one(gpu_operators[0], network="llm.add")["quality"] == "rounded"
        assert one(gpu_operators[0], network="llm.emb")["quality"] == ""

    def test_half_precision_for_storage_alone(self, gpu_operators):
        row = one(gpu_operators[0], mode="backward inputs")
        assert (row["runtime"], row["precision"]) == ("vendor library", "fp32")

    def test_graphs_of_kernels(self, gpu_operators):
        assert one(gpu_operators[0], device="B200")["runtime"] == "compiled graphs"
        assert one(gpu_operators[0], hardware="MI250 (1 GCD)")["quality"] == "part of the card"


def test_kernels_of_a_slower_twin():
    rows, dropped = imported("gpu_gemm_attention_aic", gpu.read_gpu_kernels)
    assert dropped == {}
    large = rows[rows["graph"] == "op:gemm{M=8192,N=8192,K=8192}"].set_index("hardware")
    assert large.loc["GB200", "quality"] == "power limited"
    assert large.loc["B200", "quality"] == ""
    assert set(rows["timing"]) == {"kernels"}


class TestAiHub:
    def test_dropped(self, aihub):
        assert aihub[1] == {
            "a copy of another device's rows": 2,
            "longer than 10 s: the network fell back": 1,
        }

    def test_boards_that_stand_in(self, aihub):
        assert one(aihub[0], hardware="QCS8550 (Proxy)")["quality"] == "proxy"

    def test_releases_are_no_repeats(self, aihub):
        frame = aihub[0][(aihub[0]["network"] == "resnet50") & (aihub[0]["device"] == "Galaxy S24")]
        assert sorted(frame["version"]) == ["AI Hub v0.30.5", "AI Hub v0.39.1", "AI Hub v0.47.0"]
        assert frame["source"].nunique() == 3

    def test_fallback(self, aihub):
        row = one(aihub[0], network="bevdet")
        assert (row["unit"], row["quality"]) == ("CPU", "fallback")

    def test_parts_of_models_are_not_the_model(self, aihub):
        assert one(aihub[0], network="squeezenet1_1/SqueezeNet-1.1")["graph"] == (
            "torchvision:squeezenet1_1@224"
        )

    def test_precision(self, aihub):
        # On the NPU a float is of 16 bits.
        assert set(aihub[0]["precision"][aihub[0]["network"] == "resnet50"]) == {"fp16"}
        assert "w8a16" in set(aihub[0]["precision"])


def test_cores_of_phones():
    rows, _ = imported("edge_qed_mobile", phones.read_phone_cores)
    assert one(rows, network="resnet18")["cores"] == "1 big"
    assert one(rows, hardware="Samsung Galaxy S10")["cores"] == "1 big + 2 medium"
    row = one(rows, unit="GPU")
    assert (row["cores"], row["precision"], row["device"]) == ("", "fp16", "Pixel 4")
    assert one(rows, hardware="Apple iPhone XS")["quality"] == "noisy"
    assert one(rows, hardware="Motorola One Fusion")["quality"] == "assumed device"
    assert one(rows, network="cvt-13")["quality"] == "assumed input"


def test_small_tables_of_phones():
    rows, _ = imported("edge_phones_small", phones.read_small_phones)
    core_ml = rows[rows["runtime"] == "core ml"].set_index("unit")
    assert core_ml.loc["CPU", "precision"] == "fp32"
    assert core_ml.loc["GPU", "precision"] == "fp16"
    assert "assumed precision" in core_ml.loc["GPU", "quality"]
    assert rows["quality"].str.contains("sparse weights").sum() == 1
    assert set(rows["graph"][rows["quality"].str.contains("sparse")]) == {""}
    assert one(rows, precision="float")["runtime"].startswith("mnn")


class TestNcnn:
    def test_precision_is_not_stated(self, ncnn):
        assert set(ncnn["precision"]) == {"float", "int8"}

    def test_noise(self, ncnn):
        assert one(ncnn, network="alexnet")["quality"] == "noisy"

    def test_builds_are_told_apart(self, ncnn):
        frame = ncnn[ncnn["hardware"].str.contains("Azure")]
        assert sorted(frame["version"]) == ["With AVX512", "Without AVX512"]
        assert set(frame["quality"]) == {""}

    def test_a_card_is_no_part_of_its_host(self, ncnn):
        assert one(ncnn, latency_ms=1.64)["device"] == "RTX 3090"
        row = one(ncnn, latency_ms=125.57)
        assert (row["device"], row["quality"]) == ("GTX 1050 Ti", "virtual GPU")
        # The GPU of a chip goes by the board.
        assert one(ncnn, latency_ms=14.15)["hardware"] == "Radxa Orion O6"

    def test_a_card_of_a_laptop_is_not_that_of_a_desktop(self, ncnn):
        assert one(ncnn, hardware="nVIDIA RTX2060 of Notebook")["device"] == "RTX 2060 Laptop"

    def test_a_chip_that_stands_in_the_heading_alone(self, ncnn):
        assert one(ncnn, hardware="MacBook Air (13-inch, M3, 2024)")["device"] == "Apple M3"

    def test_graphs(self, ncnn):
        assert one(ncnn, network="resnet50_int8")["graph"] == "ncnn:resnet50_int8"
        # Its file is gone.
        assert one(ncnn, network="mobilenet_yolov3")["graph"] == ""


class TestMlperf:
    def test_two_boards_of_one_name(self, mlperf):
        assert set(mlperf["hardware"][mlperf["hardware"].str.contains("Firefly")]) == {
            "Firefly-RK3399",
            "Firefly-RK3588S",
        }
        assert set(mlperf["unit"][mlperf["hardware"] == "Firefly-RK3588S"]) == {"CPU", "GPU"}

    def test_boards_of_the_catalogue(self, mlperf):
        # The chip's name in the file of the Raspberry Pi 3 is wrong in one round.
        assert one(mlperf, hardware="Raspberry Pi 3 Model B Rev 1.2")["device"] == "Raspberry Pi 3"
        assert one(mlperf, hardware="Raspberry Pi 4 Model B Rev 1.4")["device"] == "Raspberry Pi 4"
        assert one(mlperf, runtime="deepsparse")["device"] == "Ryzen 9 7950X"

    def test_cards_in_systems(self, mlperf):
        row = one(mlperf, hardware="NVIDIA GeForce RTX 4090")
        assert (row["device"], row["unit"]) == ("RTX 4090", "GPU")
        assert one(mlperf, hardware="HanGuang 800")["unit"] == "ASIC"
        assert one(mlperf, hardware="Coral USB Accelerator")["device"] == "Edge TPU"

    def test_circumstances(self, mlperf):
        assert mlperf["quality"].str.contains("part of the card").sum() == 1
        assert mlperf["quality"].str.contains("server").sum() == 1
        assert mlperf["quality"].str.contains("untuned").sum() == 1
        assert mlperf["quality"].str.contains("assumed input").sum() == 2
        # Mode 5 of the Xavier and MaxQ; mode 0 is its full power.
        assert mlperf["quality"].str.contains("power limited").sum() == 2
        assert one(mlperf, latency_ms=55.518487)["quality"] == ""

    def test_slices_are_no_device_of_the_catalogue(self, mlperf):
        assert set(mlperf["device"][mlperf["quality"].str.contains("part of the card")]) == {""}


def test_microcontrollers():
    rows, _ = imported("edge_mlperf_tiny", boards.read_mlperf_tiny)
    units = dict(zip(rows["version"], rows["unit"], strict=True))
    assert units["pynq-z2"] == "FPGA"
    assert units["NUCLEO_L4R5ZI"] == "MCU"
    assert units["Snapdragon_8_Gen_3_Mobile_Platform_MTP"] == "NPU"
    assert units["K1_BOARD_V1.0"] == "CPU"
    assert set(rows["graph"]) == {""}


def test_npus():
    rows, dropped = imported("edge_npu_zoos", small_boards.read_npus)
    # Hailo's and Rockchip's tables have throughputs, which are no latencies.
    assert dropped == {"no latency, only a throughput": 2}
    assert "untuned" in one(rows, unit="CPU")["quality"]
    assert "rounded" in one(rows, latency_ms=4.0)["quality"]
    assert one(rows, hardware="RDK X5")["quality"] == ""
    assert one(rows, cores="3 of the NPU")["runtime"] == "pulsar2"


def test_small_computers():
    rows, _ = imported("edge_cpu_small", small_boards.read_small_computers)
    assert one(rows, hardware="RTX 4090")["device"] == "RTX 4090"
    row = one(rows, device="Raspberry Pi 4")
    assert (row["timing"], row["statistic"]) == ("program", "median")


def test_intel():
    rows, dropped = imported("edge_openvino_intel", small_boards.read_openvino)
    assert dropped == {"no latency, only a throughput": 1}
    assert rows["quality"].str.contains("two sockets").sum() == 1
    assert "Core i5-13600K" in set(rows["device"])


def test_cells():
    rows, _ = imported("edge_nb201_i7_7820x", small_boards.read_cells)
    assert sorted(rows["latency_ms"].round(3)) == [1.021, 9.513]
    assert rows["graph"].str.startswith("nb201:|").all()


def test_language_models():
    rows, _ = imported("hwgpt_30000", gpt.read_gpt)
    assert len(rows) == 3 * 11
    batches = {text: set(rows["batch"][rows["network"] == text]) for text in set(rows["network"])}
    assert batches == {"GPT s": {8}, "GPT m": {4}, "GPT l": {1}}
    cpu = rows[rows["unit"] == "CPU"]
    assert set(cpu["timing"]) == {"wall clock"}
    assert cpu["quality"].str.contains("profiled").all()
    assert cpu["quality"].str.contains("noisy").sum() == 1
    assert set(cpu["device"]) == {"", "Xeon Gold (Cascade Lake)"}
    likely = rows[rows["hardware"] == "RTX 2080"]
    assert set(likely["device"]) == {"RTX 2080 Ti"}
    assert set(likely["quality"]) == {"autocast, assumed device"}
    assert set(rows["timing"][rows["unit"] == "GPU"]) == {"kernels"}


def test_tables_are_joined_in_order():
    parts = [gpu.read_gpu_kernels(ROWS / "gpu_gemm_attention_aic.csv")]
    parts.append(phones.read_aihub(ROWS / "edge_aihub.csv"))
    table = joined(parts)
    assert len(table) == sum(len(part.frame) for part in parts)
    frame = table.to_frame()
    assert frame["source"].cat.codes.is_monotonic_increasing
    assert frame["licence"].notna().all()


def test_a_bad_latency_is_refused():
    part = phones.read_aihub(ROWS / "edge_aihub.csv")
    part.frame.iloc[0, part.frame.columns.get_loc("latency_ms")] = -1.0
    with pytest.raises(InputError, match="1 latencies are no finite numbers above 0"):
        joined([part])


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a table"):
        Rows.read(tmp_path / "none.csv")
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column latency_ms"):
        Rows.read(other)
    with pytest.raises(InputError, match="no column scale"):
        gpt.read_gpt(other)


def test_unknown_flags_are_refused():
    rows = Rows.read(ROWS / "edge_aihub.csv")
    with pytest.raises(ValueError, match="no flag"):
        rows.flag("good", rows.frame["latency_ms"] > 0)
