"""Hostile input by the thousand: damaged, contradictory and malicious files and options.

Each target makes one case from a random generator and calls the reader with it.  A case ends in a
result that fits what is known about it, in one plain sentence, or is broken.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib
import os
import random
import resource
import signal
import sys
import warnings

from pcainit.errors import InputError

SECONDS = 180  # that one case may take, kernels compiled, on a machine with other work
MAX_GROWTH = 100.0  # megabytes, in the second half of the cases of a target
NUMBERS = [
    "0",
    "-1",
    "1e999",
    "-1e999",
    "nan",
    "inf",
    "1e308",
    "1e-308",
    "1e30",
    "-0.0",
    "0x10",
    "1_000",
    "1,5",
    "99999999999999999999",
    "9" * 400,
    "1e5",
    "3.14",
    "300000",
    "1.2",
    "?",
    ".",
    "''",
    '""',
    "-",
    "e",
    "1e",
    "+",
    "\u0663",
    "True",
    "None",
    "[]",
    "1+2j",
    "2" * 5000,
]
PIECES = [
    "\n",
    "\r\n",
    "\r",
    "\x00",
    "\ufeff",
    "'",
    '"',
    "\n;",
    "#",
    "loop_",
    "data_",
    "data_x\n",
    "_rlnImageName",
    "save_",
    "stop_",
    "global_",
    "$x",
    "[",
    "\\\\u{d800}",
    "\\\\u{110000}",
    "\u00e9",
    "\U0001f600",
    "\udc80",
    "../../x",
    "/etc/passwd",
    " " * 3000,
    "a" * 3000,
    "\t",
    "@",
    "1@",
    "@@",
    "\x7f",
    "%s",
    "{}",
    "'\"'\"",
    ";\n;\n",
]


class BrokenError(AssertionError):
    """A case that ended in neither a right result nor a plain sentence."""


@contextlib.contextmanager
def time_limit(seconds=SECONDS):
    """Raise BrokenError in what takes longer."""

    def stop(*_):
        raise BrokenError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Watch:
    """Notes what a file made the process do: run code, or write outside a folder."""

    armed, folder, seen, added, code = False, "", [], False, True
    caches = ("__pycache__", "matplotlib", "/dev/null")

    @classmethod
    def hook(cls, event, words):
        """Audit hook of the interpreter; it cannot be removed, only disarmed."""
        if not cls.armed:
            return
        if cls.code and event in (
            "pickle.find_class",
            "os.system",
            "os.exec",
            "os.fork",
            "subprocess.Popen",
            "socket.connect",
            "ctypes.dlopen",
            "os.symlink",
            "os.posix_spawn",
        ):
            cls.seen.append("%s %s" % (event, words[:2]))
        elif event == "open" and isinstance(words[0], str):
            writes = isinstance(words[1], str) and set(words[1]) & set("wax+")
            flags = isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if (
                (writes or flags)
                and not os.path.realpath(words[0]).startswith(cls.folder)
                and not any(cache in words[0] for cache in cls.caches)
            ):
                cls.seen.append("writes %s" % words[0])

    @classmethod
    @contextlib.contextmanager
    def over(cls, folder, code=True):
        """Arm the watch while a file is read; `code` is False where the program runs some."""
        if not cls.added:
            sys.addaudithook(cls.hook)
            cls.added = True
        cls.folder, cls.seen, cls.code = os.path.realpath(str(folder)), [], code
        cls.armed = True
        try:
            yield
        finally:
            cls.armed = False
        if cls.seen:
            raise BrokenError("it %s" % cls.seen[0])


def sentence(text):
    """Whether a refusal is one plain sentence."""
    return text.endswith(".") and "\n" not in text and len(text) < 1500 and "Traceback" not in text


def outcome(call, check):
    """``result`` or ``refusal``; raises BrokenError for all else.

    Parameters
    ----------
    call : callable
    check : callable
        Of what `call` returns; raises or returns False for a wrong result, 2 for a command's
        refusal.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # none may reach the user
        try:
            with time_limit():
                found = call()
                right = check(found)
        except InputError as error:
            if not sentence(str(error)):
                raise BrokenError("no plain sentence: %r" % str(error)[:300]) from None
            return "refusal"
        except BrokenError:
            raise
        except Exception as error:
            raise BrokenError("%s: %s" % (type(error).__name__, str(error)[:300])) from error
    if right is False:
        raise BrokenError("a wrong result")
    return "refusal" if right == 2 else "result"


# --- damage ---------------------------------------------------------------------------------------


def damage_bytes(data, rng):
    """One to four random changes of a file's bytes."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice([1, 2, 4, 30, 1000]))
        what = rng.randrange(7)
        if what == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del data[at:end]
        elif what == 2:
            data[at:at] = data[at:end]
        elif what == 3:
            data[at:end] = bytes(end - at)
        elif what == 4:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 4, 100])))
        elif what == 5:
            del data[at:]
        else:
            data[at:end] = b"\xff" * (end - at)
    return bytes(data)


def damage_text(text, rng):
    """One to four random changes of words, lines, encoding; bytes."""
    for _ in range(rng.randint(1, 4)):
        lines = text.split("\n")
        k = rng.randrange(len(lines))
        words = lines[k].split(" ")
        j = rng.randrange(len(words))
        what = rng.randrange(9)
        if what == 0:
            words[j] = rng.choice(NUMBERS)
        elif what == 1:
            words[j] = rng.choice(PIECES)
        elif what == 2:
            words[j] += rng.choice(PIECES)
        elif what == 3:
            del words[j]
        elif what == 4:
            words.insert(j, rng.choice(NUMBERS + PIECES))
        lines[k] = " ".join(words)
        if what == 5:
            lines.insert(k, lines[rng.randrange(len(lines))])
        elif what == 6:
            del lines[k]
        elif what == 7:
            lines = lines[:k]
        elif what == 8:
            other = rng.randrange(len(lines))
            lines[k], lines[other] = lines[other], lines[k]
        text = "\n".join(lines)
    what = rng.randrange(12)
    if what == 0:
        text = text.replace("\n", "\r\n")
    elif what == 1:
        text = text.replace("\n", "\r\n", rng.randrange(10))
    elif what == 2:
        text = text.replace("\n", "\r")
    encoding = "utf-16" if what == 3 else "utf-8-sig" if what == 4 else "utf-8"
    data = text.encode(encoding, "replace" if what == 3 else "surrogateescape")
    return damage_bytes(data, rng) if what == 5 and data else data


def run_cases(make_case, cases, seed, folder):
    """Run many cases of a target.

    Returns
    -------
    dict
        ``cases``, ``result``, ``refusal``, the ``broken`` ones with their numbers, and by how many
        megabytes the process has grown in the second half (``growth``).
    """
    found, half = dict(cases=cases, result=0, refusal=0, broken=[]), 0.0
    for number in range(cases):
        if number == cases // 2:
            half = resident()
        rng = random.Random("%d/%d/%s" % (seed, number, make_case.__name__))
        try:
            found[outcome(*make_case(rng, folder))] += 1
        except BrokenError as error:
            found["broken"].append("case %d: %s" % (number, error))
    found["growth"] = resident() - half
    if found["growth"] > MAX_GROWTH:
        found["broken"].append("memory grows, by %.0f MB" % found["growth"])
    return found


def resident():
    """Memory of this process, megabytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
