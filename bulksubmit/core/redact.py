"""What may not be shown, taken out of what is shown.

Whatever goes to a screen, a log, a report or the journal goes through ``redact``: the service
and the libraries quote URLs and headers in their errors, and a task's URLs are signed. Secrets
are told by their form and by what stands before them, for nobody knows all of them beforehand.

Files of the user's own tasks are left as they are, or they could not be sent again: rejects, a
run's copy of a pipe, the template that its journal keeps, ``runs export``.
"""

import re

MASK = "***"

_SECRET_CHARS_MIN = 44  # The shortest that is told without a name: 32 bytes in base64.

# What the values of query parameters, connection strings and headers end at.
_VALUE = r"""[^\s&;,"'<>\\\x1b]+"""

# Names whose values are secrets, also at the end of a longer name, such as DB_PASSWORD.
_WORDS = r"signature|account_?key|access_?key|api_?key|password|passwd|pwd|secret|token"
_EQUALS = r"(?:=|%3d|%253d)"  # As it is, in a URL that is another's parameter, and once more so.

_FORMS = (
    # A shared access signature. The service's own form of one is ?sv=...&sig=...
    rf"(?:(?<![a-z0-9])|(?<=%26)|(?<=%3f)|(?<=u0026)|(?<=%2526)|(?<=%253f))sig{_EQUALS}",
    rf"(?:{_WORDS}){_EQUALS}",
    rf"(?<=[?&])key{_EQUALS}",  # In a path it is no secret: key=3/part-0.parquet.
    rf"""(?:{_WORDS}|\bsig|\bkey)\\?["']\s*:\s*\\?["']""",  # JSON, also in a string of JSON.
    r"\bbearer\s+",
    r"\bsharedkey(?:lite)?\s+[\w-]+:",
)
_NAMED = re.compile(rf"({'|'.join(_FORMS)}){_VALUE}", re.IGNORECASE)

_UNNAMED = re.compile(
    r"(://)[^\s/@\"'<>]+@"  # A user, and perhaps a password, before a host.
    r"|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"  # A JSON web token.
    # 32 or 64 bytes in base64: a signature made with a key, an account's key.
    r"|(?<![\w+/])(?:[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)(?![\w=])"
)


def redact(text: str) -> str:
    """A text without the secrets in it: each is replaced by ``***``, its name stays."""
    # A single short word, as most fields of a log line are: it is not worth 5 µs of looking.
    if len(text) < _SECRET_CHARS_MIN and text.replace("-", "").replace("_", "").isalnum():
        return text
    return _UNNAMED.sub(_masked, _NAMED.sub(rf"\1{MASK}", text))


def _masked(found: re.Match[str]) -> str:
    return f"://{MASK}@" if found[1] else MASK


def redacted(value: object) -> object:
    """The same for the texts in a value of JSON's types, keys left alone."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {key: redacted(each) for key, each in value.items()}
        case list() | tuple():
            return [redacted(each) for each in value]
        case _:
            return value
