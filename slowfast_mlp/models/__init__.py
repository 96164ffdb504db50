"""One file per backbone: a class as MODEL and a table of its sizes as VARIANTS."""

NOT_BACKBONES = ("protocol",)
