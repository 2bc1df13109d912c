"""What the user's input can do wrong, said so that it can be mended."""

import difflib


class InputError(ValueError):
    """Input that cannot be used: the message says what was found, where, and what to do."""


def choices(names, wanted="", *, most=12):
    """The names that do exist, for an error message, with a guess at what was meant.

    Parameters
    ----------
    names : iterable of str
        What there is to choose from, in its own order.
    wanted : str
        The name that was not among them; the most similar one is offered.
    most : int
        How many names to spell out before the rest is only counted.

    Returns
    -------
    str
        Such as ``"found: cluster, stage; did you mean 'cluster'?"``; ``"found: none"`` for no names.
    """
    names = [str(name) for name in names]
    listed = ", ".join(names[:most]) or "none"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    near = difflib.get_close_matches(str(wanted), names, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return f"found: {listed}{rest}{guess}"
