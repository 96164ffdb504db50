"""The README's commands are the ones that are run."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_ci_runs_the_test_command_of_the_readme():
    commands = re.findall(r"```bash\n(python3 -m venv .*)\n```", (ROOT / "README.md").read_text())
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_file_that_the_documents_link_to_is_there():
    for document in (ROOT / "README.md", ROOT / "INSTALL.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_config_that_the_documents_name_is_there():
    for document in (ROOT / "README.md", ROOT / "INSTALL.md"):
        for name in re.findall(r"configs/[\w/]+\.yaml", document.read_text()):
            assert (ROOT / name).exists(), f"{document.name} names {name}"
