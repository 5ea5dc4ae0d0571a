"""
A second verifier of the ledger: RFC 6962 (Merkle trees), RFC 8032 (Ed25519), RFC 8785 (canonical JSON) and C2SP's
signed-note, tlog-checkpoint, tlog-cosignature and tlog-tiles, in Python's standard library alone, written against
these specifications and not against the first one.
It must not import anything of Kedge, nor share a table, a vector or a line of code with it.

    python3 verifier.py log DIRECTORY KEY [--kept-from ENTRY] [CHECKPOINT-KEPT-ELSEWHERE ...]
    python3 verifier.py cases        answers cases, one JSON object a line, as test/verifier/agreement.mjs puts them

The first exits 0 when the log is whole and 7 when it is not. Personal fields stay sealed: that they are bound to their
records is seen by their hashes; AES is not in the standard library and is not needed for a proof.
"""

import base64
import binascii
import functools
import hashlib
import json
import os
import re
import sys
import unicodedata


class Refused(Exception):
    """Something that was given is not what it has to be."""


def sha256(data):
    return hashlib.sha256(data).digest()


# --- RFC 6962, section 2.1: trees by their recursive definition ---------------------------------------------------


def leaf_hash(entry):
    return sha256(b"\x00" + entry)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


def split_of(n):
    """The largest power of two smaller than n."""
    return 1 << ((n - 1).bit_length() - 1)


class Tree:
    """Merkle tree hashes of all ranges D[a:b] that the definition asks for, each computed once."""

    def __init__(self, leaves):
        self.leaves = leaves
        self.known = {}

    def mth(self, start, end):
        if start == end:
            return sha256(b"")
        if end - start == 1:
            return self.leaves[start]
        if (start, end) not in self.known:
            k = split_of(end - start)
            self.known[start, end] = node_hash(self.mth(start, start + k), self.mth(start + k, end))
        return self.known[start, end]

    def path(self, m, start, end):
        """PATH(m, D[start:end])"""
        if end - start == 1:
            return []
        k = split_of(end - start)
        if m < k:
            return self.path(m, start, start + k) + [self.mth(start + k, end)]
        return self.path(m - k, start + k, end) + [self.mth(start, start + k)]

    def proof(self, m, n):
        """PROOF(m, D[0:n]); nothing for an empty or an equal tree."""
        return [] if m in (0, n) else self.subproof(m, 0, n, True)

    def subproof(self, m, start, end, known):
        n = end - start
        if m == n:
            return [] if known else [self.mth(start, end)]
        k = split_of(n)
        if m <= k:
            return self.subproof(m, start, start + k, known) + [self.mth(start + k, end)]
        return self.subproof(m - k, start + k, end, False) + [self.mth(start, start + k)]


def root_by_path(leaf, m, n, path):
    """The root that an audit path leads to, PATH read backwards; None where it has another length."""
    if n == 1:
        return leaf if not path else None
    if not path:
        return None
    k = split_of(n)
    if m < k:
        left = root_by_path(leaf, m, k, path[:-1])
        return None if left is None else node_hash(left, path[-1])
    right = root_by_path(leaf, m - k, n - k, path[:-1])
    return None if right is None else node_hash(path[-1], right)


def roots_by_proof(m, n, proof, known, first_root):
    """Both roots that a consistency proof leads to, SUBPROOF read backwards; None where it has another length."""
    if m == n:
        if known:
            return None if proof else (first_root, first_root)
        return (proof[0], proof[0]) if len(proof) == 1 else None
    if not proof:
        return None
    k = split_of(n)
    if m <= k:
        roots = roots_by_proof(m, k, proof[:-1], known, first_root)
        return None if roots is None else (roots[0], node_hash(roots[1], proof[-1]))
    roots = roots_by_proof(m - k, n - k, proof[:-1], False, first_root)
    return None if roots is None else (node_hash(proof[-1], roots[0]), node_hash(proof[-1], roots[1]))


def are_hashes(hashes):
    return all(len(each) == 32 for each in hashes)


def is_size(number):
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**53


def is_included(leaf, index, size, root, path):
    if not is_size(index) or not is_size(size) or index >= size or not are_hashes([leaf, root, *path]):
        return False
    return len(path) <= 64 and root_by_path(leaf, index, size, path) == root


