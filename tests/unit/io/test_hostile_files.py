"""Randomly damaged files of each layout are read as a valid dataset or refused with an InputError."""

import gzip
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from support import layouts
from veloshard.errors import InputError
from veloshard.preprocessing.ingest import ingest_counts

N_DAMAGED = 220  # per layout
TIMEOUT = 10  # seconds per file

WORDS = [
    b"nan", b"inf", b"-1", b"-0", b"1e400", b"99999999999999999999", b"4294967296", b"abc", b"", b"0", b"0.5", b" ",
    b"\t", b"\xff\xfe", b"%", b"\r\n", b"\x00", "é".encode(), b"1 1 1",
]  # fmt: skip


def truncate(data, rng):
    return data[: rng.randrange(len(data) + 1)]


def flip_bits(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 20])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def overwrite(data, rng):
    start, word = rng.randrange(len(data)), rng.choice(WORDS)
    return data[:start] + word + data[start + rng.choice([0, 1, len(word)]) :]


def cut_out(data, rng):
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randrange(1, 200) :]


def repeat(data, rng):
    start = rng.randrange(len(data))
    return data[:start] + data[start : start + rng.randrange(1, 200)] * 2 + data[start:]


def change_line(data, rng):
    lines = data.split(b"\n")
    k = rng.randrange(len(lines))
    change = rng.randrange(4)
    if change == 0:
        del lines[k]
    elif change == 1:
        lines.insert(k, lines[rng.randrange(len(lines))])
    elif change == 2:
        lines[k] = rng.choice(WORDS)
    else:
        fields = lines[k].split(b" ")
        fields[rng.randrange(len(fields))] = rng.choice(WORDS)
        lines[k] = b" ".join(fields)
    return b"\n".join(lines)


def windows(data, rng):
    return data.replace(b"\n", b"\r\n")


def empty(data, rng):
    return b""


DAMAGES = (truncate, flip_bits, overwrite, cut_out, repeat, change_line, change_line, change_line, windows, empty)


def damage(path, rng):
    """Damage or delete one file below a path."""
    files = sorted(file for file in [path, *path.rglob("*")] if file.is_file())
    file = rng.choice(files)
    if rng.random() < 0.03 and file != path:
        file.unlink()
        if rng.random() < 0.5:
            file.symlink_to("nowhere")
        return
    data = file.read_bytes()
    is_gzipped = data[:2] == b"\x1f\x8b" and rng.random() < 0.7
    data = gzip.decompress(data) if is_gzipped else data
    if data:
        data = rng.choice(DAMAGES)(data, rng)
    file.write_bytes(gzip.compress(data, mtime=0) if is_gzipped else data)


def check(counts):
    """Check that a dataset is valid."""
    assert counts.n_obs
    assert counts.n_vars
    assert counts.obs_names.is_unique
    assert counts.var_names.is_unique
    for values in counts.layers.values():
        assert values.shape == counts.shape
        assert np.isfinite(values.data).all()
        assert (values.data > 0).all()
        assert values.has_canonical_format
        assert values.indices.max(initial=0) < counts.n_vars


@pytest.fixture
def start_timer():
    """Return a function that starts a timer, which ends a test that hangs."""

    def too_long(*_):
        raise TimeoutError(f"took more than {TIMEOUT} s")

    before = signal.signal(signal.SIGALRM, too_long)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, TIMEOUT)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layout", layouts.LAYOUTS, ids=lambda layout: layout.__name__)
def test_damaged_file_is_read_as_a_valid_dataset_or_refused_by_name(layout, tmp_path, start_timer):
    intact, _ = layouts.write(layout, tmp_path / "intact/sample")
    n_refused = 0
    for seed in range(N_DAMAGED):
        damaged = tmp_path / "damaged"
        shutil.copytree(tmp_path / "intact", damaged)
        path = damaged / intact.relative_to(tmp_path / "intact")
        damage(path, random.Random(f"{layout.__name__} {seed}"))
        start_timer()
        try:
            counts = ingest_counts(str(path), dataset="fuzz")
        except InputError as error:
            n_refused += 1
            message = str(error)
            assert str(path) in message, f"seed {seed}: {message}"
            assert "dataset 'fuzz'" in message
            assert len(message) < 1000
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        else:
            try:
                check(counts)
            except AssertionError as error:
                raise AssertionError(f"seed {seed} was read as an invalid dataset") from error
        shutil.rmtree(damaged)
    # damage that is never noticed would test nothing
    assert n_refused > N_DAMAGED / 10


def test_folder_with_a_circular_link_is_read(tmp_path):
    path, counts = layouts.write(layouts.starsolo, tmp_path / "sample")
    Path(path / "Solo.out/loop").symlink_to(path, target_is_directory=True)
    np.testing.assert_array_equal(ingest_counts(path, dataset="d").layers["spliced"].toarray(), counts["spliced"])
