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
FILES = sorted(PACKAGE.rglob("*.py")) + sorted((ROOT / "tools").glob("*.py"))

# Room -> rooms that it may import. `errors` and `seeds` are open to all.
MAY_IMPORT = {
    "config": {"config"},
    "lookup": set(),
    "errors": set(),
    "seeds": set(),
    "kernels": {"kernels"},
    "layers": {"layers", "kernels"},
    "data": {"data"},
    "engine": {"engine"},
    "models": {"layers", "kernels"},
    "build": {"build", "config", "lookup", "data", "models", "engine"},
    "run": {"run", "config", "build", "engine", "run_report"},
    "analysis": {"analysis", "layers", "models", "kernels.plain"},
    "run_report": {"run_report", "analysis", "config", "data", "engine", "predict"},
    "convert": {"config", "build", "engine"},
    "model_table": {"config", "build", "engine", "reproduce.table"},
    "learning": {"config", "run", "engine"},
    "reproduce": {"reproduce", "config", "run", "engine", "lookup"},
    "corpus": {"corpus", "data"},
    "benchmark": {"benchmark", "config", "build", "data", "engine"},
    "submission": set(),
    "command_line": set(),
    "check": {"config", "build", "run", "corpus", "data"},
    "predict": {"predict", "config", "build", "data", "engine", "corpus.progress"},
    "doctor": {"config", "build", "data", "engine"},
    "export": {"predict", "benchmark.rounds", "kernels.plain"},
    "settings_page": {"config", "lookup", "models", "data"},
    "tools": {
        "config",
        "run",
        "convert",
        "model_table",
        "learning",
        "reproduce",
        "check",
        "benchmark",
        "corpus",
        "predict",
        "analysis",
        "run_report",
        "export",
        "settings_page",
        "doctor",
        "submission",
        "command_line",
        "engine.launch",
    },
}
OPEN_TO_ALL = {"errors", "seeds"}
HOMES = {
    "torch.distributed": {
        "engine/distributed.py",
        "engine/launch.py",
        "engine/replicas.py",
        "engine/meeting.py",
    },
    "torch.multiprocessing": {"engine/launch.py"},
    "torch.utils.tensorboard": {"engine/log.py"},
    "simplejson": {"engine/log.py"},
    "submitit": {"submission.py"},
    "onnxruntime": {"export.py"},
    "decord": {"data/decord_reader.py"},
    "av": {
        "data/pyav_reader.py",
        "data/encode.py",
        "data/examine.py",
        "data/forward.py",
        "data/frame_writer.py",
    },
    "PIL": {
        "data/pictures.py",
        "predict/captions.py",
        "predict/timeline.py",
        "analysis/pictures.py",
        "reproduce/picture.py",
    },
    "yaml": {"config/load.py", "config/changes.py", "config/values.py"},
    "fvcore.common.config": {"config/load.py"},
    "fvcore.nn": {"engine/profile.py"},
}
IOPATH_HOMES = re.compile(r"engine/checkpoint\.py|config/load\.py|data/.*")
MAX_FILE, MAX_FUNCTION = 400, 60


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else f"tools/{path.name}"


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


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_room_imports_only_the_rooms_it_may(path):
    room = name_of(path).removesuffix(".py").split("/")[0]
    if room == "__init__":
        # Importing the package does nothing: all that it offers comes in when somebody asks for it.
        kinds = [type(node) for node in ast.parse(path.read_text()).body]
        assert kinds == [ast.Expr, ast.FunctionDef]
        assert list(imports(path)) == ["slowfast_mlp.predict.load.load"]
        return
    for name in imports(path):
        if not is_inside(name, "slowfast_mlp"):
            continue
        imported = name.removeprefix("slowfast_mlp.")
        allowed = MAY_IMPORT[room] | OPEN_TO_ALL
        assert any(is_inside(imported, other) for other in allowed), f"{room} may not import {name}"


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
    allowed = {"kernels/autocast.py": {"torch.autocast(kind, enabled=False)"}}
    if name_of(path) != "engine/precision.py":
        assert used <= allowed.get(name_of(path), set())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines"


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
                    name in ("convert.py", "check.py", "predict/load.py")
                    or name.startswith(("run/", "tools/", "config/"))
                ):
                    assert argument.arg != "config" and "Config" not in annotation, (
                        f"{node.name} takes the config"
                    )
            free_names = ("metrics", "json_stats", "demand_stages")  # whose keywords are the data itself
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


def test_every_setting_is_read():
    """Each field of the schema is used, as section.field, by run/, build/ or the door."""
    files = [*PACKAGE.glob("run/*.py"), *PACKAGE.glob("build/*.py"), ROOT / "tools" / "run_net.py"]
    text = "\n".join(path.read_text() for path in files)
    aliases = {"model": "section", "data_loader": "loading", "solver": "settings"}
    for section in dataclasses.fields(schema.Config):
        kind = section.default_factory
        if not dataclasses.is_dataclass(kind):
            assert re.search(rf"\b(config|together\[0\])\.{section.name}\b", text), (
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
        ("data/wrong.py", "from slowfast_mlp.engine import log"),
        ("models/wrong.py", "from slowfast_mlp.config.schema import Config"),
        ("engine/wrong.py", "import slowfast_mlp.data.video"),
        ("build/wrong.py", "from slowfast_mlp.run.main import run"),
    ],
)
def test_the_floor_test_fails_when_it_should(tmp_path, monkeypatch, place, line):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    wrong = tmp_path / place
    wrong.parent.mkdir(exist_ok=True)
    wrong.write_text(line)
    with pytest.raises(AssertionError, match="may not import"):
        test_a_room_imports_only_the_rooms_it_may(wrong)


def test_the_home_test_fails_when_it_should(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import av.video")
    with pytest.raises(AssertionError, match="av lives in"):
        test_every_library_has_one_home(wrong)
    wrong.write_text("import average")
    test_every_library_has_one_home(wrong)