def is_consistent(first, first_root, second, second_root, proof):
    if not is_size(first) or not is_size(second) or first > second:
        return False
    if not are_hashes([first_root, second_root, *proof]) or len(proof) > 64:
        return False
    if first == 0:
        return not proof and first_root == sha256(b"") and (second > 0 or second_root == first_root)
    return roots_by_proof(first, second, proof, True, first_root) == (first_root, second_root)


# --- RFC 8032, section 5.1: Ed25519 -----------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def point_of(data):
    """A point from its 32 bytes (5.1.3), in extended coordinates; None where it is none."""
    number = int.from_bytes(data, "little")
    sign = number >> 255
    y = number & ((1 << 255) - 1)
    if y >= P:
        return None
    u = (y * y - 1) % P
    v = (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * ROOT_OF_MINUS_ONE % P
        if v * x * x % P != u:
            return None
    if x == 0 and sign == 1:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def add(p, q):
    """5.1.4"""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar > 0:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def equal(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


BASE_Y = 4 * pow(5, -1, P) % P
BASE = point_of(BASE_Y.to_bytes(32, "little"))


def is_signed(public, message, signature):
    """5.1.7"""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = point_of(public), point_of(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    return equal(times(s, BASE), add(r, times(k, a)))


# --- C2SP signed-note, tlog-checkpoint, tlog-cosignature ----------------------------------------------------------


def exact_base64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Refused("base64") from error
    if base64.b64encode(data).decode() != text:
        raise Refused("base64 in another form")
    return data


def is_space(character):
    return character.isspace() and character not in "\x1c\x1d\x1e\x1f" or unicodedata.category(character) == "Zs"


def check_name(name):
    if not name or len(name.encode("utf-16-le")) > 2 * 255:
        raise Refused("key name")
    if any(is_space(each) or each == "+" or unicodedata.category(each) in ("Cc", "Cs") for each in name):
        raise Refused("key name")


class Key:
    """A verifier key: NAME+ID+KEY."""

    def __init__(self, text):
        match = re.fullmatch(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})", text)
        if match is None:
            raise Refused("key")
        self.name, number, encoded = match.groups()
        check_name(self.name)
        typed = exact_base64(encoded)
        if len(typed) != 33 or typed[0] not in (0x01, 0x04):
            raise Refused("kind of key")
        self.id = bytes.fromhex(number)
        if sha256(self.name.encode() + b"\n" + typed)[:4] != self.id:
            raise Refused("id of key")
        self.is_witness = typed[0] == 0x04
        self.public = typed[1:]

    def holds(self, text, signature):
        if not self.is_witness:
            return is_signed(self.public, text.encode(), signature)
        if len(signature) != 72:
            return False
        time = int.from_bytes(signature[:8], "big")
        if time >= 2**53:
            return False
        message = f"cosignature/v1\ntime {time}\n{text}"
        return is_signed(self.public, message.encode(), signature[8:])


def open_note(data, keys):
    """The text of a note, and the keys whose signatures hold."""
    if len(data) > 65536:
        raise Refused("size of note")
    try:
        note = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("UTF-8") from error
    if any(ord(each) < 0x20 and each != "\n" for each in note) or not note.endswith("\n"):
        raise Refused("characters of note")
    text, found, rest = note.rpartition("\n\n")
    if not found:
        raise Refused("parts of note")
    text += "\n"
    # Python's splitlines knows other ends of lines than a newline.
    rows = rest[:-1].split("\n")
    if len(rows) > 64:
        raise Refused("number of signatures")
    lines = []
    for row in rows:
        match = re.fullmatch(r"\u2014 ([^ ]+) ([A-Za-z0-9+/]+={0,2})", row)
        if match is None:
            raise Refused("signature line")
        check_name(match.group(1))
        signature = exact_base64(match.group(2))
        if len(signature) <= 4:
            raise Refused("signature")
        lines.append((match.group(1), signature[:4], signature[4:]))
    held = []
    for name, number, signature in lines:
        for key in keys:
            if (key.name, key.id) == (name, number):
                if not key.holds(text, signature):
                    raise Refused("forged")
                held.append(key)
                break
    if not held:
        raise Refused("no known key")
    return text, held


def open_checkpoint(data, log, witnesses=()):
    """Size and root of a checkpoint that its log has signed, and the names of the witnesses that cosigned it."""
    text, held = open_note(data, [log, *witnesses])
    if log not in held:
        raise Refused("no signature of the log")
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] != "" or lines[0] != log.name or log.is_witness:
        raise Refused("checkpoint")
    if re.fullmatch(r"0|[1-9][0-9]*", lines[1]) is None or int(lines[1]) >= 2**53:
        raise Refused("size")
    size, root = int(lines[1]), exact_base64(lines[2])
    if len(root) != 32 or (size == 0 and root != sha256(b"")):
        raise Refused("root")
    return size, root, [key.name for key in held if key.is_witness]


# --- C2SP tlog-tiles --------------------------------------------------------------------------------------------


def tile_path(level, index, width):
    groups = []
    while True:
        groups.append(f"{index % 1000:03}")
        index //= 1000
        if index == 0:
            break
    names = [f"x{each}" for each in reversed(groups[1:])] + [groups[0]]
    return f"tile/{level}/{'/'.join(names)}" + ("" if width == 256 else f".p/{width}")


def part(read, level, index, width):
    """The bytes of a tile or bundle and the width that it has; a full one stands in for a partial one."""
    for each in dict.fromkeys((width, 256)):
        data = read(tile_path(level, index, each))
        if data is not None:
            return data, each
    raise Refused(f"{tile_path(level, index, width)} is missing")


def is_gone(read, level, index, width):
    return all(read(tile_path(level, index, each)) is None for each in (width, 256))


def entries_of(data, count):
    entries, at = [], 0
    while at < len(data):
        if at + 2 > len(data):
            raise Refused("bundle")
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data):
            raise Refused("bundle")
        entries.append(data[at + 2 : end])
        at = end
    if len(entries) != count:
        raise Refused("number of entries")
    return entries


