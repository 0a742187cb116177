"""What the command line says, in the language of its user: English, or Chinese where `LC_ALL` or `LANG` begins with zh."""

import os
from typing import Literal

Language = Literal["en", "zh"]

_TEXTS: dict[str, tuple[str, str]] = {
    "no_key": (
        "No key. Give one with --key or YUNMO_KEY, or say with --data where the server's data directory is (there is no key in {file}).",
        "没有密钥。请用 --key 或 YUNMO_KEY 提供，或用 --data 指明服务器的数据目录（{file} 中没有密钥）。",
    ),
    "unreadable_key": ("The key in {file} cannot be read: {reason}.", "无法读取 {file} 中的密钥：{reason}。"),
    "unreachable": (
        "No Yunmo server answers at {url} ({reason}). Start one with 'yunmo serve', or name another with --url.",
        "{url} 没有云模服务器应答（{reason}）。请用 “yunmo serve” 启动，或用 --url 指定其他地址。",
    ),
    "too_slow": ("{url} did not answer within {seconds:.0f} s.", "{url} 在 {seconds:.0f} 秒内没有应答。"),
    "not_yunmo": ("{url} answers, but not like Yunmo (HTTP {status}).", "{url} 有应答，但不是云模（HTTP {status}）。"),
    "nothing": ("Nothing here yet.", "暂无内容。"),
    "key_made": (
        "Key {id} for project {project} ({scopes}). It is shown this once:",
        "项目 {project} 的密钥 {id}（{scopes}）。只显示这一次：",
    ),
    "key_revoked": ("Key {id} of project {project} is revoked.", "项目 {project} 的密钥 {id} 已吊销。"),
    "alias_set": ("“{name}” now leads to {repository}.", "“{name}” 现在指向 {repository}。"),
    "alias_removed": ("“{name}” leads nowhere now.", "别名 “{name}” 已删除。"),
    "deployed": (
        "{name} is ready: {engine}, {tasks}. It answers at {url}/models/{name}",
        "{name} 已就绪：{engine}，{tasks}。调用地址：{url}/models/{name}",
    ),
    "deploying": ("{name} is being deployed. 'yunmo ps' shows how far it is.", "正在部署 {name}。用 “yunmo ps” 查看进度。"),
    "memory": (
        "Memory of all its replicas: {predicted} predicted at work, {resident} resident now.",
        "所有副本的内存：预计工作时占用 {predicted}，当前实际占用 {resident}。",
    ),
    "deploy_failed": ("{name} cannot be served: {reason}", "{name} 无法提供服务：{reason}"),
    "deploy_slow": (
        "{name} was not ready within {seconds:.0f} s (it is {state}: {reason}). It goes on; 'yunmo ps' shows how far it is.",
        "{name} 在 {seconds:.0f} 秒内没有就绪（当前 {state}：{reason}）。部署仍在继续，用 “yunmo ps” 查看进度。",
    ),
    "calibration_failed": ("{name} could not be calibrated: {reason}", "{name} 无法校准：{reason}"),
    "calibrated": (
        "* serves {name}, whose aim is {aim}. Measured in {seconds} s; the first plan is the reference.",
        "* 为 {name} 当前采用的方案（目标：{aim}）。测量用时 {seconds} 秒；第一行为参考方案。",
    ),
    "promoted": ("{name} stands for {model}.", "{name} 现在对应 {model}。"),
    "promoted_from": (
        "Before, it was {previous}: 'yunmo promote {name} --back' goes back.",
        "之前对应 {previous}；用 “yunmo promote {name} --back” 退回。",
    ),
    "certificate_passed": (
        "Certificate: it is served as it was trained ({samples} samples, agreement {agreement:.4f}, drift {drift:.4f}; {engine} {precision}).",
        "一致性证书：上线后的回答与训练端一致（{samples} 个样本，一致率 {agreement:.4f}，偏差 {drift:.4f}；{engine} {precision}）。",
    ),
    "certificate_failed": ("Certificate failed: {problem}", "一致性证书未通过：{problem}"),
    "undeployed": ("{name} is undeployed.", "{name} 已下线。"),
    "pushed": ("{directory} is at {url}", "{directory} 已推送到 {url}"),
    "pulled": ("{repository} is in {directory}", "{repository} 已下载到 {directory}"),
    "no_namespace": (
        "“{repository}” is no name of a repository: write namespace/name, such as acme/{repository}.",
        "“{repository}” 不是仓库名：请写成 命名空间/名称，例如 acme/{repository}。",
    ),
    "no_key_used": (
        "(Asked without a key; give one with --key or YUNMO_KEY if it is private.)",
        "（未使用密钥；如为私有仓库，请用 --key 或 YUNMO_KEY 提供。）",
    ),
    "no_library": (
        "{library} is not installed here, and converting needs it: pip install 'yunmo[transformers]'",
        "本机未安装 {library}，转换需要它：pip install 'yunmo[transformers]'",
    ),
    "nothing_to_convert": (
        "{repository} has no pytorch_model.bin (nor parts of one) and no adapter_model.bin to convert. It has: {files}.",
        "{repository} 中没有可转换的 pytorch_model.bin（或其分片）或 adapter_model.bin。现有文件：{files}。",
    ),
    "not_only_weights": (
        "{file} holds more than weights, and opening that could run a program, so it is not opened: {reason}",
        "{file} 不仅包含权重，打开它可能运行程序，因此未打开：{reason}",
    ),
    "converted": (
        "{repository} has {files} now (revision {revision}). Its pickled weights are still there; they are not used.",
        "{repository} 现已包含 {files}（版本 {revision}）。原有 pickle 权重保留，但不再使用。",
    ),
    "no_directory": ("There is no directory {directory}.", "没有目录 {directory}。"),
    "hub_failed": ("{what} failed: {reason}", "{what} 失败：{reason}"),
    "starter_there": ("{repository} is there already.", "{repository} 已经存在。"),
    "starter_none": ("Name a model of 'yunmo starter list', or use --all.", "请指定 “yunmo starter list” 中的模型，或使用 --all。"),
    "starter_call": ("Call it:", "调用方法："),
    "evaluation_ordered": (
        "{model} is being evaluated as job {id}. 'yunmo jobs wait {id}' waits for its end, 'yunmo jobs show {id}' has its metrics.",
        "正在以任务 {id} 评测 {model}。用 “yunmo jobs wait {id}” 等待结束，用 “yunmo jobs show {id}” 查看指标。",
    ),
    "evaluated": ("{model} at {commit}, {rows} rows:", "{model}（版本 {commit}），{rows} 行："),
    "evaluated_wrong": ("What was answered wrongly is in the file {file}.", "答错的行见文件 {file}。"),
    "job_cancelled": ("Job {id} is {status}.", "任务 {id} 已请求取消（当前 {status}）。"),
    "job_paused": ("Job {id} waits from its next checkpoint on (it is {status}).", "任务 {id} 将在下一个检查点暂停（当前 {status}）。"),
    "job_resumed": ("Job {id} goes on (it is {status}).", "任务 {id} 继续执行（当前 {status}）。"),
    "job_slow": (
        "Job {id} has not ended within {seconds:.0f} s (it is {status}). It goes on.",
        "任务 {id} 在 {seconds:.0f} 秒内没有结束（当前 {status}），仍在继续。",
    ),
    "job_failed": ("Job {id} has not succeeded: {reason}", "任务 {id} 未成功：{reason}"),
    "job_done": ("Job {id} has succeeded.", "任务 {id} 已完成。"),
    "unreadable_file": ("{file} cannot be read: {reason}.", "无法读取 {file}：{reason}。"),
    "empty_file": ("{file} is empty.", "{file} 是空文件。"),
    "no_rows": (
        "“{data}” is neither a file here nor a data set's name (namespace/name, or namespace/name@revision). Push a directory with 'yunmo push --type dataset'.",
        "“{data}” 既不是本机文件，也不是数据集名称（命名空间/名称，或 命名空间/名称@版本）。目录请用 “yunmo push --type dataset” 推送。",
    ),
    "bad_recipe": ("The recipe cannot be: {reason}.", "训练配方无效：{reason}。"),
    "other_method": (
        "The recipe is for the method “{other}”, and “{method}” was asked for.",
        "配方用于方法 “{other}”，而命令指定了 “{method}”。",
    ),
    "training_ordered": (
        "Training {id} is queued. 'yunmo jobs wait {id}' waits for it, 'yunmo jobs logs {id} --follow' shows what happens.",
        "训练 {id} 已排队。“yunmo jobs wait {id}” 等待其结束，“yunmo jobs logs {id} --follow” 查看过程。",
    ),
    "training_goes_on": (
        "The training goes on without you. 'yunmo jobs logs {id} --follow' shows it, 'yunmo jobs cancel {id}' ends it.",
        "训练仍在继续。“yunmo jobs logs {id} --follow” 查看过程，“yunmo jobs cancel {id}” 取消。",
    ),
    "trained": (
        "{model} is there: {steps:,} steps, {tokens:,} tokens, {took}.",
        "{model} 已完成：{steps:,} 步，{tokens:,} 词元，用时 {took}。",
    ),
    "certified": (
        "It is served as it was trained: {samples} samples, {agreement:.1%} the same, drift {drift:.2g} ({engine}).",
        "线上结果与训练一致：{samples} 个样本，{agreement:.1%} 相同，偏差 {drift:.2g}（{engine}）。",
    ),
    "drifted": (
        "It is not served as it was trained: {samples} samples, {agreement:.1%} the same, drift {drift:.2g} ({engine}).",
        "线上结果与训练不一致：{samples} 个样本，{agreement:.1%} 相同，偏差 {drift:.2g}（{engine}）。",
    ),
    "not_certified": ("How it is served was not compared with its training: {problem}", "未能比较线上结果与训练：{problem}"),
    "no_jobs": (
        "There is no fine-tuning job in {path}: write the list that OpenAI's API gives into jobs.json (docs/guide.md has the lines for it).",
        "{path} 中没有微调任务：请把 OpenAI 接口返回的任务列表写入 jobs.json（脚本见 docs/guide.zh-CN.md）。",
    ),
    "no_export_file": ("The file {file} is not in {folder}.", "{folder} 中没有文件 {file}。"),
    "no_method": (
        "The method {method} cannot be done here; supervised and dpo can.",
        "此处不支持方法 {method}，仅支持 supervised 与 dpo。",
    ),
    "no_base": (
        "No model here stands for {model}: name one with --map {model}=ns/name or --base.",
        "没有对应 {model} 的模型：请用 --map {model}=命名空间/名称 或 --base 指定。",
    ),
    "import_made": ("made", "已创建"),
    "import_there": ("there already", "已存在"),
    "import_possible": ("would be made", "可创建"),
    "import_skipped": ("skipped", "跳过"),
    "import_impossible": ("cannot be made", "无法创建"),
    "document_ordered": (
        "{file} is being translated as job {id}. The same command again waits for it and fetches the translation.",
        "正在以任务 {id} 翻译 {file}。再次运行同一命令即可等待完成并取回译文。",
    ),
    "document_translated": (
        "{output}: {units} units from {source} into {target}, {characters} characters translated now, {reused} segments as before.",
        "{output}：从 {source} 译为 {target}，共 {units} 个单元，本次翻译 {characters} 个字符，沿用以前的译文 {reused} 段。",
    ),
    "document_issues": (
        "{count} things have not come through in {output}; look at these first:",
        "{output} 中有 {count} 处内容未能保留，请先检查：",
    ),
    "document_failed": ("{file} is not translated: {reason}", "{file} 未能翻译：{reason}"),
    "unwritable_file": ("{file} cannot be written: {reason}.", "无法写入 {file}：{reason}。"),
    "one_output": (
        "--output names one file, but there are several to translate. Name a directory that exists.",
        "--output 指定了一个文件，但要翻译的文件有多个。请指定一个已有的目录。",
    ),
    "bad_glossary": (
        "Line {line} of {file} has no tab between a term and its translation.",
        "{file} 第 {line} 行的术语与译文之间没有制表符。",
    ),
    "translation_issue": ("Not come through ({kind}): {what}", "译文中有内容未能保留（{kind}）：{what}"),
    "route_added": (
        "{model} translates {source} into {target} (priority {priority}).",
        "{source} 到 {target} 由 {model} 翻译（优先级 {priority}）。",
    ),
    "route_removed": ("{model} is no route of {source} into {target} any more.", "已删除 {source} 到 {target} 的路由 {model}。"),
    "route_found": ("the model itself", "模型自述"),
    "route_everybodys": ("the operator", "管理员"),
    "all_well": ("Everything is well.", "一切正常。"),
    "some_wrong": ("{failed} wrong, {warned} to know.", "{failed} 项有问题，{warned} 项需留意。"),
}


def language() -> Language:
    """The user's language, as every Unix program finds it."""
    # The user's locale is no setting of Yunmo's, so it is read here and not in `settings`.
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "zh" if locale.startswith("zh") else "en"


def say(text: str, **values: object) -> str:
    """The text of this name with its values filled in."""
    english, chinese = _TEXTS[text]
    return (chinese if language() == "zh" else english).format(**values)


def choose(english: str, chinese: str) -> str:
    """One of two texts that are written side by side."""
    return chinese if language() == "zh" else english
