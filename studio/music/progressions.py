"""Chord progressions of every genre, as Roman numerals.

One word is one bar, two numerals joined by a comma share a bar. Progressions have four or eight bars, and stand in
order of how usual they are. `COLOUR` says how the plain triads are dressed: "triad", "added" (ninths and suspensions
here and there) or "seventh".
"""

from collections.abc import Mapping
from typing import Final

_POP_MAJOR: Final = {
    "verse": "I V vi IV;I vi IV V;vi IV I V;I IV vi V;I iii IV V;vi V IV V;I V/3 vi IV;I ii vi IV",
    "chorus": "IV V I vi;I V vi IV;IV I V vi;vi IV I V;IV V iii vi;I IV vi V;I V ii IV;IV vi I V",
    "bridge": "ii IV vi V;vi iii IV V;IV iv I V;ii iii IV V;vi ii IV V",
    "lift": "ii IV V V;IV V vi V;ii iii IV V;IV IV V Vsus4,V;vi IV ii V",
}
_POP_MINOR: Final = {
    "verse": "i VI III VII;i iv VI VII;i VII VI VII;i III VII VI;i VI iv VII;i v VI iv;i VI VII i",
    "chorus": "VI VII i III;i VI III VII;VI III VII i;iv VI i VII;i VII VI VII;VI iv i VII;III VII iv VI",
    "bridge": "iv i VI VII;VI VI VII VII;iv v VI V;III VII iv VI;iv VI III V",
    "lift": "iv VI VII VII;VI iv VII V;iv v VI VII;VI VII V Vsus4,V;iv iv VII V",
}

