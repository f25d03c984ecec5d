"""Files are written atomically; tests/test_killed.py tests what a killed process leaves."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from privileges import without_privileges
from whisper_apr.atomic import ABANDONED, check_folder, check_writable, write_atomically

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has neither FIFOs, /dev/full nor these permissions")


def write(path: str | os.PathLike[str], content: bytes = b"new") -> None:
    with write_atomically(path) as file:
        file.write(content)


def read(path: Path) -> bytes:
    """Return what is written to a FIFO."""
    with path.open("rb") as file:
        return file.read()


@pytest.mark.parametrize("name", ["plain.apr", "with [signs] * ?.apr", "é" * 120 + ".apr"])
def test_new_or_previous_content(tmp_path: Path, name: str) -> None:
    if os.name == "nt" and "*" in name:
        name = "with [signs].apr"  # Windows allows fewer characters
    path = tmp_path / name
    for content in (b"first", b"second"):
        with write_atomically(path) as file:
            file.write(content)
            assert path.exists() == (content == b"second")
        assert path.read_bytes() == content
    with pytest.raises(TypeError), write_atomically(path) as file:
        file.writelines([b"third", "no bytes"])
    assert path.read_bytes() == b"second"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_abandoned_files_are_removed(tmp_path: Path) -> None:
    """A writer removes the day-old temporary files of the same target, and no newer or other ones."""
    names = [".[a].apr.part", ".[a].apr.0123.part", ".b.apr.0123456789ab.part", "[a].apr.0123456789ab.part"]
    kept = [tmp_path / name for name in names]
    at_work = tmp_path / ".[a].apr.fedcba987654.part"
    old = [tmp_path / f".[a].apr.{digits}.part" for digits in ("0123456789ab", "00ff00ff00ff")]
    for each in (*kept, *old, at_work):
        each.write_bytes(b"half")
    for each in (*kept, *old):
        os.utime(each, (time.time() - ABANDONED - 60,) * 2)
    write(tmp_path / "[a].apr")
    write(tmp_path / "other.apr")
    assert {*tmp_path.iterdir()} == {*kept, at_work, tmp_path / "[a].apr", tmp_path / "other.apr"}


def test_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing many files to a folder must not take quadratic time."""
    lists, scan = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: lists.append(path) or scan(path))
    for i in range(5):
        write(tmp_path / f"{i}.txt")
    assert len(lists) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("before", [None, b"before"])
