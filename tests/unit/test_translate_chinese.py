"""Chinese comes in the script that was asked for."""

import pytest

from yunmo.apps.translate.chinese import in_script_of, other_script
from yunmo.apps.translate.segments import Tag, segment

BREAK = Tag(1, "alone", "<br/>")


@pytest.mark.parametrize(
    ("text", "code", "written"),
    [
        ("软件和网络", "zh-Hant", "軟體和網路"),
        ("软件里面", "zh-HK", "軟件裏面"),
        ("軟體和網路", "zh-Hans", "软件和网络"),
        ("软件", "zh-Hans", "软件"),
        ("软件", "zh", "软件"),
        ("中文", "zh-Hant", "中文"),
        ("software", "zh-Hant", "software"),
        ("软件", "ja", "软件"),
    ],
)
def test_a_text_is_written_in_the_script_of(text, code, written):
    assert in_script_of(segment([text]), code) == segment([written])


def test_tags_stay_where_they_are():
    assert in_script_of(segment(["软件", BREAK, "网络"]), "zh-Hant") == segment(["軟體", BREAK, "網路"])


def test_each_script_has_another_and_other_languages_none():
    assert [other_script(code) for code in ("zh-Hans", "zh-TW", "zh-HK", "zh", "en")] == ["zh-Hant", "zh-Hans", "zh-Hans", None, None]