PROGRESSIONS: Final[Mapping[str, Mapping[str, Mapping[str, str]]]] = {
    "pop": {"major": _POP_MAJOR, "minor": _POP_MINOR},
    "synthwave": {
        "major": {
            "verse": "I V vi IV;vi IV I V;I iii IV IV;I IV I V;vi V IV I/3;IV I V vi",
            "chorus": "vi IV I V;IV V vi I;IV V I vi;I bVII IV I;IV I V vi;vi V IV V",
            "bridge": "ii IV vi V;IV IV V V;bVI bVII I I;vi iii IV V",
            "lift": "ii IV V V;IV V vi V;IV IV V Vsus4,V",
        },
        "minor": {
            "verse": "i VI III VII;i VI VII i;i III VII VI;i i VI VII;i VII VI VI;i v VI VII;i iv VI VII",
            "chorus": "VI VII i III;i III VI VII;VI VII i i;i VI III VII;iv VI VII i;VI III VII iv",
            "bridge": "iv iv VI VII;VI VI VII V;iv VI i VII;III VII VI V",
            "lift": "iv VI VII VII;VI VII V V;iv v VI VII;VI iv VII V",
        },
    },
    "lofi": {
        "major": {
            "verse": "IV iii ii I;ii V I vi;I vi ii V;IV V iii vi;I iii IV iv;ii iii IV I",
            "chorus": "IV V iii vi;ii V iii VI7;IV iii vi I;I IV iii vi;IV iv I VI7;ii V I I7",
            "bridge": "vi ii IV V;IV iv iii VI7;ii iii IV V;iii vi ii V",
            "lift": "ii iii IV V;IV iv V V;iii vi ii V",
        },
        "minor": {
            "verse": "i iv VII III;iv v i i;VI v i i;i VI iv v;i VII VI v;iv VII III VI",
            "chorus": "VI v iv i;iv VII III VI;VI VII i v;iv v i VI;i iv VI V;VI V i III",
            "bridge": "iv v VI VII;VI V i i;iim7b5 V i VI;III VI iv V",
            "lift": "iv v VI V;iim7b5 V iim7b5 V;VI VII iv V",
        },
    },
    "house": {
        "major": {
            "verse": "I vi IV V;IV V vi vi;vi IV I V;I I IV vi;ii vi IV V;vi I IV IV",
            "chorus": "vi IV I V;IV V vi I;IV I vi V;I V vi IV;IV vi I V;ii IV vi V",
            "bridge": "IV IV vi V;ii vi IV V;IV V vi vi;vi vi IV IV",
            "lift": "IV IV V V;ii IV V V;vi IV V V",
        },
        "minor": {
            "verse": "i VI III VII;i i VI VII;i VII VI VII;i III VI iv;i v VI iv;i iv i VII",
            "chorus": "VI VII i i;i VI III VII;iv VI i VII;VI III VII i;i III VII VI;VI VI VII i",
            "bridge": "VI VI VII VII;iv iv VI V;i i iv iv;iv VI i v",
            "lift": "iv VI VII VII;VI VII V V;iv iv V V",
        },
    },
    "rock": {
        "major": {
            "verse": "I IV V IV;I bVII IV I;I V vi IV;I I IV V;vi IV I V;I IV I bVII",
            "chorus": "I V vi IV;IV V I I;I bVII IV IV;I IV vi V;bVI bVII I I;IV I V vi",
            "bridge": "vi V IV V;ii IV V V;bVII IV I V;vi iii IV V;bVI bVII bVI V",
            "lift": "IV IV V V;ii IV V V;vi V IV V;bVII bVII V V",
        },
        "minor": {
            "verse": "i VI VII i;i III VII VI;i VII VI VII;i i VI VII;i VII IV i;i iv VI V;i VI III VII",
            "chorus": "VI VII i i;i VI III VII;i III VI VII;VI III VII i;iv VI i VII;III VII i VI",
            "bridge": "iv iv VI V;VI VII VI V;III VII iv V;iv VI VII V",
            "lift": "iv VI VII VII;VI VI VII V;iv v VI VII;VII VI VII V",
        },
    },
    "folk": {
        "major": {
            "verse": "I IV I V;I V vi IV;I vi IV V;I I IV I;vi IV I V;I V/3 vi IV;I iii IV V",
            "chorus": "IV I V I;IV I V vi;I IV I V;IV V I vi;I V IV I;vi IV I V",
            "bridge": "vi iii IV V;ii IV I V;vi V IV V;IV I ii V;vi iii IV I",
            "lift": "ii IV V V;IV IV V V;vi ii IV V",
        },
        "minor": {
            "verse": "i VII VI VII;i III VII i;i iv i V;i VI III VII;i VII i v;i IV VI V",
            "chorus": "III VII i VI;VI III VII i;iv i VII i;III VII iv i;i III iv VI;VI VII i i",
            "bridge": "iv i iv V;VI III iv V;III iv VI VII;VI VII III V",
            "lift": "iv VI VII VII;iv iv V V;VI iv VII V",
        },
    },
    "hiphop": {
        "major": {
            "verse": "I vi ii V;vi IV I V;IV iii vi vi;I IV I iv;vi ii vi V;ii V I I",
            "chorus": "IV V iii vi;vi IV I V;I vi IV V;IV iv I VI7;ii IV vi V;IV I V vi",
            "bridge": "IV IV vi vi;ii iii IV V;vi V IV iv",
            "lift": "ii IV V V;IV V vi V",
        },
        "minor": {
            "verse": "i VI iv V;i iv i V;i VI i VII;i i VI V;i III iv VI;i bII i V;i VII VI V",
            "chorus": "VI VII i i;i VI III VII;iv i VI V;VI V i i;i iv VI VII;VI iv i V",
            "bridge": "iv iv VI V;VI VI V V;iv V VI V",
            "lift": "iv VI VII V;VI VI V V",
        },
    },
    "jazz": {
        "major": {
            "verse": "ii V I vi;I vi ii V;ii,V I,vi ii,V I;iii VI7 ii V;I,vi ii,V iii,VI7 ii,V;I IV iii,VI7 ii,V",
            "chorus": "IV iv I VI7;ii V iii VI7;IV #ivdim I/5 VI7;I,VI7 ii,V I,vi ii,V;ii V I I7;IV,iv iii,VI7 ii,V I",
            "bridge": "III7 VI7 II7 V;IV iv iii VI7;iii VI7 ii V;vi II7 ii V",
            "lift": "ii iii IV V;vi II7 ii V",
        },
        "minor": {
            "verse": "i iim7b5,V i i;iim7b5 V i i;i VI iim7b5 V;iv VII III VI;i,VI iim7b5,V i iim7b5,V;i iv i V",
            "chorus": "iv VII III VI;iim7b5 V i VI;VI V i i;iv i iim7b5 V;III VI iim7b5 V;iv,VII III,VI iim7b5,V i",
            "bridge": "iv VII III VI;VI V VI V;iv iv iim7b5 V;III VI iim7b5 V",
            "lift": "iv v VI V;VI VI iim7b5 V",
        },
    },
    "ambient": {
        "major": {
            "verse": "I I IV IV;I V vi IV;I iii IV I;I IV I IV;vi IV I I;I ii IV I;IV I IV V",
            "chorus": "IV I vi V;I V ii IV;IV vi I V;vi iii IV I;IV V I I;IV iii vi IV",
            "bridge": "ii ii IV IV;vi iii IV IV;IV iv I I;ii vi IV V",
            "lift": "IV IV V V;ii IV V V",
        },
        "minor": {
            "verse": "i i VI VI;i VI i VI;i III VI VII;i VII VI i;i v VI VI;i iv VI i;VI VI i i",
            "chorus": "VI III VII i;VI VII i i;i VI III VII;iv VI i VII;III VII VI i;VI i III VII",
            "bridge": "iv iv VI VI;III iv VI VII;VI VI VII VII;iv i VI v",
            "lift": "iv VI VII VII;VI VI VII VII",
        },
    },
    "rnb": {
        "major": {
            "verse": "IV iii vi V;ii V iii vi;I vi ii V;IV V iii vi;vi ii IV I;ii iii IV I",
            "chorus": "IV V iii VI7;IV iii ii I;ii iii IV V;IV iv I VI7;vi V IV V;ii V I I7",
            "bridge": "iii VI7 ii V;IV iv iii VI7;vi iii IV V;ii ii iii VI7",
            "lift": "ii iii IV V;IV V vi V;ii V ii V",
        },
        "minor": {
            "verse": "VI V i i;iv v i III;i iv VII III;VI VII i i;i VII VI v;iv VII i i",
            "chorus": "VI v iv i;iv v VI VII;VI VII v i;VI V i VII;iv VII III VI;i v VI iv",
            "bridge": "iv v VI V;VI VI v V;iim7b5 V i i;iv iv VI V",
            "lift": "iv v VI V;VI VII V V;iim7b5 V iim7b5 V",
        },
    },
    "ballad": {
        "major": {
            "verse": "I V/3 vi IV;I vi IV V;I iii IV V;I V vi iii,IV;vi IV I V;I IV vi V;I I/3 IV V",
            "chorus": "I V vi IV;IV V I vi;IV I/3 ii V;I iii IV iv;vi IV I V;IV V iii vi",
            "bridge": "vi iii IV V;IV iv I V;ii V iii vi;vi V IV V;ii iii IV V",
            "lift": "ii IV V V;IV V vi V;ii iii IV V;IV IV Vsus4 V",
        },
        "minor": {
            "verse": "i VI III VII;i v VI III;i iv VII III;i VII VI V;i III VI V;i iv i V",
            "chorus": "VI III VII i;iv VII III VI;i VI III VII;VI VII i III;iv i VI V;VI iv i V",
            "bridge": "iv v VI V;VI VII III V;III VII iv V;VI III iv V",
            "lift": "iv VI VII V;VI iv V V;iv v VI VII",
        },
    },
}

