"""The hardware catalogue, how names are matched, and users' own files."""

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasplug.devices.catalogue import catalogue, parse
from nasplug.devices.hardware import MAX_FILE_BYTES, hardware
from nasplug.predictors.hardware import Hardware
from nasplug.search_spaces.errors import InputError

OWN = """
name = "My board"
vendor = "Acme"
kind = "edge"
microarchitecture = "Cortex-A55"
peak_tflops = { fp32 = 0.0576, fp16 = 0.1152 }
memory_bandwidth_gbs = 10.6
on_chip_memory_mb = 1
power_w = 5
clock_ghz = 1.8
units = 4
"""


def one_sentence(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    assert len(text) < 500
    return text


# names


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        *[(text, "RTX 3090") for text in ("rtx3090", "GeForce RTX 3090", "3090", " Rtx-3090 ")],
        ("nvidia geforce rtx 3090", "RTX 3090"),
        ("NVIDIA GeForce RTX 3080", "RTX 3080"),
        ("3080", "RTX 3080"),
        ("3080 Ti", "RTX 3080 Ti"),
        ("4070 ti super", "RTX 4070 Ti Super"),
        ("GTX1080Ti", "GTX 1080 Ti"),
        ("1080 ti", "GTX 1080 Ti"),
        ("1080", "GTX 1080"),
        ("gtx 1060", "GTX 1060 6GB"),
        ("NVIDIA TITAN X", "Titan X"),
        ("Titan X Pascal", "Titan X"),
        ("A100", "A100 80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("Intel(R) Xeon(R) Gold 6226 CPU @ 2.70GHz", "Xeon Gold 6226"),
        ("12th Gen Intel(R) Core(TM) i7-12700K", "Core i7-12700K"),
        ("AMD EPYC 7742 64-Core Processor", "EPYC 7742"),
        ("10940x", "Core i9-10940X"),
        ("i9 10940X", "Core i9-10940X"),
        ("gold_6240", "Xeon Gold 6240"),
        ("samsung_a50", "Galaxy A50"),
        ("essential_ph_1", "Essential PH-1"),
        ("raspi4", "Raspberry Pi 4"),
        ("fpga", "ZC706"),
        ("ＲＴＸ　３０９０", "RTX 3090"),
        # as nvidia-smi, /proc/device-tree/model, lscpu and data sheets print them
        ("Tesla V100-SXM2-32GB", "V100"),
        ("Tesla V100-PCIE-32GB", "V100 PCIe"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB PCIe"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA GeForce RTX 5060 Ti", "RTX 5060 Ti"),
        ("Intel(R) Arc(TM) A770 Graphics", "Arc A770"),
        ("AMD Instinct MI210", "MI210"),
        ("Jetson AGX Orin 64GB", "Jetson AGX Orin"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "Jetson AGX Orin"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "Jetson Xavier NX"),
        ("NVIDIA Jetson Nano Developer Kit", "Jetson Nano"),
        ("NVIDIA Orin Nano Developer Kit", "Jetson Orin Nano"),
        (
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
            "Jetson Orin Nano Super",
        ),
        ("Raspberry Pi 3 Model B Rev 1.2", "Raspberry Pi 3"),
        ("Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "Raspberry Pi 5"),
        ("Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz", "Xeon E5-2690 v4"),
        ("Intel® Core™ i7-7700K CPU @ 4.20GHz", "Core i7-7700K"),
        ("13th Gen Intel(R) Core(TM) i5-13600K", "Core i5-13600K"),
        ("AMD Ryzen Threadripper 3970X 32-Core Processor", "Threadripper 3970X"),
        ("AMD Ryzen 9 5950X 16-Core Processor", "Ryzen 9 5950X"),
        ("AMD Ryzen 9 7950X 16-Core Processor", "Ryzen 9 7950X"),
        ("AMD EPYC 7763 64-Core Processor", "EPYC 7763"),
        ("AMD Ryzen 5 3600 Six-Core Processor", "Ryzen 5 3600"),
        ("13th Gen Intel(R) Core(TM) i7-13700K", "Core i7-13700K"),
        ("Intel(R) Xeon(R) Platinum 8480+", "Xeon Platinum 8480+"),
        ("AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", "Ryzen AI Max+ 395"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40", "L40"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090 Laptop"),
        ("NVIDIA GeForce RTX 3070 Ti Laptop GPU", "RTX 3070 Ti Laptop"),
        ("Tesla P100-SXM2-16GB", "P100 SXM2"),
        ("Tesla P100-PCIE-12GB", "P100 12GB"),
        ("Tesla V100S-PCIE-32GB", "V100S PCIe"),
        ("NVIDIA GeForce GTX 1060 3GB", "GTX 1060 3GB"),
        ("GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5c89852c-d268)", "A100 40GB"),
        ("01:00.0 VGA: NVIDIA Corporation GA102 [GeForce RTX 3090] (rev a1)", "RTX 3090"),
        (
            "03:00.0 VGA: Advanced Micro Devices, Inc. [AMD/ATI] Navi 31 [Radeon RX 7900 XTX]",
            "RX 7900 XTX",
        ),
        ("Snapdragon(R) X Elite - X1E80100 - Qualcomm(R) Oryon(TM) CPU", "Snapdragon X Elite"),
        ("NVIDIA Orin NX Developer Kit", "Jetson Orin NX"),
        (
            "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super",
            "Jetson Orin NX Super",
        ),
        ("Jetson AGX Xavier 32GB", "Jetson AGX Xavier"),
        ("Raspberry Pi 4 Model B Rev 1.4\0", "Raspberry Pi 4"),
        ("Raspberry Pi 4 8GB", "Raspberry Pi 4"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "Raspberry Pi 3 Model B+"),
        ("Raspberry Pi 3 Model B+", "Raspberry Pi 3 Model B+"),
        ("Raspberry Pi 400 Rev 1.0", "Raspberry Pi 400"),
        # as Android and Apple's systems print them
        ("Pixel 6", "Pixel 6"),
        ("SM-G991U", "Galaxy S21"),
        ("SM-S911B", "Galaxy S23"),
        ("SM-A505FN", "Galaxy A50"),
        ("SM8550", "Snapdragon 8 Gen 2"),
        ("SM8150", "Snapdragon 855"),
        ("SM-G991B", "Exynos 2100"),
        ("OnePlus 6T", "Snapdragon 845"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "Raspberry Pi Zero 2 W"),
        ("NVIDIA Jetson Nano 2GB Developer Kit", "Jetson Nano 2GB"),
        ("GeForce GTX TITAN X", "Titan X (Maxwell)"),
        ("ROCK 5B", "RK3588"),
        ("Snapdragon 8+ Gen 1", "Snapdragon 8 Plus Gen 1"),
        ("Tensor G3", "Pixel 8"),
        ("gs101", "Pixel 6"),
        ("Apple M2 Pro", "Apple M2 Pro"),
        ("iPhone15,2", "iPhone 14 Pro"),
        ("iPhone15,4", "iPhone 15"),
        ("MacBookPro18,3", "Apple M1 Pro"),
        ("Mac14,10", "Apple M2 Pro"),
        # instances of clouds
        ("p3.2xlarge", "V100"),
        ("p2.xlarge", "K80"),
        ("m8g.24xlarge", "Graviton4"),
        ("g5.xlarge", "A10G"),
        ("ml.g5.xlarge", "A10G"),
        ("G4DN.metal", "T4"),
        ("p4d.24xlarge", "A100 40GB"),
        ("c7g.16xlarge", "Graviton3"),
        ("a2-highgpu-1g", "A100 40GB"),
        ("g2-standard-4", "L4"),
        ("Standard_NC6s_v3", "V100 PCIe"),
        ("Standard_NC40ads_H100_v5", "H100 NVL"),
    ],
)
def test_spellings(spelling: str, name: str) -> None:
    assert hardware(spelling).name == name


@pytest.mark.parametrize(
    ("spelling", "suggestion"),
    [
        ("RTX 3099", "RTX 3090"),
        ("GTX 3090", "RTX 3090"),
        ("GeForce RTX 3070 Super", "RTX 3070"),
        ("RTX 6000", "Quadro RTX 6000"),
        ("6000", "may be Quadro RTX 6000 or RTX 6000 Ada; name one of them"),
        ("jetson", "Jetson Nano"),
        ("80gb", "A100 80GB"),
        ("Pixel 33", "Pixel 3"),
        ("4", "such as"),
        ("", "such as"),
        ("nvidia", "such as"),
        ("x" * 100_000, "such as"),
    ],
)
def test_a_similar_device_is_named_and_never_taken(spelling: str, suggestion: str) -> None:
    with pytest.raises(InputError) as error:
        hardware(spelling)
    text = one_sentence(error)
    assert suggestion in text
    assert spelling[:20] in text


@pytest.mark.parametrize(
    "printed",
    [
        # other cards of the same chip, parts of one, and chips of several boards
        *(
            "Tesla P6",
            "Tesla V100-SXM3-32GB",
            "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
            "MIG 1g.5gb  Device 0:",
        ),
        *("NVIDIA GeForce RTX 2050", "Quadro RTX 6000 with Max-Q Design", "RTX 6000"),
        *("AMD Instinct MI250X/MI250", "Jetson AGX Orin Industrial"),
        *("Jetson Orin Nano 2GB", "Jetson Orin NX 4GB"),
        *("Orin", "Xavier", "Jetson-AGX", "NVIDIA Tegra X1", "Orin (nvgpu)", "NVIDIA Thor"),
        *("Raspberry Pi Compute Module 4 Rev 1.0"),
        *("Cortex-A72", "Neoverse-N1", "ARMv7 Processor rev 4 (v7l)", "плата 3090", "3090 版"),
        *("AMD Ryzen 7 5700X3D 8-Core Processor", "Intel(R) Xeon(R) Processor @ 2.60GHz"),
        *("AMD EPYC 7R13 Processor", "AMD EPYC", "NVIDIA GeForce RTX 5090 D", "GRID T4-16Q"),
        # names of other vendors that a brand alone sets apart
        *("Apple A10", "Samsung A10", "Tesla M4", "teslam4", "Radeon 3090", "AMD RTX 3090"),
        # numbers that say too little
        *("100", "370", "300"),
        # other versions of a phone, and other phones of a chip
        *(
            "SM-G930U",
            "Pixel 8 Pro",
            "Apple M9 Ultra",
        ),
        *("iPhone14,8", "iPhone15,3", "Tensor", "taro", "Exynos 8890", "A15 Bionic"),
        # instances with a part of a chip, or a chip that the catalogue lacks
        *("c5.xlarge", "m6i.large", "c7g.xlarge", "g5g.xlarge", "c8g.metal"),
        *("Standard_NV6ads_A10_v5", "t3.micro", "g5.", "g5.huge", "g5.xlarge.g5.xlarge"),
    ],
)
def test_what_a_system_prints_of_another_device_is_not_taken(printed: str) -> None:
    with pytest.raises(InputError, match=r"not in the catalogue|name one of them|\.toml file"):
        hardware(printed)


@pytest.mark.parametrize(
    ("printed", "question"),
    [
        ("Jetson-AGX", "'Jetson-AGX' may be Jetson AGX Xavier or Jetson AGX Orin; name one of"),
        ("Orin", "'Orin' may be Jetson AGX Orin, Jetson Orin NX, Jetson Orin Nano, .* 3 others;"),
        ("SM-G930U", "is a Galaxy S7 with a Snapdragon 820, .*; name Galaxy S7 if that is near"),
        (
            "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
            r"is a part of a card \(MIG\), .*; name A100 40GB if",
        ),
        ("RTX 3090 48GB", "has 48 GB, and the catalogue's RTX 3090 24 GB; name RTX 3090 if"),
        ("Neoverse-V1", "is a microarchitecture, .*; name .*Graviton3.* if that is near enough"),
        ("c7g.xlarge", "has a part of the 64 cores of a Graviton3; name Graviton3 if"),
        ("c5.xlarge", "has a Xeon Platinum of .* which the catalogue lacks; describe yours in a"),
        (
            "Intel(R) Xeon(R) CPU @ 2.20GHz",
            "does not say which Xeon it is; name yours as nasplug hardware Xeon lists it",
        ),
    ],
)
def test_a_question_names_the_candidates(printed: str, question: str) -> None:
    with pytest.raises(InputError, match=question) as error:
        hardware(printed)
    one_sentence(error)


@pytest.mark.parametrize("bad", [None, 3090, b"RTX 3090", ["RTX 3090"]])
def test_what_is_no_name_is_refused(bad: object) -> None:
    with pytest.raises(InputError, match=type(bad).__name__):
        hardware(bad)  # type: ignore[arg-type]


def test_a_hardware_comes_back_unchanged() -> None:
    device = hardware("T4")
    assert hardware(device) is device


PIECES = st.sampled_from(
    [
        *("RTX 3090", "Orin", "MIG 1g.5gb", "@", "[", "]", "(R)", "(TM)", "w/", "with", "$x$", "+"),
        *(
            "<b>",
            "[bold]",
            "\0",
            "\x1b[31m",
            "\ud800",
            "\u202e",
            "٣GB",
            "ﬃ",
            "İ",
            "24 GB",
            "9" * 99,
        ),
        *("g5.xlarge", ".", "Cortex-A72", "Tesla", "Apple", "Developer Kit", "12-Core", "rev 1.4"),
    ]
)


@given(st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=3))).map("".join)))
def test_any_text_resolves_or_is_refused(text: str) -> None:
    try:
        assert isinstance(hardware(text), Hardware)
    except InputError as error:
        sentence = str(error)
        assert sentence
        assert len(sentence) < 700
        assert sentence.isprintable()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "1" * 100_000, "1 " * 100_000, "w/ " * 50_000, "[a]" * 50_000]
)
def test_a_long_text_is_refused_at_once(text: str) -> None:
    with pytest.raises(InputError, match="not in the catalogue"):
        hardware(text)


