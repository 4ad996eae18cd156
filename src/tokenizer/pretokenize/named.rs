//! The pre-tokenizers that GGUF's `tokenizer.ggml.pre` names, by the regular expressions of the models' own `tokenizer.json`.
use super::step::{Behavior, GPT2, Step};
use crate::tokenizer::pattern::Pattern;

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Splits, one after the other, before the bytes are spelled.
    patterns: &'static [&'static str],
    /// A piece that is a token as a whole is that token, whatever the merges say.
    pub ignore_merges: bool,
    /// A bos token comes before a text unless the file says no.
    pub add_bos: bool,
}

impl Named {
    const fn new(patterns: &'static [&'static str]) -> Named {
        Named { patterns, ignore_merges: false, add_bos: false }
    }

    const fn whole(self) -> Named {
        Named { ignore_merges: true, ..self }
    }

    const fn with_bos(self) -> Named {
        Named { add_bos: true, ..self }
    }

    /// The steps of the pre-tokenizer.
    pub fn steps(&self) -> Vec<Step> {
        let split =
            |p: &&str| Step::Split { pattern: Pattern::new(p).expect("one of our own"), behavior: Behavior::Isolated, invert: false };
        self.patterns.iter().map(split).chain([Step::Spell]).collect()
    }
}

macro_rules! contractions {
    () => {
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    };
}

/// Words as GPT-4o splits them: capitals, then small letters.
macro_rules! cased {
    ($suffix:expr) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            $suffix,
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            $suffix
        )
    };
}

