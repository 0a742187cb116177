"""Where settings come from, which of them wins, and what is said of those that cannot be used."""

import pytest

from yunmo.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch, tmp_path):
    import os

    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("YUNMO_")]:
        monkeypatch.delenv(name)


def test_without_file_and_environment_everything_has_its_default():
    settings = load_settings()
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8000)
    assert settings.log_requests is True
    assert settings.admin_key is None


def test_the_file_of_the_working_directory_is_read(tmp_path):
    (tmp_path / "yunmo.toml").write_text('log_format = "json"\n[serving]\nidle_seconds = 7\n')
    settings = load_settings()
    assert (settings.log_format, settings.serving.idle_seconds) == ("json", 7)


def test_a_named_file_is_read_instead_and_must_be_there(tmp_path):
    (tmp_path / "yunmo.toml").write_text("[serving]\nidle_seconds = 7\n")
    (tmp_path / "other.toml").write_text("[http]\nport = 81\n")
    settings = load_settings(tmp_path / "other.toml")
    assert (settings.http.port, settings.serving.idle_seconds) == (81, 1800)
    with pytest.raises(SettingsError, match=r"missing\.toml"):
        load_settings(tmp_path / "missing.toml")


def test_the_environment_beats_the_file_field_by_field_and_arguments_beat_both(tmp_path, monkeypatch):
    (tmp_path / "yunmo.toml").write_text('data = "from-file"\n[serving]\nidle_seconds = 7\nqueue_limit = 5\n')
    monkeypatch.setenv("YUNMO_SERVING__IDLE_SECONDS", "8")
    monkeypatch.setenv("YUNMO_DATA", "from-environment")
    settings = load_settings()
    assert (settings.serving.idle_seconds, settings.serving.queue_limit) == (8, 5)
    assert str(settings.data) == "from-environment"
    assert str(load_settings(data=tmp_path / "given").data) == str(tmp_path / "given")
    assert str(load_settings(data=None).data) == "from-environment"


