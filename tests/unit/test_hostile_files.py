"""Files that are damaged at random, of every layout: each is read to a valid dataset, or refused in words."""

import gzip
import random
import shutil
import signal
from pathlib import Path

import layouts
import numpy as np
import pytest
from veloshard.errors import InputError
from veloshard.ingest import ingest

MUTANTS = 220  # of each of ten layouts
SECONDS = 10  # for one: what takes longer hangs

WORDS = [
    b"nan", b"inf", b"-1", b"-0", b"1e400", b"99999999999999999999", b"4294967296", b"abc", b"", b"0", b"0.5", b" ",
    b"\t", b"\xff\xfe", b"%", b"\r\n", b"\x00", "é".encode(), b"1 1 1",
]  # fmt: skip


def truncate(data, chance):
    return data[: chance.randrange(len(data) + 1)]


def flip_bits(data, chance):
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 3, 20])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def overwrite(data, chance):
    start, word = chance.randrange(len(data)), chance.choice(WORDS)
    return data[:start] + word + data[start + chance.choice([0, 1, len(word)]) :]


def cut_out(data, chance):
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randrange(1, 200) :]


def repeat(data, chance):
    start = chance.randrange(len(data))
    return data[:start] + data[start : start + chance.randrange(1, 200)] * 2 + data[start:]


def change_line(data, chance):
    lines = data.split(b"\n")
    k = chance.randrange(len(lines))
    what = chance.randrange(4)
    if what == 0:
        del lines[k]
    elif what == 1:
        lines.insert(k, lines[chance.randrange(len(lines))])
    elif what == 2:
        lines[k] = chance.choice(WORDS)
    else:
        fields = lines[k].split(b" ")
        fields[chance.randrange(len(fields))] = chance.choice(WORDS)
        lines[k] = b" ".join(fields)
    return b"\n".join(lines)


def windows(data, chance):
    return data.replace(b"\n", b"\r\n")


def empty(data, chance):
    return b""


DAMAGES = (truncate, flip_bits, overwrite, cut_out, repeat, change_line, change_line, change_line, windows, empty)


def damage(path, chance):
    """Damage one file of those below a path, or take it away."""
    files = sorted(file for file in [path, *path.rglob("*")] if file.is_file())
    file = chance.choice(files)
    if chance.random() < 0.03 and file != path:
        file.unlink()
        if chance.random() < 0.5:
            file.symlink_to("nowhere")
        return
    data = file.read_bytes()
    is_zipped = data[:2] == b"\x1f\x8b" and chance.random() < 0.7
    data = gzip.decompress(data) if is_zipped else data
    if data:
        data = chance.choice(DAMAGES)(data, chance)
    file.write_bytes(gzip.compress(data, mtime=0) if is_zipped else data)


def check(counts):
    """Fail unless a dataset is one that later steps can trust."""
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
def within_time():
    """A hang ends the test."""

    def too_long(*_):
        raise TimeoutError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layout", layouts.LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_damaged_file_is_read_right_or_refused_by_its_name(layout, tmp_path, within_time):
    sound, _ = layouts.write(layout, tmp_path / "sound/sample")
    refused = 0
    for seed in range(MUTANTS):
        mutant = tmp_path / "mutant"
        shutil.copytree(tmp_path / "sound", mutant)
        path = mutant / sound.relative_to(tmp_path / "sound")
        damage(path, random.Random(f"{layout.__name__} {seed}"))
        within_time()
        try:
            counts = ingest(str(path), dataset="fuzz")
        except InputError as error:
            refused += 1
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
                raise AssertionError(f"seed {seed} was read") from error
        shutil.rmtree(mutant)
    # damage that never shows would test nothing
    assert refused > MUTANTS / 10


def test_a_folder_beside_a_loop_of_links_is_read(tmp_path):
    path, counts = layouts.write(layouts.starsolo, tmp_path / "sample")
    Path(path / "Solo.out/loop").symlink_to(path, target_is_directory=True)
    np.testing.assert_array_equal(ingest(path, dataset="d").layers["spliced"].toarray(), counts["spliced"])