/// Words, then numbers, then signs and white space, as Llama 3 splits them.
macro_rules! llama3 {
    ($numbers:expr) => {
        concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|", $numbers, r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    };
}

const TAIL: &str = GPT2;
/// Letters with a case, without those of the mathematical alphabets. In code points: editors normalize some of the characters.
const DEEPSEEK_LATIN: &str = concat!(
    r"\s?[",
    r"\x{41}-\x{5A}\x{61}-\x{7A}\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}",
    r"\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}",
    r"\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}",
    r"\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}",
    r"\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}",
    r"\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}",
    r"\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}",
    r"\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}",
    r"\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}",
    r"\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}",
    r"\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}",
    r"\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}",
    r"]+"
);
const DEEPSEEK_SIGNS: &str = r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+";
const HAN_HANGUL: &str = r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+";
const KANA_HAN: &str = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+";

const GPT_2: Named = Named::new(&[TAIL]);
const DIGITS: Named = Named::new(&[r"\p{N}", TAIL]);
const LLAMA_3: Named = Named::new(&[llama3!(r"\p{N}{1,3}")]);
const QWEN_2: Named = Named::new(&[llama3!(r"\p{N}")]);
const DEEPSEEK_3: Named = Named::new(&[
    r"\p{N}{1,3}",
    KANA_HAN,
    concat!(
        r"[!\x22#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*",
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
]);
const GPT_4O: Named =
    Named::new(&[concat!(cased!(concat!(contractions!(), "?")), r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")]);
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

/// Every name, in the order in which messages list them.
const NAMES: &[(&str, Named)] = &[
    ("default", Named::new(&[r"[\p{P}$+<=>\^~|]+", TAIL, r"\p{N}+", "[0-9][0-9][0-9]"])),
    ("gpt-2", GPT_2),
    ("gpt2", GPT_2),
    ("phi-2", GPT_2),
    ("mpt", GPT_2),
    ("olmo", GPT_2),
    ("jais", GPT_2),
    ("trillion", GPT_2),
    ("granite-docling", GPT_2),
    ("exaone4", GPT_2),
    ("gigachat", GPT_2),
    ("mellum", GPT_2),
    ("a.x-4.0", GPT_2),
    ("smollm", DIGITS),
    ("starcoder", DIGITS),
    ("refact", DIGITS),
    ("command-r", DIGITS),
    ("codeshell", DIGITS),
    ("exaone", DIGITS),
    ("minerva-7b", DIGITS),
    ("mellum2", DIGITS),
    ("llama-bpe", LLAMA_3.whole().with_bos()),
    ("llama3", LLAMA_3.whole().with_bos()),
    ("llama-v3", LLAMA_3.whole().with_bos()),
    ("falcon3", LLAMA_3.whole().with_bos()),
    ("falcon-h1", LLAMA_3.whole().with_bos()),
    ("pixtral", LLAMA_3.whole().with_bos()),
    ("midm-2.0", LLAMA_3.whole().with_bos()),
    ("lfm2", LLAMA_3.whole().with_bos()),
    ("dbrx", LLAMA_3),
    ("smaug-bpe", LLAMA_3),
    ("chatglm-bpe", LLAMA_3),
    ("glm4", LLAMA_3),
    ("qwen2", QWEN_2),
    ("deepseek-r1-qwen", QWEN_2),
    ("megrez", QWEN_2),
    ("stablelm2", QWEN_2),
    ("hunyuan", QWEN_2),
    ("solar-open", QWEN_2),
    ("grok-2", QWEN_2),
    (
        "qwen35",
        Named::new(&[concat!(
            contractions!(),
            r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )]),
    ),
    ("minicpm5", Named::new(&[r"\p{N}{1,3}", llama3!(r"\p{N}+")]).whole()),
    ("gpt-4o", GPT_4O),
    ("llama4", GPT_4O),
    ("kanana2", GPT_4O),
    ("minimax-m2", GPT_4O),
    (
        "tiny_aya",
        Named::new(&[
            r"\d{1,3}(?=(?:\d{3})*\b)",
            concat!(cased!(concat!(contractions!(), "?")), r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
        ]),
    ),
    ("tekken", Named::new(&[concat!(cased!(""), r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")]).whole().with_bos()),
    (
        "kimi-k2",
        Named::new(&[concat!(
            r"[\p{Han}]+",
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+",
            contractions!(),
            r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*",
            contractions!(),
            r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )]),
    ),
    ("falcon", Named::new(&[r"[\p{P}$+<=>\^~|`]+", TAIL, "[0-9][0-9][0-9]"])),
    ("deepseek-llm", Named::new(&[r"[\r\n]", DEEPSEEK_LATIN, DEEPSEEK_SIGNS, r"\s+\z", HAN_HANGUL, r"\p{N}+"])),
    ("deepseek-coder", Named::new(&[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN_HANGUL, r"\p{N}"])),
    ("deepseek-v3", DEEPSEEK_3),
    ("hunyuan-dense", DEEPSEEK_3),
    ("joyai-llm", DEEPSEEK_3),
    (
        "youtu",
        Named::new(&[
            concat!(
                r"[\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+",
                r"|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+",
                r"|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+"
            ),
            concat!(cased!(concat!(contractions!(), "?")), r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
        ])
        .whole(),
    ),
    ("superbpe", Named::new(&[r"\p{N}+", r"(?=(\d{3})+(?!\d))"])),
    (
        "bailingmoe",
        Named::new(&[r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"]),
    ),
    (
        "seed-coder",
        Named::new(&[concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+")]),
    ),
    ("poro-chat", Named::new(&[BLOOM])),
    ("bloom", Named::new(&[BLOOM])),
    ("gpt3-finnish", Named::new(&[BLOOM])),
    ("viking", Named::new(&[BLOOM, r"\p{N}"])),
];

/// The pre-tokenizer of a name.
pub fn named(name: &str) -> Option<&'static Named> {
    NAMES.iter().find(|(n, _)| *n == name).map(|(_, named)| named)
}

/// Every name with what it stands for.
pub fn names() -> impl Iterator<Item = (&'static str, &'static Named)> {
    NAMES.iter().map(|(name, named)| (*name, named))
}

/// All names, for messages.
pub fn known() -> String {
    NAMES.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_patterns_compile() {
        for (name, named) in super::NAMES {
            assert_eq!(named.steps().len(), named.patterns.len() + 1, "{name}");
        }
    }
}
