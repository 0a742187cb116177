"""Texts that tokenizers have disagreed about before: two that read them alike are taken for the same."""

ENGLISH = (
    "The parcel arrived two days late, but the driver called ahead and left it with our neighbour; wasn't that kind? It's 3.14159 o'clock."
)
CHINESE = "快递比预计晚了两天，不过司机提前打了电话，把包裹交给了邻居。第三季度收入增长百分之六！请问保修范围包括进水造成的损坏吗？"
CODE = 'def area(radius: float) -> float:\n\t"""πr²"""\n    if radius < 0:\n        raise ValueError(f"{radius!r} < 0")\n\n\n    return 3.14 * radius**2  # m²\r\n'
TEXTS = (
    ENGLISH,
    CHINESE,
    CODE,
    "I'LL you'Re THEY'VE we'd He'S don't ’s",
    "   three spaces before, two  inside,   three; a tab\there; trailing   ",
    "\n\n\nlines\n\n \n  \n\t\n and\r\n\r\nreturns\r",
    " ",
    "\n",
    "1 12 123 1234 12345 1,234,567.89 0x7f ½ ² ٣٤ 二〇二六 １２３",
    "🙂 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 a🙂b 🇨🇳🇧🇷",
    "Überraschung naïve café Ångström ŒUVRE İstanbul ﬁn ＦＵＬＬ ｗｉｄｔｈ",
    "Привет, мир! Καλημέρα. שלום עולם. مرحبا بالعالم. नमस्ते दुनिया. สวัสดี ชาวโลก 안녕하세요 こんにちは、世界ー！",
    "combining: e\u0301 n\u0303 a\u030a; zero\u200bwidth; nbsp\u00a0here; line\u2028sep; \ufeffbom; soft\u00adhyphen",
    "https://example.org/a_b-c?d=e&f=%20g#h user@example.org #tag @name $9.99 C++ C# .NET node.js",
    "<html><body class='x'>&amp;</body></html> {\"key\": [1, 2.5e-3, null]} ```py\nx\n``` | a | b |",
    "((()))[[]]{{}}<<>>!!??...---___***///\\\\\\ ~~~ ==> <= != && || ;; ::",
    "camelCaseHTTPServer SCREAMING_SNAKE kebab-case x1y2z3 aaaaaaaaaaaaaaaaaaaa",
    "▁ the sign ▁ that ▁▁ sentence pieces write ▁for spaces",
    "\u0000control\u0001\u001f\u007f",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠮷野家 👾",
)