def test_the_operators_key_comes_from_the_environment_and_is_not_shown(monkeypatch):
    monkeypatch.setenv("YUNMO_ADMIN_KEY", "ym_operators-own-key")
    settings = load_settings()
    assert settings.admin_key.get_secret_value() == "ym_operators-own-key"
    assert "operators-own" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("YUNMO_SERVIN__IDLE_SECONDS", "YUNMO_SERVING__IDLE_SECONDS"),
        ("YUNMO_SERVING__IDLE_SECOND", "YUNMO_SERVING__IDLE_SECONDS"),
        ("YUNMO_SERVING_IDLE_SECONDS", "YUNMO_SERVING__IDLE_SECONDS"),
        ("YUNMO_LOGLEVEL", "YUNMO_LOG_LEVEL"),
        ("yunmo_adminkey", "YUNMO_ADMIN_KEY"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_right_name(monkeypatch, variable, nearest):
    monkeypatch.setenv(variable, "5")
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert variable.upper() in str(refusal.value)
    assert f"did you mean {nearest}?" in str(refusal.value)


def test_a_variable_that_is_like_none_is_refused_without_a_guess(monkeypatch):
    monkeypatch.setenv("YUNMO_NONSENSE", "5")
    with pytest.raises(SettingsError, match="YUNMO_NONSENSE") as refusal:
        load_settings()
    assert "did you mean" not in str(refusal.value)


def test_variables_of_the_client_commands_and_whole_groups_are_let_be(monkeypatch):
    monkeypatch.setenv("YUNMO_URL", "http://models.example.com")
    monkeypatch.setenv("YUNMO_KEY", "ym_x")
    monkeypatch.setenv("YUNMO_HTTP", '{"port": 81}')
    assert load_settings().http.port == 81


@pytest.mark.parametrize(("text", "named"), [("[http]\nprot = 81\n", "http.port"), ("servin = 1\n", "serving")])
def test_an_unknown_setting_of_the_file_is_refused_with_the_nearest_right_name(tmp_path, text, named):
    (tmp_path / "yunmo.toml").write_text(text)
    with pytest.raises(SettingsError, match=rf"did you mean {named}"):
        load_settings()


def test_a_value_that_cannot_be_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("YUNMO_HTTP__PORT", "-1")
    with pytest.raises(SettingsError, match=r"http\.port"):
        load_settings()


GITHUB = "https://token.actions.githubusercontent.com"
PUBLISHER = f'[[publishers]]\nissuer = "{GITHUB}"\nproject = "acme"\n'
AUDIENCE = 'audience = "https://hub.example.com"\n'
CLAIMS = 'claims = {repository = "acme/trainer", ref = "refs/heads/*"}\n'


def test_nobody_is_a_trusted_publisher_unless_declared(tmp_path, monkeypatch):
    assert load_settings().publishers == ()
    (tmp_path / "yunmo.toml").write_text(PUBLISHER + AUDIENCE + CLAIMS)
    (publisher,) = load_settings().publishers
    assert (publisher.project, publisher.scopes, publisher.jwks) == ("acme", ("read", "write"), None)
    assert publisher.claims == {"repository": "acme/trainer", "ref": "refs/heads/*"}
    monkeypatch.setenv("YUNMO_PUBLISHERS", "[]")
    assert load_settings().publishers == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PUBLISHER + AUDIENCE, "claims: Field required"),
        (PUBLISHER + AUDIENCE + "claims = {}\n", r"publishers\.0\.claims"),
        (PUBLISHER + AUDIENCE + 'claims = {repository = "*", ref = "?*"}\n', "match every job"),
        (PUBLISHER + AUDIENCE + 'claims = {iss = "x"}\n', "'iss' is checked anyway"),
        (PUBLISHER + CLAIMS, r"set http\.public_url"),
        (PUBLISHER + 'audience = ""\n' + CLAIMS, r"publishers\.0\.audience"),
        (PUBLISHER + AUDIENCE + CLAIMS + 'scopes = ["admin"]\n', r"publishers\.0\.scopes"),
        (PUBLISHER + AUDIENCE + CLAIMS + "scopes = []\n", r"publishers\.0\.scopes"),
        (PUBLISHER + AUDIENCE + CLAIMS + 'jwks = "missing.json"\n', r"publishers\.0\.jwks"),
        (PUBLISHER + AUDIENCE + CLAIMS + 'jwks = "yunmo.toml"\n' + PUBLISHER + AUDIENCE + CLAIMS, "the same jwks"),
        (
            PUBLISHER + AUDIENCE + CLAIMS + 'scope = ["read"]\n',
            r"publishers\.0\.scope: there is no such setting; did you mean publishers\.0\.scopes",
        ),
    ],
)
def test_a_publisher_that_would_trust_too_many_or_cannot_be_is_refused(tmp_path, text, why):
    (tmp_path / "yunmo.toml").write_text(text)
    with pytest.raises(SettingsError, match=why):
        load_settings()


def test_the_public_address_is_an_audience(tmp_path):
    (tmp_path / "yunmo.toml").write_text('[http]\npublic_url = "https://hub.example.com/"\n' + PUBLISHER + CLAIMS)
    assert load_settings().publishers[0].audience is None


def test_a_file_that_is_no_toml_is_named(tmp_path):
    (tmp_path / "yunmo.toml").write_text("[http\n")
    with pytest.raises(SettingsError, match=r"yunmo\.toml is not valid TOML"):
        load_settings()


def test_an_engines_python_is_a_file_that_is_there_and_stays_the_link_that_it_is(tmp_path):
    (tmp_path / "python3").touch()
    (tmp_path / "python").symlink_to("python3")
    (tmp_path / "yunmo.toml").write_text(f'[serving.pythons]\nvllm = "{tmp_path / "python"}"\n')
    assert load_settings().serving.pythons == {"vllm": tmp_path / "python"}
    (tmp_path / "yunmo.toml").write_text('[serving.pythons]\nvllm = "/nowhere/python"\n')
    with pytest.raises(SettingsError, match=r"serving\.pythons\.vllm"):
        load_settings()
