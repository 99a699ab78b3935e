"""What a user can fix, and what has to be made first."""

# What joins letters and pictures is part of words; a line break and a tab are part of our own sentences.
_KEPT = "\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


def harmless(text: str) -> str:
    """Lines of text without what would steer a terminal, turn the writing round, or be no character at all."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _KEPT else "\N{REPLACEMENT CHARACTER}" for c in text)


class UserError(Exception):
    """A mistake in what the user gave us: a file, a name or a setting.

    The message is one sentence: which file or field, what was found, what to do.
    The command line prints it and exits with 2; an asset fails with it as its description.
    """

    def __str__(self) -> str:
        return harmless(super().__str__())  # wherever it is shown: names in it come from files of anyone's


class MissingInput(Exception):
    """An input artifact has not been made yet."""

    def __init__(self, asset: str) -> None:
        super().__init__(asset)
        self.asset = asset
