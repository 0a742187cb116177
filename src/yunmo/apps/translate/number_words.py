"""Numbers as words: what languages call numbers, months and powers of ten."""

from collections.abc import Mapping

# 0 to 20, then the tens from 30 to 100; several names of one number are parted by a bar
_COUNTED = {
    "en": """zero|midnight one|once|single|first two|twice|double|both|second|pair|couple|binary three|third|triple|thrice four|fourth five|fifth six|sixth seven|seventh
        eight|eighth nine|ninth ten|tenth|decimal eleven|eleventh twelve|twelfth|dozen|noon thirteen|thirteenth fourteen|fourteenth fifteen|fifteenth
        sixteen|sixteenth|hexadecimal seventeen|seventeenth eighteen|eighteenth nineteen|nineteenth twenty|twentieth
        thirty|thirtieth forty|fortieth fifty|fiftieth sixty|sixtieth seventy|seventieth eighty|eightieth ninety|ninetieth hundred|hundredth""",
    "de": """null ein|eins|eine|einen|einem|einer|eines|erste|ersten|erster|erstes zwei|zweite|zweiten|zweiter|beide|beiden|doppelt
        drei|dritte|dritten|dritter vier|vierte|vierten fünf|fünfte|fünften sechs|sechste|sechsten sieben|siebte|siebten acht|achte|achten
        neun|neunte|neunten zehn|zehnte|zehnten elf|elfte zwölf|zwölfte|dutzend dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn
        zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert|einhundert""",
    "fr": """zéro un|une|premier|première|1er deux|deuxième|second|seconde|double trois|troisième|triple quatre|quatrième cinq|cinquième
        six|sixième sept|septième huit|huitième neuf|neuvième dix|dixième onze|onzième douze|douzième|douzaine treize quatorze quinze|quinzaine
        seize dix-sept dix-huit dix-neuf vingt|vingtaine trente|trentaine quarante cinquante|cinquantaine soixante soixante-dix|septante
        quatre-vingts|quatre-vingt|octante quatre-vingt-dix|nonante cent|cents|centaine""",
    "es": """cero un|uno|una|primer|primero|primera dos|segundo|segunda|doble|ambos|ambas tres|tercer|tercero|tercera|triple cuatro|cuarto|cuarta
        cinco|quinto|quinta seis|sexto|sexta siete|séptimo|séptima ocho|octavo|octava nueve|noveno|novena diez|décimo|décima once doce|docena
        trece catorce quince dieciséis diecisiete dieciocho diecinueve veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa
        cien|ciento|centenar""",
    "pt": """zero um|uma|primeiro|primeira dois|duas|segundo|segunda|dobro|duplo|ambos|ambas três|terceiro|terceira|triplo quatro|quarto|quarta
        cinco|quinto|quinta seis|sexto|sexta sete|sétimo|sétima oito|oitavo|oitava nove|nono|nona dez|décimo|décima onze doze|dúzia treze
        quatorze|catorze quinze dezesseis|dezasseis dezessete|dezassete dezoito dezenove|dezanove vinte trinta quarenta cinquenta sessenta
        setenta oitenta noventa cem|cento|centena""",
    "it": """zero un|uno|una|primo|prima due|secondo|seconda|doppio|entrambi tre|terzo|terza|triplo quattro|quarto|quarta cinque|quinto|quinta
        sei|sesto|sesta sette|settimo|settima otto|ottavo|ottava nove|nono|nona dieci|decimo|decima undici dodici|dozzina tredici quattordici
        quindici sedici diciassette diciotto diciannove venti trenta quaranta cinquanta sessanta settanta ottanta novanta cento""",
    "ru": """ноль|нуль один|одна|одно|одного|одной|одну|первый|первая|первое|первого|первой два|две|двух|двум|второй|вторая|второе|второго|оба|обе
        три|трёх|трех|третий|третья|третье четыре|четырёх|четырех|четвёртый|четвертый пять|пяти|пятый|пятая шесть|шести|шестой семь|семи|седьмой
        восемь|восьми|восьмой девять|девяти|девятый десять|десяти|десятый одиннадцать двенадцать|дюжина тринадцать четырнадцать пятнадцать
        шестнадцать семнадцать восемнадцать девятнадцать двадцать тридцать сорок пятьдесят шестьдесят семьдесят восемьдесят девяносто сто""",
}
_MONTHS = {
    "en": """january|jan february|feb march|mar april|apr may june|jun july|jul august|aug september|sep|sept october|oct november|nov
        december|dec""",
    "de": "januar|jänner|jan februar|feb märz|mär april|apr mai juni|jun juli|jul august|aug september|sep|sept oktober|okt november|nov dezember|dez",
    "fr": """janvier|janv février|févr mars avril|avr mai juin juillet|juil août septembre|sept octobre|oct novembre|nov décembre|déc""",
    "es": "enero|ene febrero|feb marzo|mar abril|abr mayo|may junio|jun julio|jul agosto|ago septiembre|sept octubre|oct noviembre|nov diciembre|dic",
    "pt": "janeiro|jan fevereiro|fev março|mar abril|abr maio|mai junho|jun julho|jul agosto|ago setembro|set outubro|out novembro|nov dezembro|dez",
    "it": "gennaio|gen febbraio|feb marzo|mar aprile|apr maggio|mag giugno|giu luglio|lug agosto|ago settembre|set ottobre|ott novembre|nov dicembre|dic",
    "ru": "января|январь|янв февраля|февраль марта|март апреля|апрель мая|май июня|июнь июля|июль августа|август сентября|сентябрь октября|октябрь ноября|ноябрь декабря|декабрь",
}
_POWERS = {
    "en": "hundred:2 thousand:3 million:6 billion:9 trillion:12 millions:6 billions:9",
    "de": "tausend:3 million:6 millionen:6 mio:6 milliarde:9 milliarden:9 mrd:9 billion:12 billionen:12",
    "fr": "cents:2 mille:3 million:6 millions:6 milliard:9 milliards:9 billion:12 billions:12",
    "es": "cientos:2 mil:3 millón:6 millones:6 billón:12 billones:12",
    "pt": "centos:2 mil:3 milhão:6 milhões:6 bilhão:9 bilhões:9 trilhão:12 trilhões:12",
    "it": "mila:3 milione:6 milioni:6 miliardo:9 miliardi:9",
    "ru": "тыс:3 тысяча:3 тысячи:3 тысяч:3 млн:6 миллион:6 миллиона:6 миллионов:6 млрд:9 миллиард:9 миллиарда:9 миллиардов:9",
}
IDEOGRAPHIC_POWERS = {
    "百": 2,
    "千": 3,
    "万": 4,
    "萬": 4,
    "만": 4,
    "百万": 6,
    "百萬": 6,
    "千万": 7,
    "千萬": 7,
    "亿": 8,
    "億": 8,
    "억": 8,
    "万亿": 12,
    "조": 12,
    "천": 3,
    "백만": 6,
    "천만": 7,
}
_IDEOGRAPHS = "零0〇0一1二2三3四4五5六6七7八8九9两2兩2壹1贰2叁3俩2双2雙2首1"
IDEOGRAPHIC_DIGITS = {ideograph: int(digit) for ideograph, digit in zip(_IDEOGRAPHS[::2], _IDEOGRAPHS[1::2], strict=True)}


def counted(base: str) -> Mapping[str, int]:
    """A language's words for numbers, by their lower-case form; none for a language that is not in the tables."""
    return _NUMBERS.get(base, {})


def months(base: str) -> Mapping[str, int]:
    """A language's names of months, by their lower-case form."""
    return _MONTHS_BY_NAME.get(base, {})


def powers(base: str) -> Mapping[str, int]:
    """A language's words for powers of ten, with their exponents."""
    return _POWERS_BY_NAME.get(base, {})


def _named(table: str, values: list[int]) -> dict[str, int]:
    return {name: value for names, value in zip(table.split(), values, strict=True) for name in names.split("|")}


_NUMBERS = {base: _named(table, [*range(21), *range(30, 101, 10)]) for base, table in _COUNTED.items()}
_MONTHS_BY_NAME = {base: _named(table, list(range(1, 13))) for base, table in _MONTHS.items()}
_POWERS_BY_NAME = {
    base: {name: int(exponent) for name, exponent in (pair.split(":") for pair in table.split())} for base, table in _POWERS.items()
}
