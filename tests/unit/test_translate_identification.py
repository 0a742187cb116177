"""The language of texts, also of short ones."""

import pytest

from yunmo.apps.translate.identification import chinese_script, identify

SHORT = {
    "en": [
        "This field is required.",
        "Where is the station?",
        "Good morning",
        "Payment failed",
        "Please try again later",
        "Save changes",
        "What is this?",
        "I do not know",
    ],
    "es": [
        "¿Dónde está la estación?",
        "Buenos días",
        "El pago ha fallado",
        "Por favor, inténtelo más tarde",
        "Guardar los cambios",
        "Este campo es obligatorio.",
    ],
    "pt": [
        "Onde fica a estação?",
        "Bom dia",
        "O pagamento falhou",
        "Tente novamente mais tarde",
        "Salvar as alterações",
        "Este campo é obrigatório.",
        "Não sei",
    ],
    "fr": [
        "Où est la gare ?",
        "Bonjour à tous",
        "Le paiement a échoué",
        "Veuillez réessayer plus tard",
        "Enregistrer les modifications",
        "Ce champ est obligatoire.",
    ],
    "de": [
        "Wo ist der Bahnhof?",
        "Guten Morgen",
        "Die Zahlung ist fehlgeschlagen",
        "Bitte versuchen Sie es später",
        "Änderungen speichern",
        "Ich weiß es nicht",
    ],
    "it": ["Dov'è la stazione?", "Buongiorno a tutti", "Il pagamento non è riuscito", "Riprova più tardi", "Questo campo è obbligatorio."],
    "ru": ["Где находится вокзал?", "Доброе утро", "Платёж не прошёл", "Сохранить изменения", "Я ничего не понял", "Обязательное поле."],
    "uk": ["Де знаходиться вокзал?", "Доброго ранку, друзі", "Зберегти зміни", "Це поле є обов'язковим."],
    "ja": ["駅はどこですか", "おはようございます", "変更を保存", "支払いに失敗しました", "後でもう一度お試しください", "実行済み"],
    "ko": ["역이 어디에 있습니까?", "좋은 아침", "변경 사항 저장", "결제 실패"],
    "zh-Hans": [
        "车站在哪里？",
        "早上好，请问怎么走",
        "支付失败",
        "保存更改",
        "请稍后再试",
        "打开 Visual Studio Code 的设置",
        "这是什么",
        "必填项不能为空，请填写",
    ],
    "zh-Hant": [
        "車站在哪裡？",
        "早安，請問怎麼走",
        "儲存變更",
        "請稍後再試",
        "開啟 Visual Studio Code 的設定",
        "這是什麼",
        "台灣的天氣很熱",
    ],
    "ar": ["أين المحطة؟", "صباح الخير"],
    "th": ["สถานีอยู่ที่ไหน"],
    "el": ["Πού είναι ο σταθμός;"],
    "he": ["איפה התחנה?"],
    "hi": ["स्टेशन कहाँ है?"],
    "vi": ["Nhà ga ở đâu?"],
}


@pytest.mark.parametrize("language", SHORT)
def test_short_texts_are_known_by_their_language(language):
    wrong = [(text, guesses[:2]) for text in SHORT[language] if (guesses := identify(text))[0].language != language]
    assert len(wrong) * 8 <= len(SHORT[language]), wrong


def test_placeholders_and_addresses_are_no_words():
    assert identify("{name} https://example.com %s 123") == ()
    assert identify("") == identify("12:30 …") == ()
    assert identify("查看 https://example.com/the/long/english/address 的内容")[0].language == "zh-Hans"


def test_confidence_is_a_share_and_small_where_a_word_is_of_many_languages():
    sure, unsure = identify("The weather is very nice today and we are going out."), identify("Animal")
    assert sure[0].language == "en"
    assert sure[0].confidence > 0.95 > unsure[0].confidence
    assert 0 < sum(guess.confidence for guess in unsure) <= 1.0001
    assert [guess.confidence for guess in unsure] == sorted((guess.confidence for guess in unsure), reverse=True)


def test_only_the_languages_that_may_be_are_considered():
    assert {guess.language for guess in identify("Bom dia", among=["es", "en-US"])} == {"es", "en"}
    assert identify("你好", among=["zh"])[0].language == "zh-Hans"
    assert [guess.language for guess in identify("你好", among=["zh-TW"])] == ["zh-Hant"]
    assert identify("你好", among=["en"]) == ()


def test_the_two_ways_of_writing_chinese_are_told_apart():
    assert (chinese_script("学习汉语"), chinese_script("學習漢語"), chinese_script("中文")) == ("Hans", "Hant", None)


def test_a_long_text_takes_no_longer_than_its_beginning():
    assert identify("Hello, how are you? " * 100_000)[0].language == "en"
