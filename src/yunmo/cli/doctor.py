"""`yunmo doctor`: what this machine and this server have, what is wrong, and how to mend it."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import typer

from yunmo.cli.messages import choose, say
from yunmo.cli.output import Failed, size_text
from yunmo.cli.session import Session

Verdict = Literal["good", "note", "wrong"]

_LITTLE_MEMORY_BYTES = 2_000_000_000
_LITTLE_DISK_BYTES = 5_000_000_000
_MARKS = {"good": ("✓", typer.colors.GREEN), "note": ("!", typer.colors.YELLOW), "wrong": ("✗", typer.colors.RED)}


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `advice` says how to mend it."""

    name: str
    verdict: Verdict
    message: str
    advice: str = ""


def doctor(session: Session) -> None:
    """Check this machine and the server, and say in plain words what is wrong and how to mend it. Works without a server, too.

    检查本机与服务器，说明问题及解决办法。
    """
    findings = [finding for check in _CHECKS for finding in check(session)]
    wrong = sum(finding.verdict == "wrong" for finding in findings)
    noted = sum(finding.verdict == "note" for finding in findings)
    end = say("some_wrong", failed=wrong, warned=noted) if wrong or noted else say("all_well")
    text = "\n".join([*(_line(finding) for finding in findings), "", end])
    session.output.result({"healthy": not wrong, "findings": [asdict(finding) for finding in findings]}, text)
    if wrong:
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    mark, colour = _MARKS[finding.verdict]
    advice = f"\n    → {finding.advice}" if finding.advice else ""
    return typer.style(f"{mark} {finding.name}", fg=colour) + f": {finding.message}{advice}"


def _server(session: Session) -> Iterator[Finding]:
    try:
        version = session.call("GET", "/health", is_public=True)["version"]
    except Failed as error:
        yield Finding("server", "note" if session.is_default_url else "wrong", str(error))
        yield from _port(session)
        return
    yield Finding("server", "good", choose(f"Yunmo {version} answers at {session.url}.", f"云模 {version} 在 {session.url} 正常应答。"))
    try:
        who = session.call("GET", "/api/whoami-v2")
    except Failed as error:
        yield Finding("key", "wrong", str(error), choose("Use another with --key, or --data.", "请用 --key 或 --data 另行指定。"))
        return
    yield Finding("key", "good", choose(f"The key is of project “{who['name']}”.", f"密钥属于项目 “{who['name']}”。"))


def _port(session: Session) -> Iterator[Finding]:
    """Whether a server could be started here."""
    import socket

    address = urlsplit(session.url)
    if address.hostname not in {"127.0.0.1", "localhost"}:
        return
    port = address.port or 80
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("127.0.0.1", port))
        except OSError as error:
            advice = choose(f"Start with another one: yunmo serve --port {port + 1}", f"换一个端口启动：yunmo serve --port {port + 1}")
            yield Finding(
                "port", "wrong", choose(f"Port {port} cannot be used: {error.strerror}.", f"端口 {port} 不可用：{error.strerror}。"), advice
            )
            return
    yield Finding("port", "good", choose(f"Port {port} is free.", f"端口 {port} 空闲。"))


def _sqlite(_session: Session) -> Iterator[Finding]:
    from yunmo.storage.database import SAFE_SQLITE, sqlite_version

    found, wanted = sqlite_version(), ".".join(str(part) for part in SAFE_SQLITE)
    text = ".".join(str(part) for part in found)
    if found >= SAFE_SQLITE:
        yield Finding("sqlite", "good", f"SQLite {text}.")
        return
    yield Finding(
        "sqlite",
        "wrong",
        choose(
            f"SQLite {text} can corrupt the database; at least {wanted} is needed.", f"SQLite {text} 可能损坏数据库，至少需要 {wanted}。"
        ),
        "pip install pysqlite3",
    )


