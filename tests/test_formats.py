"""Every format of data trains and tests through the command line, on corpora of a few tiny files."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from slowfast_mlp.data.video_io.encode import write_video
from tests.conftest import TINY

CLASSES = (
    "Dropping something",
    "Turning the camera left while filming something",
    "Turning the camera right while filming something",
    "Turning something upside down",
)
COLOURS = ((220, 30, 30), (30, 220, 30), (30, 30, 220), (200, 200, 40))
NUM_TRAIN, NUM_VAL, NUM_FRAMES = 8, 4, 6


def clip(label: int) -> torch.Tensor:
    """Frames [T, H, W, 3] in the colour of the class, brighter with time."""
    frames = torch.tensor(COLOURS[label]) * torch.linspace(0.5, 1, NUM_FRAMES).reshape(-1, 1)
    return frames.to(torch.uint8).reshape(NUM_FRAMES, 1, 1, 3).expand(-1, 40, 48, -1).contiguous()


def split_of(number: int) -> str:
    return "train" if number < NUM_TRAIN else "val"


def write_frames(folder: Path, template: str) -> None:
    """A folder a video, named by its number from 100."""
    for number in range(NUM_TRAIN + NUM_VAL):
        place = folder / str(100 + number)
        place.mkdir(parents=True)
        for index, frame in enumerate(clip(number % 4), start=1):
            Image.fromarray(frame.numpy()).save(place / template.format(index), quality=95)


def write_list(folder: Path, split: str, name: str) -> None:
    numbers = [n for n in range(NUM_TRAIN + NUM_VAL) if split_of(n) == split]
    (folder / name).write_text("".join(f"{100 + n} {NUM_FRAMES} {n % 4}\n" for n in numbers))


def write_jsons(folder: Path) -> None:
    """The official JSONs, with brackets around what the templates leave open."""
    labels = {name: str(label) for label, name in enumerate(CLASSES)}
    (folder / "something-something-v2-labels.json").write_text(json.dumps(labels))
    for split, part in (("train", "train"), ("val", "validation")):
        entries = [
            {"id": str(100 + n), "template": CLASSES[n % 4].replace("something", "[something]")}
            for n in range(NUM_TRAIN + NUM_VAL)
            if split_of(n) == split
        ]
        (folder / f"something-something-v2-{part}.json").write_text(json.dumps(entries))


def make_ssv1(folder: Path) -> list[str]:
    write_frames(folder / "frames", "{:05d}.jpg")
    write_list(folder, "train", "somesomev1_rgb_train_split.txt")
    write_list(folder, "val", "somesomev1_rgb_validation_split.txt")
    (folder / "category.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    return ["TRAIN.DATASET", "ssv1", "DATA.PATH_PREFIX", str(folder / "frames")]


def make_ssv2_videos(folder: Path, suffix: str, codec: str, options: dict[str, str]) -> list[str]:
    (folder / "videos").mkdir()
    for number in range(NUM_TRAIN + NUM_VAL):
        path = folder / "videos" / f"{100 + number}{suffix}"
        write_video(path, clip(number % 4), fps=12, options=options, codec=codec)
    write_jsons(folder)
    return ["TRAIN.DATASET", "ssv2", "DATA.PATH_PREFIX", str(folder / "videos")]


def make_ssv2_webm(folder: Path) -> list[str]:
    return make_ssv2_videos(folder, ".webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"})


def make_ssv2_mp4(folder: Path) -> list[str]:
    return make_ssv2_videos(folder, ".mp4", "libx264", {"preset": "ultrafast"})


def make_ssv2_frames(folder: Path) -> list[str]:
    write_frames(folder / "frames", "{:06d}.jpg")
    write_list(folder, "train", "somesomev2_rgb_train_split.txt")
    write_list(folder, "val", "somesomev2_rgb_validation_split.txt")
    return ["TRAIN.DATASET", "ssv2", "DATA.PATH_PREFIX", str(folder / "frames")]


def make_ssv2_frame_csv(folder: Path) -> list[str]:
    write_frames(folder / "frames", "img_{:05d}.jpg")
    write_jsons(folder)
    for split in ("train", "val"):
        lines = ["original_vido_id video_id frame_id path labels"]
        for number in range(NUM_TRAIN + NUM_VAL):
            if split_of(number) == split:
                frames = range(NUM_FRAMES)
                lines += [f'{100 + number} 0 {i} {100 + number}/img_{i + 1:05d}.jpg ""' for i in frames]
        (folder / f"{split}.csv").write_text("\n".join(lines))
    return ["TRAIN.DATASET", "ssv2", "DATA.PATH_PREFIX", str(folder / "frames")]


def make_imagenet(folder: Path) -> list[str]:
    for number in range(NUM_TRAIN + NUM_VAL):
        place = folder / split_of(number) / f"n{number % 4:08d}"
        place.mkdir(parents=True, exist_ok=True)
        suffix = (".jpg", ".png", ".webp", ".bmp", ".jpeg")[number % 5]
        Image.fromarray(clip(number % 4)[-1].numpy()).save(place / f"{100 + number}{suffix}")
    return ["TRAIN.DATASET", "imagenet", "DATA.NUM_FRAMES", "1"]


FORMATS = {
    "ssv1": (make_ssv1, CLASSES, "segments", "108/{:05d}.jpg"),
    "ssv2_webm": (make_ssv2_webm, CLASSES, "segments", "108.webm"),
    "ssv2_mp4": (make_ssv2_mp4, CLASSES, "segments", "108.mp4"),
    "ssv2_frames": (make_ssv2_frames, (), "segments", "108/{:06d}.jpg"),
    "ssv2_frame_csv": (make_ssv2_frame_csv, CLASSES, "segments", "108/img_{:05d}.jpg"),
    "imagenet": (make_imagenet, [f"n{k:08d}" for k in range(4)], "dense", "n00000000/108.bmp"),
}


def predictions(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run_on(main, tmp_path, capsys):
    """Runs the command line on a folder; returns status, output and error."""

    def run_on(folder, *words, out="out"):
        (tmp_path / "tiny.yaml").write_text(TINY)
        where = ["DATA.PATH_TO_DATA_DIR", str(folder), "OUTPUT_DIR", str(tmp_path / out), "NUM_GPUS", "0"]
        # No workers: a process a split would take longer than all the rest.
        tiny = ["MODEL.NUM_CLASSES", "4", "SOLVER.MAX_EPOCH", "1", "DATA_LOADER.NUM_WORKERS", "0"]
        status = main(["--cfg", str(tmp_path / "tiny.yaml"), *where, *tiny, *words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_on


@pytest.mark.parametrize("name", FORMATS)
def test_a_corpus_of_this_format_trains_and_tests(run_on, tmp_path, name):
    make, names, sampling, first_path = FORMATS[name]
    folder = tmp_path / "corpus"
    folder.mkdir()
    status, printed, error = run_on(folder, *make(folder), "SOLVER.WARMUP_EPOCHS", "0")
    assert (status, error) == (0, "")
    assert "8 train, 4 val, 4 test videos" in printed and "4/4 with a view" in printed
    assert f"2 x 3 views, logits averaged, {sampling} sampling" in printed
    rows = predictions(tmp_path / "out")
    assert [row["label"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["views"] for row in rows] == ["6"] * 4
    assert rows[0]["path"].endswith(first_path)
    assert [row["label_name"] for row in rows if names] == list(names)
    correct = sum(row["label"] == row["class1"] for row in rows)
    assert f"top-1     {25 * correct:.2f} %" in printed
    path = tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00001.pyth"
    assert torch.load(path, weights_only=True)["label_names"] == list(names)


@pytest.fixture
def trained(run_on, tmp_path):
    """A run on frames of V1 in lossless pictures: its folder of data, and words that read it."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    words = [*make_ssv1(folder), "DATA.ARGS.template", "{:05d}.png"]
    write_frames(folder / "png", "{:05d}.png")
    words[3] = str(folder / "png")
    assert run_on(folder, *words, "SOLVER.WARMUP_EPOCHS", "0")[0] == 0
    return folder, words


