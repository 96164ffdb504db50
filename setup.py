"""The package, and what it needs."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="slowfast_mlp",
    version="0.1.0",
    description="Training and testing of attention-free video backbones",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["slowfast_mlp", "slowfast_mlp.*"]),
        "slowfast_mlp.tools",
        "slowfast_mlp.configs",
        "slowfast_mlp.benchmarks",
    ],
    # So that an installed wheel has them: python -m slowfast_mlp.tools.run_net --cfg configs/...
    package_dir={
        "slowfast_mlp.tools": "tools",
        "slowfast_mlp.configs": "configs",
        "slowfast_mlp.benchmarks": "benchmarks",
    },
    package_data={
        "slowfast_mlp.configs": ["*.yaml", "*/*.yaml"],
        "slowfast_mlp.tools": ["slurm/*"],
        "slowfast_mlp.apps.reproduce": ["*.csv"],
        "slowfast_mlp.apps.report": ["*.html", "*.css"],
        "slowfast_mlp.benchmarks": ["reference/*.py"],
    },
    install_requires=[
        "torch>=2.6",
        "torchvision",
        "fvcore",
        "iopath",
        # No wheels elsewhere; PyAV is the default decoder and reads as much.
        'decord; platform_machine in "x86_64 AMD64" and sys_platform != "darwin"',
        "av>=14",
        "simplejson",
        "filelock",
        "jinja2",
        "tabulate",
        "tensorboard",
        "pyyaml",
        "numpy",
        "pillow>=10.1",  # the first with a font in any size
    ],
    extras_require={
        "slurm": ["submitit"],
        "export": ["onnx", "onnxscript", "onnxruntime"],
        "test": [
            "pytest",
            "pytest-xdist",
            "pytest-timeout",
            "hypothesis",
            "submitit",
            "onnx",
            "onnxscript",
            "onnxruntime",
            "setuptools>=70.1",  # builds the wheel that a test installs
        ],
    },
)
