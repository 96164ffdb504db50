"""The plan of docs/architecture.md, held: who imports whom, one home for each library, short files and
functions.
"""

import ast
import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slowfast_mlp.config import schema

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "slowfast_mlp"
FILES = [
    *sorted(PACKAGE.rglob("*.py")),
    *sorted((ROOT / "tools").rglob("*.py")),
    *sorted((ROOT / "benchmarks").glob("*.py")),
]

# The core: a room imports only rooms below it. `apps` use the core, and `tools` and `benchmarks` use both.
CORE = (
    "run",
    "builders",
    "engine",
    "checkpoint",
    "log",
    "distributed",
    "models",
    "layers",
    "kernels",
    "data",
    "config",
    "registry",
    "atomic_file",
    "seeding",
    "errors",
)
OUTSIDE = ("apps", "tools", "benchmarks")
HOMES = {
    "torch.distributed": {
        "distributed/process_group.py",
        "distributed/launch.py",
        "distributed/data_parallel.py",
        "distributed/rendezvous.py",
    },
    "torch.multiprocessing": {"distributed/launch.py"},
    "torch.utils.tensorboard": {"log/tensorboard_writer.py"},
    "simplejson": {"log/run_log.py", "log/metrics_file.py"},
    "filelock": {"checkpoint/output_lock.py"},
    "submitit": {"apps/slurm_submit.py"},
    "onnxruntime": {"apps/export.py"},
    "decord": {"data/video_io/decord_reader.py"},
    "av": {
        "data/video_io/pyav_reader.py",
        "data/video_io/encode.py",
        "data/video_io/probe.py",
        "data/video_io/stream.py",
        "data/video_io/frame_writer.py",
    },
    "jinja2": {"apps/report/html.py"},
    "markupsafe": {"apps/report/html.py"},
    "PIL": {
        "data/video_io/images.py",
        "apps/predict/captions.py",
        "apps/predict/timeline.py",
        "apps/visualize/pictures.py",
        "apps/reproduce/plot.py",
    },
    "yaml": {"config/load.py", "config/diff.py", "config/parsing.py"},
    "fvcore.common.config": {"config/load.py"},
    "fvcore.nn": {"engine/flops.py"},
}
IOPATH_HOMES = re.compile(r"checkpoint/checkpoint\.py|config/load\.py|data/.*")
MAX_FILE, MAX_FUNCTION = 300, 40
# A constructor of a backbone checks and names each of its arguments.
MAX_CONSTRUCTOR = 70
MAX_CONFIG_FUNCTIONS = 22


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, `from a import b` as a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_inside(name: str, library: str) -> bool:
    return name == library or name.startswith(f"{library}.")


