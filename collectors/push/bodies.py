"""Bodies made plain again, within limits that are checked before the memory is taken."""

from __future__ import annotations

import zlib

import cramjam

from collectors.push.refusal import RefusedError

MAX_RAW_BYTES = 64 << 20
"""A decompressed body. 64 MiB of remote write are about half a million samples."""


def unsnapped(body: bytes, limit: int = MAX_RAW_BYTES) -> bytes:
    """A body in snappy's block format. It begins with its decompressed size as a varint (snappy format_description)."""
    size, shift = 0, 0
    for byte in body[:5]:
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    else:
        raise RefusedError(
            400, "malformed", "the body is not snappy's block format; send one block, not the framed format"
        )
    if size > limit:
        raise RefusedError(413, "too_large", _too_large(f"says that it decompresses to {size:,} bytes", limit))
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        advice = "send one block, not the framed format"
        raise RefusedError(400, "malformed", f"the body is not snappy's block format ({error}); {advice}") from None


def gunzipped(body: bytes, limit: int = MAX_RAW_BYTES) -> bytes:
    """A gzip body, whole; more than `limit` bytes are never produced."""
    unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = unzip.decompress(body, limit + 1)
    except zlib.error as error:
        raise RefusedError(400, "malformed", f"the body is not gzip ({error}); correct Content-Encoding") from None
    if len(plain) > limit:
        raise RefusedError(413, "too_large", _too_large("decompresses to more", limit))
    if not unzip.eof:
        raise RefusedError(400, "malformed", "the gzip body breaks off before its end; send it again")
    return plain


def plain(body: bytes, encoding: str, limit: int = MAX_RAW_BYTES) -> bytes:
    """A body with this Content-Encoding, which may be gzip or none."""
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return gunzipped(body, limit)
        case other:
            rule = "this path reads gzip and plain bodies"
            raise RefusedError(415, "unsupported", f"Content-Encoding {other[:50]!r} is not read here; {rule}")


def _too_large(what: str, limit: int) -> str:
    return f"the body {what}; the limit is {limit:,} bytes; send fewer samples in one request"
