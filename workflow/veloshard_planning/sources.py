"""Files that datasets are read from, and hashes of their contents."""

import hashlib
import json
import os
from pathlib import Path

# endings of files of a folder that can belong to a count matrix; compressed files have one more
MATRIX_SUFFIXES = {".mtx", ".tsv", ".txt", ".json"}


def source_paths(options, key):
    """Return the paths that a dataset is read from, by the dotted keys of the options that name them.

    Parameters
    ----------
    options : dict
        Options of the dataset.
    key : str
        Dotted key of the dataset.
    """
    if "samples" in options:
        paths = {f"{key}.samples.{name}": path for name, path in options["samples"].items()}
    else:
        paths = {f"{key}.source": options["source"]}
    if "annotations" in options:
        paths[f"{key}.annotations.source"] = options["annotations"]["source"]
    return paths


def files_below(path):
    """Return a file, or the files of a folder that can belong to a count matrix, as a list of str.

    Files such as alignments are left out. Of a zarr store, all files are returned.
    """
    path = Path(path)
    if not path.is_dir():
        return [str(path)]
    is_zarr = any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))
    files, visited = [], set()
    for folder, folders, names in os.walk(path, followlinks=True):
        # links can lead in circles
        visited.add(os.path.realpath(folder))
        folders[:] = sorted(name for name in folders if os.path.realpath(f"{folder}/{name}") not in visited)
        candidates = [Path(folder, name) for name in sorted(names)]
        files += [file for file in candidates if is_zarr or MATRIX_SUFFIXES & set(file.suffixes[-2:])]
    return [str(file) for file in files if file.is_file()]


def hash_content(files, name):
    """Return the SHA-256 of some files.

    It is stored under `.snakemake/sources`, and computed again only if the size or time of a file has changed.

    Parameters
    ----------
    files : list of str
        The files.
    name : str
        Name under which the hash is stored.
    """
    record = Path(f".snakemake/sources/{name}.json")
    states = [[file, Path(file).stat().st_size, Path(file).stat().st_mtime_ns] for file in files]
    if record.exists():
        stored = json.loads(record.read_text())
        if stored["files"] == states:
            return stored["sha256"]
    digests = []
    for file in files:
        with Path(file).open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    content = digests[0] if len(files) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    # written to another file and renamed, because several processes plan at once
    record.parent.mkdir(parents=True, exist_ok=True)
    unfinished = record.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps({"files": states, "sha256": content}))
    unfinished.replace(record)
    return content
