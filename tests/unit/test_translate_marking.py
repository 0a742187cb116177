"""A segment as a text with markers, and back from what a model made of it."""

import random

import pytest

from yunmo.apps.translate.marking import STYLES, assemble, mark, pieces, unmark
from yunmo.apps.translate.protection import protect
from yunmo.apps.translate.segments import Tag, segment

BOLD, END = Tag(1, "open", "<b>"), Tag(1, "close", "</b>")
LINK, LINK_END = Tag(2, "open", "<a>"), Tag(2, "close", "</a>")
NAME, BREAK = Tag(3, "alone", "{name}"), Tag(4, "alone", "<br/>", is_movable=False)
GREETING = segment(["Hello ", BOLD, "dear ", NAME, END, ", welcome"])


def test_each_style_writes_its_own_markers():
    assert [mark(GREETING, style) for style in STYLES] == [
        "Hello <x1>dear <x2/></x1>, welcome",
        "Hello [1]dear XYZ2[/1], welcome",
        "Hello [1]dear [2][/1], welcome",
        "Hello 【1】dear 【2】【/1】, welcome",
    ]


@pytest.mark.parametrize(
    ("style", "written"),
    [
        ("xml", "你好，<x1>亲爱的<x2/></x1>，欢迎"),
        ("xml", "你好，< X1 >亲爱的 <x2 /> </ x1>，欢迎"),
        ("xml", "你好，＜ｘ１＞亲爱的＜ｘ２／＞＜／ｘ１＞，欢迎"),
        ("xml", "你好，<x1>亲爱的<x2></x2></x1>，欢迎"),
        ("xml", "你好，&lt;x1&gt;亲爱的&lt;x2/&gt;&lt;/x1&gt;，欢迎"),
        ("xml", "你好，<х1>亲爱的<х2/></х1>，欢迎"),
        ("words", "你好，[1]亲爱的XYZ2[/1]，欢迎"),
        ("words", "你好，[1]亲爱的 Xyz 2[1]，欢迎"),
        ("brackets", "你好，[1]亲爱的[2][/1]，欢迎"),
        ("brackets", "你好， [ 1 ] 亲爱的 ［２］ [ / 1 ] ，欢迎"),
        ("brackets", "你好，[1]亲爱的[2][1]，欢迎"),
        ("ideographs", "你好，【1】亲爱的【2】【／1】，欢迎"),
    ],
)
def test_markers_are_read_in_the_forms_that_models_write(style, written):
    assert unmark(written, GREETING, style) == segment(["你好，", BOLD, "亲爱的", NAME, END, "，欢迎"]) or " " in written
    assert unmark(written, GREETING, style).tags == (BOLD, NAME, END)
    assert unmark(written, GREETING, style).text.replace(" ", "") == "你好，亲爱的，欢迎"


@pytest.mark.parametrize(
    ("what", "written"),
    [
        ("lost", "Bonjour <x1>cher</x1>"),
        ("closing lost", "Bonjour <x1>cher <x2/>"),
        ("doubled", "Bonjour <x1>cher <x2/></x1> <x2/>"),
        ("pair doubled", "<x1>Bonjour</x1> <x1>cher <x2/></x1>"),
        ("invented", "Bonjour <x1>cher <x2/></x1> <x3/>"),
        ("the wrong way round", "Bonjour </x1>cher <x2/><x1>"),
        ("pair written as one", "Bonjour <x1/>cher <x2/>"),
        ("emptied", "Bonjour cher <x2/><x1></x1>"),
        ("broken", "Bonjour <x1>cher <x2/></x1> <x1 bienvenue"),
        ("broken behind", "Bonjour <x1>cher <x2/></x1> x1> bienvenue"),
        ("all gone", "Bonjour cher ami"),
        ("nothing", ""),
    ],
)
def test_a_translation_whose_markers_are_not_whole_is_none(what, written):
    assert unmark(written, GREETING) is None


def test_pairs_must_nest():
    original = segment([BOLD, "big", END, " ", LINK, "house", LINK_END])
    assert unmark("<x1>gros <x2>maison</x1></x2>", original) is None
    assert unmark("<x2>maison</x2> <x1>grosse</x1>", original) == segment([LINK, "maison", LINK_END, " ", BOLD, "grosse", END])
    assert unmark("<x2><x1>grosse</x1> maison</x2>", original) is not None


def test_what_encloses_the_whole_is_not_shown_to_the_model_and_comes_back():
    original = segment([BREAK, " ", BOLD, LINK, "Hello ", NAME, " there ", LINK_END, END, "\n"])
    assert mark(original) == "Hello <x1/> there"
    assert unmark("Salut <x1/> !", original) == segment([BREAK, " ", BOLD, LINK, "Salut ", NAME, " ! ", LINK_END, END, "\n"])


