"""CI jobs that log in with their provider's token: what is proven, what is refused, and when an issuer is asked for its keys."""

import asyncio
import base64
import json
import threading
from datetime import UTC, datetime, timedelta

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives import serialization

from oidc_issuer import TokenIssuer, serving_issuer, write_certificate
from yunmo.core.errors import Conflict, Forbidden, InvalidRequest, Unauthenticated, Unavailable
from yunmo.tenancy import issuers
from yunmo.tenancy.issuers import Issuer, KeysNotRead
from yunmo.tenancy.publishers import Publisher
from yunmo.tenancy.tenancy import open_tenancy

AUDIENCE = "http://hub.example.com"
CLAIMS = {"repository": "acme/trainer", "ref": "refs/heads/*"}


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def issuer():
    return TokenIssuer()


@pytest.fixture
def jwks(issuer, tmp_path):
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(issuer.jwks()))
    return file


@pytest.fixture
def trusted(issuer, jwks):
    return Issuer(issuer.url, jwks)


@pytest.fixture(scope="module")
def served():
    with serving_issuer(TokenIssuer()) as running:
        yield running


@pytest.fixture
def remote(served):
    """The issuer over HTTP with its usual pages, and nothing asked yet."""
    pages = dict(served.pages)
    served.asked.clear()
    yield served
    served.pages = pages


async def refused(trusted, token, why):
    with pytest.raises(Unauthenticated) as refusal:
        await trusted.verify(token, [AUDIENCE])
    assert why in refusal.value.message
    assert "acme" not in refusal.value.message


# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
async def test_a_token_of_the_issuer_is_proven(tmp_path, algorithm):
    issuer = TokenIssuer(algorithm=algorithm)
    (tmp_path / "jwks.json").write_text(json.dumps(issuer.jwks()))
    claims = await Issuer(issuer.url, tmp_path / "jwks.json").verify(issuer.token(), ["http://other", AUDIENCE])
    assert claims["repository"] == "acme/trainer"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"aud": "https://elsewhere.example.com"}, f"minted for another audience. Have it minted for '{AUDIENCE}'"),
        ({"aud": {"not": "text"}}, "another audience"),
        ({"iss": "https://other.example.com"}, "not its issuer's"),
        ({"exp": 1_700_000_000}, "has expired"),
        ({"exp": "soon"}, "cannot be read"),
        ({"nbf": 4_000_000_000}, "not valid yet"),
        ({"iat": 4_000_000_000}, "not valid yet"),
        ({"sub": 5}, "cannot be read"),
        *(({name: None}, f"lacks the claim '{name}'") for name in ("iss", "sub", "aud", "exp", "iat")),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(issuer, trusted, changed, why):
    await refused(trusted, issuer.token(**changed), why)


async def test_a_token_that_nobody_signed_is_refused(issuer, trusted):
    for algorithm in ("none", "None"):
        header, claims = ({"alg": algorithm, "typ": "JWT", "kid": issuer.key_id}, issuer.claims())
        parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in (header, claims)]
        await refused(trusted, ".".join([*parts, ""]), "signature does not verify")


async def test_the_public_key_is_nobodys_shared_secret(issuer, trusted):
    """HS256 with the published key as its secret: whoever reads the key set could sign."""
    public = issuer.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signing = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first"}').rstrip(b"=")
    signing += b"." + base64.urlsafe_b64encode(json.dumps(issuer.claims()).encode()).rstrip(b"=")
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signing, public)
    await refused(trusted, f"{signing.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}", "signature does not verify")


async def test_keys_of_the_set_that_are_shared_secrets_or_broken_sign_nothing(issuer, trusted):
    shared = jwt.encode(issuer.claims(), b"secret" * 8, "HS256", {"kid": "shared"})
    for token in (shared, issuer.token({"kid": "broken"}), issuer.token({"kid": "unknown"})):
        await refused(trusted, token, "a key that its issuer does not publish")


async def test_another_key_or_a_changed_token_does_not_verify(issuer, trusted):
    await refused(trusted, TokenIssuer().token(), "signature does not verify")
    head, _, signature = issuer.token().split(".")
    other = issuer.token(repository="acme/other").split(".")[1]
    await refused(trusted, f"{head}.{other}.{signature}", "signature does not verify")


