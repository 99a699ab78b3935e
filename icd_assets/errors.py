"""The one error that is the user's to fix."""


class UserError(Exception):
    """A mistake in what the user gave us: a file, a name or a setting.

    The message is one sentence: which file or field, what was found, what to do.
    The command line prints it and exits with 2; an asset fails with it as its description.
    """
