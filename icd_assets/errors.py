"""What a user can fix, and what has to be made first."""


class UserError(Exception):
    """A mistake in what the user gave us: a file, a name or a setting.

    The message is one sentence: which file or field, what was found, what to do.
    The command line prints it and exits with 2; an asset fails with it as its description.
    """


class MissingInput(Exception):
    """An input artifact has not been made yet."""

    def __init__(self, asset: str) -> None:
        super().__init__(asset)
        self.asset = asset