def may_import(room: str, imported: str) -> bool:
    """Whether a file of `room` may import a module of the package, by the rule above."""
    other = imported.split(".")[1]
    if room in OUTSIDE:
        return other in CORE or other == "apps" or (other == room and room == "benchmarks") or room == "tools"
    return other == room or (other in CORE and CORE.index(other) > CORE.index(room))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_core_never_imports_an_app_and_a_room_imports_only_rooms_below_it(path):
    room = name_of(path).removesuffix(".py").split("/")[0]
    if room == "__init__":
        # Importing the package does nothing: all that it offers comes in when somebody asks for it.
        kinds = [type(node) for node in ast.parse(path.read_text()).body]
        assert kinds == [ast.Expr, ast.FunctionDef]
        assert list(imports(path)) == ["slowfast_mlp.apps.predict.load.load"]
        return
    for name in imports(path):
        if is_inside(name, "slowfast_mlp"):
            assert may_import(room, name), f"{room} may not import {name}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_library_has_one_home(path):
    for name in imports(path):
        for library, homes in HOMES.items():
            assert not is_inside(name, library) or name_of(path) in homes, f"{library} lives in {homes}"
        if is_inside(name, "iopath"):
            assert IOPATH_HOMES.fullmatch(name_of(path))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_autocast_and_the_scaler_live_in_precision_and_kernels_turn_autocast_off(path):
    used = set(
        re.findall(
            r"GradScaler|torch\.autocast\(\w+, enabled=False\)|torch\.autocast|amp\.autocast",
            path.read_text(),
        )
    )
    allowed = {"kernels/autocast.py": {"torch.autocast(device_type, enabled=False)"}}
    if name_of(path) != "engine/precision.py":
        assert used <= allowed.get(name_of(path), set())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            of_model = name_of(path).startswith("models/") and node.name == "__init__"
            limit = MAX_CONSTRUCTOR if of_model else MAX_FUNCTION
            assert length <= limit, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_whole_config_below_build(path):
    """Only run/ and tools see Config, build/ its sections, and nobody passes `cfg` or **kwargs around."""
    name = name_of(path)
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            for argument in arguments:
                assert argument.arg not in ("cfg", "args"), f"{node.name} takes {argument.arg}"
                annotation = ast.unparse(argument.annotation) if argument.annotation else ""
                if not (
                    name
                    in (
                        "apps/convert.py",
                        "apps/check_data/command.py",
                        "apps/predict/load.py",
                        "apps/reproduce/costs.py",
                    )
                    or name.startswith(("run/", "tools/", "config/"))
                ):
                    assert not re.search(r"\bConfig\b", annotation), f"{node.name} takes the config"
            free_names = ("metrics", "json_stats", "check_stage_tables")  # whose keywords are the data itself
            assert node.args.kwarg is None or node.name in free_names, f"{node.name} takes **kwargs"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_refused_is_there(path):
    text = path.read_text()
    assert path.stem not in ("utils", "misc", "helpers", "helper", "common")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"print in line {node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            passed_on = isinstance(node.body[-1], ast.Raise)
            assert passed_on or caught not in ("everything", "Exception", "BaseException"), (
                f"except {caught}, line {node.lineno}"
            )
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert any(k.arg == "weights_only" and k.value.value is True for k in node.keywords)
    assert "fmt: skip" not in text
    assert not re.search(r"\b(TODO|FIXME)\b|torch\._|torchvision\.[a-z.]*\._", text)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_public_things_have_a_docstring(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            inner = [
                n
                for n in ast.walk(tree)
                if isinstance(n, ast.FunctionDef) and node in ast.walk(n) and n is not node
            ]
            parent_private = any(
                isinstance(c, ast.ClassDef) and (c.name.startswith("_") or "Protocol" in ast.unparse(c)[:200])
                for c in ast.walk(tree)
                if isinstance(c, ast.ClassDef) and node in c.body
            )
            if not inner and not parent_private:
                assert ast.get_docstring(node), f"{node.name} says nothing"


def test_few_functions_see_the_whole_config():
    seen = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.args, *node.args.kwonlyargs]
                annotations = [
                    ast.unparse(argument.annotation) for argument in arguments if argument.annotation
                ]
                if any(re.search(r"\bConfig\b", annotation) for annotation in annotations):
                    seen.append(f"{name_of(path)}: {node.name}")
    assert len(seen) <= MAX_CONFIG_FUNCTIONS, seen


def test_every_setting_is_read():
    """Each field of the schema is used, as section.field, by run/, builders/ or the door."""
    files = [*PACKAGE.glob("run/*.py"), *PACKAGE.glob("builders/*.py"), ROOT / "tools" / "run_net.py"]
    text = "\n".join(path.read_text() for path in files)
    aliases = {"model": "section", "data_loader": "loading", "solver": "settings", "train": "settings"}
    for section in dataclasses.fields(schema.Config):
        kind = section.default_factory
        if not dataclasses.is_dataclass(kind):
            assert re.search(rf"\b(config|first|group\[0\])\.{section.name}\b", text), (
                f"nothing reads {section.name}"
            )
            continue
        owners = rf"(config\.{section.name}|{section.name}|{aliases.get(section.name, section.name)})"
        for field in dataclasses.fields(kind):
            found = re.search(rf"\b{owners}\.{field.name}\b", text)
            assert found, f"nothing reads {section.name}.{field.name}"


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("data/wrong.py", "from slowfast_mlp.engine import train"),
        ("run/wrong.py", "from slowfast_mlp.apps.report import write"),
        ("models/wrong.py", "from slowfast_mlp.distributed import launch"),
        ("distributed/wrong.py", "import slowfast_mlp.log.run_log"),
        ("builders/wrong.py", "from slowfast_mlp.run.main import run"),
    ],
)
def test_the_floor_test_fails_when_it_should(tmp_path, monkeypatch, place, line):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    wrong = tmp_path / place
    wrong.parent.mkdir(exist_ok=True)
    wrong.write_text(line)
    with pytest.raises(AssertionError, match="may not import"):
        test_the_core_never_imports_an_app_and_a_room_imports_only_rooms_below_it(wrong)


def test_the_home_test_fails_when_it_should(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import av.video")
    with pytest.raises(AssertionError, match="av lives in"):
        test_every_library_has_one_home(wrong)
    wrong.write_text("import average")
    test_every_library_has_one_home(wrong)
