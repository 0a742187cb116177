"""`hf auth login` without a token: the real client in a terminal, and a person with a browser."""

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from hub_world import serve_hub

HF = str(Path(sys.executable).parent / "hf")
QUIET = {"HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ENTER = b"\r"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def http(served):
    with httpx.Client(base_url=served.url, timeout=30) as client:
        yield client


class Form(HTMLParser):
    """What a browser would send from the page."""

    def __init__(self, reply):
        super().__init__()
        self.fields, self.answers, self.address = {}, [], None
        self.feed(reply.text)
        self.address = urljoin(str(reply.url), self.address)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "form":
            self.address = given["action"]
            assert given["method"] == "post"
        elif tag == "input":
            self.fields[given["name"]] = given.get("value", "")
        elif tag == "button":
            self.answers.append(given["value"])


class Browser:
    """A person on the page: the code is filled in from the address, the key is typed, a button is pressed."""

    def __init__(self, served):
        self._origin = served.url

    def answer(self, address, key, answer, typed=None):
        headers = {"origin": self._origin, "sec-fetch-site": "same-origin"}
        with httpx.Client(timeout=30) as client:
            form = Form(client.get(address))
            assert form.answers == ["approve", "deny"]
            assert set(form.fields) == {"user_code", "key"}
            return client.post(form.address, data=form.fields | {"key": key, "answer": answer} | (typed or {}), headers=headers)


@pytest.fixture
def browser(served):
    return Browser(served)


class Terminal:
    """The `hf` command line in a terminal of its own."""

    def __init__(self, served, home):
        self._environment = {"PATH": os.environ["PATH"], "HF_ENDPOINT": served.url, "HF_HOME": str(home), "TERM": "xterm", **QUIET}
        self.screen = ""

    @contextlib.contextmanager
    def login(self):
        """`hf auth login`, waiting for its person."""
        ours, theirs = pty.openpty()
        self.screen, self._file = "", ours
        self._process = subprocess.Popen(
            [HF, "auth", "login", "--force"], stdin=theirs, stdout=theirs, stderr=theirs, env=self._environment, start_new_session=True
        )
        os.close(theirs)
        try:
            self.read_until("Paste an access token")
            yield self.read_until(r"(http\S+user_code=\S+)\s.*enter the code: (\S+)", pressing=ENTER)
        finally:
            self._process.kill()
            self._process.wait(10)
            os.close(ours)

    def read_until(self, pattern, pressing=b"", timeout_seconds=60):
        """Read until the screen shows it; a key that the program was not ready for is pressed again."""
        deadline = time.monotonic() + timeout_seconds
        while (found := re.search(pattern, self.screen, re.DOTALL)) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} on the screen:\n{self.screen}"
            os.write(self._file, pressing)
            if select.select([self._file], [], [], 0.5)[0]:
                self.screen += self._read()
        return found

    def wait(self):
        """The exit code, once it has ended by itself."""
        with contextlib.suppress(OSError):  # a terminal whose program has gone
            while more := self._read():
                self.screen += more
        return self._process.wait(60)

    def run(self, *arguments):
        done = subprocess.run([HF, *arguments], env=self._environment, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def _read(self):
        return os.read(self._file, 65536).decode(errors="replace")


@pytest.fixture
def terminal(served, tmp_path):
    return Terminal(served, tmp_path / "home")


def ask(http, client_id="any client"):
    reply = http.post("/oauth/device", data={"client_id": client_id})
    assert reply.status_code == 200, reply.text
    return reply.json()


def collect(http, asked, **changed):
    fields = {"grant_type": DEVICE_GRANT, "device_code": asked["device_code"], "client_id": "any client", **changed}
    return http.post("/oauth/token", data=fields)


def refusal(reply):
    assert reply.status_code == 400
    assert reply.headers["cache-control"] == "no-store"
    assert reply.json()["error_description"]
    return reply.json()["error"]


def test_the_real_client_logs_in_after_a_person_approved_and_is_out_when_its_key_is_revoked(served, terminal, browser):
    with terminal.login() as shown:
        terminal.read_until(r"Waiting for authorization\s*\.")
        assert shown[1].startswith(served.url)
        reply = browser.answer(shown[1], served.tokens["acme"], "approve")
        assert reply.status_code == 200
        assert "Logged in to the project acme" in reply.text
        assert terminal.wait() == 0, terminal.screen
    assert "Login successful" in terminal.screen
    assert "expires in 9" in terminal.screen or "expires in 89 days" in terminal.screen
    code, said = terminal.run("auth", "whoami")
    assert (code, "user=acme" in said.replace(": ", "=")) == (0, True), said
    _, key = terminal.run("auth", "token")
    key = key.split()[0]
    assert key.startswith("ym_")
    assert key != served.tokens["acme"]
    assert terminal.run("repos", "create", "acme/from-a-login")[0] == 0
    principal = served.run(served.tenancy.keys.identify(key))
    assert principal.scopes == {"read", "write", "infer"}
    assert principal.key_name in terminal.run("auth", "list")[1]
    served.run(served.tenancy.keys.revoke(principal.key_id))
    code, said = terminal.run("auth", "whoami")
    assert code != 0
    assert "Invalid" in said


def test_the_real_client_is_told_that_it_was_denied_and_stores_nothing(served, terminal, browser):
    with terminal.login() as shown:
        reply = browser.answer(shown[1], served.tokens["acme"], "deny")
        assert "Denied" in reply.text
        assert terminal.wait() != 0
    assert "denied" in terminal.screen
    assert "Not logged in" in terminal.run("auth", "whoami")[1]


def test_the_real_client_is_told_that_nobody_answered_in_time(served, terminal, browser, monkeypatch):
    with terminal.login() as shown:
        terminal.read_until(r"Waiting for authorization\s*\.")
        monkeypatch.setattr(served.tenancy.logins._devices, "_clock", lambda: time.monotonic() + 601)
        late = browser.answer(shown[1], served.tokens["acme"], "approve")
        assert late.status_code == 404
        assert terminal.wait() != 0
    assert "expired" in terminal.screen


def test_a_program_logs_in_without_a_terminal(served, tmp_path, browser):
    environment = {"PATH": os.environ["PATH"], "HF_ENDPOINT": served.url, "HF_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1", **QUIET}
    script = "import huggingface_hub; huggingface_hub.login(); print('user', huggingface_hub.whoami()['name'])"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as program:
        address = next(line.strip() for line in program.stdout if "user_code=" in line)
        browser.answer(address, served.tokens["reader"], "approve")
        said, _ = program.communicate(timeout=60)
    assert program.returncode == 0, said
    assert "user acme" in said
    assert served.run(served.tenancy.keys.identify((tmp_path / "token").read_text())).scopes == {"read"}


def test_a_device_is_told_its_codes_and_its_key_in_oauths_own_words(served, http, browser):
    asked = ask(http)
    assert set(asked) == {"device_code", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval"}
    assert (asked["expires_in"], asked["interval"]) == (600, 2)
    assert asked["verification_uri_complete"] == f"{asked['verification_uri']}?user_code={asked['user_code']}"
    assert refusal(collect(http, asked)) == "authorization_pending"
    assert refusal(collect(http, asked)) == "slow_down"
    browser.answer(asked["verification_uri"], served.tokens["admin"], "approve", {"user_code": asked["user_code"].lower()})
    assert refusal(collect(http, asked, client_id="another")) == "invalid_grant"
    reply = collect(http, asked)
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    given = reply.json()
    assert given | {"access_token": "", "expires_in": 0} == {
        "access_token": "",
        "token_type": "bearer",
        "expires_in": 0,
        "scope": "infer read write",
    }
    assert 89 * 86400 < given["expires_in"] <= 90 * 86400
    assert refusal(collect(http, asked)) == "invalid_grant"
    used = browser.answer(asked["verification_uri_complete"], served.tokens["admin"], "approve")
    assert used.status_code == 404
    assert http.get("/api/whoami-v2", headers={"authorization": f"Bearer {given['access_token']}"}).json()["name"] == "admin"


def test_an_old_key_in_the_header_does_not_keep_anybody_from_logging_in_again(http):
    stale = {"authorization": "Bearer ym_long_gone"}
    assert http.post("/oauth/device", data={"client_id": "hf"}, headers=stale).status_code == 200
    assert http.get("/oauth/verify", headers=stale).status_code == 200


def test_a_wrong_key_or_code_lets_nobody_in_and_the_right_ones_still_do(served, http, browser):
    asked = ask(http)
    page = asked["verification_uri_complete"]
    for key in ("ym_wrong", "云" * 46, "' OR 1=1 --"):
        reply = browser.answer(page, key, "approve")
        assert (reply.status_code, "unknown, revoked or expired" in reply.text) == (403, True)
        assert key not in reply.text
        assert asked["user_code"] in reply.text
    wrong = browser.answer(page, served.tokens["acme"], "approve", {"user_code": "BBBB-BBBB"})
    assert (wrong.status_code, "No login waits" in wrong.text) == (404, True)
    for incomplete in ({"key": ""}, {"user_code": ""}, {"answer": "maybe"}):
        assert browser.answer(page, served.tokens["acme"], "approve", incomplete).status_code == 400
    assert refusal(collect(http, asked)) == "authorization_pending"
    assert browser.answer(page, served.tokens["acme"], "approve").status_code == 200
    assert collect(http, asked).status_code == 200


def test_guessing_at_codes_is_stopped(served, http, browser):
    asked = ask(http)
    key = served.run(served.tenancy.keys.create("other", "guesser", ["read"])).key
    replies = [browser.answer(asked["verification_uri"], key, "approve", {"user_code": f"BBBB-BBB{letter}"}) for letter in "BCDFGHJKLMNP"]
    assert [reply.status_code for reply in replies] == [404] * 10 + [429] * 2
    assert 0 < int(replies[-1].headers["retry-after"]) <= 600
    assert browser.answer(asked["verification_uri_complete"], key, "approve").status_code == 429
    assert browser.answer(asked["verification_uri_complete"], served.tokens["acme"], "approve").status_code == 200


def test_another_sites_page_cannot_answer(served, http):
    asked = ask(http)
    fields = {"user_code": asked["user_code"], "key": served.tokens["acme"], "answer": "approve"}
    for headers in ({"origin": "https://evil.test"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert http.post("/oauth/verify", data=fields, headers=headers).status_code == 403
    assert refusal(collect(http, asked)) == "authorization_pending"


def test_the_page_runs_nothing_is_framed_nowhere_and_says_nothing_that_it_was_given(http):
    reply = http.get("/oauth/verify", params={"user_code": '"><script>1</script>'})
    assert reply.headers["content-type"].startswith("text/html")
    assert "<script" not in reply.text
    policy = reply.headers["content-security-policy"]
    assert all(part in policy for part in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"))
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "same-origin"
    assert "同意" in reply.text
    assert "Approve" in reply.text
    assert http.get("/oauth/verify", params={"user_code": "x" * 5000}).text.count("x" * 21) == 0


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ({"data": {"grant_type": "refresh_token", "refresh_token": "x"}}, "invalid_grant"),
        ({"data": {"grant_type": DEVICE_GRANT}}, "invalid_grant"),
        ({"data": {"grant_type": DEVICE_GRANT, "device_code": "\0云", "client_id": "x"}}, "invalid_grant"),
        ({"data": {"grant_type": "password"}}, "unsupported_grant_type"),
        ({"data": {}}, "unsupported_grant_type"),
        ({"json": {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "resource": "a/b"}}, "unsupported_grant_type"),
        ({"json": ["not", "an", "object"]}, "invalid_request"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, "invalid_request"),
        ({"data": {"grant_type": "x" * 20_000}}, "invalid_request"),
        ({"content": b"\xff\xfe=1"}, "invalid_request"),
        ({"content": b"a=1&" * 200}, "invalid_request"),
        ({"files": {"grant_type": b"a file"}}, "unsupported_grant_type"),
    ],
)
def test_every_other_grant_and_every_bad_form_is_refused_in_oauths_own_json(http, sent, error):
    assert refusal(http.post("/oauth/token", **sent)) == error


@pytest.mark.parametrize("sent", [{}, {"data": {"client_id": "x" * 201}}, {"json": {"client_id": 5}}, {"json": [1]}])
def test_a_device_without_a_client_id_is_refused(http, sent):
    assert refusal(http.post("/oauth/device", **sent)) == "invalid_request"


def test_the_audit_log_has_the_new_key_under_the_name_of_who_approved(served, http, browser):
    asked = ask(http)
    browser.answer(asked["verification_uri_complete"], served.tokens["other"], "approve")
    key = collect(http, asked).json()["access_token"]
    (entry, *_) = served.run(served.tenancy.audit.list())
    assert (entry.action, entry.project, entry.key_name) == ("key.created", "other", "other")
    assert entry.target == served.run(served.tenancy.keys.identify(key)).key_id
