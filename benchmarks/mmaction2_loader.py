"""mmaction2's loader, where it is installed, next to ours: its Swin and MViT recipes, a view a decode.

pip install mmaction2 mmengine "mmcv-lite<2.2" pytorchvideo opencv-python-headless einops scipy
python benchmarks/mmaction2_loader.py FOLDER    (of tools/benchmark.py data --corpus FOLDER)
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torchvision.transforms
from torchvision.transforms import _functional_tensor

from slowfast_mlp.apps.timing import measure, speedup, summarize
from slowfast_mlp.benchmarks import loader_passes
from slowfast_mlp.data.records import Record

NUM_VIDEOS, NUM_ROUNDS = 4, 5
OPEN = [dict(type="DecordInit")]
CROP = [
    dict(type="RandomResizedCrop"),
    dict(type="Resize", scale=(224, 224), keep_ratio=False),
    dict(type="Flip", flip_ratio=0.5),
]
PACK = [dict(type="FormatShape", input_format="NCTHW"), dict(type="PackActionInputs")]
RESIZE = [dict(type="DecordDecode"), dict(type="Resize", scale=(-1, 256))]
RECIPES = {
    "mmaction2, Swin 32x2": [
        *OPEN,
        dict(type="SampleFrames", clip_len=32, frame_interval=2, num_clips=1),
        *RESIZE,
        *CROP,
        *PACK,
    ],
    "mmaction2, MViT 16x4": [
        *OPEN,
        dict(type="SampleFrames", clip_len=16, frame_interval=4, num_clips=1),
        *RESIZE,
        dict(type="PytorchVideoWrapper", op="RandAugment", magnitude=7, num_layers=4),
        *CROP,
        dict(type="RandomErasing", erase_prob=0.25, mode="rand"),
        *PACK,
    ],
}


def their_pass(recipe: list[dict], paths: list[str]) -> Callable[[], None]:
    """Loads a clip of every video by their pipeline."""
    # pytorchvideo imports it under the name that it had.
    sys.modules["torchvision.transforms.functional_tensor"] = _functional_tensor
    torchvision.transforms.functional_tensor = _functional_tensor
    import cv2
    from mmengine.dataset import Compose
    from mmengine.registry import init_default_scope

    cv2.setNumThreads(1)
    init_default_scope("mmaction")
    pipeline = Compose(recipe)

    def load() -> None:
        for path in paths:
            pipeline(dict(filename=path, label=0, start_index=0, modality="RGB"))

    return load


def main(corpus: str) -> None:
    """Measures both over the corpus's videos with a keyframe in 250 frames and in 12; writes lines."""
    torch.set_num_threads(1)
    for name in ("gop250", "gop12"):
        paths = [str(path) for path in sorted((Path(corpus) / name).glob("*.mp4"))[:NUM_VIDEOS]]
        records = [Record(path=path, label=0) for path in paths]
        jobs = loader_passes.make_jobs(records, loader_passes.DENSE, num_epochs=1)
        workloads = {title: their_pass(recipe, paths) for title, recipe in RECIPES.items()}
        clips = dict.fromkeys(workloads, len(paths))
        for mode in ("exact", "fused", "device"):
            videos = loader_passes.train_videos(records, loader_passes.DENSE, mode)
            workloads[f"ours, {mode}"] = partial(loader_passes.our_pass(videos, jobs))
            clips[f"ours, {mode}"] = loader_passes.NUM_SAMPLES * len(paths)
        costs = measure(workloads, num_rounds=NUM_ROUNDS)
        seconds = {title: [cost.cpu_sec / clips[title] for cost in costs[title]] for title in workloads}
        for title, values in seconds.items():
            ms = summarize([1000 * value for value in values])
            ratios = [f"{speedup(values, seconds[theirs]).median:.2f} x {theirs}" for theirs in RECIPES]
            sys.stdout.write(
                f"{name:7} {title:22} {ms.median:6.1f} ms/clip, spread {ms.spread:.0f} %; {ratios}\n"
            )


if __name__ == "__main__":
    main(sys.argv[1])
