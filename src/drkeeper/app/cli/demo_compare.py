"""Two trees compared, by nothing that drkeeper restores with."""

from pathlib import Path


def files_below(folder: Path) -> list[Path]:
    """Return the regular files of a tree."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def differences(one: Path, other: Path) -> list[str]:
    """Return the paths at which two trees differ; nothing but the standard library compares them."""
    names = {path.relative_to(one) for path in one.rglob("*")}
    found = [str(name) for name in names ^ {path.relative_to(other) for path in other.rglob("*")}]
    for name in sorted(names - set(map(Path, found))):
        left, right = one / name, other / name
        if left.is_symlink():
            same = right.is_symlink() and left.readlink() == right.readlink()
        elif left.is_file():
            same = left.read_bytes() == right.read_bytes()
            same &= left.stat().st_mode == right.stat().st_mode
            same &= left.stat().st_mtime_ns == right.stat().st_mtime_ns
        else:
            same = right.is_dir()
        if not same:
            found.append(str(name))
    return found