_OWN_ENVIRONMENTS = {"vllm": "docs/guide.md, vLLM (serving.pythons)"}
"""How to get engines whose libraries do not go with the others'."""


def _engines(_session: Session) -> Iterator[Finding]:
    from yunmo.cloud.system import look_at_engines
    from yunmo.core.plugins import engines

    views = look_at_engines(tuple(engines()))
    there = ", ".join(view.name for view in views if view.is_installed)
    yield Finding("engines", "good", choose(f"Installed: {there}.", f"已安装：{there}。"))
    for view in views:
        if not view.is_installed:
            mend = _OWN_ENVIRONMENTS.get(view.name) or f"pip install 'yunmo[{view.name.replace('_', '-')}]'"
            message = choose(f"The engine {view.name} lacks its library.", f"引擎 {view.name} 缺少依赖库。")
            yield Finding("engines", "note", message, mend)


def _processor(_session: Session) -> Iterator[Finding]:
    import platform

    import psutil

    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    flags = _processor_flags()
    names = {
        "avx2": "AVX2",
        "avx512f": "AVX-512",
        "avx512_vnni": "AVX-512 VNNI",
        "avx_vnni": "AVX VNNI",
        "avx512_bf16": "AVX-512 BF16",
        "amx_tile": "AMX",
    }
    there = ", ".join(name for flag, name in names.items() if flag in flags)
    if there or platform.machine() not in {"x86_64", "AMD64"}:
        yield Finding(
            "processor", "good", choose(f"{cores} cores, {there or platform.machine()}.", f"{cores} 核，{there or platform.machine()}。")
        )
        return
    message = choose(f"{cores} cores without AVX2: models will be slow.", f"{cores} 核，不支持 AVX2：模型会很慢。")
    yield Finding("processor", "note", message)


def _processor_flags() -> set[str]:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


def _memory(_session: Session) -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    free, total = size_text(memory.available), size_text(memory.total)
    message = choose(f"{free} of {total} are free.", f"可用 {free}，共 {total}。")
    if memory.available >= _LITTLE_MEMORY_BYTES:
        yield Finding("memory", "good", message)
        return
    advice = choose(
        "Close other programs or take a machine with more; small models need 1 to 2 GB.",
        "请关闭其他程序或使用内存更大的机器；小模型需要 1 至 2 GB。",
    )
    yield Finding("memory", "note", message, advice)


def _disk(session: Session) -> Iterator[Finding]:
    import shutil

    directory = session.data.resolve()
    while not directory.exists():
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    message = choose(f"{size_text(free)} are free under {session.data}.", f"{session.data} 所在磁盘可用 {size_text(free)}。")
    if free >= _LITTLE_DISK_BYTES:
        yield Finding("disk", "good", message)
        return
    yield Finding("disk", "note", message, choose("Free some, or use another disk with --data.", "请清理磁盘，或用 --data 换到其他磁盘。"))


def _isolation(_session: Session) -> Iterator[Finding]:
    """Whether model workers are cut off from the network; tried in a process of its own, which it would change."""
    import subprocess

    program = "import sys; from yunmo.runtime.sandbox import enter_sandbox; sys.exit(0 if enter_sandbox(None) else 3)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)  # noqa: S603 (our own program)
    if done.returncode == 0:
        yield Finding("isolation", "good", choose("Model workers have no network.", "模型进程与网络隔离。"))
        return
    message = choose(
        "Model workers can reach the network: the kernel allows no user namespaces.", "模型进程可以访问网络：内核不允许用户命名空间。"
    )
    advice = choose(
        "Allow them (sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0), or close the network outside.",
        "请允许（sysctl kernel.unprivileged_userns_clone=1 或 kernel.apparmor_restrict_unprivileged_userns=0），或在外部限制网络。",
    )
    yield Finding("isolation", "note", message, advice)


_CHECKS: tuple[Callable[[Session], Iterator[Finding]], ...] = (_server, _sqlite, _engines, _processor, _memory, _disk, _isolation)