def check_log(read, log, witnesses=(), kept=(), kept_from=0):
    """
    The number of entries, unless a file of a log is not what its checkpoint, and those kept elsewhere, stand for.
    Bundles that end at or below kept_from may be gone; their hashes then stand for them.
    """
    note = read("checkpoint")
    if note is None:
        raise Refused("checkpoint is missing")
    size, root, _ = open_checkpoint(note, log, witnesses)
    leaves = []
    for index in range((size + 255) // 256):
        width = min(256, size - index * 256)
        if index * 256 + width <= kept_from and is_gone(read, "entries", index, width):
            data, found = part(read, 0, index, width)
            if len(data) != found * 32:
                raise Refused("tile")
            leaves += [data[at * 32 : at * 32 + 32] for at in range(width)]
        else:
            data, found = part(read, "entries", index, width)
            leaves += [leaf_hash(each) for each in entries_of(data, found)[:width]]
    tree = Tree(leaves)
    if tree.mth(0, size) != root:
        raise Refused("another root")
    level = 0
    while size >> (8 * level) > 0:
        count, span = size >> (8 * level), 1 << (8 * level)
        for index in range((count + 255) // 256):
            width = min(256, count - index * 256)
            data, found = part(read, level, index, width)
            if len(data) != found * 32:
                raise Refused("tile")
            for at in range(width):
                start = (index * 256 + at) * span
                if data[at * 32 : at * 32 + 32] != tree.mth(start, start + span):
                    raise Refused("another hash")
        level += 1
    for each in kept:
        old_size, old_root, _ = open_checkpoint(each, log)
        if old_size > size:
            raise Refused("older than a checkpoint that was kept elsewhere")
        if tree.mth(0, old_size) != old_root:
            raise Refused("another history than a checkpoint that was kept elsewhere")
    return size


# --- RFC 8785 ---------------------------------------------------------------------------------------------------


def number_text(value):
    """ECMAScript's Number::toString, from the shortest digits that Python's repr gives as well."""
    if value != value or value in (float("inf"), float("-inf")):
        raise Refused("number")
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    point -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    length = len(digits)
    if length <= point <= 21:
        text = digits + "0" * (point - length)
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        power = point - 1
        text = digits[0] + (f".{digits[1:]}" if length > 1 else "") + f"e{'+' if power >= 0 else '-'}{abs(power)}"
    return ("-" if value < 0 else "") + text


ESCAPES = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def string_text(value):
    if any(0xD800 <= ord(each) <= 0xDFFF for each in value):
        raise Refused("half a character")
    return '"' + "".join(
        ESCAPES.get(ord(each), f"\\u{ord(each):04x}" if ord(each) < 0x20 else each) for each in value
    ) + '"'


class Members(list):
    """The members of an object in the order in which they came."""


def json_text(value, level=0):
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return string_text(value)
    if isinstance(value, (int, float)):
        try:
            return number_text(float(value))
        except OverflowError as error:
            raise Refused("number") from error
    if level == 64:
        raise Refused("levels")
    if isinstance(value, Members):
        names = [name for name, _ in value]
        if len(set(names)) != len(names):
            raise Refused("a member twice")
        ordered = sorted(value, key=lambda member: member[0].encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{string_text(name)}:{json_text(each, level + 1)}" for name, each in ordered) + "}"
    return "[" + ",".join(json_text(each, level + 1) for each in value) + "]"


def no_constant(name):
    raise Refused(name)


def is_canonical(data):
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=Members, parse_constant=no_constant)
        return json_text(value) == text
    except (Refused, ValueError, RecursionError):
        return False


# --- Sampling (LE-3) --------------------------------------------------------------------------------------------


def is_sampled(session, percent):
    number = int.from_bytes(sha256(b"kedge session sample 1\n" + session.encode())[:8], "big")
    return number * 100 < percent << 64


# --- Cases ------------------------------------------------------------------------------------------------------


def from_hex(items):
    return [bytes.fromhex(each) for each in items]


def to_hex(items):
    return [each.hex() for each in items]


def holds(check):
    try:
        check()
    except Refused:
        return False
    return True


def answer_tree(case):
    tree = Tree([leaf_hash(each) for each in from_hex(case["entries"])])
    size = len(tree.leaves)
    return {
        "root": tree.mth(0, size).hex(),
        "path": to_hex(tree.path(case["index"], 0, size)),
        "proof": to_hex(tree.proof(case["first"], size)),
        "firstRoot": tree.mth(0, case["first"]).hex(),
        "inclusion": [
            is_included(
                bytes.fromhex(each["leaf"]),
                each["index"],
                each["size"],
                bytes.fromhex(each["root"]),
                from_hex(each["proof"]),
            )
            for each in case["inclusion"]
        ],
        "consistency": [
            is_consistent(
                each["first"],
                bytes.fromhex(each["firstRoot"]),
                each["second"],
                bytes.fromhex(each["secondRoot"]),
                from_hex(each["proof"]),
            )
            for each in case["consistency"]
        ],
    }


def answer_log(case):
    log = Key(case["log"])
    witnesses = [Key(each) for each in case["witnesses"]]
    verdicts = []
    for change in case["changes"]:
        files = {**case["files"], **change}

        def read(path, files=files):
            found = files.get(path)
            return None if found is None else bytes.fromhex(found)

        check = functools.partial(check_log, read, log, witnesses, from_hex(case["kept"]), case["keptFrom"])
        verdicts.append(holds(check))
    return {"verdicts": verdicts, "paths": [tile_path(*each) for each in case["places"]]}


def answer_note(case):
    keys = [Key(each) for each in case["keys"]]
    return {
        "notes": [holds(functools.partial(open_note, each, keys)) for each in from_hex(case["notes"])],
        "texts": [holds(functools.partial(Key, each)) for each in case["texts"]],
    }


def answer_json(case):
    return {"canonical": [is_canonical(each) for each in from_hex(case["json"])]}


def answer_sample(case):
    return {"sampled": [is_sampled(session, percent) for session, percent in case["sessions"]]}


ANSWERS = {
    "tree": answer_tree,
    "log": answer_log,
    "note": answer_note,
    "json": answer_json,
    "sample": answer_sample,
}


def answer_cases():
    sys.setrecursionlimit(10_000)
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(ANSWERS[case["kind"]](case)), flush=True)
    return 0


def check_directory(directory, key, kept, kept_from):
    def read(path):
        try:
            with open(os.path.join(directory, path), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def content(path):
        with open(path, "rb") as file:
            return file.read()

    try:
        entries = check_log(read, Key(key), (), [content(each) for each in kept], kept_from)
    except Refused as error:
        print(f"the log is not whole: {error}", file=sys.stderr)
        return 7
    print(f"{entries} entries, whole")
    return 0


def main(arguments):
    if arguments == ["cases"]:
        return answer_cases()
    if len(arguments) >= 3 and arguments[0] == "log":
        directory, key, *kept = arguments[1:]
        kept_from = "0"
        if len(kept) >= 2 and kept[0] == "--kept-from":
            kept_from, kept = kept[1], kept[2:]
        if kept_from.isdecimal():
            return check_directory(directory, key, kept, int(kept_from))
    usage = "usage: verifier.py log DIRECTORY KEY [--kept-from ENTRY] [CHECKPOINT ...] | verifier.py cases"
    print(usage, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
