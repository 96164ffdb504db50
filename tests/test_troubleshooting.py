"""docs/troubleshooting.md quotes messages that the program really writes."""

import ast
import re

import pytest

from tests.conftest import ROOT

# Written by torch, torchvision or the system.
FOREIGN = {
    "operator torchvision::nms does not exist",
    "CUDA out of memory",
    "DataLoader worker",
    "Too many open files",
}
ROWS = re.findall(r"^\| `([^`]+)`.* \|$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def texts():
    """All that stands between the placeholders of the package's strings."""
    found = set()
    for path in (ROOT / "slowfast_mlp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_there_are_many():
    assert len(ROWS) > 25 and set(ROWS) > FOREIGN


@pytest.mark.parametrize("message", [row for row in ROWS if row not in FOREIGN])
def test_a_message_of_the_page_is_one_of_the_programs(message, texts):
    assert any(message in text for text in texts)