def scores(out: Path) -> list[list[tuple[str, str]]]:
    """Classes and scores of every video, best first."""
    return [[(row[f"class{n}"], row[f"score{n}"]) for n in (1, 2, 3, 4)] for row in predictions(out)]


def test_bgr_is_the_same_as_pictures_with_their_colours_turned(run_on, tmp_path, trained):
    folder, words = trained
    in_rgb = scores(tmp_path / "out")
    status, printed, _ = run_on(folder, *words, "TRAIN.ENABLE", "False", "DATA.CHANNEL_ORDER", "BGR")
    assert status == 0 and "segments sampling, BGR" in printed
    assert "was trained with DATA.CHANNEL_ORDER RGB, and is tested with BGR" in printed
    in_bgr = scores(tmp_path / "out")
    for path in (folder / "png").rglob("*.png"):
        picture = Image.open(path)
        Image.merge("RGB", picture.split()[::-1]).save(path)
    assert run_on(folder, *words, "TRAIN.ENABLE", "False")[0] == 0
    assert scores(tmp_path / "out") == in_bgr != in_rgb


def reordered(folder: Path, names: list[str]) -> None:
    """Gives the classes these places in the list of names, and the videos the labels that follow."""
    (folder / "category.txt").write_text("".join(f"{name}\n" for name in names))
    for part in ("train", "validation"):
        path = folder / f"somesomev1_rgb_{part}_split.txt"
        lines = [line.split() for line in path.read_text().splitlines()]
        path.write_text("".join(f"{a} {n} {names.index(CLASSES[int(k)])}\n" for a, n, k in lines))


