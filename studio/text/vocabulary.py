"""The words a prompt may use about music, and what they mean: genres, moods, instruments."""

from collections.abc import Mapping
from typing import Final


def word_set(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


GENRE_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "pop": (
        "pop", "indie pop", "dream pop", "dance pop", "electropop", "k-pop", "kpop", "j-pop", "bubblegum", "britpop",
        "pop hit", "radio hit", "bedroom pop", "europop", "latin pop", "reggaeton", "afrobeats",
    ),
    "synthwave": (
        "synthwave", "retrowave", "outrun", "synthpop", "synth-pop", "synth pop", "new wave", "vaporwave", "80s",
        "eighties", "chillwave", "darkwave", "italo disco", "electro",
    ),
    "lofi": (
        "lofi", "lo-fi", "lo fi", "chillhop", "study beats", "chill beats", "study music", "beats to study to",
        "downtempo", "trip hop", "trip-hop", "lofi hip hop", "lo-fi hip hop", "lo-fi hip-hop", "jazzhop",
    ),
    "house": (
        "house", "deep house", "tech house", "edm", "techno", "trance", "club", "dance", "dance music", "electronic",
        "eurodance", "big room", "disco", "nu disco", "drum and bass", "dnb", "dubstep", "garage house", "uk garage",
        "future bass", "progressive house", "tropical house",
    ),
    "rock": (
        "rock", "indie rock", "punk", "pop punk", "punk rock", "grunge", "metal", "heavy metal", "hard rock",
        "alternative", "alt-rock", "alt rock", "garage rock", "emo", "shoegaze", "stadium rock", "rock and roll",
        "rock 'n' roll", "rock n roll", "post-rock", "progressive rock", "psychedelic rock", "arena rock",
    ),
    "folk": (
        "folk", "indie folk", "acoustic", "country", "americana", "singer-songwriter", "singer songwriter", "bluegrass",
        "campfire", "celtic", "sea shanty", "shanty", "irish", "folk rock",
    ),
    "hiphop": ("hip hop", "hip-hop", "hiphop", "rap", "trap", "boom bap", "boom-bap", "drill", "grime", "phonk"),
    "jazz": (
        "jazz", "bossa", "bossa nova", "swing", "big band", "bebop", "smooth jazz", "blues", "lounge", "ragtime",
        "dixieland", "cool jazz", "gypsy jazz",
    ),
    "ambient": (
        "ambient", "drone", "meditation", "meditation music", "soundscape", "new age", "cinematic", "orchestral",
        "film score", "soundtrack", "sleep music", "classical", "neoclassical", "score",
    ),
    "rnb": (
        "r&b", "rnb", "r and b", "r'n'b", "soul", "neo-soul", "neo soul", "funk", "motown", "gospel",
        "slow jam",
    ),
    "ballad": (
        "ballad", "piano ballad", "power ballad", "slow song", "torch song", "lullaby", "waltz", "rock ballad",
        "pop ballad", "love ballad",
    ),
}  # fmt: skip
"""Genre key to the words that mean it; the longest word found in a prompt wins."""

MOODS: Final[Mapping[str, tuple[float, float]]] = {
    "happy": (0.9, 0.6), "joyful": (0.9, 0.7), "cheerful": (0.85, 0.6), "upbeat": (0.8, 0.8), "bright": (0.8, 0.5),
    "sunny": (0.8, 0.5), "playful": (0.7, 0.6), "fun": (0.8, 0.7), "funky": (0.6, 0.6), "euphoric": (0.9, 0.9),
    "hopeful": (0.6, 0.3), "uplifting": (0.8, 0.6), "inspiring": (0.7, 0.5), "triumphant": (0.7, 0.8),
    "romantic": (0.5, -0.1), "sensual": (0.4, 0.0), "tender": (0.4, -0.5), "sweet": (0.6, -0.1), "warm": (0.5, -0.2),
    "cozy": (0.5, -0.5), "gentle": (0.4, -0.6), "soft": (0.3, -0.6), "calm": (0.3, -0.7), "peaceful": (0.4, -0.8),
    "serene": (0.4, -0.8), "dreamy": (0.3, -0.4), "chill": (0.3, -0.6), "relaxing": (0.3, -0.7),
    "relaxed": (0.3, -0.6), "mellow": (0.2, -0.5), "laid-back": (0.3, -0.5), "laid back": (0.3, -0.5),
    "ethereal": (0.2, -0.4), "nostalgic": (-0.1, -0.2), "bittersweet": (-0.2, -0.2), "wistful": (-0.3, -0.3),
    "melancholic": (-0.6, -0.4), "melancholy": (-0.6, -0.4), "sad": (-0.8, -0.4), "lonely": (-0.7, -0.4),
    "heartbroken": (-0.8, -0.1), "heartbreaking": (-0.8, -0.2), "sorrowful": (-0.8, -0.4), "emotional": (-0.3, 0.1),
    "moody": (-0.4, -0.2), "gloomy": (-0.7, -0.4), "dark": (-0.6, 0.2), "haunting": (-0.5, -0.1), "eerie": (-0.5, 0.1),
    "mysterious": (-0.3, -0.1), "tense": (-0.5, 0.6), "angry": (-0.6, 0.9), "aggressive": (-0.5, 0.9),
    "intense": (-0.2, 0.8), "gritty": (-0.3, 0.5), "epic": (0.3, 0.8), "energetic": (0.5, 0.9), "driving": (0.2, 0.7),
    "groovy": (0.5, 0.5), "powerful": (0.3, 0.8), "anthemic": (0.5, 0.8), "slow": (0.0, -0.6), "fast": (0.2, 0.8),
    "rainy": (-0.3, -0.4), "smoky": (-0.2, -0.2), "lush": (0.3, -0.2),
    "raw": (-0.2, 0.5), "catchy": (0.7, 0.6), "late-night": (-0.1, -0.2), "late night": (-0.1, -0.2),
    "quiet": (0.1, -0.7),
    "summery": (0.8, 0.4), "festive": (0.8, 0.6), "rebellious": (0.1, 0.8), "hypnotic": (0.0, 0.1),
}  # fmt: skip
"""Mood adjective to (valence, arousal), each -1 … 1: the plane of Russell (1980), placed by hand."""

INSTRUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "acoustic guitar": ("acoustic guitar", "acoustic guitars", "fingerpicked guitar", "fingerpicking"),
    "electric guitar": ("electric guitar", "electric guitars", "distorted guitar", "distorted guitars", "guitar riff"),
    "guitar": ("guitar", "guitars"),
    "piano": ("piano", "pianos", "grand piano", "upright piano"),
    "electric piano": ("electric piano", "rhodes", "wurlitzer", "e-piano"),
    "synth": ("synth", "synths", "synthesizer", "synthesizers", "synthesiser", "analog synth", "analog synths"),
    "strings": ("strings", "string section", "orchestra", "string quartet"),
    "violin": ("violin", "violins", "fiddle"),
    "cello": ("cello", "cellos"),
    "pads": ("pad", "pads", "synth pads", "synth pad"),
    "drums": ("drums", "drum", "drum kit", "live drums"),
    "drum machine": ("drum machine", "808", "808s", "909"),
    "percussion": ("percussion", "bongos", "congas", "shaker", "handclaps", "claps"),
    "bass": ("bass", "bassline", "bass line", "sub bass", "bass guitar"),
    "saxophone": ("saxophone", "sax", "tenor sax", "alto sax"),
    "trumpet": ("trumpet", "trumpets", "brass", "horns", "horn section"),
    "flute": ("flute", "flutes"),
    "organ": ("organ", "hammond"),
    "banjo": ("banjo",),
    "ukulele": ("ukulele",),
    "harmonica": ("harmonica",),
    "accordion": ("accordion",),
    "harp": ("harp",),
    "bells": ("bells", "bell", "glockenspiel", "music box", "vibraphone"),
    "choir": ("choir", "choirs", "backing vocals"),
    "vinyl crackle": ("vinyl crackle", "tape hiss", "vinyl noise"),
}  # fmt: skip
"""Instrument tag to the words that mean it."""

LEFT_OUT_WORDS: Final[Mapping[str, str]] = {
    "drums": "drums", "drum": "drums", "beat": "drums", "beats": "drums", "percussion": "drums",
    "bass": "bass", "bassline": "bass", "guitar": "guitar", "guitars": "guitar",
    "piano": "piano", "pianos": "piano", "keys": "keys", "keyboards": "keys", "keyboard": "keys",
    "strings": "strings", "orchestra": "strings", "violins": "strings", "synth": "synth", "synths": "synth",
    "synthesizers": "synth", "pad": "pad", "pads": "pad", "arp": "arp", "arps": "arp", "arpeggio": "arp",
    "arpeggios": "arp", "lead": "lead", "leads": "lead", "melody": "lead", "solo": "lead", "organ": "organ",
    "flute": "flute", "bells": "bell", "bell": "bell", "harmony": "harmony", "harmonies": "harmony",
    "backing vocals": "harmony",
}  # fmt: skip
"""What a prompt may ask to leave out, to the names the composer's cast knows."""

MUSIC_NOUNS: Final = word_set(
    "song songs track tracks tune tunes music beat beats ballad anthem instrumental melody melodies vibe vibes mood "
    "feel feeling sound sounds groove banger jam number piece hit lullaby soundtrack score bassline drums guitar "
    "guitars piano synths synth strings vocals vocal voice singer chords riff riffs atmosphere tempo rhythm waltz "
    "loop intro theme hymn serenade"
)
FILLERS: Final = word_set(
    "a an the very really so quite super slightly bit little kinda kind of sort some something make it me write create "
    "please give in with and but yet or more most pretty extra rather also i want would like need us this be is should "
    "sounding sounds feels feeling feel vibe vibes mood style to full tempo minor major key bpm"
)
"""Words that may stand around a mood without making it part of a story."""

PEOPLE: Final = word_set(
    "mother mom mum mama momma mommy mummy father dad daddy papa brother sister daughter son wife husband grandma "
    "grandmother granny nana grandpa grandfather grandad granddad friend baby lover girlfriend boyfriend fiance "
    "fiancee aunt uncle cousin nephew niece teacher partner girl boy child bride groom twin mentor coach neighbor"
)
ANIMALS: Final = word_set("dog puppy cat kitten horse pony rabbit hamster parrot pet")
