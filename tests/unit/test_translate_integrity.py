"""What must come through a translation, and that little else is blamed."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.apps.translate.integrity import check
from yunmo.apps.translate.orders import Issue
from yunmo.apps.translate.protection import protect
from yunmo.apps.translate.repetition import repeated
from yunmo.apps.translate.segments import Tag, segment
from yunmo.apps.translate.terms import TermFinder

BOLD, END = Tag(1, "open", "<b>"), Tag(1, "close", "</b>")
LINK, LINK_END = Tag(2, "open", "<a>"), Tag(2, "close", "</a>")
BREAK = Tag(3, "alone", "<br/>")


def issues(source, target, languages=("en", "zh-Hans"), terms=None):
    return check(segment([source]), segment([target]), *languages, terms)


GOOD = [
    ("en", "zh-Hans", "The price is $1,234.50 for 3 items.", "3 件商品的价格是 1234.50 美元。"),
    ("en", "zh-Hans", "About 35,000 people live there.", "大约有3.5万人住在那里。"),
    ("en", "zh-Hans", "Revenue rose to 1.2 billion in 2023.", "2023年收入增至12亿。"),
    ("en", "zh-Hans", "3 men and a dog", "三个人和一条狗"),
    ("en", "zh-Hans", "It took 120 days.", "用了一百二十天。"),
    ("en", "zh-Hans", "On January 5, 2024 at 5:30 PM", "2024年1月5日17:30"),
    ("en", "zh-Hans", "5:00 PM", "下午5点"),
    ("en", "zh-Hans", "music of the 1990s", "20世纪90年代的音乐"),
    ("en", "zh-Hans", "2D and 3D graphics", "二维和三维图形"),
    ("en", "zh-Hans", "Call us at +1 (555) 010-9999.", "请拨打 +1 (555) 010-9999 联系我们。"),
    ("en", "zh-Hans", "Chapter II, page 7", "第2章第7页"),
    ("en", "zh-Hans", "20% off everything", "全场八折"),
    ("en", "zh-Hans", "Version 1.2.3 of Node.js 20", "Node.js 20 的 1.2.3 版"),
    ("en", "zh-Hant", "Twenty-five files were removed.", "已移除25個檔案。"),
    ("en", "de", "It costs 1,234.50 euros.", "Es kostet 1.234,50 Euro."),
    ("en", "de", "on March 3, 2024", "am 03.03.2024"),
    ("en", "de", "Only one of the 12 files", "Nur eine der zwölf Dateien"),
    ("en", "fr", "1,234,567 users and 3.5 GB", "1 234 567 utilisateurs et 3,5 Go"),
    ("en", "fr", "The 1st of 80 chapters", "Le premier des quatre-vingts chapitres"),
    ("en", "es", "2 billion people", "2 mil millones de personas"),
    ("en", "pt-BR", "12 months, 99.9% uptime", "doze meses, 99,9% de disponibilidade"),
    ("en", "ru", "1,500 rubles on 1 May", "1500 рублей 1 мая"),
    ("en", "ja", "He paid 35,000 yen for 2 tickets.", "彼はチケット2枚に3万5千円を払った。"),
    ("en", "ko", "35,000 won", "3만 5천 원"),
    ("en", "hi", "There are 123 files.", "१२३ फ़ाइलें हैं।"),
    ("zh-Hans", "en", "一百二十人参加了会议，十分热闹。", "A hundred and twenty people attended the meeting, which was very lively."),
    ("zh-Hans", "en", "他买了5千克苹果和3亿2000万股。", "He bought 5 kg of apples and 320 million shares."),
    ("zh-Hans", "en", "请参阅https://example.com/a?b=1。", "See https://example.com/a?b=1."),
    ("de", "en", "Der Umsatz betrug 1,5 Mrd. Euro", "Revenue was 1.5 billion euros"),
    ("en", "zh-Hans", "Copying %s to %s", "正在将 %1$s 复制到 %2$s"),
    ("en", "zh-Hans", "Hello {name}, visit www.example.com", "{name}你好，请访问www.example.com"),
    ("en", "zh-Hans", "&#8220;Save&#8221; the file", "“保存”文件"),
    ("en", "de", "Visual Studio Code", "Visual Studio Code"),
    ("en", "zh-Hans", "GitHub Actions", "GitHub Actions"),
    ("en", "zh-Hans", "ha ha ha ha", "哈哈哈哈"),
    ("zh-Hans", "zh-Hant", "中文", "中文"),
    ("en", "zh-Hans", "-----------", "-----------"),
    ("en", "vi", "Friday, 5 March", "Thứ 6, ngày 5 tháng 3"),
    ("en", "sw", "There are 3 books.", "Kuna vitabu vitatu."),
]


@pytest.mark.parametrize(("source_language", "target_language", "source", "target"), GOOD)
def test_good_translations_are_not_blamed(source_language, target_language, source, target):
    assert issues(source, target, (source_language, target_language)) == ()


@pytest.mark.parametrize(
    ("kind", "what", "source", "target", "languages"),
    [
        ("number", "1,234", "It weighs 1,234 kg", "它重 1,243 公斤", ("en", "zh-Hans")),
        ("number", "1,234", "1,234 users", "1,234 Benutzer", ("en", "de")),
        ("number", "3 million", "3 million users", "3万用户", ("en", "zh-Hans")),
        ("number", "1.5", "1.5 GB", "15 GB", ("en", "zh-Hans")),
        ("number", "2024", "in 2024", "在那一年", ("en", "zh-Hans")),
        ("number", "50", "the file", "50 个文件", ("en", "zh-Hans")),
        ("number", "一百二十", "一百二十人", "many people", ("zh-Hans", "en")),
        ("number", "17", "at 17:30", "um 7:30 Uhr", ("en", "de")),
        ("number", "3", "3 of 3 files", "3 Dateien", ("en", "de")),
        ("placeholder", "%d", "%d files in %s", "%s 中的文件", ("en", "zh-Hans")),
        ("placeholder", "{name}", "Hello {name}", "你好 {名字}", ("en", "zh-Hans")),
        ("placeholder", "{x}", "Hello", "你好 {x}", ("en", "zh-Hans")),
        ("url", "https://example.com/a", "See https://example.com/a", "参见 https://example.com/b", ("en", "zh-Hans")),
        ("url", "me@example.com", "Write to me@example.com", "请写信给我", ("en", "zh-Hans")),
        ("untranslated", "Please check the settings", "Please check the settings", "Please check the settings", ("en", "zh-Hans")),
        ("untranslated", "Please check the settings", "Please check the settings", "Please check the settings", ("en", "de")),
        ("untranslated", "请检查设置", "请检查设置", "请检查设置", ("zh-Hans", "en")),
        ("untranslated", "鼓 掌", "Thank you", "谢谢" + "鼓掌" * 9, ("en", "zh-Hans")),
        ("untranslated", "the president of", "主席", "the president of " * 5, ("zh-Hans", "en")),
        ("untranslated", "Hello there", "Hello there", " ", ("en", "zh-Hans")),
        ("truncated", "好", "The quick brown fox jumps over the lazy dog and runs far away into the deep woods.", "好", ("en", "zh-Hans")),
    ],
)
def test_what_did_not_come_through_is_named(kind, what, source, target, languages):
    assert Issue(kind, what) in issues(source, target, languages)


def test_tags_must_be_the_same_and_nest():
    source = segment(["a ", BOLD, "b", END, " ", LINK, "c", LINK_END, BREAK])

    def found(*parts):
        return check(source, segment(parts), "en", "fr")

    assert found(LINK, "c", LINK_END, BREAK, " ", BOLD, "b", END) == ()
    assert found("a ", BOLD, "b", END, " ", LINK, "c", LINK_END) == (Issue("placeholder", "<br/>"),)
    assert found("a ", BOLD, "b", " ", LINK, "c", LINK_END, BREAK) == (Issue("tag", "</b>"),)
    assert found(BOLD, BOLD, "b", END, LINK, "c", LINK_END, BREAK) == (Issue("tag", "<b>"),)
    assert found(BOLD, "b", LINK, "c", END, LINK_END, BREAK)[0].kind == "tag"
    assert found(END, "b", BOLD, LINK, "c", LINK_END, BREAK)[0].kind == "tag"
    assert found(BOLD, END, "b", LINK, "c", LINK_END, BREAK) == (Issue("tag", "<b>"),)


def test_tags_that_stay_in_place_keep_their_order():
    first, second = Tag(1, "alone", "<1>", is_movable=False), Tag(2, "alone", "<2>", is_movable=False)
    source = segment([first, "one", second, "two"])
    assert check(source, segment([first, "un", second, "deux"]), "en", "fr") == ()
    assert check(source, segment([second, "un", first, "deux"]), "en", "fr")[0].kind == "tag"


def test_a_protected_segment_is_checked_by_its_tags():
    source = protect(segment(["Hello {name}, 3 new"]))
    assert check(source, segment([source.tags[0], "你好，3 条新消息"]), "en", "zh-Hans") == ()
    assert check(source, segment(["你好，3 条新消息"]), "en", "zh-Hans") == (Issue("placeholder", "{name}"),)


def test_terms_of_a_glossary_must_be_rendered():
    terms = {"cloud platform": "云平台", "job": "任务"}
    assert issues("Start the jobs on the cloud platform", "在云平台上启动任务", terms=terms) == ()
    assert issues("Start the jobs on the cloud platform", "在云平台上启动作业", terms=TermFinder(terms, "en")) == (Issue("term", "job"),)
    assert issues("Job-free", "无", terms={"jobs": "任务"}) == ()


def test_repetition_is_told_from_rules_and_laughter():
    assert repeated("applause " * 8) is None
    assert repeated("applause " * 12) == "applause"
    assert repeated("good night " * 6) == "good night"
    assert repeated("=-" * 50) is None
    assert repeated("1. 2. 3. 4. " * 3) is None


NUMBERS = st.integers(0, 10**7) | st.decimals(min_value=0, max_value=10**5, places=2)


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_numbers_in_another_locale_s_digits_are_the_same_numbers_in_any_order(values, source):
    english = " and ".join(f"{value:,}" for value in values)
    shuffled = source.sample(values, len(values))
    german = " und ".join(f"{value:,}".translate(str.maketrans(",.", ".,")) for value in shuffled)
    french = " et ".join(f"{value:,}".replace(",", "\u202f").replace(".", ",") for value in shuffled)
    chinese = "、".join(str(value).translate(str.maketrans("0123456789.", "０１２３４５６７８９．")) for value in shuffled)
    for language, text in (("de", german), ("fr", french), ("zh-Hans", chinese)):
        assert [issue for issue in issues(english, text, ("en", language)) if issue.kind == "number"] == []


@given(st.lists(st.integers(13, 10**6), min_size=1, max_size=5, unique=True), st.integers(13, 10**6))
def test_a_number_that_became_another_is_always_seen(values, other):
    english = " and ".join(f"{value:,}" for value in values)
    chinese = "、".join(str(value) for value in [*values[1:], other])
    found = {issue.kind for issue in issues(english, chinese)}
    assert ("number" in found) is (other != values[0])


def chinese_numeral(value):
    """The value in Chinese numerals, by the rules of arithmetic: written anew here, so that it checks the reader."""
    if value < 10:
        return "零一二三四五六七八九"[value]
    for unit, name in ((10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if value >= unit:
            head, rest = divmod(value, unit)
            gap = "零" if rest and rest < unit // 10 else ""
            return chinese_numeral(head) + name + (gap + chinese_numeral(rest) if rest else "")
    return ""


@given(st.integers(13, 10**9))
def test_chinese_numerals_are_the_digits_they_stand_for(value):
    numeral = chinese_numeral(value)
    assert issues(f"{value} stars", f"{numeral}颗星") == ()
    assert issues(f"{numeral}颗星", f"{value:,} stars", ("zh-Hans", "en")) == ()
    assert issues(f"{numeral}颗星", f"{value + 1:,} stars", ("zh-Hans", "en")) != ()


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(["en", "zh-Hans", "de", "ja", "ru", "th"]))
def test_any_two_texts_can_be_compared_and_a_text_has_all_that_it_says(source, target, language):
    issues(source, target, ("en", language))
    assert {issue.kind for issue in issues(source, source, (language, language))} == set()


@pytest.mark.parametrize(
    "unit", ["1 ", "1,2.", "1万2千", "twenty ", "一百零", "5 pm ", "1.2.3 ", "ab ", "啊", "{x} ", "9" * 50 + " ", "12:00 "]
)
def test_hostile_texts_take_no_more_than_their_length_s_time(unit):
    shuffled = list(unit * (20_000 // len(unit)))
    random.Random(1).shuffle(shuffled)
    started = time.process_time()
    issues(unit * (20_000 // len(unit)), "".join(shuffled))
    assert time.process_time() - started < 5