def test_another_order_of_the_classes_is_matched_by_name(run_on, tmp_path, trained):
    folder, words = trained
    before = scores(tmp_path / "out")
    names = [CLASSES[k] for k in (2, 0, 3, 1)]
    reordered(folder, names)
    status, printed, _ = run_on(folder, *words, "TRAIN.ENABLE", "False")
    assert status == 0 and "has 4 of 4 classes at other places than the data set" in printed
    now_at = {str(k): str(names.index(name)) for k, name in enumerate(CLASSES)}
    assert scores(tmp_path / "out") == [[(now_at[k], score) for k, score in row] for row in before]
    assert [row["label_name"] for row in predictions(tmp_path / "out")] == list(CLASSES)
    status, _, error = run_on(folder, *words, "SOLVER.MAX_EPOCH", "2")
    assert status == 1 and "was trained with the classes in another order" in error


def test_a_start_from_weights_of_another_order_keeps_what_every_class_learnt(run_on, tmp_path, trained):
    folder, words = trained
    start = tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00001.pyth"
    still = ["SOLVER.BASE_LR", "0", "SOLVER.WARMUP_EPOCHS", "0", "SOLVER.COSINE_END_LR", "0"]
    words = [*words, *still, "TEST.ENABLE", "False", "TRAIN.CHECKPOINT_FILE_PATH", str(start)]
    reordered(folder, [CLASSES[k] for k in (2, 0, 3, 1)])
    status, printed, _ = run_on(folder, *words, out="second")
    assert status == 0 and "has the classes in another order: its head is sorted by their names" in printed
    after = tmp_path / "second" / "checkpoints" / "checkpoint_epoch_00001.pyth"
    one, other = (torch.load(path, weights_only=True)["model_state"] for path in (start, after))
    for name in ("head.weight", "head.bias"):
        assert torch.equal(other[name], one[name][[2, 0, 3, 1]])
    (folder / "category.txt").write_text("a\nb\nc\nd\n")
    status, printed, _ = run_on(folder, *words, out="third")
    assert status == 0 and "on other classes (it alone has 'Dropping something', 'Turning the" in printed
    assert "2 missing (head.weight, head.bias)" in printed


def test_other_classes_are_refused_at_the_test_and_on_resuming(run_on, trained):
    folder, words = trained
    (folder / "category.txt").write_text("a\nb\nc\nd\n")
    for more in (["TRAIN.ENABLE", "False"], ["SOLVER.MAX_EPOCH", "2"]):
        status, _, error = run_on(folder, *words, *more)
        assert status == 1 and "was trained on other classes: it alone has 'Dropping something'" in error
    (folder / "category.txt").write_text("a\nb\n")
    status, _, error = run_on(folder, *words)
    assert status == 1 and "the data set names 2 classes; MODEL.NUM_CLASSES is 4" in error


def test_unknown_names_take_the_order_as_it_is_and_say_so(run_on, tmp_path, trained):
    folder, words = trained
    before = scores(tmp_path / "out")
    (folder / "category.txt").unlink()
    status, printed, _ = run_on(folder, *words, "TRAIN.ENABLE", "False")
    assert (
        status == 0 and "the data set does not name the classes, so their order is taken as it is" in printed
    )
    assert scores(tmp_path / "out") == before
    assert "label_name" not in predictions(tmp_path / "out")[0]


def test_the_start_names_the_lists_and_the_frames_of_a_clip(run_on, tmp_path, trained):
    folder, words = trained
    words = [*words, "TRAIN.ENABLE", "False", "TEST.NUM_SPATIAL_CROPS", "1", "TEST.SINGLE_CROP", "first"]
    status, printed, _ = run_on(folder, *words)
    assert status == 0 and "clips of 4 frames from as many segments" in printed
    assert "2 x 1 views (first crop), logits averaged, segments sampling" in printed
    # sha256sum of the lines "108<tab>0" to "111<tab>3"
    assert "sha256 f0f166f9d694 test; 4 classes with names" in printed
    last = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["list_sha256"].startswith("f0f166f9d694") and len(last["list_sha256"]) == 64
    status, printed, _ = run_on(folder, *words, "DATA.SAMPLING", "dense")
    assert status == 0 and "clips of 4 frames at rate 4" in printed and "dense sampling" in printed


def test_mirroring_swaps_labels_where_names_are_known_and_is_refused_elsewhere(run_on, trained):
    folder, words = trained
    words = [*words, "DATA.RANDOM_FLIP", "True", "TEST.ENABLE", "False"]
    status, printed, _ = run_on(folder, *words, out="mirrored")
    assert status == 0 and "mirrored clips swap the labels of 2 classes that tell left from right" in printed
    names = [name.replace("right", "round") for name in CLASSES]
    (folder / "category.txt").write_text("".join(f"{name}\n" for name in names))
    status, _, error = run_on(folder, *words, out="other")
    assert status == 1 and "DATA.RANDOM_FLIP True: 'Turning the camera left while" in error
    (folder / "category.txt").unlink()
    status, _, error = run_on(folder, *words, out="other")
    assert status == 1 and "ssv1 has classes that tell left from right, and their names" in error
