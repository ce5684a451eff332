"""The most frequent function words of languages, for documents of which the YAML names no stop words of its own.

English are Gopher's (Rae et al. 2021, A.1.1). The others are as frequent and as hard to avoid: running text has two.
"""

STOP_WORDS = {
    "cs": "a v na se je že s z do o pro to",
    "da": "og i at det er en til på som af for med",
    "de": "der die das und in zu den von mit für ist nach",
    "en": "the be to of and that have with",
    "es": "de la que el en y a los se del las por con una",
    "et": "ja on ei et see kui oma mis või ka",
    "fi": "ja on ei että se oli joka myös kuin tai",
    "fr": "de la le et les des en un une du que dans est pour",
    "ga": "an na agus ar le do go is sa i ag den",
    "hu": "a az és hogy nem egy is ez meg volt",
    "it": "di e il la che in un una per del con non della",
    "lt": "ir yra į kad su iš ne tai bei arba",
    "lv": "un ir ar no uz par kas lai vai tiek",
    "nl": "de het een van en in is dat op te voor met",
    "no": "og i det er en til på som av for med ikke",
    "pl": "i w na z do nie się że jest o oraz dla",
    "pt": "de a o que e do da em um para com uma os",
    "ro": "de și în la a cu pe din care pentru nu sau",
    "sk": "a v na sa je že s z do o pre ako",
    "sl": "in je v na za da se z ki so ali",
    "sv": "och i att det som en på är av för med till",
    "tr": "ve bir bu da de için ile olarak daha veya",
}


def stop_word_entries(chosen: list[str]) -> list[str]:
    """`language:word` for SQL; the words that the YAML chose hold for every language."""
    if chosen:
        return [f":{word}" for word in chosen]
    return [f"{language}:{word}" for language, words in sorted(STOP_WORDS.items()) for word in words.split()]
