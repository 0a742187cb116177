"""Ordinary sentences that eight-bit plans are fitted and tried on; a model's own texts are not known when it is deployed."""

PASSAGES = (
    "Thanks for your patience; the replacement part shipped this morning and should reach you on Thursday.",
    "It is a slow, gloomy and oddly moving picture, carried by two performances that never ask for sympathy.",
    "What a waste of an evening!",
    "Can I return shoes that I have worn once, and who pays for the postage?",
    "The minister announced on Monday that Germany and France would share the cost of the new railway between Berlin and Lyon.",
    "Mix the flour with 250 g of butter, add a pinch of salt, and leave the dough in a cold place for an hour before rolling it out.",
    "我们昨天入住的酒店离地铁站很近，房间干净，只是早餐种类不多。",
    "The server refused the connection: error 503, try again later.",
    "Not bad at all, though I would hardly call it a masterpiece; the last act is rushed and the jokes fall flat.",
    "Researchers in Kyoto found that the enzyme, which was thought to be inactive in adults, is produced again after an injury to the liver.",
    "Les travaux de la ligne 4 dureront jusqu'en septembre, et des bus remplaceront les trains le dimanche.",
    "Order no. 48-1175 never arrived. I have written three times, nobody answers, and I want my money back now.",
    "Anna Kowalska joined Siemens in Munich in 2014 and moved to its office in São Paulo four years later.",
    "合同第七条规定，如一方逾期付款超过三十天，另一方有权解除合同并要求赔偿。",
    "Surprisingly funny, warm and sharp: the best thing that she has written in years.",
    "Der Zug nach Hamburg fährt heute von Gleis 9, wenige Minuten später als im Plan angegeben.",
)