@given(st.data())
def test_case_spaces_and_dashes_do_not_matter(data: st.DataObject) -> None:
    device = data.draw(st.sampled_from(catalogue()))
    spelling = "".join(
        data.draw(st.sampled_from(["", " ", "-", "_"]))
        + (c.upper() if data.draw(st.booleans()) else c.lower())
        for c in device.name
    )
    assert hardware(spelling) is device


# the catalogue


def test_looking_up_a_device_imports_nothing_heavy() -> None:
    code = (
        "import sys; import nasplug.predictors.hardware, nasplug.search_spaces.errors;"
        "before = set(sys.modules);"
        "from nasplug.devices.hardware import hardware; hardware('3090');"
        "heavy = {'torch', 'numpy', 'pandas', 'dgl'} & (set(sys.modules) - before);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# a user's own file


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "board.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("content", [OWN, "[device]" + OWN, "\ufeff" + OWN])
@pytest.mark.parametrize("kind", [Path, str])
def test_own_file(tmp_path: Path, content: str, kind: type) -> None:
    device = hardware(kind(written(tmp_path, content)))
    assert device.name == "My board"
    assert device.peak_tflops == {"fp32": 0.0576, "fp16": 0.1152}
    assert device.power_w == 5.0
    assert isinstance(device.power_w, float)
    assert (device.year, device.memory_gb, device.aliases, device.note) == (0, 0.0, (), "")


def test_own_file_with_everything(tmp_path: Path) -> None:
    more = 'year = 2024\nmemory_gb = 4\naliases = ["board"]\nsource = "data sheet"\nnote = "n"\n'
    device = hardware(written(tmp_path, OWN + more))
    assert (device.year, device.memory_gb, device.aliases) == (2024, 4.0, ("board",))


@pytest.mark.parametrize("field", [line.split(" = ")[0] for line in OWN.split("\n") if line])
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    content = "\n".join(line for line in OWN.split("\n") if not line.startswith(field))
    with pytest.raises(InputError) as error:
        hardware(written(tmp_path, content))
    text = one_sentence(error)
    assert "board.toml" in text
    assert f"{field} is missing" in text


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("name", '""', "name must be a string"),
        ("name", "3", "name must be a string"),
        ("name", '"a\\u001bb"', "name must be a string"),
        ("vendor", '"a\\nb"', "vendor must be a string"),
        ("kind", '"toaster"', "one of gpu, cpu, phone"),
        ("kind", "[]", "not a list"),
        ("power_w", "0", "power_w must be a number from 1e-06 to 1e+09 in W, not 0"),
        ("power_w", "1e-300", "a number from 1e-06 to 1e+09 in W, not 1e-300"),
        ("power_w", "1e300", "not 1e+300"),
        ("power_w", "-5", "not -5"),
        ("power_w", "nan", "not nan"),
        ("clock_ghz", "inf", "not inf"),
        ("clock_ghz", "true", "not True"),
        ("clock_ghz", '"1.8"', "not '1.8'"),
        ("clock_ghz", "0x" + "f" * 1900, "clock_ghz must be"),
        ("clock_ghz", "1979-05-27", "clock_ghz must be"),
        ("memory_bandwidth_gbs", "{}", "not a table"),
        ("on_chip_memory_mb", "-1", "in MB"),
        ("units", "0", "from 1 to"),
        ("units", "1.5", "whole number"),
        ("peak_tflops", "3", "a table such as"),
        ("peak_tflops", "{}", "peak_tflops.fp32 is missing"),
        ("peak_tflops", "{ fp16 = 1 }", "peak_tflops.fp32 is missing"),
        ("peak_tflops", "{ fp32 = 1, fp99 = 1 }", "'fp99'"),
        ("peak_tflops", "{ fp32 = 1e-300 }", "peak_tflops.fp32 must be a number from 1e-06"),
        ("peak_tflops", "{ fp32 = 1, fp16 = 0 }", "peak_tflops.fp16 must be a number from"),
        ("peak_tflops", '{ fp32 = "1" }', "peak_tflops.fp32 must be a number from"),
        ("year", "1200", "1970 to 2100"),
        ("memory_gb", "-1", "0 if it varies"),
        ("aliases", '"board"', "list of strings"),
        ("aliases", "[1]", "list of strings"),
        ("source", "1", "source must be a string"),
        ("memory_bandwith", "10", "memory_bandwidth_gbs"),
    ],
)
def test_a_bad_field_is_named(tmp_path: Path, field: str, value: str, expected: str) -> None:
    kept = [line for line in OWN.split("\n") if not line.startswith(f"{field} = ")]
    with pytest.raises(InputError) as error:
        hardware(written(tmp_path, "\n".join([*kept, f"{field} = {value}"])))
    text = one_sentence(error)
    assert "board.toml" in text
    assert field in text
    assert expected in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("name = ", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        ("x = " + "[" * 50_000, "not valid TOML"),
        ("x = " + "9" * 5000, "not valid TOML"),
        ("#" * (MAX_FILE_BYTES + 1), "larger than 64 kB"),
        # Reading it would take minutes.
        ("a." * 30_000 + "a = 1", "a line has more than 2000 characters"),
        ("", "name is missing"),
        ("device = 3", "one table"),
        ("[[device]]" + OWN, "one table"),
        ("stray = 1\n[device]" + OWN, "'stray' must stand under"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str | bytes, expected: str) -> None:
    with pytest.raises(InputError) as error:
        hardware(written(tmp_path, content))
    text = one_sentence(error)
    assert "board.toml" in text
    assert expected in text


@pytest.mark.parametrize("name", ["absent.toml", "folder.toml", "null\0.toml"])
def test_an_unreadable_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError) as error:
        hardware(str(tmp_path / name))
    assert name[:4] in one_sentence(error)


@pytest.mark.parametrize(
    ("field", "value"),
    [("clock_ghz", 1e-300), ("memory_gb", -1.0), ("units", 0), ("peak_tflops", {"fp32": 1e300})],
)
def test_a_device_made_in_python_has_usable_numbers(field: str, value: object) -> None:
    own = replace(hardware("T4"), **{field: value})
    with pytest.raises(InputError, match=f"'T4': {field}.* must be a .*number from"):
        hardware(own)


numbers = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=5))


@given(st.sampled_from(["power_w", "clock_ghz", "memory_gb", "on_chip_memory_mb"]), numbers)
def test_a_figure_is_usable_or_refused(field: str, value: object) -> None:
    fields = {**vars(hardware("T4")), "aliases": [], field: value}
    with suppress(InputError):
        assert 0 <= getattr(parse(fields, "here"), field) < float("inf")
