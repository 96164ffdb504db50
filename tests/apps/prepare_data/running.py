"""What the tests of tools/prepare_data.py share: words of its command line, files as people have them."""

import shlex

from torchvision.io import write_jpeg

from slowfast_mlp.data.video_io.video import open_video
from tests.conftest import numbered_frames, numbers_shown

HEADING = "label,youtube_id,time_start,time_end,split,is_cc\n"


def kinetics_words(folder, *more):
    annotations = (folder / "train.csv", folder / "validate.csv")
    return (
        "kinetics",
        "--annotations",
        *annotations,
        "--videos",
        folder / "videos",
        "--out",
        folder / "out",
        *more,
    )


def trains_and_tests(command, output, *, num_tested):
    """Runs run_net.py with the settings that the tool printed last, over those for another data set."""
    settings = shlex.split(output[-1].removeprefix("settings: "))
    status, output, error = command("DATA.RANDOM_FLIP", "True", *settings, "TRAIN.BATCH_SIZE", "2")
    assert (status, error) == (0, "")
    assert f"{num_tested}/{num_tested} with a view" in output


def shows(path):
    with open_video(str(path), "pyav") as video:
        return numbers_shown(video.read(range(video.num_frames)))


def write_frames(folder, num_frames, template, first=1):
    folder.mkdir(parents=True)
    for number, frame in enumerate(numbered_frames(num_frames), start=first):
        write_jpeg(frame.permute(2, 0, 1), str(folder / template.format(number)))
