"""The trees the benchmark runs on, made from a seed so that every run has the same."""

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

MIB = 1 << 20
BLOCK = 256 * 1024
# A file that changed less than 60 s before it was read is read again by drkeeper's next backup: its
# times prove nothing yet. The times meant include ctime, which nobody can set back.
OLD_ENOUGH_S = 65


def make_large(root: Path, total: int, seed: int) -> None:
    """Write ``total`` incompressible bytes into four files."""
    rng = random.Random(seed)
    root.mkdir(parents=True)
    for i in range(4):
        with (root / f"disk{i}.img").open("wb") as file:
            for _ in range(total // 4 // MIB):
                file.write(rng.randbytes(MIB))


def make_text(root: Path, total: int, seed: int) -> None:
    """Write ``total`` bytes: half SQL text, half database-like pages of 8 KiB."""
    rng = random.Random(seed)
    root.mkdir(parents=True)
    words = [rng.randbytes(rng.randint(2, 6)).hex() for _ in range(4000)]
    for i in range(2):
        with (root / f"dump{i}.sql").open("w", encoding="ascii") as file:
            left, n = total // 4, 0
            while left > 0:
                lines = []
                for _ in range(2000):
                    n += 1
                    name = " ".join(rng.choices(words, k=6))
                    lines.append(
                        f"INSERT INTO orders VALUES ({n},'{name}',{rng.randint(1, 10**6)},"
                        f"'2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02} 12:{n % 60:02}:00');\n"
                    )
                text = "".join(lines)
                file.write(text)
                left -= len(text)
    for i in range(2):
        with (root / f"table{i}.ibd").open("wb") as file:
            for page in range(total // 4 // 8192):
                file.write(_page(rng, page, words))


def _page(rng: random.Random, number: int, words: list[str]) -> bytes:
    """Return one 8 KiB page: a header, rows of some entropy, a free area of zeros."""
    rows = bytearray(number.to_bytes(8, "big") + rng.randbytes(8))
    fill = rng.randint(5500, 7800)
    while len(rows) < fill:
        rows += rng.randbytes(12) + " ".join(rng.choices(words, k=5)).encode()
    return bytes(rows[:fill]).ljust(8192, b"\0")


def make_small(root: Path, count: int, seed: int, largest: int = 16 * 1024) -> None:
    """Write ``count`` files, a hundred to a directory; half of each is text.

    Their sizes lie evenly between a sixteenth of ``largest`` and all of it.
    """
    rng = random.Random(seed)
    text = b" ".join(rng.randbytes(4).hex().encode() for _ in range(3000))
    for i in range(count):
        folder = root / f"d{i // 10000:02}" / f"e{i // 100 % 100:02}"
        if i % 100 == 0:
            folder.mkdir(parents=True)
        size = rng.randint(largest // 16, largest)
        start = rng.randrange(8000)
        body = rng.randbytes(size // 2) + text[start : start + size - size // 2]
        (folder / f"file{i:06}.dat").write_bytes(body)


def change(root: Path, seed: int) -> None:
    """Change one per cent: blocks inside large files, or whole small files; ten get a new name."""
    rng = random.Random(seed)
    paths = sorted(map(Path, files(root)))
    if len(paths) > 1000:
        for path in rng.sample(paths, len(paths) // 100):
            path.write_bytes(rng.randbytes(rng.randint(1024, 16 * 1024)))
        for path in rng.sample(paths, 10):
            path.rename(path.with_name(path.name + f".{seed}"))
        return
    for path in paths:
        size = path.stat().st_size
        with path.open("r+b") as file:
            for _ in range(max(1, size // 100 // BLOCK)):
                file.seek(rng.randrange(max(1, size - BLOCK)))
                file.write(rng.randbytes(BLOCK))


def files(root: Path) -> Iterator[str]:
    """Yield the path of every file below ``root``."""
    for folder, _, names in os.walk(root):
        for name in names:
            yield os.path.join(folder, name)


def extent(root: Path) -> tuple[int, int]:
    """Return the number of files below ``root`` and the sum of their sizes."""
    sizes = [os.path.getsize(path) for path in files(root)]
    return len(sizes), sum(sizes)


def warm(root: Path) -> None:
    """Read every file once, so that every tool finds the page cache in the same state."""
    for path in files(root):
        with open(path, "rb") as file:
            while file.read(8 * MIB):
                pass


def wait_until_old(root: Path) -> None:
    """Wait until nothing in the tree changed so lately that a backup would read it twice."""
    youngest = max(os.stat(folder).st_ctime for folder, _, _ in os.walk(root))
    youngest = max(youngest, *(os.stat(path).st_ctime for path in files(root)))
    time.sleep(max(0.0, youngest + OLD_ENOUGH_S - time.time()))


def remove(path: Path) -> None:
    """Remove a folder, whether it is there or not."""
    shutil.rmtree(path, ignore_errors=True)
