"""The one exception that stands for a mistake of the user's."""


class UserError(ValueError):
    """Something that the user can put right: a setting, a list, a file.

    The text says what, where and the way out in a line or two; `tools/` show it without a traceback.
    """

    def __init__(self, text: str):
        # A DataLoader raises what its worker raised anew, with the worker's traceback in the text; the text
        # proper stands behind the last mention of this class.
        super().__init__(text.rpartition(f"{__name__}.{type(self).__name__}: ")[2].strip())
