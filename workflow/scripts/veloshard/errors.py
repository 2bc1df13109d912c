"""Errors about the user's input, and parts of their messages."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot be used. The message says what was found, where, and what to do."""


def choices(names: Iterable[object], requested: object = "", *, most: int = 12) -> str:
    """Return the available names as part of an error message, with a suggestion.

    Parameters
    ----------
    names : iterable of str
        Available names, in their own order.
    requested : str
        Name that is not available. The most similar available name is suggested.
    most : int
        Number of names to list. Further names are only counted.

    Returns
    -------
    str
        For example ``"found: cluster, stage; did you mean 'cluster'?"``, or ``"found: none"``.
    """
    available = [str(name) for name in names]
    listed = ", ".join(available[:most]) or "none"
    rest = f" and {len(available) - most} more" if len(available) > most else ""
    similar = difflib.get_close_matches(str(requested), available, n=1)
    suggestion = f"; did you mean {similar[0]!r}?" if similar else ""
    return f"found: {listed}{rest}{suggestion}"


def full_name(name: str, key: str = "") -> str:
    """Return the name of an option in the caller's terms.

    Parameters
    ----------
    name : str
        Name of a function's argument, such as ``"layers.spliced"``.
    key : str
        Section in which the caller's users set the argument, such as ``"datasets.pancreas"``.

    Returns
    -------
    str
        Such as ``"datasets.pancreas.layers.spliced"``. Without a key, the name alone.
    """
    return f"{key}.{name}" if key else name
