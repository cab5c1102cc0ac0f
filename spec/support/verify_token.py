"""verify_token.py - an independent reader of "007" tokens.

Written from the published layout (AgoraIO/Tools, AccessToken2), with python3's
standard library only (zlib, hmac, base64, struct) and no line of the client's
code: what both agree on is more likely to be right.

Standard input: lines "CERTIFICATE TOKEN". For each line one line out:
"verified APP_ID TTL TYPE PRIVILEGES USER", "wrong signature", or
"unreadable: why".
"""
import base64
import hashlib
import hmac
import struct
import sys
import zlib


def digest(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, letter):
        value, = struct.unpack_from("<" + letter, self.data, self.at)
        self.at += struct.calcsize("<" + letter)
        return value

    def text(self):
        length = self.number("H")
        if self.at + length > len(self.data):
            raise ValueError("cut")
        self.at += length
        return self.data[self.at - length:self.at]


def describe(certificate, token):
    if not token.startswith("007"):
        raise ValueError("no 007")
    data = zlib.decompress(base64.b64decode(token[3:], validate=True))
    r = Reader(data)
    signature = r.text()
    signed = data[r.at:]
    app_id = r.text().decode()
    issued, ttl, salt = r.number("I"), r.number("I"), r.number("I")
    if not 1 <= salt <= 99999999:
        raise ValueError("salt %d" % salt)
    if r.number("H") != 1:
        raise ValueError("not one service")
    kind = r.number("H")
    count = r.number("H")
    privileges = {}
    for _ in range(count):
        privilege = r.number("H")
        privileges[privilege] = r.number("I")
    user = r.text().decode()
    if r.at != len(data):
        raise ValueError("something after it")
    key = digest(struct.pack("<I", salt),
                 digest(struct.pack("<I", issued), certificate.encode()))
    if not hmac.compare_digest(signature, digest(key, signed)):
        return "wrong signature"
    return "verified %s %d %d %r %r" % (app_id, ttl, kind, privileges, user)


for line in sys.stdin:
    given_certificate, given_token = line.split()
    try:
        print(describe(given_certificate, given_token))
    except (ValueError, struct.error, zlib.error) as problem:
        print("unreadable: %s" % problem)