async def test_a_key_that_is_too_short_is_not_trusted(tmp_path):
    short = TokenIssuer(bits=1024)
    (tmp_path / "jwks.json").write_text(json.dumps(short.jwks()))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = short.token()
    await refused(Issuer(short.url, tmp_path / "jwks.json"), token, "not its issuer's")


@pytest.mark.parametrize("token", ["", "ym_a-key", "a.b.c", "....", "云.模.型", "\ud800.a.b", "A" * 16_000, "e30.e30.e30", "e30.W10.e30"])
async def test_what_is_no_token_is_refused(trusted, token):
    with pytest.raises(Unauthenticated):
        await trusted.verify(token, [AUDIENCE])


async def test_a_token_nested_deep_is_refused(trusted):
    deep = base64.urlsafe_b64encode(b"[" * 6000).decode()
    header = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"first"}').rstrip(b"=").decode()
    for token in (f"{deep}.e30.e30", f"{header}.{deep}.e30"):
        await refused(trusted, token, "is not a JWT")


# ---------------------------------------------------------------- keys


async def test_keys_are_found_through_the_issuers_own_address_and_kept(remote):
    trusted = Issuer(remote.url)
    for _ in range(2):
        proven = await asyncio.gather(*(trusted.verify(remote.token(), [AUDIENCE]) for _ in range(5)))
        assert {claims["iss"] for claims in proven} == {remote.url}
    assert remote.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_a_new_key_is_fetched_when_it_is_first_seen_but_nobody_makes_us_ask_all_the_time(remote):
    clock = Clock()
    trusted = Issuer(remote.url, clock=clock)
    await trusted.verify(remote.token(), [AUDIENCE])
    remote.rotate("second")
    for _ in range(3):
        await refused(trusted, remote.token(), "does not publish")
    assert remote.asked.count("/keys") == 1
    clock.now += 10
    await trusted.verify(remote.token(), [AUDIENCE])
    assert remote.asked.count("/keys") == 2


async def test_a_key_that_the_issuer_withdrew_is_forgotten_within_ten_minutes(remote):
    clock = Clock()
    trusted = Issuer(remote.url, clock=clock)
    token = remote.token()
    await trusted.verify(token, [AUDIENCE])
    remote.rotate("third")
    clock.now += 600
    await refused(trusted, token, "does not publish")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/openid-configuration", (500, {})),
        ("/.well-known/openid-configuration", (302, {})),
        ("/.well-known/openid-configuration", (200, b"<html>")),
        ("/.well-known/openid-configuration", (200, ["no", "object"])),
        ("/.well-known/openid-configuration", (200, b"[" * 100_000)),
        ("/keys", (302, {})),
        ("/keys", (200, {"keys": []})),
        ("/keys", (200, {"keys": [{"kty": "RSA", "alg": ["RS256"], "n": 5, "e": None}]})),
    ],
)
async def test_an_issuer_that_answers_wrongly_is_away_for_a_while_and_asked_again_later(remote, path, answer):
    clock = Clock()
    trusted = Issuer(remote.url, clock=clock)
    right, remote.pages[path] = remote.pages[path], lambda: answer
    for _ in range(2):
        with pytest.raises(Unavailable) as refusal:
            await trusted.verify(remote.token(), [AUDIENCE])
    assert refusal.value.retry_after_seconds == 10
    assert remote.asked.count("/.well-known/openid-configuration") == 1
    remote.pages[path] = right
    clock.now += 10
    await trusted.verify(remote.token(), [AUDIENCE])


async def refused_because(trusted, token, why):
    with structlog.testing.capture_logs() as logs, pytest.raises(Unavailable):
        await trusted.verify(token, [AUDIENCE])
    (entry,) = logs
    assert (entry["event"], entry["issuer"]) == ("issuer_keys_not_read", trusted.url)
    assert why in entry["error"]


async def test_a_document_that_describes_another_issuer_or_is_too_long_is_not_believed(remote):
    right = remote.pages["/.well-known/openid-configuration"]
    remote.pages["/.well-known/openid-configuration"] = lambda: (200, right()[1] | {"issuer": f"{remote.url}/"})
    await refused_because(Issuer(remote.url), remote.token(), "another issuer")
    remote.pages["/.well-known/openid-configuration"] = right
    remote.pages["/keys"] = lambda: (200, json.dumps(remote.jwks()).encode() + b" " * 300_000)
    await refused_because(Issuer(remote.url), remote.token(), "longer than 256 KiB")


