"""Draw rows of the sample task with words that have two senses (wic)."""

from random import Random

import lexicon as lx
from clauses import Row, capital, draw_person

# word → contexts of its first sense, contexts of its second sense
SENSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bat": (
        ("saw a bat under the roof", "heard a bat squeak", "watched a bat catch a moth"),
        ("hit the ball with a bat", "carved a bat from wood", "left the bat beside the ball"),
    ),
    "seal": (
        ("fed a seal with fish", "watched a seal swim", "heard a seal bark"),
        ("broke the seal of the letter", "pressed a seal into the wax", "checked the seal of the jar"),
    ),
    "match": (
        ("lit a match", "burned a finger with a match", "needed a match for the candle"),
        ("won the match", "scored twice in the match", "missed the end of the match"),
    ),
    "ring": (
        ("wore a ring of gold", "lost the ring from a finger", "bought a ring for the bride"),
        ("heard the ring of the phone", "woke at the ring of the bell", "waited for the ring of the alarm"),
    ),
    "spring": (
        ("planted roses in spring", "waited for spring after the snow", "enjoyed the warm spring"),
        ("oiled the spring of the clock", "bent the metal spring", "replaced a spring of the bed"),
    ),
    "nail": (
        ("drove a nail into the wall", "pulled a rusty nail from the board", "hung the picture on a nail"),
        ("painted each nail red", "bit a nail", "cut the nail of a thumb"),
    ),
    "trunk": (
        ("cut the trunk of the oak", "leaned against the trunk of the tree", "climbed up the trunk"),
        ("touched the trunk of the elephant", "watched the trunk spray water", "drew an elephant with a long trunk"),
    ),
    "bark": (
        ("peeled the bark of a tree", "found a beetle under the bark", "burned dry bark"),
        ("heard the bark of a dog", "woke at a loud bark", "answered the bark of the puppy"),
    ),
    "crane": (
        ("saw a crane build a nest", "drew a crane with long legs", "fed the crane beside the lake"),
        ("drove a crane at the harbor", "lifted the beam with a crane", "repaired the steel crane"),
    ),
    "fan": (
        ("cooled the room with a fan", "turned off the noisy fan", "cleaned the blades of the fan"),
        ("met a fan after the concert", "signed a photo for a fan", "talked to a fan of the band"),
    ),
    "letter": (
        ("mailed a letter", "opened the letter from home", "put a stamp on the letter"),
        ("forgot a letter of the alphabet", "spelled the word without one letter", "read each letter of the sign"),
    ),
    "palm": (
        ("planted a palm near the beach", "picked dates from a palm", "rested under a tall palm"),
        ("held the coin in one palm", "read the lines of a palm", "scratched an itchy palm"),
    ),
    "pitcher": (
        ("filled the pitcher with milk", "broke the glass pitcher", "poured water from the pitcher"),
        ("cheered for the pitcher", "trained a young pitcher", "caught the ball of the pitcher"),
    ),
    "ruler": (
        ("measured the line with a ruler", "bought a ruler for school", "drew along the edge of a ruler"),
        ("bowed to the ruler", "obeyed the ruler of the land", "asked the ruler for peace"),
    ),
    "wave": (
        ("surfed on a wave", "saw a wave hit the boat", "dived under a high wave"),
        ("said goodbye with a wave", "answered with a friendly wave", "greeted the crowd with a wave"),
    ),
    "well": (
        ("drew water from the well", "dug a well", "dropped a bucket into the well"),
        ("felt well again", "was well after the illness", "got well slowly"),
    ),
}  # fmt: skip


def wic(rng: Random) -> Row:
    """Draw a row of wic. The label is 1 if the word has the same sense in both sentences, otherwise 0."""
    label = rng.randrange(2)
    word = rng.choice(sorted(SENSES))
    senses = rng.sample(SENSES[word], 2)
    contexts = rng.sample(senses[0], 2) if label else [rng.choice(sense) for sense in senses]
    first, second = (_say(context, rng) for context in contexts)
    return {"word": word, "sentence1": first, "sentence2": second, "label": label}


def _say(context: str, rng: Random) -> str:
    who = draw_person(rng)
    name = who.noun if who.is_name else f"the {who.adjective} {who.noun}".replace("  ", " ")
    where = f" {rng.choice(lx.TIMES)}" if rng.random() < 0.6 else ""
    return capital(f"{name} {context}{where}.")
