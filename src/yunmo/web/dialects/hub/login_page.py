"""The page where a person lets a device in: plain HTML, nothing from elsewhere, Chinese and English side by side."""

import math
from html import escape
from string import Template
from typing import Literal

from starlette.responses import Response

Outcome = Literal["approved", "denied", "incomplete", "bad_key", "bad_code", "too_many"]

_CODE_CHARACTERS = 20
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",  # the address holds the code; with 'no-referrer' browsers would send the form as from nowhere
    "x-content-type-options": "nosniff",
}
_MESSAGES: dict[Outcome, tuple[int, str, str]] = {
    "approved": (200, "已登录到项目 $project。请回到终端。", "Logged in to the project $project. Go back to the terminal."),
    "denied": (200, "已拒绝，该设备没有得到密钥。", "Denied. The device has got no key."),
    "incomplete": (400, "请填写验证码和密钥，然后选择同意或拒绝。", "Fill in the code and the key, then approve or deny."),
    "bad_key": (403, "密钥未知、已吊销或已过期。", "This key is unknown, revoked or expired."),
    "bad_code": (
        404,
        "没有等待此验证码的登录：输入有误、已用过或已超过十分钟。",
        "No login waits with this code: mistyped, used, or older than ten minutes.",
    ),
    "too_many": (429, "此密钥输错验证码的次数太多，请十分钟后再试。", "Too many wrong codes with this key. Try again in ten minutes."),
}

_PAGE = Template("""<!doctype html>
<html lang="zh">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>设备登录 · Device login · Yunmo</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 2rem auto; padding: 0 1rem; }
label { display: block; margin-top: 1.2rem; }
input { font: 1.1rem ui-monospace, monospace; width: 100%; box-sizing: border-box; padding: .5rem; }
button { font: inherit; margin: 1.2rem .6rem 0 0; padding: .5rem 1.2rem; }
[role=alert] { border: 2px solid; border-radius: .4rem; padding: .2rem 1rem; }
</style>
</head>
<body>
<h1>设备登录 · <span lang="en">Device login</span></h1>
$message
$form
</body>
</html>
""")

_MESSAGE = Template("""<div role="alert"><p>$chinese</p><p lang="en">$english</p></div>""")

_FORM = Template("""<p>只有当你自己刚刚运行了 <code>hf auth login</code>，且下面的验证码与终端里的一致时才同意。
如果验证码是别人发给你的，请拒绝：同意就等于把你的权限交给对方。</p>
<p lang="en">Approve only if you have just run <code>hf auth login</code> yourself and your terminal shows this code.
If somebody sent you the code, deny: approving would give them your access.</p>
<form method="post" action="verify" autocomplete="off">
<label for="user_code">验证码 · <span lang="en">Code</span></label>
<input id="user_code" name="user_code" value="$code" maxlength="20" autocapitalize="characters" spellcheck="false" required>
<label for="key">你的一个 API 密钥 · <span lang="en">One of your API keys</span></label>
<input id="key" name="key" type="password" maxlength="512" spellcheck="false" required>
<p>设备会得到同一项目的一个新密钥：权限与此密钥相同（不含 admin），最长 90 天，可随时吊销。此密钥不会交给设备。</p>
<p lang="en">The device gets a new key of the same project with the scopes of this key (without admin), for 90 days at most; it can be
revoked at any time. The device does not get this key.</p>
<button name="answer" value="approve">同意 · <span lang="en">Approve</span></button>
<button name="answer" value="deny">拒绝 · <span lang="en">Deny</span></button>
</form>""")


def page(code: str, outcome: Outcome | None = None, *, project: str = "", retry_after_seconds: float | None = None) -> Response:
    """The page as it looks after `outcome`, with the code filled in where there is still something to answer."""
    status, message, headers = 200, "", dict(_HEADERS)
    if outcome is not None:
        status, chinese, english = _MESSAGES[outcome]
        message = _MESSAGE.substitute(chinese=_named(chinese, project), english=_named(english, project))
    if retry_after_seconds is not None:
        headers["retry-after"] = str(math.ceil(retry_after_seconds))
    form = "" if outcome in {"approved", "denied"} else _FORM.substitute(code=escape(code[:_CODE_CHARACTERS]))
    return Response(_PAGE.substitute(message=message, form=form), status, headers, media_type="text/html")


def _named(sentence: str, project: str) -> str:
    return Template(sentence).substitute(project=escape(project))
