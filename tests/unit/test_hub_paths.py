import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.core.errors import InvalidRequest
from yunmo.hub.names import check_name, check_ref_name, split_name
from yunmo.hub.paths import check_path

BAD_PATHS = [
    "", "/", "/etc/passwd", "a//b", "a/", "./a", "a/.", "../a", "a/../b", "..", "a/..", "..%2fx", "a%2Fb", "%2e%2e/x", "a%5cb", "%252e%252e/x",
    "a\\b", "..\\..\\x", "C:/x", "c:\\x", "a\0b", "a\nb", "a\x7fb", ".git/config", "a/.GIT/x", ".Git", ".cache/x", "x/.CACHE/y", "con", "CON.txt",
    "a/nul", "com1", "lpt9.tar.gz", "a./b", "a /b", "trailing.", "trailing ", "a" * 256, "/".join(["abcdefgh"] * 130), "/".join("a" * 70),
    "e\u0301.txt", "a<b", "a>b", 'a"b', "a|b", "a?b", "a*b", "a:b", "\u202egnp.exe", "\u2024\u2024/x", "\uff0e\uff0e/x", "\ud800", "file://x", ".\uff47it/x",
]  # fmt: skip
GOOD_PATHS = [
    "README.md", ".gitattributes", "a/b/c.json", "1_Pooling/config.json", "模型/权重.safetensors", "é.txt", "a b.txt", "a#b", "a%b", "100%", "...a",
    "console.txt", "nullable", "a" * 255, ".gitignore", ".github/workflows/x.yml", "a+b=c,d@e!f$g&h'i(j)k;l[m]n{o}p^q`r~s",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
def test_refuses_a_path_that_could_escape_or_collide(path):
    with pytest.raises(InvalidRequest):
        check_path(path)


@pytest.mark.parametrize("path", GOOD_PATHS)
def test_accepts_an_ordinary_path(path):
    assert check_path(path) == path


@given(st.text(max_size=60))
def test_an_accepted_path_has_no_segment_that_leads_elsewhere(path):
    try:
        check_path(path)
    except InvalidRequest:
        return
    assert not path.startswith("/")
    assert all(segment not in {"", ".", ".."} and not set(segment) & {"\0", "\\", ":"} for segment in path.split("/"))


@pytest.mark.parametrize("name", ["-a", "a-", ".a", "a.", "a--b", "a..b", "a.git", "", "a" * 97, "a b", "ä", "resolve", "Tree", "a/b"])
def test_refuses_a_repository_name_that_the_clients_or_addresses_cannot_carry(name):
    with pytest.raises(InvalidRequest):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "bert-base-uncased", "Qwen2.5_0.5B", "_x", "a" * 96, "9"])
def test_accepts_the_names_that_models_have(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["api", "Datasets", "v1", "cas"])
def test_refuses_namespaces_that_are_addresses_of_the_server(name):
    with pytest.raises(InvalidRequest):
        split_name(f"{name}/model")


@pytest.mark.parametrize(
    "name", ["a..b", "a b", ".a", "a/.b", "a.lock", "refs/heads/x", "a~1", "a^", "a:b", "HEAD", "@", "a\0", "a" * 201, "", "a//b", "0" * 40]
)
def test_refuses_a_branch_name_that_git_refuses(name):
    with pytest.raises(InvalidRequest):
        check_ref_name(name)


@pytest.mark.parametrize("name", ["main", "dev/x", "v1.0", "feature_#1", "分支"])
def test_accepts_branch_names_that_git_accepts(name):
    assert check_ref_name(name) == name