COLOUR: Final[Mapping[str, str]] = {
    "pop": "added",
    "synthwave": "triad",
    "lofi": "seventh",
    "house": "added",
    "rock": "triad",
    "folk": "triad",
    "hiphop": "seventh",
    "jazz": "seventh",
    "ambient": "added",
    "rnb": "seventh",
    "ballad": "added",
}

SEVENTHS: Final[Mapping[str, Mapping[str, str]]] = {
    "major": {"I": "Imaj7", "ii": "ii7", "iii": "iii7", "IV": "IVmaj7", "V": "V7", "vi": "vi7", "iv": "iv6"},
    "minor": {
        "i": "i7", "III": "IIImaj7", "iv": "iv7", "v": "v7", "V": "V7", "VI": "VImaj7", "VII": "VII7",
        "bII": "bIImaj7",
    },
}  # fmt: skip
NINTHS: Final[Mapping[str, Mapping[str, str]]] = {
    "major": {"I": "Imaj9", "ii": "ii9", "IV": "IVmaj9", "V": "V9", "vi": "vi9", "iv": "iv6"},
    "minor": {"i": "i9", "iv": "iv9", "VI": "VImaj9", "III": "IIImaj9"},
}
ADDED: Final[Mapping[str, Mapping[str, str]]] = {
    "major": {"I": "Iadd9", "IV": "IVadd9", "V": "Vsus4", "vi": "vi7", "ii": "ii7"},
    "minor": {"i": "iadd9", "VI": "VIadd9", "III": "IIIadd9", "VII": "VIIadd9", "iv": "iv7"},
}
"""Richer dresses for plain triads, by mode."""
