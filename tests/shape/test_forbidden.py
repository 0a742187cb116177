"""What the code may not contain, and where the exceptions are."""

import ast
import re
from pathlib import Path

import pytest

from yunmo.core.errors import every_error

SOURCE = Path(__file__).resolve().parents[2] / "src" / "yunmo"
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in FILES}

FORBIDDEN_MODULES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "torch.load", "joblib.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen"}
SAFE_YAML = {"hub/cards.py": "its loader is yaml's safe one, written in C where there is one"}
WEIGHTS_ONLY = {"cli/conversion.py": "torch's reader for weights alone, on the user's own machine; nothing of the server imports it"}

ENVIRONMENT = {
    "runtime/placement/environment.py": "passes the few variables that a worker needs",
    "runtime/template.py": "takes them over in a forked worker",
    "engines/chats/companion.py": "passes the few variables that its programs need",
    "engines/telling.py": "keeps a library off the network, in the worker",
    "engines/vllm/library.py": "tells a library to report nothing and to stay one process, in the worker",
    "engines/trainer/memory.py": "tells a library how much to keep, in the worker",
    "engines/llama_cpp/server.py": "tells a library how to wait, in the worker",
    "cli/messages.py": "asks for the terminal's language",
}
LONG_FILES = {"core/tasks.py": "a table: every task's request and answer in one place"}
LONG_FUNCTIONS = {"storage/migrations/versions/0002_hub.py:upgrade": "a list of tables, read once and never changed"}
BOUNDARIES = 15
FILE_LINES, FUNCTION_LINES = 400, 60


def _names(tree):
    """Every call's dotted name with its node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            try:
                yield ast.unparse(node.func), node
            except RecursionError:
                continue


def _imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_the_source_is_found():
    assert len(FILES) > 100


@pytest.mark.parametrize("file", TREES)
def test_nothing_that_runs_data_as_code(file):
    assert not FORBIDDEN_MODULES & set(_imports(TREES[file]))
    for name, call in _names(TREES[file]):
        if name == "torch.load" and file in WEIGHTS_ONLY:
            assert any(keyword.arg == "weights_only" and ast.unparse(keyword.value) == "True" for keyword in call.keywords)
            continue
        assert name not in FORBIDDEN_CALLS, f"{file}:{call.lineno}: {name}"
        assert name != "yaml.load" or file in SAFE_YAML, f"{file}:{call.lineno}: {name}"
        for keyword in call.keywords:
            is_on = not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
            assert keyword.arg not in {"allow_pickle", "trust_remote_code", "shell"} or not is_on, f"{file}:{call.lineno}: {keyword.arg}"
            assert keyword.arg != "weights_only" or not isinstance(keyword.value, ast.Constant) or keyword.value.value is True


def test_the_yaml_loader_is_a_safe_one():
    import yaml

    from yunmo.hub import cards

    bases = {cards._Loader, *cards._Loader.__mro__}
    assert bases & {yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)}
    with pytest.raises(cards.BadCard):
        cards.front_matter("---\na: !!python/object/apply:os.getcwd []\n---\n")


@pytest.mark.parametrize("file", TREES)
def test_sql_is_never_put_together_from_text(file):
    for name, call in _names(TREES[file]):
        last = name.rsplit(".", 1)[-1]
        if last in {"text", "exec_driver_sql"} and name != "text" and call.args:
            assert not _is_sql_from_values(call.args[0], file), f"{file}:{call.lineno}"
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.JoinedStr):
            words = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            assert not re.match(r"\s*(SELECT .+ FROM|INSERT INTO|UPDATE .+ SET|DELETE FROM) ", words), f"{file}:{node.lineno}"


def _is_sql_from_values(argument, file):
    """Constants of the module may be put into SQL (pragmas); what comes at run time may not. Only storage has such SQL."""
    return isinstance(argument, ast.JoinedStr | ast.BinOp) and not file.startswith("storage/")


def test_broad_excepts_are_marked_boundaries_and_few():
    marked = []
    for file, tree in TREES.items():
        lines = (SOURCE / file).read_text().splitlines()
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = "BaseException" if node.type is None else ast.unparse(node.type)
            if caught not in {"Exception", "BaseException"}:
                continue
            if "# boundary:" in lines[node.lineno - 1]:
                marked.append(f"{file}:{node.lineno}")
                continue
            is_cleanup = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            assert (caught, is_cleanup) == ("BaseException", True), f"{file}:{node.lineno} catches everything and is no '# boundary:'"
    assert 0 < len(marked) <= BOUNDARIES, marked


def test_the_environment_is_read_by_the_settings_library_and_few_others():
    readers = {file for file, tree in TREES.items() if re.search(r"\bos\.(environ|getenv)\b|from os import", ast.unparse(tree))}
    assert readers == set(ENVIRONMENT)


@pytest.mark.parametrize("file", [file for file in TREES if not file.startswith("cli/")])
def test_only_the_command_line_prints(file):
    assert "print" not in {name for name, _ in _names(TREES[file])}


def test_files_are_short():
    long = {file for file in TREES if len((SOURCE / file).read_text().splitlines()) > FILE_LINES}
    assert long == set(LONG_FILES)


def test_functions_are_short():
    long = {
        f"{file}:{node.name}": node.end_lineno - node.lineno + 1
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    }
    assert set(long) == set(LONG_FUNCTIONS), long


def test_no_security_check_is_an_assert():
    """`python -O` removes asserts."""
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert):
                assert not re.search(r"principal|scope|password|token\b.*==|is_admin|may_", ast.unparse(node.test)), f"{file}:{node.lineno}"


_CORE_ERRORS = [error for error in every_error() if error.__module__ == "yunmo.core.errors"]


def _tables():
    from yunmo.web.dialects.admin.dialect import STATUSES
    from yunmo.web.dialects.deepl.errors import STATUSES as DEEPL
    from yunmo.web.dialects.hf.errors import REPLIES
    from yunmo.web.dialects.hub.errors import _TABLE
    from yunmo.web.dialects.libretranslate.errors import STATUSES as LIBRETRANSLATE
    from yunmo.web.dialects.openai.errors import SHAPES

    codes = {error.code: error for error in _CORE_ERRORS}
    return {
        "admin": set(STATUSES),
        "deepl": set(DEEPL),
        "libretranslate": set(LIBRETRANSLATE),
        "huggingface": set(REPLIES),
        "hub": set(_TABLE),
        "openai": {codes[code] for code in SHAPES if code in codes},
    }


@pytest.mark.parametrize("dialect", ["admin", "deepl", "huggingface", "hub", "libretranslate", "openai"])
def test_every_error_is_in_every_dialects_table(dialect):
    table = _tables()[dialect]
    for error in _CORE_ERRORS:
        told = next((kind for kind in error.__mro__ if kind in table), None)
        assert told is not None, f"{dialect} has no reply for {error.__name__}"
