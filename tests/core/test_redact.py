"""Secrets do not come through ``redact``, and what is none does."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.redact import redact, redacted

KEYS = st.binary(min_size=64, max_size=64).map(lambda raw: base64.b64encode(raw).decode())
SIGNATURES = st.binary(min_size=32, max_size=32).map(lambda raw: base64.b64encode(raw).decode())
WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789-_", min_size=12, max_size=40)

SAS = "https://x.blob.core.windows.net/c/scene.blend?sv=2024-11-04&se=2026-01-01&sig={}&sp=r"

NAMED = [
    SAS,
    SAS.replace("&", "&amp;"),
    SAS.replace("&", "\\u0026"),
    SAS.replace("sig", "SIG"),
    "https://x/c?sig={}",
    'the value "https://x/c?sig={}" of httpUrl',
    "curl 'https://x/c?sig={}' -o scene",
    "https://proxy/?to=" + quote(SAS, safe="{}"),
    "https://proxy/?to=" + quote(quote(SAS, safe="{}"), safe="{}"),
    '{{"httpUrl": "https://x/c?sig={}", "filePath": "a"}}',
    '{{\\"sig\\": \\"{}\\"}}',
    "DefaultEndpointsProtocol=https;AccountName=x;AccountKey={};EndpointSuffix=core.windows.net",
    "Authorization: Bearer {}",
    "{{'Authorization': 'SharedKey myaccount:{}'}}",
    "SharedKeyLite my-account:{}",
    '{{"access_token": "{}"}}',
    "{{'registry_password': '{}'}}",
    "AZURE_CLIENT_SECRET={}",
    "abfs://c/tasks.jsonl?sas_token={}",
    "https://user:{}@host/x",
    "https://{}@host/x",
    "https://x/y?key={}&z=1",
]


@pytest.mark.parametrize("text", NAMED)
@given(secret=WORDS | SIGNATURES.map(lambda each: quote(each, safe="")))
def test_what_a_name_gives_away(text: str, secret: str) -> None:
    """
    A secret is told by what stands before it, whatever it looks like.
    """
    shown = redact(text.format(secret))

    assert secret not in shown
    assert "***" in shown
    assert redact(shown) == shown


@given(before=st.sampled_from(["", " ", "'", "key is ", "(", '{"a":"']), secret=KEYS | SIGNATURES)
def test_what_its_form_gives_away(before: str, secret: str) -> None:
    """
    Keys and signatures of the service are told by their form alone.
    """
    assert redact(f"{before}{secret} was refused") == f"{before}*** was refused"


def test_a_web_token() -> None:
    """
    So is a token of Microsoft Entra ID.
    """
    parts = [base64.urlsafe_b64encode(json.dumps({"alg": n}).encode()) for n in ("RS", "me", "x")]
    token = b".".join(part.rstrip(b"=") for part in parts).decode()

    assert redact(f"tried {token}, expired") == "tried ***, expired"


def test_the_rest_stays() -> None:
    """
    Of a URL only the signature is hidden.
    """
    shown = redact(SAS.format("abc%2Fdef%3D"))

    assert shown == SAS.format("***")


@pytest.mark.parametrize(
    "text",
    [
        "part key=3/part-0.parquet",
        "the signature is wrong",
        "invalid token: it has expired",
        "no token from DefaultAzureCredential: not signed in",
        "configsig=1 design=2",
        "frame-0007 is also that of tasks.jsonl:7; IDs must be unique",
        "/bin/bash -c 'render --frame 1 --out a@b'",
        "https://myaccount.westeurope.batch.azure.com/jobs/night-1?api-version=2024-07-01.20.0",
        "20260131-235959-4f2a1c 0f8fad5b-d9cb-469f-a165-70867728950e",
    ],
)
def test_what_is_no_secret(text: str) -> None:
    """
    Words that only look like a secret's name, and all else, are left alone.
    """
    assert redact(text) == text


@given(text=st.text())
def test_any_text(text: str) -> None:
    """
    Whatever comes, once is enough.
    """
    assert redact(redact(text)) == redact(text)


def test_values() -> None:
    """
    Texts are found wherever they stand in a value of JSON's types.
    """
    value = {"reason": "?sig=abc", "tasks": 3, "all": [None, {"x": ("Bearer t",)}]}

    assert redacted(value) == {
        "reason": "?sig=***",
        "tasks": 3,
        "all": [None, {"x": ["Bearer ***"]}],
    }