@pytest.mark.parametrize("address", ["http://169.254.169.254/keys", "file:///etc/passwd", "https://", "http://[", None])
async def test_an_issuer_cannot_send_us_to_an_address_without_https(remote, address):
    remote.pages["/.well-known/openid-configuration"] = lambda: (200, {"issuer": remote.url, "jwks_uri": address})
    await refused_because(Issuer(remote.url), remote.token(), "is no https address")


async def test_an_issuer_that_is_not_there_is_away():
    with serving_issuer(TokenIssuer()) as gone:
        pass
    with pytest.raises(Unavailable):
        await Issuer(gone.url).verify(gone.token(), [AUDIENCE])


async def test_an_issuer_that_keeps_us_waiting_is_away(remote, monkeypatch):
    monkeypatch.setattr(issuers, "_FETCH_SECONDS", 0.2)
    done = threading.Event()
    remote.pages["/keys"] = lambda: (200 if done.wait(30) else 500, remote.jwks())
    with pytest.raises(Unavailable):
        await Issuer(remote.url).verify(remote.token(), [AUDIENCE])
    done.set()


async def test_a_client_that_leaves_does_not_keep_the_others_from_the_keys(remote):
    trusted, token, may_answer, right = Issuer(remote.url), remote.token(), threading.Event(), remote.pages["/keys"]
    remote.pages["/keys"] = lambda: (may_answer.wait(30), right())[1]
    first, second = [asyncio.create_task(trusted.verify(token, [AUDIENCE])) for _ in range(2)]
    while "/keys" not in remote.asked:  # noqa: ASYNC110 (the server is a thread)
        await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    may_answer.set()
    assert (await second)["iss"] == remote.url
    assert remote.asked.count("/keys") == 1


async def test_over_https_the_issuers_certificate_has_to_be_trusted(tmp_path, monkeypatch):
    certificate = write_certificate(tmp_path / "issuer.pem")
    with serving_issuer(TokenIssuer(), certificate) as remote:
        assert remote.url.startswith("https://")
        with pytest.raises(Unavailable):
            await Issuer(remote.url).verify(remote.token(), [AUDIENCE])
        assert remote.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await Issuer(remote.url).verify(remote.token(), [AUDIENCE])


@pytest.mark.parametrize("content", [None, "", "{}", '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "x"}]}'])
async def test_a_key_file_that_cannot_be_used_is_refused_at_the_start(database, tmp_path, content):
    file = tmp_path / "jwks.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(KeysNotRead, match=r"jwks\.json"):
        await open_tenancy(database, bytes(32), publishers=[Publisher("https://x", AUDIENCE, CLAIMS, "acme", ("read",), file)])


async def test_an_issuer_in_the_clear_is_refused_at_the_start(database):
    with pytest.raises(KeysNotRead, match="no https address"):
        await open_tenancy(database, bytes(32), publishers=[Publisher("http://ci.example.com", AUDIENCE, CLAIMS, "acme", ("read",))])


# ---------------------------------------------------------------- logins


@pytest.fixture
async def tenancy(database, issuer, jwks):
    publishers = [
        Publisher(issuer.url, AUDIENCE, CLAIMS, "Acme", ("read", "write"), jwks),
        Publisher(issuer.url, "http://second.example.com", {"repository": "acme/eval"}, "acme-eval", ("infer",), jwks),
        Publisher(issuer.url, AUDIENCE, {"repository": "acme/early"}, "early", ("read",), jwks),
    ]
    opened = await open_tenancy(database, bytes(32), publishers=publishers)
    await opened.projects.create("other")
    return opened


@pytest.mark.parametrize(
    ("resource", "scopes"),
    [("Acme/model", {"read", "write"}), ("acme/model", {"read", "write"}), ("datasets/Acme/rows", {"read", "write"}), ("Acme", {"read"})],
)
async def test_a_job_gets_a_key_of_an_hour_that_writes_for_a_repository_and_reads_for_a_project(tenancy, issuer, resource, scopes):
    made = await tenancy.publishers.log_in(issuer.token(), resource)
    principal = await tenancy.keys.identify(made.key)
    assert (principal.project, principal.scopes, set(made.scopes)) == ("Acme", scopes, scopes)
    assert principal.key_name == "CI repo:acme/trainer:ref:refs/heads/main"
    (info,) = await tenancy.keys.list("Acme")
    assert made.expires_in_seconds == 3600
    assert timedelta(minutes=59) < info.expires_at - datetime.now(UTC) <= timedelta(hours=1)


