"""slowfast_mlp: training and testing of attention-free video backbones."""


def __getattr__(name: str):
    """`load`, which is brought in when somebody asks for it: importing the package does nothing."""
    if name == "load":
        from slowfast_mlp.apps.predict.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