def test_exceptions_leave_no_temporary_file(tmp_path: Path, error, before: bytes | None) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_bytes(before)

    def fail() -> None:
        with write_atomically(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        fail()
    assert [each.read_bytes() for each in tmp_path.iterdir()] == ([] if before is None else [before])


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_disk_full_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """On some file systems, such as network ones, only fsync or rename reports a full disk."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


@posix
@pytest.mark.system
def test_file_size_limit(tmp_path: Path) -> None:
    """RLIMIT_FSIZE fails in the middle of a write, like a full disk."""
    code = """
import resource, signal, sys
from whisper_apr.atomic import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with write_atomically(sys.argv[1]) as file:
        for _ in range(100):
            file.write(bytes(10_000))
except OSError as error:
    print(error.errno)
"""
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout == f"{errno.EFBIG}\n"
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"before"]


# ---- devices, FIFOs, sockets ----------------------------------------------------------------------------------------


@posix
@pytest.mark.system
def test_fifo_is_written_to(tmp_path: Path) -> None:
    """Also through a link, and with data that is not written sequentially, as that of an `.apr`."""
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to("fifo")
    for path in (fifo, link):
        got: list[bytes] = []
        reader = threading.Thread(target=lambda got=got: got.append(read(fifo)))
        reader.start()
        with write_atomically(path) as file:
            file.write(b"...." + bytes(100_000))
            file.seek(0)
            file.write(b"head")
        reader.join()
        assert got == [b"head" + bytes(100_000)]
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert link.is_symlink()
    assert {*tmp_path.iterdir()} == {fifo, link}


@posix
@pytest.mark.system
def test_failed_block_writes_nothing_to_a_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    def fail() -> None:
        with write_atomically(fifo) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert os.read(end, 10) == b""
    os.close(end)


@posix
def test_devices_are_written_to(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    for path in ("/dev/null", link):
        write(path)
        assert stat.S_ISCHR(os.stat(path).st_mode)
        check_writable(path)
    assert link.is_symlink()
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError, match="No space left"):
            write("/dev/full")


@posix
@pytest.mark.system
@pytest.mark.parametrize("place", ["pipe", "file"])
def test_dev_stdout(tmp_path: Path, place: str) -> None:
    code = "from whisper_apr.atomic import write_atomically as w\nwith w('/dev/stdout') as f: f.write(b'all')"
    if place == "pipe":
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"all"
        return
    with (tmp_path / "out").open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "out").read_bytes() == b"all"


def test_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path, f"{tmp_path / 'new'}{os.sep}", "", "."):
        with pytest.raises(OSError) as caught:
            write(path)
        assert caught.value.errno in (errno.EISDIR, errno.ENOENT)
        with pytest.raises(type(caught.value)):
            check_writable(path)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


@posix
@pytest.mark.system
def test_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is limited to about 100 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(OSError, match="it is a socket"):
            write("socket")
    assert stat.S_ISSOCK(os.stat("socket").st_mode)


# ---- links, permissions, folders ------------------------------------------------------------------------------------


@posix
def test_symbolic_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target, link, second = tmp_path / "far" / "target", tmp_path / "link", tmp_path / "second"
    link.symlink_to(Path("far") / "target")  # its target does not exist yet
    second.symlink_to("link")
    for path, content in ((link, b"first"), (second, b"second")):
        check_writable(path)
        write(path, content)
        assert target.read_bytes() == content
    assert link.is_symlink()
    assert second.is_symlink()
    assert not target.is_symlink()
    assert len(list(tmp_path.rglob("*"))) == 4
    target.unlink()
    target.symlink_to(link)  # a loop
    with pytest.raises(OSError):
        write(link)
    with pytest.raises(OSError):
        check_writable(link)


@posix
def test_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "new")
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
        for mode in (0o600, 0o664, 0o777):
            (tmp_path / "new").chmod(mode)
            with write_atomically(tmp_path / "new") as file:
                (beside,) = [each for each in tmp_path.iterdir() if each.name != "new"]
                assert not stat.S_IMODE(beside.stat().st_mode) & ~mode
                file.write(b"again")
            assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode
    finally:
        os.umask(before)


@posix
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only the superuser can give files away")
def test_owner_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "a")
    os.chown(tmp_path / "a", 1234, 4321)
    write(tmp_path / "a", b"again")
    about = (tmp_path / "a").stat()
    assert (about.st_uid, about.st_gid) == (1234, 4321)


@posix
def test_not_writable(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"before")
    (tmp_path / "folder").chmod(0o555)
    (tmp_path / "b").write_bytes(b"before")
    (tmp_path / "b").chmod(0o444)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours").chmod(0o777)
    with without_privileges(tmp_path):
        for path, says in (
            (tmp_path / "folder" / "a", "read-only"),
            (tmp_path / "folder" / "c", "folder"),
            (tmp_path / "b", "read-only"),
        ):
            for function in (write, check_writable):
                with pytest.raises(PermissionError, match=says):
                    function(path)
        with pytest.raises(PermissionError):
            check_folder(tmp_path / "folder")
        write(tmp_path / "ours" / "c")
        write(tmp_path / "ours" / "c")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "folder" / "a").read_bytes() == b"before"
    assert len(list(tmp_path.rglob("*"))) == 5


def test_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, says in (("none", "there is no folder"), ("file", "Not a directory|not a folder")):
        for function in (write, check_writable):
            with pytest.raises((FileNotFoundError, NotADirectoryError), match=says):
                function(tmp_path / folder / "a.txt")
        with pytest.raises((FileNotFoundError, NotADirectoryError), match="folder"):
            check_folder(tmp_path / folder)
    check_folder(tmp_path)
    check_writable(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@posix
@pytest.mark.system
def test_ctrl_c_while_waiting_for_a_fifos_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    code = "import sys\nfrom whisper_apr.atomic import write_atomically as w\n"
    code += "with w(sys.argv[1]) as f: f.write(b'all'); print('inside', flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "fifo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        child.communicate()
    assert child.returncode == -signal.SIGINT
