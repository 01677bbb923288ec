# Copyright (c) 2026, the longhaul.jobs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine stands on: JSON without the json package, modules from memory, the reply's frame.

On the direct way this file is the head of the program that ``python -ISE -`` reads, and so is ``__main__`` (of a start,
_detach is): everything here is a definition, and nothing happens before the program's last line calls run(). Everywhere else
it is an ordinary module.
"""

import os
import sys

PREFIX = "ansible_collections.longhaul.jobs.plugins.module_utils."
THIS = PREFIX + "_boot"
FRAME = "\nLONGHAUL-REPLY %s %d\n%s\n"


def _codec():
    """(scan, chunks): reading at an index, and writing in pieces.

    `import json` costs 8 to 10 ms of a look's 20 (PROCESS-FACTS 0.5): its C core does all that is needed here. The names are
    private to CPython, so the public package stands behind them.
    """
    try:
        from _json import encode_basestring_ascii, make_encoder, make_scanner

        class Context:
            strict = False
            object_hook = None
            object_pairs_hook = None
            parse_float = float
            parse_int = int
            parse_constant = float
            memo = {}

        return make_scanner(Context), make_encoder(None, None, encode_basestring_ascii, None, ": ", ", ", False, False, True)
    except (ImportError, TypeError, AttributeError):
        import json

        return json.JSONDecoder(strict=False).scan_once, lambda value, level: (json.dumps(value),)


_scan, _chunks = _codec()


def dumps(value):
    """JSON text of ``value`` (ASCII). Raises TypeError for what JSON does not know."""
    if not isinstance(value, (dict, list)):
        return "".join(_chunks([value], 0))[1:-1]
    return "".join(_chunks(value, 0))


def first_value(text):
    """(value, end): the JSON value that ``text`` begins with and the index behind it. Raises ValueError."""
    try:
        return _scan(text, 0)
    except (StopIteration, RecursionError, SystemError) as exc:  # until 3.11 the C scanner fails so where json is not imported
        raise ValueError("not JSON: %r" % (exc,)) from None


def loads(text):
    """The one JSON value of ``text``. Raises ValueError for anything else, nesting too deep for the interpreter included."""
    text = text.strip(" \t\r\n")
    value, end = first_value(text)
    if end != len(text):
        raise ValueError("characters behind the JSON value")
    return value


def encode(reply):
    """The body of a reply: base64 of zlib of JSON, one line of text."""
    import binascii
    import zlib

    return binascii.b2a_base64(zlib.compress(dumps(reply).encode("ascii"), 1), newline=False).decode("ascii")


def write_all(fd, data):
    """Write all bytes of ``data`` to ``fd``. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Importer:
    """Finder and loader of modules that are held in memory, as source text or as code."""

    def __init__(self, modules):
        self.modules = modules

    def find_spec(self, name, path=None, target=None):
        inside = name in self.modules
        if not inside and not (PREFIX.startswith(name + ".") or any(m.startswith(name + ".") for m in self.modules)):
            return None
        return type(sys.__spec__)(name, self, is_package=not inside)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        if module.__name__ in self.modules:
            exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name):
        """The code object of a module, without docstrings: each supervisor holds some of these for hours."""
        if isinstance(self.modules[name], str):
            self.modules[name] = compile(self.modules[name], name, "exec", dont_inherit=True, optimize=2)
        return self.modules[name]


def load(name):
    """The module of that full name, imported."""
    __import__(name)
    return sys.modules[name]


def run(nonce, verb, **given):
    """The direct way's only effect: carry out the request in BLOB and write the framed reply."""
    import binascii
    import zlib

    sys.modules[THIS] = sys.modules.get(THIS, sys.modules["__main__"])
    bundle = loads(zlib.decompress(binascii.a2b_base64(globals()["BLOB"])).decode("ascii"))
    sys.meta_path.insert(0, Importer(bundle["sources"]))
    body = encode(answer(load(PREFIX + "_verbs." + verb).run, bundle["request"], **given))
    write_all(1, (FRAME % (nonce, len(body), body)).encode("ascii"))


class Refused(Exception):
    """The request cannot be carried out, in one sentence for the user; nothing was started, changed or removed."""


def answer(verb, request, **options):
    """The reply of a verb's run(): what it says, or {"error": sentence} for what it refused or failed in."""
    try:
        return verb(request, **options)
    except Refused as exc:
        return {"schema": 1, "error": str(exc)}
    except Exception as exc:
        where = exc.__traceback__
        while where.tb_next:
            where = where.tb_next
        name = where.tb_frame.f_code.co_filename
        name = name[: -len(".py")] if name.endswith(".py") else name
        place = "%s:%d" % (name.split("/")[-1].split(".")[-1], where.tb_lineno)
        return {"schema": 1, "error": "%s: %s (in %s)" % (type(exc).__name__, exc, place)}
