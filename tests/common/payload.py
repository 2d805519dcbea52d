"""The protobuf message of the SDK port: a type, headers, the client's address, and JSON. Written by hand, so that a test can
send what no SDK would send, and needs no generated code."""

TYPE, HEADERS, CLIENT_IP = 3, 7, 8
METADATA, BODY = 2, 3
BODY_VALUE = 2
KEY, VALUE = 1, 2
LENGTH_DELIMITED = 2


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, data):
    return varint(number << 3 | LENGTH_DELIMITED) + varint(len(data)) + data


def head(kind, headers=None, client_ip="127.0.0.1"):
    """The metadata of a message."""
    entries = b"".join(
        field(HEADERS, field(KEY, name.encode()) + field(VALUE, value.encode())) for name, value in (headers or {}).items()
    )
    return field(METADATA, field(TYPE, kind.encode()) + entries + field(CLIENT_IP, client_ip.encode()))


def encode(kind, json_bytes, headers=None, client_ip="127.0.0.1"):
    return head(kind, headers, client_ip) + field(BODY, field(BODY_VALUE, json_bytes))


def fields(data):
    """Every length-delimited field as (number, bytes); the message has no other kind."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        if key & 7 != LENGTH_DELIMITED:
            raise ValueError(f"field {key >> 3} has wire type {key & 7}")
        length, at = _number(data, at)
        yield key >> 3, data[at:at + length]
        at += length


def decode(message):
    """The type and the JSON bytes of a message."""
    kind, body = "", b""
    for number, data in fields(message):
        if number == METADATA:
            kind = next((text.decode() for inner, text in fields(data) if inner == TYPE), "")
        elif number == BODY:
            body = next((value for inner, value in fields(data) if inner == BODY_VALUE), b"")
    return kind, body


def _number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