async def test_each_program_of_a_job_may_log_in_with_the_jobs_one_token(tenancy, issuer):
    token = issuer.token(jti="only-one")
    first, second = [await tenancy.publishers.log_in(token, "Acme/model") for _ in range(2)]
    assert first.key != second.key


async def test_the_audit_log_says_which_job_of_which_issuer_logged_in(tenancy, issuer):
    made = await tenancy.publishers.log_in(issuer.token(sub="repo:x\x00\x1b[2J\ud800" + "x" * 500), "Acme/model")
    (entry,) = await tenancy.audit.list()
    principal = await tenancy.keys.identify(made.key)
    assert (entry.action, entry.project, entry.key_id, entry.target) == ("key.created", "Acme", principal.key_id, principal.key_id)
    assert entry.detail["issuer"] == issuer.url
    assert entry.detail["subject"].startswith("repo:x??[2J?x")
    assert len(principal.key_name) == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"repository": "acme/trainer-fork"},
        {"repository": "ACME/trainer"},
        {"repository": None},
        {"repository": ["acme/trainer"]},
        {"ref": "refs/tags/v1"},
        {"repository": "acme/eval"},  # declared for another audience
    ],
)
async def test_a_genuine_token_of_another_job_is_refused_without_a_word_on_whose_is_not(tenancy, issuer, changed):
    with structlog.testing.capture_logs() as logs, pytest.raises(Unauthenticated, match="no publisher is declared") as refusal:
        await tenancy.publishers.log_in(issuer.token(**changed), "Acme/model")
    assert [(entry["event"], entry["subject"]) for entry in logs] == [("job_not_declared", issuer.claims()["sub"])]
    assert "trainer" not in refusal.value.message
    assert await tenancy.keys.list("Acme") == []


@pytest.mark.parametrize("resource", ["other/model", "other", "datasets/other/rows", "admin", "library/model", "datasets/Acme"])
async def test_a_job_gets_no_key_for_another_namespace(tenancy, issuer, resource):
    with pytest.raises(Forbidden, match="may not log in for"):
        await tenancy.publishers.log_in(issuer.token(), resource)
    assert await tenancy.keys.list() == []


@pytest.mark.parametrize(
    "resource", ["", "/", "Acme/", "/model", "a/b/c", "datasets/a/b/c", "Acme/model\n", "Acme/模型", "x" * 97, "buckets/Acme/b"]
)
async def test_a_resource_that_is_none_is_refused(tenancy, issuer, resource):
    with pytest.raises(InvalidRequest, match="NAMESPACE/NAME"):
        await tenancy.publishers.log_in(issuer.token(), resource)


@pytest.mark.parametrize("kind", ["spaces", "kernels"])
async def test_what_is_not_kept_here_is_said(tenancy, issuer, kind):
    with pytest.raises(InvalidRequest, match=f"There are no {kind} here"):
        await tenancy.publishers.log_in(issuer.token(), f"{kind}/Acme/x")


async def test_a_publisher_that_may_not_read_has_nothing_to_give_for_a_project(tenancy, issuer):
    token = issuer.token(repository="acme/eval", aud=["http://second.example.com"])
    assert (await tenancy.publishers.log_in(token, "acme-eval/model")).scopes == ("infer",)
    with pytest.raises(Forbidden):
        await tenancy.publishers.log_in(token, "acme-eval")


async def test_a_declared_project_is_made_so_that_nobody_needs_a_key_for_it_first(tenancy, issuer):
    made = await tenancy.publishers.log_in(issuer.token(repository="acme/early"), "Early/x")
    assert (await tenancy.keys.identify(made.key)).project == "early"


@pytest.mark.parametrize(("project", "error"), [("ACME", Conflict), ("a b", InvalidRequest), ("datasets", InvalidRequest)])
async def test_a_project_that_cannot_be_is_refused_at_the_start(database, tenancy, issuer, jwks, project, error):
    with pytest.raises(error):
        await open_tenancy(database, bytes(32), publishers=[Publisher(issuer.url, AUDIENCE, CLAIMS, project, ("read",), jwks)])


async def test_an_issuer_that_nobody_declared_is_never_asked(tenancy, remote):
    with pytest.raises(Unauthenticated, match="not trusted here"):
        await tenancy.publishers.log_in(remote.token(), "Acme/model")
    assert remote.asked == []
