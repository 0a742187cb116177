"""An issuer of identity tokens for tests: its keys, its tokens, and what a CI provider serves over HTTP, on loopback."""

import contextlib
import json
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

REQUEST_TOKEN = "the-jobs-own-request-token"


class TokenIssuer:
    """Signs tokens such as GitHub Actions gives its jobs."""

    def __init__(self, url="https://ci.example.com", algorithm="RS256", key_id="first", bits=2048):
        self.url, self.algorithm = url, algorithm
        self._bits = bits
        self.rotate(key_id)

    def rotate(self, key_id):
        is_rsa = self.algorithm[:2] in {"RS", "PS"}
        self.key = rsa.generate_private_key(65537, self._bits) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        self.key_id = key_id

    def claims(self, **changed):
        now = int(time.time())
        given = {
            "iss": self.url,
            "sub": "repo:acme/trainer:ref:refs/heads/main",
            "aud": "http://hub.example.com",
            "iat": now,
            "nbf": now - 60,
            "exp": now + 300,
            "repository": "acme/trainer",
            "ref": "refs/heads/main",
        }
        return {name: value for name, value in (given | changed).items() if value is not None}

    def token(self, headers=None, **changed):
        return jwt.encode(self.claims(**changed), self.key, self.algorithm, {"kid": self.key_id} | (headers or {}))

    def jwks(self):
        kind = jwt.algorithms.RSAAlgorithm if self.algorithm[:2] in {"RS", "PS"} else jwt.algorithms.ECAlgorithm
        own = json.loads(kind.to_jwk(self.key.public_key())) | {"kid": self.key_id, "use": "sig", "alg": self.algorithm}
        broken = [{"kty": "RSA", "kid": "broken"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"}, "no key"]
        return {"keys": [*broken, own]}


def write_certificate(file):
    """A certificate for 127.0.0.1 that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


@contextlib.contextmanager
def serving_issuer(issuer, certificate=None):
    """The issuer on loopback: discovery, keys, and tokens for the audience that a job asks for. `pages` may be changed, `asked` is read.

    With a certificate (a PEM file that has its key too) it speaks https.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            issuer.asked.append(path)
            if path == "/mint":
                is_job = self.headers["authorization"] == f"Bearer {REQUEST_TOKEN}"
                status, content = (200, {"value": issuer.token(aud=query["audience"][0])}) if is_job else (401, {})
            else:
                status, content = issuer.pages.get(path, lambda: (404, {}))()
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            if status == 302:
                self.send_header("location", f"{issuer.url}/keys")
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # who reads only so much has gone
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # a client that does not trust the certificate hangs up
    issuer.url, issuer.asked = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}", []
    issuer.pages = {
        "/.well-known/openid-configuration": lambda: (200, {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}),
        "/keys": lambda: (200, issuer.jwks()),
    }
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
