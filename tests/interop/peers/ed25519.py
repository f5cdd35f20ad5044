"""Ed25519 (RFC 8032), slow and plain: keys and signatures that owe nothing to samara or libtorrent."""

import hashlib

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P


def _base():
    y = 4 * pow(5, -1, _P) % _P
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    return (_P - x if x % 2 else x, y)


_BASE = _base()


def _add(one, other):
    (a, b), (c, d) = one, other
    product = _D * a * b * c * d % _P
    return (a * d + b * c) * pow(1 + product, -1, _P) % _P, (b * d + a * c) * pow(1 - product, -1, _P) % _P


def _times(number, point):
    result = (0, 1)
    while number:
        if number & 1:
            result = _add(result, point)
        point = _add(point, point)
        number >>= 1
    return result


def _packed(point):
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def _number(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def expanded(seed):
    """The 64 bytes that libtorrent calls the secret key."""
    both = bytearray(hashlib.sha512(seed).digest())
    both[0] &= 248
    both[31] = both[31] & 63 | 64
    return bytes(both)


def public(seed):
    return _packed(_times(int.from_bytes(expanded(seed)[:32], "little"), _BASE))


def sign(seed, message):
    both, key = expanded(seed), public(seed)
    secret = int.from_bytes(both[:32], "little")
    once = _number(both[32:], message) % _L
    point = _packed(_times(once, _BASE))
    return point + ((once + _number(point, key, message) * secret) % _L).to_bytes(32, "little")
