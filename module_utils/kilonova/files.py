"""Files on hosts as root may touch them: reached by descriptors, never through a link that a service could have set.

A directory is *safe* when root alone can change what is in it. There, links of directories are the administrator's and are
followed. In any other one (/etc/keystone is keystone's own) nothing is followed, and a file that has a second name is refused:
it may be a hard link to a file that the service must not touch.

What was checked is what is worked on, because both happen by the same descriptor; a name may mean something else a moment later.
"""

import contextlib
import errno
import os
import re
import secrets
import stat

# In the first lines of every file that we write.
MARK = "Written by Kilonova"
MOST_LINKS = 40
# Until it has its name, a new file is `.NAME.kilonova-PID-RANDOM`.
TEMPORARY = re.compile(r"\.kilonova(?:-(\d+)-[0-9a-f]+)?$")
REMEDIES = {
    errno.ENOSPC: "make room there (`df -h`, `df -i`), and run again",
    errno.EDQUOT: "raise the quota there, and run again",
    errno.EROFS: "mount its file system for writing, and run again",
    errno.EBUSY: "something is mounted there: unmount it, and run again",
    errno.EPERM: "if it is immutable (`lsattr`), run `chattr -i` on it, and run again",
    errno.EACCES: "see who may write there, and run again",
}


class Refused(ValueError):
    """A path that is not touched: what it is, and what to do, in one line."""

    def __init__(self, path, what, remedy):
        """Keep the parts, for a report that has places for them."""
        super().__init__(f"{path}: {what}; {remedy}")
        self.path, self.what, self.remedy = path, what, remedy


def kind(state):
    """Say in words what something is that is not a file; None for a file."""
    for is_it, word in (
        (stat.S_ISREG, None),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if is_it(state.st_mode):
            return word
    return "a device"


def is_safe(state):
    """Whether root alone can change what is in a directory."""
    others = state.st_mode & (0o002 if state.st_gid == 0 else 0o022)
    return state.st_uid in (0, os.geteuid()) and not others


def open_directory(path, create=False):
    """(descriptor, whether it is safe) of an absolute path; FileNotFoundError when it is not there and `create` is not set."""
    todo, links = [part for part in path.split("/") if part], 0
    here = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while todo:
            name = todo.pop(0)
            try:
                there = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            except FileNotFoundError:
                if not create:
                    raise
                # Another process may create it at the same moment.
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=here)
                todo.insert(0, name)
                continue
            except OSError as error:
                # A link is ELOOP or ENOTDIR, as the kernel likes.
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                todo, links = _target(path, here, name, links + 1) + todo, links + 1
                if todo[0] == "/":
                    there = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    todo.pop(0)
                else:
                    continue
            os.close(here)
            here = there
        return here, is_safe(os.fstat(here))
    except BaseException:
        os.close(here)
        raise


def _target(path, directory, name, links):
    """The parts of the path that a link says, where it may be followed; the first is `/` for an absolute one."""
    state = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISLNK(state.st_mode):
        raise Refused(path, f"{name} on its way is {kind(state) or 'a file'}, not a directory", "move it away")
    if not is_safe(os.fstat(directory)) or state.st_uid not in (0, os.geteuid()):
        raise Refused(
            path, f"{name} on its way is a symbolic link that not only root can change", "put the directory itself there"
        )
    if links > MOST_LINKS:
        raise Refused(path, "has too many symbolic links on its way", "correct them")
    said = os.readlink(name, dir_fd=directory)
    return ["/"] * said.startswith("/") + [part for part in said.split("/") if part]