def test_immovable_tags_keep_their_order():
    other = Tag(5, "alone", "<hr/>", is_movable=False)
    original = segment(["one", BREAK, "two", other, "three"])
    assert unmark("un<x1/>deux<x2/>trois", original) is not None
    assert unmark("un<x2/>deux<x1/>trois", original) is None


@pytest.mark.parametrize("style", STYLES)
def test_markers_count_on_from_those_that_the_text_has_itself(style):
    own = "see [2], 【3】, XYZ7 and <x4/> "
    original = segment([own, NAME, " end"])
    marked = mark(original, style)
    assert unmark(marked, original, style) == original
    assert unmark(marked.replace("see", "siehe"), original, style).text == "siehe" + own[3:] + " end"


def test_a_marker_that_is_a_word_does_not_grow_into_the_digits_behind_it():
    original = segment(["Take ", NAME, "2 or ", Tag(9, "alone", "%s"), " home"])
    assert mark(original, "words") == "Take [1]2 or XYZ2 home"
    assert unmark("Nimm [1]2 oder XYZ2 heim", original, "words").tags == original.tags
    assert unmark("Nimm [1]2 oder XYZ heim", original, "words") is None


def test_half_a_pair_is_marked_as_one():
    original = segment(["begin ", BOLD, "here ", NAME])
    assert mark(original) == "begin <x1/>here <x2/>"
    assert unmark("<x2/> commence <x1/>ici", original).tags == (NAME, BOLD)


@pytest.mark.parametrize(
    ("source", "written", "parts"),
    [
        (["a ", BOLD, "big", END, " house"], "une<x1> grande </x1>maison", ["une ", BOLD, "grande", END, " maison"]),
        (["a ", BOLD, "big", END, " house"], "一座 <x1> 大 </x1> 房子", ["一座", BOLD, "大", END, "房子"]),
        (["a ", BOLD, "big ", END, "house"], "une <x1>grande</x1>maison", ["une ", BOLD, "grande", END, " maison"]),
        (["Hi ", NAME, ", come"], "你好 <x1/> ，来吧", ["你好 ", NAME, "，来吧"]),
    ],
)
def test_white_space_stands_where_it_belongs(source, written, parts):
    assert unmark(written, segment(source)) == segment(parts)


def test_the_last_repair_translates_the_texts_between_the_tags_alone():
    original = segment([" Hello ", BOLD, "dear", END, ", ", NAME, " welcome\n"])
    assert pieces(original) == ("Hello", "dear", "welcome")
    assert assemble(original, ["你好", "亲爱的 ", "欢迎"]) == segment([" 你好 ", BOLD, "亲爱的", END, ", ", NAME, " 欢迎\n"])
    with pytest.raises(ValueError, match="2 translations were given for 3 pieces"):
        assemble(original, ["你好", "亲爱的"])


WORDS = ["Hello", "xyz", "云模", "ça va", " ", "%s", "{x}", "a [1] b", "5 < 6", "x1>", "مرحبا", "。", "<x2>", "\n", "12"]


def generated(source):
    """A random segment: nested pairs, halves of pairs, things alone, placeholders in the words."""
    parts, opened, number = [], [], 0
    for _ in range(source.randrange(1, 12)):
        choice = source.random()
        if choice < 0.5:
            parts.append(source.choice(WORDS))
        elif choice < 0.7:
            number += 1
            parts.append(Tag(number, source.choice(["alone", "alone", "open"]), f"<{number}>", is_movable=source.random() < 0.8))
            if parts[-1].kind == "open":
                opened.append(number)
        elif opened and choice < 0.95:
            number_closed = opened.pop() if source.random() < 0.9 else opened.pop(0)
            parts.append(Tag(number_closed, "close", f"</{number_closed}>"))
    return segment(parts)


def test_ten_thousand_segments_come_back_whole_and_none_with_a_lost_marker_does():
    source = random.Random(20261130)
    refused = 0
    for _ in range(10_000):
        original = protect(generated(source)) if source.random() < 0.7 else generated(source)
        style = source.choice(STYLES)
        marked = mark(original, style)
        again = unmark(marked, original, style)
        assert again == original, marked
        damaged = damage(marked, style, source)
        result = unmark(damaged, original, style)
        refused += result is None
        assert result is None or sorted(result.tags, key=repr) == sorted(original.tags, key=repr), (original, damaged)
        assert assemble(original, pieces(original)) == original
    assert refused > 1_500


def damage(marked, style, source):
    """The text as a bad model writes it: pieces dropped, doubled or swapped."""
    words = (
        marked.replace("<", " <")
        .replace(">", "> ")
        .replace("[", " [")
        .replace("]", "] ")
        .replace("【", " 【")
        .replace("】", "】 ")
        .split(" ")
    )
    for _ in range(source.randrange(1, 3)):
        place, other = source.randrange(len(words)), source.randrange(len(words))
        match source.randrange(3):
            case 0:
                words[place] = ""
            case 1:
                words.insert(other, words[place])
            case _:
                words[place], words[other] = words[other], words[place]
    return " ".join(words)