class Place:
    """A path whose directory is open: `with Place(path) as place`. Everything about the file happens in that directory."""

    def __init__(self, path, create=False):
        """`create`: make the directories that are missing."""
        self.path, self.name, self.create = path, os.path.basename(path), create
        self.directory, self.safe = None, True

    def __enter__(self):
        """Open the directory; without one there is no file, which is no error."""
        try:
            self.directory, self.safe = open_directory(os.path.dirname(self.path), self.create)
        except FileNotFoundError:
            pass
        except Refused as error:
            raise Refused(self.path, error.what, error.remedy) from error
        return self

    def __exit__(self, *_error):
        """Close it."""
        if self.directory is not None:
            os.close(self.directory)

    def open(self, name=None):
        """A descriptor of the file, to read; None when there is none; Refused when root may not touch it."""
        name = name or self.name
        if self.directory is None:
            return None
        try:
            self._check(name, os.stat(name, dir_fd=self.directory, follow_symlinks=False))
            # Not blocked by a pipe that takes the file's place in this moment.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            found = os.open(name, flags, dir_fd=self.directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):
                raise
            # A file a moment ago, and a link or a socket now.
            path = os.path.join(os.path.dirname(self.path), name)
            raise Refused(path, "becomes a symbolic link while it is read", "see who does that, and run again") from error
        try:
            self._check(name, os.fstat(found))
        except BaseException:
            os.close(found)
            raise
        return found

    def _check(self, name, state):
        """Raise Refused for what is not a file of the directory's own."""
        path, found = os.path.join(os.path.dirname(self.path), name), kind(state)
        if found == "a symbolic link":
            with contextlib.suppress(OSError):
                found += f" to {os.readlink(name, dir_fd=self.directory)}"
            raise Refused(path, f"is {found}", "put the file itself in its place, or remove the link")
        if found:
            raise Refused(path, f"is {found}, not a file", "move it away")
        if state.st_nlink > 1 and not self.safe:
            what = f"has {state.st_nlink} names (hard links), in a directory that not only root can change"
            raise Refused(path, what, "put a copy in its place")

    def read(self):
        """(content, state of the file); (None, None) when there is none."""
        descriptor = self.open()
        if descriptor is None:
            return None, None
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read(), os.fstat(stream.fileno())

    def there(self, name):
        """Whether something has this name, a link that leads nowhere included."""
        if self.directory is None:
            return False
        try:
            os.stat(name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def write(self, content, uid, gid, mode, name=None, times=None):
        """Replace the file: a reader sees the old one or the new one, never a part, and never with other rights.

        Whatever goes wrong, nothing else is left. `times`: (accessed, modified) in nanoseconds.
        """
        name = name or self.name
        temporary = f".{name}.kilonova-{os.getpid()}-{secrets.token_hex(8)}"
        try:
            self._tidy(name)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600, dir_fd=self.directory)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    give(stream.fileno(), uid, gid, mode)
                    if times:
                        os.utime(stream.fileno(), ns=times)
                    os.fsync(stream.fileno())
                os.rename(temporary, name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=self.directory)
                raise
            os.fsync(self.directory)
        except OSError as error:
            raise unwritable(os.path.join(os.path.dirname(self.path), name), error) from error

    def size(self):
        """Bytes of the file; 0 when there is none."""
        descriptor = self.open()
        if descriptor is None:
            return 0
        with os.fdopen(descriptor, "rb") as stream:
            return os.fstat(stream.fileno()).st_size

    def append(self, content, mode=0o600):
        """Add whole lines to a file: all of them or, with an error, none. A line that a killed process began is ended first."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        self.size()  # Refused, and nothing created, if the name is taken by something that is not a file
        descriptor = os.open(self.name, flags, mode, dir_fd=self.directory)
        try:
            state = os.fstat(descriptor)
            self._check(self.name, state)
            if state.st_size and os.pread(descriptor, 1, state.st_size - 1) != b"\n":
                content = b"\n" + content
            try:
                while content:
                    content = content[os.write(descriptor, content) :]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, state.st_size)
                raise
        except OSError as error:
            raise unwritable(self.path, error) from error
        finally:
            os.close(descriptor)

    def _tidy(self, name):
        """Remove what a killed process has left of this file."""
        for left in os.listdir(self.directory):
            found = TEMPORARY.search(left) if left.startswith(f".{name}.kilonova") else None
            if found and found.start() == len(name) + 1 and not (found.group(1) and _lives(int(found.group(1)))):
                with contextlib.suppress(OSError):
                    os.unlink(left, dir_fd=self.directory)

    def give(self, uid, gid, mode):
        """Owner, group and mode of the existing file."""
        descriptor = self.open()
        if descriptor is None:
            return
        try:
            give(descriptor, uid, gid, mode)
        except OSError as error:
            raise unwritable(self.path, error) from error
        finally:
            os.close(descriptor)


def _lives(pid):
    """Whether there is such a process."""
    return os.path.exists(f"/proc/{pid}")


def unwritable(path, error):
    """The words for a file that cannot be written."""
    remedy = REMEDIES.get(error.errno, "look at its file system, and run again")
    return Refused(path, "cannot be written: %s" % (error.strerror or error), remedy)


def give(descriptor, uid, gid, mode):
    """Owner, group and mode of an open file; at no moment may anybody do what neither the old nor the new ones allow."""
    os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & mode)
    os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, mode)


def stream(path):
    """A file, open to read; OSError when there is none, or root may not touch it."""
    try:
        with Place(path) as place:
            descriptor = place.open()
    except Refused as error:
        raise OSError(errno.ELOOP, str(error), path) from error
    if descriptor is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return os.fdopen(descriptor, "rb")


def read(path):
    """Content of a file; None when there is none, or root may not touch it."""
    try:
        with Place(path) as place:
            return place.read()[0]
    except (OSError, ValueError):
        return None


def write(path, content, uid, gid, mode):
    """Replace a file, with the directories that are missing."""
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(Place(path, create=True))
        except OSError as error:
            raise unwritable(os.path.dirname(path), error) from error
        place.write(content, uid, gid, mode)


def replace(path, text, mode):
    """The same with a text, for the user who runs this."""
    write(path, text.encode("utf-8", "surrogateescape"), os.geteuid(), os.getegid(), mode)


def replace_operators(path, text):
    """The same for a file with secrets of the operator, on the machine that runs Ansible.

    The way to it may be relative, and by links: it is the operator's, who alone works there.
    """
    replace(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)), text, 0o600)


def refusals(paths):
    """Refused, for each of the paths that root would not touch."""
    found = []
    for path in paths:
        try:
            with Place(path) as place:
                descriptor = place.open()
                if descriptor is not None:
                    os.close(descriptor)
        except Refused as error:
            found.append(error)
        except (OSError, ValueError) as error:
            found.append(Refused(path, f"cannot be read: {error}", "look at it on the host"))
    return found
